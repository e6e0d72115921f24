//! What events brought to devices that is not folded. Of each device no more is held than is read of it: each change,
//! and of many errors that are alike how many they were.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::event::{Event, Instant, Position};
use crate::insights::device::DeviceHour;
use crate::insights::input::{ConfigSeen, ErrorSeen, StateSeen};
use crate::insights::replay::{configuration, error, hour_of, state};
use crate::insights::risk::features::{self, Facts, group};
use crate::kinds::Kind;
use crate::projections::insights::facts::Whose;
use crate::store::{Allowance, StoreError};

/// Errors of a device up to which each is held by itself.
const EACH_MAX: usize = 4;
/// Errors of a device that are held, beside one of each severity; a state keeps half as many.
const ERRORS_MAX: usize = 64;
/// Errors that are folded into a state at once.
const AT_ONCE: u32 = 256;
/// Bytes that all of it may take.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// In which order events of a kind and a device are told.
type Turn = (Instant, Option<Uuid>, Position);

/// An error, and how many more of its group came in its hour.
#[derive(Clone, Debug)]
struct Counted {
    turn: Turn,
    error: ErrorSeen,
    more: u32,
    /// When the last of them came.
    last: Instant,
}

/// What was brought to a device.
#[derive(Debug, Default)]
struct OfOne {
    errors: Vec<Counted>,
    states: Vec<(Turn, StateSeen)>,
    configs: Vec<(Turn, ConfigSeen)>,
}

/// What was brought to devices.
#[derive(Debug)]
pub(super) struct Brought {
    of: HashMap<Whose, OfOne>,
    allowance: Allowance,
}

/// A state of which something was heard since, until when and from when on.
pub(super) type Heard = (Instant, Instant);

/// States of devices, each with what was brought to it.
pub(super) type Told = BTreeMap<Whose, (Arc<features::State>, DeviceHour)>;

impl Default for Brought {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            allowance: Allowance::of(BYTES_MAX),
        }
    }
}

impl Brought {
    /// Takes an event of a device, in whatever order they come; none twice.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when all of it takes too much room.
    pub(super) fn take(&mut self, whose: Whose, event: &Event) -> Result<(), StoreError> {
        let fact = &event.fact;
        let turn = (fact.occurred_at, fact.event_id, event.position);
        let of = self.of.entry(whose).or_default();
        let bytes = if fact.kind == Kind::ErrorLog {
            of.count(turn, error(fact))
        } else if fact.kind == Kind::DeviceStateChange {
            of.states.push((turn, state(fact)));
            size_of::<(Turn, StateSeen)>()
        } else if fact.kind == Kind::ConfigurationChange {
            let config = configuration(fact);
            let bytes = size_of::<(Turn, ConfigSeen)>() + config.parameter.len();
            of.configs.push((turn, config));
            bytes
        } else {
            0
        };
        self.allowance.take(bytes)
    }

    /// Whether anything was brought to a device.
    pub(super) fn has(&self, whose: Whose) -> bool {
        self.of.contains_key(&whose)
    }

    /// States with what was heard and brought since, as of an instant.
    pub(super) fn told(
        self,
        states: BTreeMap<Whose, Arc<features::State>>,
        heard: &BTreeMap<Whose, Heard>,
        as_of: Instant,
    ) -> Told {
        let open = || DeviceHour {
            start: hour_of(as_of),
            ..DeviceHour::default()
        };
        let known = states.into_iter().map(|(whose, state)| {
            let heard = heard.get(&whose);
            let state = heard.map_or_else(
                || Arc::clone(&state),
                |(until, from)| Arc::new(state.heard(*until, *from)),
            );
            (whose, (state, open()))
        });
        let mut told: Told = known.collect();
        for (whose, of) in self.of {
            let known = told.entry(whose);
            let (state, hour) = known.or_insert_with(|| (Arc::default(), open()));
            if let Some(with) = of.put(hour, (&**state, as_of)) {
                *state = Arc::new(with);
            }
        }
        told
    }
}

impl OfOne {
    /// Takes an error; how many bytes that takes.
    fn count(&mut self, turn: Turn, error: ErrorSeen) -> usize {
        let is_full = self.errors.len() >= ERRORS_MAX;
        if self.errors.len() >= EACH_MAX {
            let mut held = self.errors.iter_mut();
            if let Some(alike) = held.find(|held| held.is_alike(&error)) {
                alike.add(turn);
                return 0;
            }
        }
        if is_full {
            // it is told as one of another group then
            let mut held = self.errors.iter_mut().rev();
            let same = held.find(|held| held.error.severity == error.severity);
            if let Some(same) = same {
                same.add(turn);
                return 0;
            }
        }
        let code = error.code.as_deref().unwrap_or_default();
        let bytes = size_of::<Counted>() + error.category.len() + code.len();
        self.errors.push(Counted {
            turn,
            last: error.at,
            error,
            more: 0,
        });
        bytes
    }

    /// Puts into an hour what was brought, and answers the state with the errors where they were counted: there is no
    /// room for them in the hour.
    fn put(
        mut self,
        hour: &mut DeviceHour,
        (state, as_of): (&features::State, Instant),
    ) -> Option<features::State> {
        self.errors.sort_by_key(|one| one.turn);
        self.states.sort_by_key(|(turn, _)| *turn);
        self.configs.sort_by_key(|(turn, _)| *turn);
        hour.states = self.states.into_iter().map(|(_, state)| state).collect();
        hour.configs = self.configs.into_iter().map(|(_, change)| change).collect();
        if self.errors.iter().all(|one| one.more == 0) {
            hour.errors = self.errors.into_iter().map(|one| one.error).collect();
            return None;
        }
        let mut errors: Vec<Counted> = Vec::with_capacity(self.errors.len());
        for one in self.errors {
            let alike = errors.iter_mut().find(|held| held.is_alike(&one.error));
            match alike {
                Some(alike) => alike.join(&one),
                None => errors.push(one),
            }
        }
        let mut state = state.clone();
        for one in &errors {
            one.fold(&mut state, as_of);
        }
        Some(state)
    }
}

impl Counted {
    fn is_alike(&self, error: &ErrorSeen) -> bool {
        self.error.severity == error.severity
            && hour_of(self.error.at) == hour_of(error.at)
            && group(&self.error) == group(error)
    }

    fn add(&mut self, turn: Turn) {
        self.more = self.more.saturating_add(1);
        self.last = self.last.max(turn.0);
        if turn < self.turn {
            self.turn = turn;
            self.error.at = turn.0;
        }
    }

    /// Takes those that came later.
    fn join(&mut self, other: &Self) {
        self.more = self.more.saturating_add(other.more).saturating_add(1);
        self.last = self.last.max(other.last);
    }

    fn fold(&self, state: &mut features::State, as_of: Instant) {
        let mut fold = |count: u32, at: Instant| {
            let one = || ErrorSeen {
                at,
                ..self.error.clone()
            };
            let errors: Vec<ErrorSeen> = (0..count).map(|_| one()).collect();
            let facts = Facts {
                errors: &errors,
                ..Facts::default()
            };
            *state = state.with_open(&facts, as_of);
        };
        fold(1, self.error.at);
        let mut left = self.more;
        while left > 0 {
            let some = left.min(AT_ONCE);
            fold(some, self.last);
            left -= some;
        }
    }
}

#[cfg(test)]
#[path = "brought_tests.rs"]
mod tests;
