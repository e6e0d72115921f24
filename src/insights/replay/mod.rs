//! Replays facts in order of time, and asks in between: how the quality of insights is judged.
//!
//! Who is asked at an instant has been told what happened until then, and nothing later: it cannot read the future.

mod anomaly;
mod changed;
mod counter;
mod filed;
mod fleet;
mod grouped;
mod order;
mod reliable;
mod seen;
mod told;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Fact, Instant, Provenance};
use crate::insights::input::Measure;
use crate::insights::shape::{Insight, Status};
use crate::kinds::Kind;

pub use anomaly::Unusual;
pub use changed::{Asked as AskedChange, changes, changes_before, impacts};
pub use fleet::{Asked, Watched};
pub use grouped::{Grouped, groups};
pub use order::{in_order, told_before};
pub use reliable::Reliable;
pub use seen::{Known, Site, device_of};
pub(crate) use seen::{configuration, device, error, hour_of, state};
pub use told::{Closed, Open, Told};
pub use windows::{Week, monday_of, recommended, weeks};
pub(crate) use windows::{day_of, plan};

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

/// What is asked of an instant.
pub trait Timed {
    /// Of when.
    fn at(&self) -> Instant;
}

impl Timed for Question {
    fn at(&self) -> Instant {
        self.at
    }
}

/// Somebody who is told facts in order of time, and asked in between.
pub trait Replayed<Q = Question, A = Answer> {
    /// Takes what happened.
    fn take(&mut self, fact: &Fact);

    /// Answers from what was told until now.
    fn answer(&mut self, question: &Q) -> A;
}

/// Tells facts in order of time, asks each question once all is told that happened until its instant, and answers
/// them in their own order.
pub fn replay<Q: Timed, A>(
    facts: &[Fact],
    questions: &[Q],
    replayed: &mut impl Replayed<Q, A>,
) -> Vec<A> {
    let mut in_turn: Vec<(usize, &Q)> = questions.iter().enumerate().collect();
    in_turn.sort_by_key(|(_, question)| question.at());
    let mut facts = in_order(facts).into_iter().peekable();
    let mut answers: Vec<(usize, A)> = Vec::with_capacity(questions.len());
    for (index, question) in in_turn {
        while let Some(fact) = facts.next_if(|fact| fact.occurred_at <= question.at()) {
            replayed.take(fact);
        }
        answers.push((index, replayed.answer(question)));
    }
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
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

/// The provenances of what devices report. What else is told, such as who registered them and what people configured, may
/// be of another one: what people do to a made up device is real.
#[must_use]
pub fn provenances(facts: &[Fact]) -> BTreeSet<Provenance> {
    let reported = [Kind::DeviceMetrics, Kind::ErrorLog, Kind::DeviceStateChange];
    let reports = facts.iter().filter(|fact| reported.contains(&fact.kind));
    reports.map(|fact| fact.provenance).collect()
}

#[cfg(test)]
mod tests;
