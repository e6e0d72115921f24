//! Days and weeks on the clock of a zone: which a business day is, when it begins, and what the clock shows.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Weekday};
use chrono_tz::Tz;

use crate::rollups::days::instant_of;

/// How days and weeks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// On whose clock.
    pub zone: Tz,
    /// When a business day begins.
    pub day_start: NaiveTime,
    /// With which day a week begins.
    pub week_start: Weekday,
}

impl Calendar {
    /// The business day of an instant.
    #[must_use]
    pub fn date(&self, at: i64) -> NaiveDate {
        let local = self.local(at);
        let since = TimeDelta::seconds(self.day_start.num_seconds_from_midnight().into());
        let date = local.checked_sub_signed(since).unwrap_or(local).date();
        // where a clock is changed, the one that it shows is not the one that was
        if self.begin(date) > at {
            return date.pred_opt().unwrap_or(date);
        }
        let next = date.succ_opt().unwrap_or(date);
        if self.begin(next) <= at { next } else { date }
    }

    /// When a business day begins.
    #[must_use]
    pub fn begin(&self, date: NaiveDate) -> i64 {
        instant_of(date, self.day_start, self.zone)
    }

    /// When the clock shows so much after the beginning of a business day.
    pub(super) fn shown(&self, date: NaiveDate, since: TimeDelta) -> i64 {
        let local = date.and_time(self.day_start) + since;
        instant_of(local.date(), local.time(), self.zone)
    }

    /// When the clock first shows on another business day what it shows at an instant, or has jumped over it.
    pub(super) fn moved(&self, at: i64, to: NaiveDate) -> i64 {
        let local = self.local(at);
        let days = to.signed_duration_since(self.date(at));
        self.first(local.checked_add_signed(days).unwrap_or(local))
    }

    /// An instant, or the first after it at which the clock shows what it has not shown before.
    pub(super) fn unrepeated(&self, at: i64) -> i64 {
        let before = self.first(self.local(at));
        if before == at {
            return at;
        }
        // when as much time has passed as since it was shown before all is new
        let (mut again, mut new) = (at, at + (at - before));
        while new - again > 1 {
            let middle = again.midpoint(new);
            if self.first(self.local(middle)) == middle {
                new = middle;
            } else {
                again = middle;
            }
        }
        new
    }

    /// What the clock shows.
    fn local(&self, at: i64) -> NaiveDateTime {
        let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
        time.with_timezone(&self.zone).naive_local()
    }

    /// When the clock first shows a time, or has jumped over it.
    fn first(&self, shown: NaiveDateTime) -> i64 {
        let second = instant_of(shown.date(), shown.time(), self.zone);
        let at = second + i64::from(shown.time().nanosecond() / 1_000);
        // of a second that it jumps over no part is left
        if self.local(at) == shown { at } else { second }
    }
}
