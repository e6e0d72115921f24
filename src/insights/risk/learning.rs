//! What a model learns from: which examples a fleet gives, what came of them, and when there is enough more for
//! another training.
//!
//! The training of each night and the replay of `evaluate` take it from here, so that both learn the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Instant;
use crate::insights::input::{DAY, Device, HOUR};
use crate::insights::risk::features::{Facts, State, hash};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::model::Example;
use crate::insights::risk::signs::signs;

/// From one example of a device that is learned from to the next: its hours are almost copies of each other.
pub const EXAMPLE_EVERY: i64 = 6 * HOUR;
/// Nothing is learned of a device of which nothing was measured for so long.
const SILENT: i64 = 2 * DAY;
/// A model is made anew when there are so many more examples in a hundred, and when a device has failed.
const GROWN_PERCENT: usize = 5;

/// How much there was to learn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Examples.
    pub examples: usize,
    /// Failures: changes to an error.
    pub failures: usize,
}

impl Learned {
    /// Whether there is so much more now that it is worth another training.
    #[must_use]
    pub const fn is_outgrown(self, now: Self) -> bool {
        let is_grown = now.examples * 100 > self.examples * (100 + GROWN_PERCENT);
        is_grown || now.failures != self.failures
    }
}

/// When devices failed, by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<u32, Vec<Instant>>);

impl Failures {
    /// A device failed. Those of a device come in order of time.
    pub fn add(&mut self, device: u32, at: Instant) {
        self.0.entry(device).or_default().push(at);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// How many there were until an instant.
    #[must_use]
    pub fn count_until(&self, at: Instant) -> usize {
        let until = |of: &Vec<Instant>| of.partition_point(|failure| *failure <= at);
        self.0.values().map(until).sum()
    }

    /// Says of each example what came of it.
    pub fn tell(&self, examples: &mut [Example]) {
        for example in examples {
            let failures = self.0.get(&example.device);
            let failures = failures.map_or(&[][..], Vec::as_slice);
            let next = failures.partition_point(|failure| *failure <= example.at);
            example.next_failure = failures.get(next).copied();
        }
    }
}

/// The example that a device gives: its state of the hours that are over, and what the hour brought that is not. There
/// is none of a device of which nothing is known yet, nor of one that has been silent for long: nobody would have heard
/// of its failure.
#[must_use]
pub fn example(
    state: &State,
    open: &Facts<'_>,
    (device, fleet): (&Device, &Fleet),
    at: Instant,
) -> Option<Example> {
    let state = state.with_open(open, at);
    let is_silent = state
        .last_measured
        .is_some_and(|last| at.0 - last.0 > SILENT);
    (state.is_known(at) && !is_silent).then(|| Example {
        device: hash(&device.id),
        at,
        signs: signs(&state, device, fleet, at),
        next_failure: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::risk::signs::Signs;

    #[test]
    fn what_came_of_an_example_is_the_next_failure_of_its_device() {
        let mut failures = Failures::default();
        for at in [10, 20, 30] {
            failures.add(1, Instant(at));
        }
        failures.add(2, Instant(15));
        let example = |device, at| Example {
            device,
            at: Instant(at),
            signs: Signs::default(),
            next_failure: Some(Instant(1)),
        };
        let mut examples = [
            example(1, 9),
            example(1, 10),
            example(1, 30),
            example(2, 14),
            example(3, 1),
        ];
        failures.tell(&mut examples);
        let told = examples.map(|example| example.next_failure.map(|at| at.0));
        assert_eq!(told, [Some(10), Some(20), None, Some(15), None]);
        assert_eq!(
            (failures.count(), failures.count_until(Instant(20))),
            (4, 3)
        );
    }

    #[test]
    fn while_a_device_is_silent_it_teaches_nothing_and_is_not_free_of_failures() {
        let state = State {
            first: Some(Instant(0)),
            last_measured: Some(Instant(10 * DAY)),
            ..State::default()
        };
        let device = Device {
            id: "till".to_owned(),
            site: "shop".to_owned(),
            model: None,
            age_years: None,
        };
        let (fleet, open) = (Fleet::default(), Facts::default());
        let example = |at: i64| example(&state, &open, (&device, &fleet), Instant(at));
        assert!(example(11 * DAY).is_some() && example(13 * DAY).is_none());
        let days = |at: i64| state.watched_days(Instant(at * DAY));
        for (at, expected) in [(5, 5.0), (11, 11.0), (4_000, 11.0)] {
            assert!((days(at) - expected).abs() < 1e-9, "{at}");
        }
    }

    #[test]
    fn a_failure_more_or_a_twentieth_more_examples_are_worth_a_training() {
        let of = |examples, failures| Learned { examples, failures };
        assert!(!of(100, 3).is_outgrown(of(105, 3)));
        assert!(of(100, 3).is_outgrown(of(106, 3)));
        assert!(of(100, 3).is_outgrown(of(100, 4)));
        assert!(!of(0, 0).is_outgrown(of(0, 0)));
    }
}
