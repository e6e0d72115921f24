//! By how much a counter grew, by the same rule as in what is summed up by time: it counts from the midnight of the
//! site, so it grew by what it shows if it showed nothing before on the same day, or if it has fallen, and else by what
//! it shows more. Of values of one instant the greater is the later one, in whatever order they are told.

use crate::event::Instant;
use crate::insights::input::Sample;
use crate::rollups::cell::growth;

/// What a counter shows, and what it showed before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    before: Option<Sample>,
    now: Option<Now>,
}

/// The values of one instant.
#[derive(Clone, Copy, Debug)]
struct Now {
    at: Instant,
    least: f64,
    greatest: f64,
    /// By how much it grew to them.
    grown: f64,
}

impl Counter {
    /// One of which it is known what it showed last.
    pub(super) const fn after(before: Sample) -> Self {
        Self {
            before: Some(before),
            now: None,
        }
    }

    /// What it showed last.
    pub(super) fn shown(&self) -> Option<Sample> {
        let now = self.now.map(|now| Sample {
            at: now.at,
            value: now.greatest,
        });
        now.or(self.before)
    }

    /// Takes a value of a day that began at an instant; answers by how much more it has grown. Values come in order
    /// of time.
    pub(super) fn take(&mut self, sample: Sample, begin: i64) -> f64 {
        let Sample { at, value } = sample;
        let held = self.now.filter(|now| now.at == at);
        if held.is_none() {
            self.before = self.shown();
        }
        let least = held.map_or(value, |now| now.least.min(value));
        let greatest = held.map_or(value, |now| now.greatest.max(value));
        let is_anew = self.before.is_none_or(|before| before.at.0 < begin);
        let before = self.before.map(|before| before.value);
        let grown = growth(before, least, is_anew) + (greatest - least);
        self.now = Some(Now {
            at,
            least,
            greatest,
            grown,
        });
        grown - held.map_or(0.0, |now| now.grown)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::insights::input::{DAY, HOUR};
    use crate::rollups::days::day_of;

    const ZONE: Tz = Tz::Europe__London;

    /// What a counter grew by in all, as it is told.
    fn grown(values: &[(i64, i64)]) -> f64 {
        let mut counter = Counter::default();
        let grown = values.iter().map(|(at, value)| {
            let value = f64::from(u32::try_from(*value).unwrap());
            let sample = Sample {
                at: Instant(*at),
                value,
            };
            counter.take(sample, day_of(*at, ZONE).0)
        });
        grown.sum()
    }

    /// The same as it is summed up by time: in order of time, and of one instant by size.
    fn summed(values: &[(i64, i64)]) -> i64 {
        let mut values = values.to_vec();
        values.sort_unstable();
        let before = [None].into_iter().chain(values.iter().map(Some));
        let each = values.iter().zip(before).map(|((at, value), before)| {
            let is_anew = before.is_none_or(|(before, _)| *before < day_of(*at, ZONE).0);
            growth(before.map(|(_, value)| *value), *value, is_anew)
        });
        each.sum()
    }

    #[test]
    fn values_of_one_instant_are_one_after_the_other_by_size() {
        for (values, expected) in [
            ([(1, 3), (2, 5), (2, 8)], 8.0),
            ([(1, 3), (2, 8), (2, 5)], 8.0),
            ([(1, 6), (2, 8), (2, 4)], 14.0),
            ([(1, 6), (2, 4), (2, 8)], 14.0),
            ([(1, 6), (2, 8), (2, 8)], 8.0),
        ] {
            assert!((grown(&values) - expected).abs() < 1e-9, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn it_grew_by_what_is_summed_up(
            values in proptest::collection::vec((0..30_i64, 0..60_i64, 0..3_u8), 0..60),
        ) {
            // some of one instant, over the night on which clocks go forward
            let first = 1_774_656_000 * 1_000_000;
            let mut values: Vec<(i64, i64, u8)> = values
                .into_iter()
                .map(|(step, value, turn)| (first + step * (2 * HOUR + HOUR / 7), value, turn))
                .collect();
            // in order of time, and of one instant in any
            values.sort_by_key(|(at, _, turn)| (*at, *turn));
            let values: Vec<(i64, i64)> = values.into_iter().map(|(at, value, _)| (at, value)).collect();
            let expected = f64::from(u32::try_from(summed(&values)).unwrap());
            prop_assert!((grown(&values) - expected).abs() < 1e-6);
            prop_assert!(values.iter().all(|(at, _)| *at < first + 4 * DAY));
        }
    }
}
