//! Of which instants the state of a device is kept beside the one in use: of the midnights (UTC) of the last days, of
//! Mondays for some weeks, of the first of each month for ever, and of the beginning of the hour that was folded last.
//!
//! A midnight is kept if something happened on the day before it and something since. So it is told by what happened
//! which are there, and by nothing else.

use chrono::{DateTime, Datelike as _};

use crate::insights::input::{DAY, HOUR};

/// So many days back every midnight is kept.
const DAILY_DAYS: i64 = 7;
/// So many weeks back those of Mondays are.
const WEEKLY_WEEKS: i64 = 8;

/// A state that is kept: all hours before one instant are folded, and the last hour of them in which something
/// happened ends at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day {
    pub(crate) until: i64,
    pub(crate) upto: i64,
}

impl Day {
    /// Whether it is kept where the state in use has folded hours up to an instant.
    pub(crate) fn is_kept(self, upto: i64) -> bool {
        self.until < upto
            && (self.until == upto - HOUR || self.is_of_midnight() && self.is_near(upto))
    }

    /// Whether it is of a midnight, with something on the day before.
    const fn is_of_midnight(self) -> bool {
        self.until.rem_euclid(DAY) == 0 && self.upto > self.until - DAY
    }

    fn is_near(self, upto: i64) -> bool {
        let (day, today) = (self.until.div_euclid(DAY), upto.div_euclid(DAY));
        if day >= today - DAILY_DAYS {
            return true;
        }
        let date = DateTime::from_timestamp_micros(self.until).unwrap_or_default();
        let is_monday = date.weekday() == chrono::Weekday::Mon;
        date.day() == 1 || is_monday && day >= today - 7 * WEEKLY_WEEKS
    }
}

/// The midnight that ends the day in which the last hour lies that ends at an instant.
pub(crate) const fn midnight_after(upto: i64) -> i64 {
    (upto + DAY - 1).div_euclid(DAY) * DAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Instant;

    fn at(text: &str) -> i64 {
        Instant::parse(text).unwrap().0
    }

    fn kept(until: &str, upto: &str) -> bool {
        let until = at(until);
        Day { until, upto: until }.is_kept(at(upto))
    }

    #[test]
    fn midnights_are_kept_by_how_far_back_they_are() {
        let now = "2026-03-18T15:00:00Z";
        assert!(kept("2026-03-11T00:00:00Z", now), "a week back");
        assert!(!kept("2026-03-10T00:00:00Z", now), "a day more");
        assert!(kept("2026-03-09T00:00:00Z", now), "a Monday");
        assert!(
            kept("2026-01-26T00:00:00Z", now),
            "a Monday seven weeks back"
        );
        assert!(
            !kept("2026-01-12T00:00:00Z", now),
            "a Monday nine weeks back"
        );
        assert!(kept("2020-02-01T00:00:00Z", now), "the first of a month");
        assert!(!kept("2026-03-18T12:00:00Z", now), "no midnight");
        assert!(kept("2026-03-18T14:00:00Z", now), "before the last hour");
    }

    #[test]
    fn a_midnight_after_a_silent_day_is_not_kept() {
        let until = at("2026-03-18T00:00:00Z");
        let silent = Day {
            until,
            upto: until - DAY,
        };
        assert!(!silent.is_kept(until + 5 * HOUR));
        let ended = Day {
            until,
            upto: until - DAY + HOUR,
        };
        assert!(ended.is_kept(until + 5 * HOUR));
        assert!(!ended.is_kept(until), "nothing happened since");
    }

    #[test]
    fn the_midnight_after_an_hour_ends_its_day() {
        let midnight = at("2026-03-18T00:00:00Z");
        assert_eq!(midnight_after(midnight), midnight);
        assert_eq!(midnight_after(midnight - HOUR), midnight);
        assert_eq!(midnight_after(midnight + HOUR), midnight + DAY);
    }
}
