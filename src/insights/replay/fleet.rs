//! A fleet as it lives: its hours are folded, each night its sums and its model of failures are made anew.

use std::collections::BTreeMap;

use super::filed::Filed;
use super::seen::Known;
use super::{Answer, Question, Replayed, Told, seen};
use crate::event::{Fact, Instant, Provenance};
use crate::insights::input::{DAY, Hour, Measure, State as Reported};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::replay::told::{Closed, Open};
use crate::insights::risk::answer::{self, Context};
use crate::insights::risk::features::{Facts, State, hash};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::learning::{EXAMPLE_EVERY, Failures, Learned, example};
use crate::insights::risk::model::{Example, Horizon, Model, Settings, train};
use crate::insights::risk::succession::train_and_try;
use crate::insights::risk::{forecast, health};
use crate::insights::shape::Insight;
use crate::kinds::Kind;

/// What is asked of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// How likely they are to fail within a horizon.
    Risk(Horizon),
    /// How healthy they are.
    Health,
    /// How healthy they will be in so many days.
    Forecast(u8),
}

/// A fleet that is told what happens.
#[derive(Debug)]
pub struct Watched {
    asked: Asked,
    told: Told,
    filed: Filed,
    states: BTreeMap<String, State>,
    /// What each device, by its hash, reported last in each provenance.
    reported: BTreeMap<(u32, Provenance), Reported>,
    failures: Failures,
    examples: Vec<Example>,
    fleet: Fleet,
    model: Model,
    /// What there was when the model was made.
    learned: Learned,
    /// Until when everything is told.
    now: Option<Instant>,
}

impl Watched {
    /// One of which nothing is told yet.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        let fleet = Fleet::of([], Instant::default());
        let model = train(&[], &fleet, Instant::default(), Settings::default());
        Self {
            asked,
            told: Told::default(),
            filed: Filed::default(),
            states: BTreeMap::new(),
            reported: BTreeMap::new(),
            failures: Failures::default(),
            examples: Vec::new(),
            fleet,
            model,
            learned: Learned::default(),
            now: None,
        }
    }

    /// Does what is to be done at the instants before another, when all is told that happened until then.
    fn advance(&mut self, to: Instant) {
        let from = self.now.unwrap_or(to);
        let mut at = Instant((from.0.div_euclid(EXAMPLE_EVERY)) * EXAMPLE_EVERY);
        while at < to {
            if at >= from {
                self.step(at);
            }
            at = Instant(at.0 + EXAMPLE_EVERY);
        }
        self.now = Some(to);
    }

    fn step(&mut self, at: Instant) {
        self.close(at);
        if at.0.rem_euclid(DAY) == 0 {
            self.renew(at);
        }
        for (id, state) in &self.states {
            let Some(device) = self.told.known.devices.get(id) else {
                continue;
            };
            let open = facts(self.told.open(id), &[]);
            let taken = example(state, &open, (device, &self.fleet), at);
            self.examples.extend(taken);
        }
    }

    /// Sums the fleet up, and learns from what has happened.
    fn renew(&mut self, at: Instant) {
        let devices = &self.told.known.devices;
        let states = self.states.iter();
        let states = states.filter_map(|(id, state)| Some((devices.get(id)?, state)));
        self.fleet = Fleet::of(states, at);
        let now = Learned {
            examples: self.examples.len(),
            failures: self.failures.count(),
        };
        if self.learned.is_outgrown(now) {
            self.failures.tell(&mut self.examples);
            let known = (self.examples.as_slice(), &self.failures);
            self.model = train_and_try(known, &self.fleet, at).model;
            self.learned = now;
        }
    }

    /// The model that is in use.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The fleet as it was summed up last.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Takes what a device reports of its state: by an error it has failed, unless it was in error before.
    fn report(&mut self, fact: &Fact) {
        let is_state = fact.kind == Kind::DeviceStateChange;
        let Some(id) = seen::device_of(fact).filter(|_| is_state) else {
            return;
        };
        let (device, to) = (hash(id), seen::state(fact).to);
        let before = self.reported.insert((device, fact.provenance), to);
        if to == Reported::Error && before != Some(Reported::Error) {
            self.failures.add(device, fact.occurred_at);
        }
    }

    /// What is told, and what folds the hours that are over by it.
    fn telling(&mut self) -> (&mut Told, impl FnMut(&Known, &str, &Closed)) {
        let Self {
            told,
            filed,
            states,
            ..
        } = self;
        let fold =
            |known: &Known, id: &str, over: &Closed| fold((filed, states), (known, id), over);
        (told, fold)
    }

    fn close(&mut self, at: Instant) {
        let (told, fold) = self.telling();
        told.close(at, fold);
    }

    fn read(&self, id: &str, at: Instant) -> Option<Insight> {
        let device = self.told.known.devices.get(id)?;
        let zone = self.told.known.zone_of(id);
        let unfiled = Schedule::new(zone);
        let context = Context {
            device,
            zone,
            schedule: self.filed.of(&self.told.known, id).unwrap_or(&unfiled),
            fleet: &self.fleet,
            model: &self.model,
        };
        let none = State::default();
        let state = self.states.get(id).unwrap_or(&none);
        let open = facts(self.told.open(id), &[]);
        Some(match self.asked {
            Asked::Risk(horizon) => answer::read(state, &context, &open, at, horizon),
            Asked::Health => health::read(state, &context, &open, at),
            Asked::Forecast(days) => forecast::read(state, &context, &open, at, days),
        })
    }
}

impl Replayed for Watched {
    fn take(&mut self, fact: &Fact) {
        self.advance(fact.occurred_at);
        if fact.kind == Kind::SiteSchedule {
            // what is over was in the hours that were filed before
            self.close(fact.occurred_at);
            self.filed.take(&self.told.known, fact);
            return;
        }
        let (told, fold) = self.telling();
        told.take(fact, fold);
        self.report(fact);
    }

    fn answer(&mut self, question: &Question) -> Answer {
        // all is told that happened until then: also what is summed up at that instant is known at it
        self.advance(Instant(question.at.0 + 1));
        self.close(question.at);
        let read = self.read(&question.device, question.at);
        read.map_or(Answer::UNKNOWN, |insight| Answer::of(&insight))
    }
}

fn fold(
    (filed, states): (&Filed, &mut BTreeMap<String, State>),
    (known, id): (&Known, &str),
    over: &Closed,
) {
    if !states.contains_key(id) {
        states.insert(id.to_owned(), State::default());
    }
    if let Some(state) = states.get_mut(id) {
        state.fold(&Facts {
            schedule: filed.of(known, id),
            interval_seconds: over.interval_seconds,
            ..facts(Some(&over.told), &over.measures)
        });
    }
}

fn facts<'a>(told: Option<&'a Open>, measures: &'a [(Measure, Hour)]) -> Facts<'a> {
    let Some(told) = told else {
        return Facts::default();
    };
    Facts {
        start: told.start,
        measures,
        errors: &told.errors,
        states: &told.states,
        configs: &told.configs,
        schedule: None,
        interval_seconds: None,
    }
}
