//! Cuts time into buckets on the clock of a zone.
//!
//! Minutes and hours are counted from the beginning of each day, whatever the clock does, so that a day on
//! which it is put back has 25 hours; several hours at once, days, weeks, months and years begin when the
//! clock shows that they do, so that such a day is one day. A business day begins when it is told to.

use chrono::{Datelike, Days, Months, NaiveDate, TimeDelta};
use thiserror::Error;

use super::calendar::Calendar;

const MINUTE: i64 = 60 * 1_000_000;
const HOUR: i64 = 60 * MINUTE;

/// What a bucket is a multiple of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day, from the time at which a business day begins.
    Day,
    /// A week, from the day on which it begins.
    Week,
    /// A calendar month.
    Month,
    /// A quarter of a year.
    Quarter,
    /// A calendar year.
    Year,
}

/// How long a bucket is: so many of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// How many; at least one.
    pub every: u32,
    /// Of what.
    pub unit: Unit,
}

/// There would be more buckets than are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there would be about {asked} buckets, at most {max} are answered")]
pub struct TooMany {
    /// About how many there would be.
    pub asked: usize,
    /// How many are answered.
    pub max: usize,
}

impl Resolution {
    /// One of a unit.
    #[must_use]
    pub const fn of(unit: Unit) -> Self {
        Self { every: 1, unit }
    }

    /// How long such a bucket is, in microseconds, and some longer than others: the least of them.
    #[must_use]
    pub fn least_length(self) -> i64 {
        let one = match self.unit {
            Unit::Minute => MINUTE,
            Unit::Hour => HOUR,
            Unit::Day => 23 * HOUR,
            Unit::Week => 167 * HOUR,
            Unit::Month => 28 * 24 * HOUR - HOUR,
            Unit::Quarter => 90 * 24 * HOUR - HOUR,
            Unit::Year => 365 * 24 * HOUR,
        };
        one.saturating_mul(self.every.into())
    }

    /// The beginnings of the buckets from the one in which an instant lies to the one that ends at another or
    /// holds it, and the end of that one. `from` must be before `to`.
    ///
    /// # Errors
    /// When there would be more than a number of them.
    pub fn buckets(
        self,
        calendar: &Calendar,
        (from, to): (i64, i64),
        max: usize,
    ) -> Result<Vec<i64>, TooMany> {
        let least = self.least_length();
        let about = usize::try_from((to - from - 1) / least + 1).unwrap_or(usize::MAX);
        let too_many = TooMany {
            asked: about.max(max.saturating_add(1)),
            max,
        };
        // the others are less than twice as long as the least of them
        if (to - from) / least.saturating_mul(2) > i64::try_from(max).unwrap_or(i64::MAX) {
            return Err(too_many);
        }
        let mut ends = Vec::new();
        let mut days = self.first_day(calendar, from);
        loop {
            let next = self.day_after(days);
            let (begin, end) = (calendar.begin(days), calendar.begin(next));
            for at in self.within_day(calendar, (days, begin), end) {
                // a date that a zone has skipped begins with the next one
                if ends.last().is_some_and(|last| *last >= at) {
                    continue;
                }
                // what ends before the first instant is no bucket of it
                if at <= from {
                    ends.clear();
                }
                ends.push(at);
                if at >= to {
                    return Ok(ends);
                }
                if ends.len() > max {
                    return Err(too_many);
                }
            }
            days = next;
        }
    }

    /// The range of as many buckets just before some, as the calendar has them, cut as those are by theirs.
    ///
    /// # Errors
    /// When there would be too many of them.
    pub(super) fn before(
        self,
        calendar: &Calendar,
        ends: &[i64],
        (from, to): (i64, i64),
    ) -> Result<(i64, i64), TooMany> {
        let [first, .., last] = *ends else {
            return Ok((from, to));
        };
        let (count, mut length) = (ends.len() - 1, last - first);
        let before = loop {
            let before = self.buckets(calendar, (first - length, first), 4 * ends.len())?;
            if before.len() > count {
                break before;
            }
            length += self.least_length();
        };
        let end = |ends: &[i64], back: usize| {
            let at = ends.len().checked_sub(back + 1);
            at.and_then(|at| ends.get(at)).copied().unwrap_or(first)
        };
        // of a bucket that is cut as much is compared, unless the other is shorter, and of one that is whole all; a
        // single one is cut at its end as well if it is cut at its beginning
        let begin = end(&before, count).saturating_add(from - first);
        let begin = begin.min(end(&before, count - 1) - 1);
        let is_cut = to < last || (count == 1 && from > first);
        let until = if is_cut {
            end(&before, 1).saturating_add(to - end(ends, 1))
        } else {
            end(&before, 0)
        };
        Ok((begin, until.min(end(&before, 0)).max(begin + 1)))
    }

    /// The first day of the bucket, or of the day of the bucket, in which an instant lies.
    fn first_day(self, calendar: &Calendar, at: i64) -> NaiveDate {
        let date = calendar.date(at);
        let every = i64::from(self.every);
        let months = |many: i64| {
            let month = i64::from(date.year()) * 12 + i64::from(date.month0());
            let first = month - month.rem_euclid(many.saturating_mul(every));
            let year = i32::try_from(first.div_euclid(12)).unwrap_or(0);
            let month = u32::try_from(first.rem_euclid(12)).unwrap_or(0);
            NaiveDate::from_ymd_opt(year, month + 1, 1).unwrap_or(date)
        };
        let days = |many: i64, first: i64| {
            let day = i64::from(date.num_days_from_ce()) - first;
            let over = day.rem_euclid(many.saturating_mul(every));
            date.checked_sub_days(Days::new(over.unsigned_abs()))
                .unwrap_or(date)
        };
        match self.unit {
            Unit::Minute | Unit::Hour => date,
            Unit::Day => days(1, 0),
            // the first day of all was a Monday
            Unit::Week => days(7, 1 + i64::from(calendar.week_start.num_days_from_monday())),
            Unit::Month => months(1),
            Unit::Quarter => months(3),
            Unit::Year => months(12),
        }
    }

    /// The first day of the next bucket, or the next day.
    fn day_after(self, date: NaiveDate) -> NaiveDate {
        let days =
            |days: u64| date.checked_add_days(Days::new(days.saturating_mul(self.every.into())));
        let months =
            |months: u32| date.checked_add_months(Months::new(months.saturating_mul(self.every)));
        let next = match self.unit {
            Unit::Minute | Unit::Hour => date.succ_opt(),
            Unit::Day => days(1),
            Unit::Week => days(7),
            Unit::Month => months(1),
            Unit::Quarter => months(3),
            Unit::Year => months(12),
        };
        next.unwrap_or(NaiveDate::MAX)
    }

    /// The beginnings of the buckets of a day.
    fn within_day(
        self,
        calendar: &Calendar,
        (date, begin): (NaiveDate, i64),
        end: i64,
    ) -> Vec<i64> {
        let every = i64::from(self.every);
        let step = match self.unit {
            Unit::Minute => MINUTE.saturating_mul(every),
            Unit::Hour => HOUR.saturating_mul(every),
            Unit::Day | Unit::Week | Unit::Month | Unit::Quarter | Unit::Year => {
                return vec![begin];
            }
        };
        let step_length = usize::try_from(step).unwrap_or(usize::MAX);
        if step <= HOUR {
            return (begin..end).step_by(step_length).collect();
        }
        let steps = (0..24 * HOUR).step_by(step_length);
        let at = steps.map(|since| calendar.shown(date, TimeDelta::microseconds(since)));
        let mut at: Vec<i64> = at.filter(|at| *at < end).collect();
        at.dedup();
        at
    }
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::{DateTime, NaiveTime, Weekday};
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        let time = DateTime::parse_from_rfc3339(text).unwrap();
        time.timestamp_micros()
    }

    fn calendar(zone: Tz) -> Calendar {
        Calendar {
            zone,
            day_start: NaiveTime::MIN,
            week_start: Weekday::Mon,
        }
    }

    fn buckets(every: u32, unit: Unit, calendar: &Calendar, from: &str, to: &str) -> Vec<String> {
        let resolution = Resolution { every, unit };
        let ends = resolution.buckets(calendar, (at(from), at(to)), 1_000);
        let shown = |at: &i64| {
            let time = DateTime::from_timestamp_micros(*at).unwrap();
            time.with_timezone(&calendar.zone).to_rfc3339()
        };
        ends.unwrap().iter().map(shown).collect()
    }

    #[test]
    fn a_day_on_which_clocks_change_is_one_day_of_other_hours() {
        let berlin = calendar(Tz::Europe__Berlin);
        let hours = |from, to| buckets(1, Unit::Hour, &berlin, from, to).len() - 1;
        let days = buckets(
            1,
            Unit::Day,
            &berlin,
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z",
        );
        assert_eq!(
            days,
            [
                "2026-03-28T00:00:00+01:00",
                "2026-03-29T00:00:00+01:00",
                "2026-03-30T00:00:00+02:00",
                "2026-03-31T00:00:00+02:00",
            ]
        );
        assert_eq!(hours("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"), 23);
        assert_eq!(hours("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"), 25);
        let quarters = buckets(
            6,
            Unit::Hour,
            &berlin,
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        );
        assert_eq!(quarters.len(), 5);
        assert_eq!(quarters[1], "2026-10-25T06:00:00+01:00");
    }

    #[test]
    fn days_and_weeks_begin_when_they_are_told_to() {
        let calendar = Calendar {
            zone: Tz::America__New_York,
            day_start: NaiveTime::from_hms_opt(4, 0, 0).unwrap(),
            week_start: Weekday::Sun,
        };
        let day = buckets(
            1,
            Unit::Day,
            &calendar,
            "2026-11-27T08:30:00Z",
            "2026-11-27T08:31:00Z",
        );
        // half past three in the night is of the day before
        assert_eq!(
            day,
            ["2026-11-26T04:00:00-05:00", "2026-11-27T04:00:00-05:00"]
        );
        let week = buckets(
            1,
            Unit::Week,
            &calendar,
            "2026-11-27T12:00:00Z",
            "2026-11-27T12:01:00Z",
        );
        assert_eq!(
            week,
            ["2026-11-22T04:00:00-05:00", "2026-11-29T04:00:00-05:00"]
        );
    }

    #[test]
    fn several_of_a_unit_begin_at_the_same_places_whatever_is_asked_for() {
        let utc = calendar(Tz::UTC);
        let months = buckets(
            5,
            Unit::Month,
            &utc,
            "2026-02-01T00:00:00Z",
            "2026-02-02T00:00:00Z",
        );
        let later = buckets(
            5,
            Unit::Month,
            &utc,
            "2026-03-09T00:00:00Z",
            "2026-03-10T00:00:00Z",
        );
        assert_eq!(months, later);
        let year = buckets(
            1,
            Unit::Year,
            &utc,
            "2026-02-01T00:00:00Z",
            "2026-02-02T00:00:00Z",
        );
        assert_eq!(
            year,
            ["2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"]
        );
    }

    #[test]
    fn too_many_are_refused_before_they_are_made() {
        let resolution = Resolution::of(Unit::Minute);
        let (from, to) = (at("2000-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        let made = resolution.buckets(&calendar(Tz::UTC), (from, to), 1_000);
        let too_many = TooMany {
            asked: 13_675_680,
            max: 1_000,
        };
        assert_eq!(made, Err(too_many));
    }

    pub(crate) fn any_resolution() -> impl Strategy<Value = Resolution> {
        let unit = prop_oneof![
            Just(Unit::Minute),
            Just(Unit::Hour),
            Just(Unit::Day),
            Just(Unit::Week),
            Just(Unit::Month),
            Just(Unit::Quarter),
            Just(Unit::Year),
        ];
        (1..40_u32, unit).prop_map(|(every, unit)| Resolution { every, unit })
    }

    fn any_zone() -> impl Strategy<Value = Tz> {
        prop_oneof![
            Just(Tz::UTC),
            Just(Tz::Europe__Berlin),
            Just(Tz::Australia__Lord_Howe),
            Just(Tz::America__Sao_Paulo),
            Just(Tz::Asia__Kathmandu),
            Just(Tz::Pacific__Apia),
        ]
    }

    proptest! {
        #[test]
        fn buckets_follow_one_another_and_hold_the_range(
            resolution in any_resolution(),
            zone in any_zone(),
            from in 946_684_800_000_000_i64..1_900_000_000_000_000,
            length in 1..40_000_000_000_000_i64,
            day_start in 0..86_400_u32,
        ) {
            let calendar = Calendar {
                zone,
                day_start: NaiveTime::from_num_seconds_from_midnight_opt(day_start, 0).unwrap(),
                week_start: Weekday::Sat,
            };
            let to = from + length;
            let Ok(ends) = resolution.buckets(&calendar, (from, to), 5_000) else {
                return Ok(());
            };
            prop_assert!(ends.len() >= 2);
            prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{ends:?}");
            prop_assert!(ends[0] <= from && from < ends[1], "{ends:?}");
            prop_assert!(ends[ends.len() - 2] < to && to <= ends[ends.len() - 1], "{ends:?}");
        }
    }
}
