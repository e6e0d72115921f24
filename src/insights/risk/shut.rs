//! The times for which a site filed that it is closed: devices that are switched off then are not missed.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::jobs::schedule::{Opening, Schedule};

/// How finely the filed hours are read.
const STEP: i64 = HOUR / 4;
/// So long before a site closes its devices are switched off already.
const BEFORE: i64 = HOUR / 2;
/// So long after a site opened they may still be off: whoever opens it switches them on one after the other.
const AFTER: i64 = HOUR / 4;
/// So far back it is read: a week, and the night before it.
const BACK: i64 = 8 * DAY;

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
        for step in last - BACK / STEP..=last {
            let (from, to) = (step * STEP, (step + 1) * STEP);
            if schedule.opening(schedule.local(Instant(from))) != Opening::Closed {
                continue;
            }
            match spans.last_mut() {
                Some((_, end)) if *end >= from - BEFORE => *end = to + AFTER,
                Some(_) | None => spans.push((from - BEFORE, to + AFTER)),
            }
        }
        Self { spans }
    }

    /// Since when it has been at an instant, if it is.
    #[must_use]
    pub fn since(&self, at: Instant) -> Option<Instant> {
        let mut within = self.spans.iter();
        let within = within.find(|(from, to)| (*from..*to).contains(&at.0));
        within.map(|(from, _)| Instant(*from))
    }

    /// Whether it was all the time between two instants.
    #[must_use]
    pub fn holds(&self, from: Instant, to: Instant) -> bool {
        self.overlap(from, to) == to.0 - from.0
    }

    /// For how long it was between two instants.
    #[must_use]
    pub fn overlap(&self, from: Instant, to: Instant) -> i64 {
        let each = self.spans.iter();
        each.map(|span| (span.1.min(to.0) - span.0.max(from.0)).max(0))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::jobs::schedule::{Day, DayPlan};
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
        assert_eq!(
            shut.since(at("2017-03-25T23:00:00Z")),
            Some(at("2017-03-25T17:30:00Z"))
        );
        assert_eq!(shut.since(at("2017-03-26T12:00:00Z")), None);
        // on the day after, the clock is an hour ahead
        assert!(shut.holds(at("2017-03-27T00:00:00Z"), at("2017-03-27T07:00:00Z")));
        assert_eq!(shut.since(at("2017-03-27T07:15:00Z")), None);
        let day = (at("2017-03-24T12:00:00Z"), at("2017-03-25T12:00:00Z"));
        assert_eq!(shut.overlap(day.0, day.1), 14 * HOUR + 3 * HOUR / 4);
    }
}
