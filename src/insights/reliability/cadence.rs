//! How often a device gives a sign of life, and from when on silence is a gap.

use crate::event::Instant;
use crate::insights::input::SECOND;
use crate::insights::number::float;
use serde::{Deserialize, Serialize};

/// No silence up to this long is a gap (five minutes).
pub const GAP_FLOOR: i64 = 300 * SECOND;
/// Silence of more than so many of the device's own intervals is a gap.
pub const GAP_INTERVALS: i64 = 10;
/// So many spacings are kept for the median.
const KEPT: usize = 31;
/// From so many spacings on their median is taken for the device's own interval.
pub const LEARNED: usize = 3;

/// The device's own interval: as told, or else the median of its last spacings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    /// As the device tells it (`collectionIntervalSeconds`), in microseconds.
    told: Option<i64>,
    last: Option<Instant>,
    /// The last spacings in milliseconds; the oldest is replaced first.
    spacings: Vec<u32>,
    next: usize,
    /// The median of `spacings` in microseconds.
    median: Option<i64>,
}

impl Cadence {
    /// The device tells its interval. What is no positive number is not heard.
    pub fn tell(&mut self, seconds: f64) {
        if seconds.is_finite() && seconds > 0.0 {
            self.told = Some(crate::insights::number::whole(seconds * float(SECOND)));
        }
    }

    /// A report came. Reports must come in order of time; a repeat of the last instant teaches nothing.
    pub fn report(&mut self, at: Instant) {
        let before = self.last.replace(at);
        let Some(spacing) = before
            .map(|before| at.0 - before.0)
            .filter(|spacing| *spacing > 0)
        else {
            return;
        };
        if self.told.is_some() {
            return;
        }
        let spacing = u32::try_from(spacing / 1_000).unwrap_or(u32::MAX);
        if let Some(slot) = self.spacings.get_mut(self.next) {
            *slot = spacing;
        } else {
            self.spacings.push(spacing);
        }
        self.next = (self.next + 1) % KEPT;
        self.median = self.middle();
    }

    /// The lower median, so that one long silence among few spacings does not count as usual.
    fn middle(&self) -> Option<i64> {
        if self.spacings.len() < LEARNED {
            return None;
        }
        let mut sorted = self.spacings.clone();
        let at = (sorted.len() - 1) / 2;
        let (_, middle, _) = sorted.select_nth_unstable(at);
        Some(i64::from(*middle) * 1_000)
    }

    /// The interval in microseconds, if it is told or learned.
    #[must_use]
    pub fn interval(&self) -> Option<i64> {
        self.told.or(self.median)
    }

    /// Whether the device has told its interval.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// The longest silence that is no gap, in microseconds; `None` until the interval is known.
    #[must_use]
    pub fn limit(&self) -> Option<i64> {
        self.interval()
            .map(|interval| interval.saturating_mul(GAP_INTERVALS).max(GAP_FLOOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(seconds: i64, count: i64) -> Cadence {
        let mut cadence = Cadence::default();
        for index in 0..count {
            cadence.report(Instant(index * seconds * SECOND));
        }
        cadence
    }

    #[test]
    fn a_fast_device_has_the_floor_and_a_slow_one_ten_intervals() {
        assert_eq!(every(10, 50).limit(), Some(GAP_FLOOR));
        assert_eq!(every(3_600, 50).limit(), Some(36_000 * SECOND));
        assert_eq!(every(86_400, 5).limit(), Some(864_000 * SECOND));
    }

    #[test]
    fn nothing_is_known_before_three_spacings_and_nonsense_is_not_heard() {
        let mut cadence = every(30, 3);
        assert_eq!(cadence.limit(), None);
        cadence.tell(f64::NAN);
        cadence.tell(0.0);
        assert_eq!(cadence.limit(), None);
        cadence.tell(60.0);
        assert_eq!(cadence.limit(), Some(600 * SECOND));
    }

    #[test]
    fn a_few_long_silences_do_not_move_the_interval() {
        let mut cadence = every(60, 20);
        for day in 1..6 {
            cadence.report(Instant(day * crate::insights::input::DAY));
        }
        assert_eq!(cadence.interval(), Some(60 * SECOND));
    }
}
