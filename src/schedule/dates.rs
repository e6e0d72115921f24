//! Which dates a calendar is read for: a site may have rows of thousands.

use chrono::NaiveDate;

use super::calendar::{REACH_DAYS, date_of, day_of};
use crate::event::Instant;

/// The dates whose rows matter when a calendar is asked for what is around an instant. Hours of days of the
/// week always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dates {
    first: NaiveDate,
    last: NaiveDate,
}

impl Dates {
    /// Those from so many days before an instant until so many after it.
    #[must_use]
    pub fn around(now: Instant, (before, after): (i64, i64)) -> Self {
        let today = day_of(now.date_time().date_naive());
        Self::of(today - before, today + after)
    }

    /// Those from one instant until another.
    #[must_use]
    pub fn between(from: Instant, to: Instant) -> Self {
        let day = |at: Instant| day_of(at.date_time().date_naive());
        Self::of(day(from), day(to))
    }

    /// Days of UTC as the dates that they are in any zone, with those whose hours may reach into them.
    fn of(first: i64, last: i64) -> Self {
        let newest = Instant::NEWEST.date_time().date_naive();
        Self {
            first: date_of(first - REACH_DAYS - 1),
            last: date_of(last + 2).min(newest),
        }
    }

    /// The first and the last, as rows name them.
    pub(crate) fn texts(self) -> (String, String) {
        (self.first.to_string(), self.last.to_string())
    }
}
