//! Randomness of the simulation: streams that follow from the seed and from what they are for.
//!
//! Only arithmetic that is the same on every machine is used (no logarithm, no exponential), and a
//! generator that promises the same numbers in every release.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use uuid::{Builder, Uuid};

/// The generator of one actor of the simulation.
pub(super) type Rng = Xoshiro256PlusPlus;

/// A number that follows from all of the parts and their order (rounds of `SplitMix64`).
pub(super) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut mixed = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A number that follows from a text.
pub(super) fn hash_text(text: &str) -> u64 {
    text.bytes()
        .fold(0, |state, byte| hash(&[state, u64::from(byte)]))
}

/// A generator that follows from all of the parts.
pub(super) fn stream(parts: &[u64]) -> Rng {
    Rng::seed_from_u64(hash(parts))
}

/// An id of an event at an instant: UUID version 7, so that ids sort as their events do.
pub(super) fn event_id(rng: &mut Rng, at: DateTime<Utc>) -> Uuid {
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(milliseconds, &rng.random()).into_uuid()
}

/// One of several, or the first when there is only one.
pub(super) fn pick<'a, T>(rng: &mut Rng, choices: &'a [T], otherwise: &'a T) -> &'a T {
    let index = rng.random_range(0..choices.len().max(1));
    choices.get(index).unwrap_or(otherwise)
}

/// A whole number of seconds between two bounds, with milliseconds.
pub(super) fn seconds_between(rng: &mut Rng, least: u32, most: u32) -> TimeDelta {
    let least = i64::from(least) * 1_000;
    TimeDelta::milliseconds(rng.random_range(least..=(i64::from(most) * 1_000).max(least)))
}

/// The whole part of a number that is not negative; 0 for any other.
pub(super) fn whole(number: f64) -> u32 {
    let seconds = Duration::try_from_secs_f64(number).map_or(0, |duration| duration.as_secs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// A number with one decimal place.
pub(super) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// A number with two decimal places.
pub(super) fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_cuts_the_fraction_and_never_goes_below_zero() {
        assert_eq!([whole(3.99), whole(-1.0), whole(f64::NAN)], [3, 0, 0]);
    }

    #[test]
    fn hash_depends_on_every_part_and_on_their_order() {
        let all = [hash(&[1, 2]), hash(&[2, 1]), hash(&[1]), hash(&[1, 2, 0])];
        for (index, one) in all.iter().enumerate() {
            assert!(!all.iter().skip(index + 1).any(|other| other == one));
        }
    }

    #[test]
    fn generator_keeps_its_numbers_across_releases() {
        assert_eq!(stream(&[1, 2]).random::<u64>(), 6_873_050_232_050_175_473);
    }
}
