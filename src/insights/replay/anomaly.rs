//! How unusual what a measure shows is.

use std::collections::BTreeMap;

use super::{Answer, Closed, Known, Question, Replayed, Told};
use crate::event::Fact;
use crate::insights::anomaly::{References, State, Subject, fold, read};
use crate::insights::input::{Measure, Sample};

/// A measure of each device that is watched.
#[derive(Debug)]
pub struct Unusual {
    measure: Measure,
    told: Told,
    states: BTreeMap<String, State>,
}

impl Unusual {
    /// One of which nothing is told yet.
    #[must_use]
    pub fn new(measure: Measure) -> Self {
        Self {
            measure,
            told: Told::default(),
            states: BTreeMap::new(),
        }
    }

    fn fold(
        (states, measure): (&mut BTreeMap<String, State>, Measure),
        (known, id): (&Known, &str),
        over: &Closed,
    ) {
        let Some((_, hour)) = over.measures.iter().find(|(of, _)| *of == measure) else {
            return;
        };
        let state = states.entry(id.to_owned()).or_default();
        fold(state, measure, known.zone_of(id), hour);
    }
}

impl Replayed for Unusual {
    fn take(&mut self, fact: &Fact) {
        let (states, measure) = (&mut self.states, self.measure);
        self.told.take(fact, |known, id, over| {
            Self::fold((states, measure), (known, id), over);
        });
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let (id, at) = (question.device.as_str(), question.at);
        let (states, measure) = (&mut self.states, self.measure);
        self.told.close_of(id, at, |known, id, over| {
            Self::fold((states, measure), (known, id), over);
        });
        let none = State::default();
        let subject = Subject {
            measure,
            zone: self.told.known.zone_of(id),
            references: References::default(),
        };
        let samples = self
            .told
            .open(id)
            .and_then(|open| open.samples.get(&measure));
        let samples: &[Sample] = samples.map_or(&[], Vec::as_slice);
        let state = self.states.get(id).unwrap_or(&none);
        Answer::of(&read(state, &subject, samples, at))
    }
}
