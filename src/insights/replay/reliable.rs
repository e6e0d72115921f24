//! How often devices fail, or how many failures are to be expected of them.

use std::collections::BTreeMap;

use super::{Answer, Known, Question, Replayed, seen};
use crate::event::{Fact, Instant};
use crate::insights::reliability::fleet::{Fleet, Prior};
use crate::insights::reliability::insight::{Ask, add, reliability};
use crate::insights::reliability::intervals::{Failures, State};
use crate::kinds::Kind;

/// Hours for which the fleet is summed up where no horizon is asked for: 30 days.
const HORIZON_HOURS: f64 = 720.0;

/// A fleet whose states are followed.
#[derive(Debug)]
pub struct Reliable {
    /// Hours ahead.
    horizon: Option<f64>,
    known: Known,
    states: BTreeMap<String, State>,
    /// What the fleet came to when it was asked last: that of one instant is summed up once.
    prior: Option<(Instant, Prior)>,
}

impl Reliable {
    /// One of which nothing is told yet; with a horizon in hours it is asked how many failures are to be expected.
    #[must_use]
    pub const fn new(horizon: Option<f64>) -> Self {
        Self {
            horizon,
            known: Known::new(),
            states: BTreeMap::new(),
            prior: None,
        }
    }

    fn prior(&self, at: Instant) -> Prior {
        let mut fleet = Fleet::new(self.horizon.unwrap_or(HORIZON_HOURS));
        for (id, state) in &self.states {
            add(&mut fleet, state, self.site_of(id), Failures::default(), at);
        }
        fleet.prior()
    }

    fn site_of(&self, device: &str) -> &str {
        let device = self.known.devices.get(device);
        device.map_or("", |device| device.site.as_str())
    }
}

impl Replayed for Reliable {
    fn take(&mut self, fact: &Fact) {
        if self.known.take(fact) {
            return;
        }
        let Some(id) = seen::device_of(fact).filter(|_| is_of_life(fact)) else {
            return;
        };
        self.prior = None;
        if !self.states.contains_key(id) {
            self.states.insert(id.to_owned(), State::default());
        }
        let Some(state) = self.states.get_mut(id) else {
            return;
        };
        let at = fact.occurred_at;
        if fact.kind == Kind::DeviceMetrics {
            if let Some(seconds) = seen::interval_seconds(fact) {
                state.cadence.tell(seconds);
            }
            state.report(at);
        } else if fact.kind == Kind::DeviceStateChange {
            state.change(at, seen::state(fact).to);
        } else {
            state.sign(at);
        }
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let at = question.at;
        if self.prior.as_ref().is_none_or(|(of, _)| *of != at) {
            self.prior = Some((at, self.prior(at)));
        }
        let Some((_, prior)) = &self.prior else {
            return Answer::UNKNOWN;
        };
        let ask = Ask {
            site: self.site_of(&question.device),
            zone: self.known.zone_of(&question.device),
            failures: Failures::default(),
            horizon: self.horizon,
        };
        let state = self.states.get(&question.device);
        state.map_or(Answer::UNKNOWN, |state| {
            Answer::of(&reliability(state, prior, &ask, at))
        })
    }
}

/// Whether a fact tells of the life of its device: what others do to a device, or say of it, is no sign of that.
fn is_of_life(fact: &Fact) -> bool {
    let is_sign = [Kind::DeviceMetrics, Kind::DeviceStateChange, Kind::ErrorLog];
    is_sign.contains(&fact.kind) || (fact.kind == Kind::JobOutcome && seen::job(fact).is_some())
}
