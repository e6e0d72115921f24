//! A clock of a business, read instant by instant: what it shows, when it first does, and which day that is.

use chrono::{
    DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Timelike as _, Utc,
};
use chrono_tz::Tz;

use super::recorded::MICROS;

/// A clock of a business.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) zone: Tz,
    /// How long after midnight its days begin.
    pub(super) day_start: TimeDelta,
}

impl Clock {
    /// What it shows.
    pub(super) fn local(self, at: i64) -> NaiveDateTime {
        let time = DateTime::<Utc>::from_timestamp_micros(at).unwrap();
        time.with_timezone(&self.zone).naive_local()
    }

    /// When it first shows a time, or has jumped over it.
    pub(super) fn first(self, local: NaiveDateTime) -> i64 {
        let minute = local.with_second(0).unwrap().with_nanosecond(0).unwrap();
        let minutes = (1..).map(|minutes| minute + TimeDelta::minutes(minutes));
        let times = std::iter::once(local).chain(minutes);
        let mut shown = times.filter_map(|at| self.zone.from_local_datetime(&at).earliest());
        shown.next().unwrap().timestamp_micros()
    }

    /// When a day of the business begins.
    pub(super) fn begin(self, day: NaiveDate) -> i64 {
        self.first(day.and_time(NaiveTime::MIN) + self.day_start)
    }

    /// The day of the business in which an instant lies.
    pub(super) fn day(self, at: i64) -> NaiveDate {
        let near = (self.local(at) - self.day_start).date();
        let mut days = [1, 0, -1]
            .map(|days| near + TimeDelta::days(days))
            .into_iter();
        days.find(|day| self.begin(*day) <= at).unwrap()
    }

    /// A whole second, or the first after it at which it shows what it has not shown before.
    pub(super) fn unrepeated(self, at: i64) -> i64 {
        let mut seconds = (0..).map(|seconds| at + seconds * MICROS);
        seconds
            .find(|at| self.first(self.local(*at)) == *at)
            .unwrap()
    }
}
