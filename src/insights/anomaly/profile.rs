//! What is usual at an hour of the week, above or below the level.

use crate::insights::number::Short;
use serde::{Deserialize, Serialize};

/// Hours of a week, Monday 00:00 first.
pub(crate) const WEEK: usize = 168;
/// Hours of a day.
pub(crate) const DAY: usize = 24;
/// A cell forgets as if it had been seen at most so often (weeks).
const SEEN_MAX: u8 = 8;
/// An hour of the week counts as much as the hour of the day once it was seen so often.
pub(crate) const K_WEEK: f64 = 2.0;
/// At most so many sightings are asked for before an hour of the day is believed by half.
const K_DAY_MAX: f64 = 20.0;

/// Mean departure from the level by hour of the week.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    means: Vec<Short>,
    /// How often each was seen, two to a byte.
    seen: Vec<u8>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            means: vec![Short::default(); WEEK],
            seen: vec![0; WEEK / 2],
        }
    }
}

/// A mean and how often what it is of was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    pub(crate) value: f64,
    pub(crate) seen: f64,
}

/// What the profile says of one hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Season {
    /// The expected departure from the level.
    pub(crate) departure: f64,
    /// How far it rests on this device (0 to 1).
    pub(crate) confidence: f64,
}

impl Profile {
    /// What was seen in one cell.
    pub(crate) fn cell(&self, hour: usize) -> Mean {
        let value = self.means.get(hour).copied().map_or(0.0, f64::from);
        Mean {
            value,
            seen: f64::from(self.seen(hour)),
        }
    }

    fn seen(&self, hour: usize) -> u8 {
        let both = self.seen.get(hour / 2).copied().unwrap_or_default();
        if hour.is_multiple_of(2) {
            both & 0x0f
        } else {
            both >> 4
        }
    }

    /// Takes one more departure at an hour of the week.
    pub(crate) fn add(&mut self, hour: usize, departure: f64) {
        let times = self.seen(hour).saturating_add(1).min(SEEN_MAX);
        if let (Some(mean), Some(seen)) = (self.means.get_mut(hour), self.seen.get_mut(hour / 2)) {
            *seen = if hour.is_multiple_of(2) {
                *seen & 0xf0 | times
            } else {
                *seen & 0x0f | times << 4
            };
            let before = f64::from(*mean);
            *mean = Short::of(before + (departure - before) / f64::from(times));
        }
    }

    /// What was seen at one hour of the day, over all days, apart from what a prior says.
    pub(crate) fn day(&self, hour: usize, prior: &dyn Fn(usize) -> f64) -> Mean {
        let mut sum = Mean::default();
        for hour in (hour % DAY..WEEK).step_by(DAY) {
            let cell = self.cell(hour);
            sum.value += cell.seen * (cell.value - prior(hour));
            sum.seen += cell.seen;
        }
        Mean {
            value: sum.value / sum.seen.max(1.0),
            seen: sum.seen,
        }
    }

    /// What to expect: the hour of the week, shrunk to the hour of the day, shrunk to the prior.
    ///
    /// The weight of the hour of the day is n/(n+k) with k = noise / variance between the hours, by
    /// the method of moments (Morris 1983): a series without a daily rhythm gets none, and one with
    /// a clear rhythm has it from the second day on. `noise` is the variance of one sighting.
    pub(crate) fn season(&self, hour: usize, noise: f64, prior: &dyn Fn(usize) -> f64) -> Season {
        let day = self.day(hour, prior);
        let k = self.day_shrinkage(noise, prior);
        let confidence = if day.seen > 0.0 {
            day.seen / (day.seen + k)
        } else {
            0.0
        };
        let usual = prior(hour) + confidence * day.value;
        let cell = self.cell(hour);
        let departure = (cell.seen * cell.value + K_WEEK * usual) / (cell.seen + K_WEEK);
        Season {
            departure,
            confidence,
        }
    }

    /// How many sightings of an hour of the day weigh as much as the prior.
    fn day_shrinkage(&self, noise: f64, prior: &dyn Fn(usize) -> f64) -> f64 {
        let (mut between, mut hours) = (0.0, 0.0);
        for day in (0..DAY)
            .map(|hour| self.day(hour, prior))
            .filter(|day| day.seen > 0.0)
        {
            between += day.value * day.value - noise / day.seen;
            hours += 1.0;
        }
        let least = (noise / K_DAY_MAX).max(f64::MIN_POSITIVE);
        (noise / (between / f64::max(hours, 1.0)).max(least)).min(K_DAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_prior(_: usize) -> f64 {
        0.0
    }

    #[test]
    fn a_clear_rhythm_is_known_after_a_day() {
        let mut profile = Profile::default();
        for hour in 0..DAY {
            profile.add(hour, if hour < 12 { -10.0 } else { 10.0 });
        }
        let season = profile.season(24 + 15, 0.5, &no_prior);
        assert!(season.departure > 9.0, "{season:?}");
    }

    #[test]
    fn noise_makes_no_rhythm() {
        let mut profile = Profile::default();
        let mut random = 1_u32;
        for hour in 0..WEEK {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            profile.add(hour, f64::from(random >> 8) / 16_777_216.0 - 0.5);
        }
        let day = profile.day(5, &no_prior);
        let usual = profile.season(5, 1.0 / 12.0, &no_prior);
        assert!(
            usual.confidence * day.value.abs() < 0.1,
            "{usual:?} {day:?}"
        );
    }

    #[test]
    fn what_was_never_seen_is_as_the_prior_says() {
        let season = Profile::default().season(3, 1.0, &|_| 4.0);
        assert_eq!(
            season,
            Season {
                departure: 4.0,
                confidence: 0.0
            }
        );
    }

    #[test]
    fn an_hour_that_does_not_exist_changes_nothing() {
        let mut profile = Profile::default();
        profile.add(WEEK, 1.0);
        assert_eq!(profile, Profile::default());
    }
}
