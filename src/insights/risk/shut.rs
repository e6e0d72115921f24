//! The times for which a site filed that it is closed: devices that are switched off then are not missed.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR, MINUTE};
use crate::insights::jobs::schedule::{Opening, Schedule};

/// How finely the filed hours are read.
const STEP: i64 = HOUR / 4;
/// So long before a site closes its devices are switched off already.
const BEFORE: i64 = HOUR / 2;
/// So long after a site opened they may still be off: whoever opens it switches them on one after the other.
const AFTER: i64 = HOUR / 4;
/// So far back it is read: a week, and the night before it.
const BACK: i64 = 8 * DAY;
/// So much farther where it was closed then already.
const CLOSED_FOR: i64 = 90 * DAY;
/// By how much clocks are changed at most.
const CLOCKS_CHANGE_BY: i64 = 2 * HOUR;

/// When a site was closed, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shut {
    spans: Vec<(i64, i64)>,
}

impl Shut {
    /// When it was in the days before an instant, and is at it; never where nothing is filed.
    #[must_use]
    pub fn until(schedule: &Schedule, at: Instant) -> Self {
        let mut spans: Vec<(i64, i64)> = Vec::new();
        if !schedule.is_filed() {
            return Self { spans };
        }
        let last = at.0.div_euclid(STEP);
        let mut step = begins(schedule, last);
        while step <= last {
            let local = schedule.local(Instant(step * STEP));
            // up to the next step at which it may be otherwise
            let quiet = i64::from(schedule.minutes_alike(local)) * MINUTE - CLOCKS_CHANGE_BY;
            let next = (step + (quiet / STEP).max(1)).min(last + 1);
            let (from, to) = (step * STEP, next * STEP);
            step = next;
            if schedule.opening(local) != Opening::Closed {
                continue;
            }
            match spans.last_mut() {
                Some((_, end)) if *end >= from - BEFORE => *end = to + AFTER,
                Some(_) | None => spans.push((from - BEFORE, to + AFTER)),
            }
        }
        Self { spans }
    }

    /// From when to when it was in the time that an instant lies in, if it was.
    #[must_use]
    pub fn around(&self, at: Instant) -> Option<(i64, i64)> {
        let mut within = self.spans.iter().copied();
        within.find(|(from, to)| (*from..*to).contains(&at.0))
    }

    /// The same of a time in which two instants lie, of which the second may be its end.
    #[must_use]
    pub fn around_all(&self, from: Instant, to: Instant) -> Option<(i64, i64)> {
        self.around(from).filter(|(_, end)| to.0 <= *end)
    }
}

/// The first step that is read.
fn begins(schedule: &Schedule, last: i64) -> i64 {
    let is_closed = |step: i64| {
        let local = schedule.local(Instant(step * STEP));
        schedule.opening(local) == Opening::Closed
    };
    let mut first = last - BACK / STEP;
    let farthest = first - CLOSED_FOR / STEP;
    while first > farthest && is_closed(first) {
        first -= 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::jobs::schedule::{Day, DayPlan};
    use chrono::NaiveDate;
    use chrono_tz::Tz;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn a_night_begins_before_a_site_closes_and_ends_after_it_opens_by_its_clock() {
        let mut schedule = Schedule::new(Tz::Europe__London);
        assert_eq!(
            Shut::until(&schedule, at("2017-03-26T12:00:00Z")),
            Shut::default()
        );
        for day in 0..6 {
            schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60));
        }
        // of Sundays nothing is filed
        let shut = Shut::until(&schedule, at("2017-03-27T12:00:00Z"));
        let since = |text: &str| Some(Instant(shut.around(at(text))?.0));
        assert_eq!(
            since("2017-03-25T23:00:00Z"),
            Some(at("2017-03-25T17:30:00Z"))
        );
        assert_eq!(since("2017-03-26T12:00:00Z"), None);
        // on the day after, the clock is an hour ahead
        let night = shut.around_all(at("2017-03-27T00:00:00Z"), at("2017-03-27T07:15:00Z"));
        assert!(night.is_some());
        assert_eq!(since("2017-03-27T07:15:00Z"), None);
    }

    #[test]
    fn a_season_in_which_it_is_closed_began_when_it_closed_however_long_that_is_ago() {
        let mut schedule = Schedule::new(Tz::Europe__Rome);
        for day in 0..7 {
            schedule.file(Day::Weekday(day), DayPlan::open(9 * 60, 21 * 60));
        }
        for day in 1..=30 {
            let date = NaiveDate::from_ymd_opt(2017, 11, day).unwrap();
            schedule.file(Day::Date(date), DayPlan::closed());
        }
        for day in 2..30 {
            let now = at(&format!("2017-11-{day:02}T12:00:00Z"));
            let since = Shut::until(&schedule, now).around(now).unwrap().0;
            assert_eq!(Instant(since), at("2017-10-31T19:30:00Z"), "{day}");
        }
    }

    #[test]
    fn what_is_passed_over_is_alike_also_where_clocks_change() {
        let zones = [
            Tz::Europe__London,
            Tz::Australia__Lord_Howe,
            Tz::Antarctica__Troll,
            Tz::Asia__Kathmandu,
        ];
        let plans = [
            DayPlan::open(8 * 60, 18 * 60),
            DayPlan::open(18 * 60 + 15, 2 * 60 + 45),
            DayPlan::closed(),
            DayPlan::open(0, 0),
            DayPlan::open(90, 3 * 60),
        ];
        for (zone, first) in zones.into_iter().zip(0..) {
            let mut schedule = Schedule::new(zone);
            for day in 0..6 {
                let plan = plans.iter().cycle().nth(first + day).unwrap();
                schedule.file(Day::Weekday(day), plan.clone());
            }
            for week in 0..53 {
                let now = Instant(at("2017-01-01T00:07:00Z").0 + week * 7 * DAY);
                let shut = Shut::until(&schedule, now);
                let last = now.0.div_euclid(STEP);
                for step in last - BACK / STEP..=last {
                    let start = Instant(step * STEP);
                    let is_closed = |back: i64| {
                        let local = schedule.local(Instant(start.0 + back * STEP));
                        step + back <= last && schedule.opening(local) == Opening::Closed
                    };
                    // half an hour before and a quarter after are closed too
                    let expected = (-1..=2).any(is_closed);
                    assert_eq!(shut.around(start).is_some(), expected, "{zone} {start}");
                }
            }
        }
    }
}
