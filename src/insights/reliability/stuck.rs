//! Values that are stuck: a run of identical values that the device's own history makes improbable.
//!
//! The probability that a value is that of the report before is learned from finished runs. Of a
//! measure that often repeats (a full percent of disk, zero connections at night) a long run is
//! usual, and nothing is said.

use crate::event::Instant;
use crate::insights::number::float;
use serde::{Deserialize, Serialize};

/// Before so many pairs of values nothing is said.
const PAIRS: u32 = 30;
/// A run is stuck when fewer than so many of its length were to be expected in all of the history.
const EXPECTED: f64 = 1e-3;
/// … and when it is so many times as long as any finished run, or any at this value.
const LONGER: u32 = 2;
/// So many values with long runs are kept.
const PLATEAUS: usize = 3;

/// A run of identical values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The value.
    pub value: f64,
    /// The first report with it.
    pub from: Instant,
    /// The last report with it.
    pub to: Instant,
    /// How many reports.
    pub length: u32,
}

/// What is kept of one measure of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    run: Option<Run>,
    /// Pairs of successive values in finished runs and between them, and how many were the same.
    pairs: u32,
    same: u32,
    runs: u32,
    longest: u32,
    /// Values at which a long run has ended before, and its length.
    plateaus: Vec<(f64, u32)>,
}

impl State {
    /// One more value, in order of time. Answers a stuck run that it ends.
    pub fn report(&mut self, at: Instant, value: f64) -> Option<Run> {
        if !value.is_finite() {
            return None;
        }
        let next = Run {
            value,
            from: at,
            to: at,
            length: 1,
        };
        let Some(run) = &mut self.run else {
            self.run = Some(next);
            return None;
        };
        if run.value.to_bits() == value.to_bits() {
            run.to = at;
            run.length = run.length.saturating_add(1);
            return None;
        }
        let ended = *run;
        self.run = Some(next);
        if self.is_stuck(&ended) {
            self.keep(&ended);
            return Some(ended);
        }
        self.learn(&ended);
        None
    }

    /// The present run, if it is stuck.
    #[must_use]
    pub fn stuck(&self) -> Option<Run> {
        self.run.filter(|run| self.is_stuck(run))
    }

    /// The probability that a value is that of the report before, drawn to a half at first.
    #[must_use]
    pub fn repeats(&self) -> f64 {
        (f64::from(self.same) + 2.0) / (f64::from(self.pairs) + 4.0)
    }

    fn is_stuck(&self, run: &Run) -> bool {
        if self.pairs < PAIRS {
            return false;
        }
        let usual = self
            .plateaus
            .iter()
            .filter(|(value, _)| value.to_bits() == run.value.to_bits());
        let usual = usual
            .map(|(_, length)| *length)
            .max()
            .unwrap_or(0)
            .max(self.longest);
        let expected = f64::from(self.runs + 1) * self.repeats().powf(f64::from(run.length) - 1.0);
        expected < EXPECTED && run.length > LONGER.saturating_mul(usual)
    }

    fn learn(&mut self, run: &Run) {
        self.runs = self.runs.saturating_add(1);
        self.pairs = self.pairs.saturating_add(run.length);
        self.same = self.same.saturating_add(run.length - 1);
        self.longest = self.longest.max(run.length);
    }

    /// A stuck run teaches no probability, but when the same value lasts again it is usual.
    fn keep(&mut self, run: &Run) {
        let same = |plateau: &&mut (f64, u32)| plateau.0.to_bits() == run.value.to_bits();
        if let Some(plateau) = self.plateaus.iter_mut().find(same) {
            plateau.1 = plateau.1.max(run.length);
            return;
        }
        if self.plateaus.len() == PLATEAUS {
            self.plateaus.remove(0);
        }
        self.plateaus.push((run.value, run.length));
    }

    /// For how many reports the present value has lasted.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.run.map_or(0.0, |run| float(run.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(values: impl IntoIterator<Item = f64>) -> State {
        let mut state = State::default();
        for (index, value) in values.into_iter().enumerate() {
            state.report(Instant(i64::try_from(index).unwrap_or(0)), value);
        }
        state
    }

    #[test]
    fn a_value_that_always_moved_is_stuck_after_few_repeats() {
        let moving = (0..200).map(f64::from);
        assert_eq!(fold(moving.clone().chain([7.0; 3])).stuck(), None);
        let stuck = fold(moving.chain([7.5; 6])).stuck();
        assert_eq!(stuck.map(|run| run.length), Some(6));
    }

    #[test]
    fn a_value_that_never_moved_is_not_stuck() {
        assert_eq!(fold(vec![3.0; 5_000]).stuck(), None);
    }

    #[test]
    fn a_value_that_moves_seldom_is_given_more_time() {
        let steps: Vec<f64> = (0..400).map(|index| f64::from(index / 20)).collect();
        assert_eq!(fold(steps.iter().copied().chain([99.0; 40])).stuck(), None);
        assert!(fold(steps.into_iter().chain([99.0; 400])).stuck().is_some());
    }

    #[test]
    fn a_plateau_that_returns_is_usual_from_the_second_time_on() {
        let day = || (0..100).map(f64::from).chain([0.0; 50]);
        let mut state = State::default();
        let mut found = 0;
        for (index, value) in day().chain(day()).chain(day()).chain([1.0]).enumerate() {
            let at = Instant(i64::try_from(index).unwrap_or(0));
            found += usize::from(state.report(at, value).is_some());
        }
        assert_eq!(found, 1);
    }

    #[test]
    fn what_is_no_number_is_not_heard() {
        assert_eq!(fold([f64::NAN, f64::INFINITY]), State::default());
    }
}
