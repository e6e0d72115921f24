//! Replays facts in order of time, and asks in between: how the quality of insights is judged.
//!
//! Who is asked at an instant has been told what happened until then, and nothing later: it cannot read the future.

mod anomaly;
mod changed;
mod fleet;
mod grouped;
mod order;
mod reliable;
mod seen;
mod told;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Fact, Instant};
use crate::insights::input::Measure;
use crate::insights::shape::{Insight, Status};
use crate::kinds::Kind;

pub use anomaly::Unusual;
pub use changed::{Asked as AskedChange, changes, changes_before, impacts};
pub use fleet::{Asked, Watched};
pub use grouped::{Grouped, groups};
pub use order::in_order;
pub use reliable::Reliable;
pub use seen::{Known, Site, device_of};
pub use told::{Closed, Open, Told};
pub use windows::{Week, monday_of, recommended, weeks};

/// A device and an instant of which an insight is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The id of the device.
    pub device: String,
    /// Of when.
    pub at: Instant,
    /// How whoever asks wrote that.
    pub timestamp: String,
}

/// What is answered: a row of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value, if there is one.
    pub value: Option<f64>,
    /// The lower bound of its interval.
    pub low: Option<f64>,
    /// The upper bound of its interval.
    pub high: Option<f64>,
    /// How far it can be relied on.
    pub status: Status,
}

impl Answer {
    /// Nothing is known of what was asked for.
    pub const UNKNOWN: Self = Self {
        value: None,
        low: None,
        high: None,
        status: Status::Insufficient,
    };

    /// What an insight says.
    #[must_use]
    pub fn of(insight: &Insight) -> Self {
        Self {
            value: insight.value,
            low: insight.interval.map(|interval| interval.low),
            high: insight.interval.map(|interval| interval.high),
            status: insight.status,
        }
    }
}

/// Somebody who is told facts in order of time, and asked in between.
pub trait Replayed {
    /// Takes what happened.
    fn take(&mut self, fact: &Fact);

    /// Answers from what was told until now.
    fn answer(&mut self, question: &Question) -> Answer;
}

/// Tells facts in order of time, asks each question once all is told that happened until its instant, and answers
/// them in their own order.
pub fn replay(facts: &[Fact], questions: &[Question], replayed: &mut impl Replayed) -> Vec<Answer> {
    let mut order: Vec<usize> = (0..questions.len()).collect();
    order.sort_by_key(|index| questions.get(*index).map(|question| question.at));
    let mut facts = in_order(facts).into_iter().peekable();
    let mut answers = vec![Answer::UNKNOWN; questions.len()];
    for index in order {
        let Some(question) = questions.get(index) else {
            continue;
        };
        while let Some(fact) = facts.next_if(|fact| fact.occurred_at <= question.at) {
            replayed.take(fact);
        }
        if let Some(answer) = answers.get_mut(index) {
            *answer = replayed.answer(question);
        }
    }
    answers
}

/// The devices of facts that report metrics, each with when they did first and last.
#[must_use]
pub fn spans(facts: &[Fact]) -> BTreeMap<String, (Instant, Instant)> {
    let mut spans: BTreeMap<String, (Instant, Instant)> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.kind == Kind::DeviceMetrics) {
        let Some(device) = device_of(fact) else {
            continue;
        };
        let at = fact.occurred_at;
        let span = spans.entry(device.to_owned()).or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
    }
    spans
}

/// The measures that devices report.
#[must_use]
pub fn measures(facts: &[Fact]) -> BTreeSet<Measure> {
    let readings = facts.iter().filter(|fact| fact.kind == Kind::DeviceMetrics);
    let reported = readings.flat_map(|fact| {
        let measures = Measure::ALL.into_iter();
        measures.filter(|measure| seen::measured(fact, *measure).is_some())
    });
    reported.collect()
}

#[cfg(test)]
mod tests;
