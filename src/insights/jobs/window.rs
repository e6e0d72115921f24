//! The grid of quarter hours in the site's time, and which of them the limits allow.

use crate::event::Instant;
use crate::insights::input::HOUR;

use crate::insights::jobs::rates::{ANY_CLOSED, ANY_OPEN};
use crate::insights::jobs::schedule::{CellPlan, Local, Opening, Schedule};

/// A quarter of an hour.
pub const QUARTER: i64 = HOUR / 4;
const WEEK_QUARTERS: usize = 7 * 24 * 4;
/// A job takes at most a day.
pub const DURATION_MINUTES_MAX: u32 = 24 * 60;

/// Whether a job needs the site to be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hours {
    /// It may run at any hour.
    #[default]
    Any,
    /// The device is off when the site is closed.
    OpenOnly,
    /// Nobody may be disturbed.
    ClosedOnly,
}

/// What maintenance windows mean for a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintenance {
    /// They do not matter.
    #[default]
    Ignore,
    /// It must run inside of them.
    Inside,
    /// They are for others.
    Avoid,
}

/// A stretch of time, its end not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first instant.
    pub from: Instant,
    /// The first instant after it.
    pub to: Instant,
}

/// What a job may not break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Opening hours.
    pub hours: Hours,
    /// Maintenance windows.
    pub maintenance: Maintenance,
    /// When no job may run.
    pub blackouts: Vec<Stretch>,
    /// Other jobs on the same device.
    pub busy: Vec<Stretch>,
    /// The job must not start earlier.
    pub not_before: Option<Instant>,
    /// The job must have ended by then.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// Each of them alone that may take a start, with its name.
    #[must_use]
    pub fn apart(&self) -> Vec<(&'static str, Self)> {
        let none = Self::default;
        let hours = Self {
            hours: self.hours,
            ..none()
        };
        let maintenance = Self {
            maintenance: self.maintenance,
            ..none()
        };
        let blackouts = Self {
            blackouts: self.blackouts.clone(),
            ..none()
        };
        let busy = Self {
            busy: self.busy.clone(),
            ..none()
        };
        let not_before = Self {
            not_before: self.not_before,
            ..none()
        };
        let deadline = Self {
            deadline: self.deadline,
            ..none()
        };
        let mut apart = vec![
            ("the opening hours (hours)", hours),
            ("the maintenance windows (maintenance)", maintenance),
            ("the blackouts (blackouts)", blackouts),
            ("other jobs on its devices", busy),
            ("the earliest start (notBefore)", not_before),
            ("the deadline (deadline)", deadline),
        ];
        apart.retain(|(_, alone)| *alone != none());
        apart
    }
}

/// A quarter of an hour and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quarter {
    /// When it begins.
    pub at: Instant,
    /// The same by the site's clock.
    pub local: Local,
    /// Whether the site is open.
    pub opening: Opening,
    /// Whether the limits allow a job in it.
    pub is_allowed: bool,
    /// Which rate holds, as [`crate::insights::jobs::rates::rates`] orders them.
    pub rate: usize,
    /// The part of an hour's transactions that falls into it.
    pub share: f64,
}

/// The quarters of the next seven days of the site, and as many more as a job takes that starts in the last.
#[must_use]
pub fn grid(
    schedule: &Schedule,
    limits: &Limits,
    as_of: Instant,
    quarters_of_job: usize,
) -> Vec<Quarter> {
    let week = schedule.week();
    let first = as_of.0.div_euclid(QUARTER) * QUARTER
        + if as_of.0.rem_euclid(QUARTER) == 0 {
            0
        } else {
            QUARTER
        };
    let starts = starts(schedule, Instant(first));
    (0..)
        .zip(0..starts + quarters_of_job.saturating_sub(1))
        .map(|(step, _): (i64, usize)| {
            quarter(schedule, limits, &week, Instant(first + step * QUARTER))
        })
        .collect()
}

/// How many quarters pass until the clock on the wall is where it was a week before.
#[must_use]
pub fn starts(schedule: &Schedule, first: Instant) -> usize {
    let begin = schedule.local(first);
    let end = schedule.local(Instant(first.0 + 7 * 24 * HOUR));
    let day = 24 * 60;
    let ahead =
        (i32::from(end.minute) - i32::from(begin.minute) + day / 2).rem_euclid(day) - day / 2;
    let quarters = i64::try_from(WEEK_QUARTERS).unwrap_or(0) - i64::from(ahead / 15);
    usize::try_from(quarters).unwrap_or(WEEK_QUARTERS)
}

fn quarter(schedule: &Schedule, limits: &Limits, week: &[CellPlan], at: Instant) -> Quarter {
    let local = schedule.local(at);
    let opening = schedule.opening(local);
    let cell = local.hour_of_week();
    let open_quarters = week.get(cell).map_or(4, |cell| cell.open_quarters);
    let is_closed = opening == Opening::Closed;
    let (rate, share) = match (is_closed, open_quarters) {
        (true, 0) => (cell, 0.25),
        (true, _) => (ANY_CLOSED, 0.25),
        (false, 0) => (ANY_OPEN, 0.25),
        (false, open) => (cell, 1.0 / f64::from(open)),
    };
    let is_allowed = is_allowed(schedule, limits, local, opening) && is_free(limits, at);
    Quarter {
        at,
        local,
        opening,
        is_allowed,
        rate,
        share,
    }
}

fn is_allowed(schedule: &Schedule, limits: &Limits, local: Local, opening: Opening) -> bool {
    let hours = match limits.hours {
        Hours::Any => true,
        Hours::OpenOnly => opening == Opening::Open,
        Hours::ClosedOnly => opening == Opening::Closed,
    };
    let maintenance = match limits.maintenance {
        Maintenance::Ignore => true,
        Maintenance::Inside => schedule.is_maintenance(local),
        Maintenance::Avoid => !schedule.is_maintenance(local),
    };
    hours && maintenance
}

fn is_free(limits: &Limits, at: Instant) -> bool {
    let end = Instant(at.0 + QUARTER);
    let taken = limits
        .blackouts
        .iter()
        .chain(&limits.busy)
        .any(|taken| taken.from < end && at < taken.to);
    !taken
        && limits.not_before.is_none_or(|from| from <= at)
        && limits.deadline.is_none_or(|to| end <= to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::jobs::schedule::{Day, DayPlan};
    use chrono::DateTime;
    use chrono_tz::Tz;

    fn instant(text: &str) -> Instant {
        Instant(
            DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_micros(),
        )
    }

    #[test]
    fn a_week_has_the_quarters_its_days_have() {
        let schedule = Schedule::new(Tz::Europe__London);
        assert_eq!(starts(&schedule, instant("2017-03-20T00:00:00Z")), 668);
        assert_eq!(starts(&schedule, instant("2017-03-27T00:00:00+01:00")), 672);
        assert_eq!(starts(&schedule, instant("2016-10-24T00:00:00+01:00")), 676);
        let schedule = Schedule::new(Tz::Australia__Lord_Howe);
        assert_eq!(starts(&schedule, instant("2017-03-30T00:00:00Z")), 674);
    }

    #[test]
    fn quarters_are_those_of_the_clock() {
        let schedule = Schedule::new(Tz::Asia__Kathmandu);
        let grid = grid(
            &schedule,
            &Limits::default(),
            instant("2017-03-20T00:07:00Z"),
            4,
        );
        assert_eq!(grid.first().unwrap().local.minute % 15, 0);
        assert_eq!(grid.len(), 675);
    }

    /// A site in London with a maintenance window from one to two on Sundays, from 23:00 to 01:00 on Fridays.
    fn maintained() -> Schedule {
        use crate::insights::jobs::schedule::Span;
        let mut schedule = Schedule::new(Tz::Europe__London);
        for day in 0..7 {
            let mut plan = DayPlan::open(8 * 60, 18 * 60);
            let span = |from, to| Span { from, to };
            plan.maintenance = match day {
                4 => vec![span(23 * 60, 60)],
                6 => vec![span(60, 120)],
                _ => Vec::new(),
            };
            schedule.file(Day::Weekday(day), plan);
        }
        schedule
    }

    /// When the quarters are that a job may take inside of maintenance windows, in the week from an instant on.
    fn inside(as_of: &str) -> Vec<String> {
        let limits = Limits {
            maintenance: Maintenance::Inside,
            ..Limits::default()
        };
        let grid = grid(&maintained(), &limits, instant(as_of), 1);
        let allowed = grid.iter().filter(|quarter| quarter.is_allowed);
        allowed.map(|quarter| quarter.at.to_string()).collect()
    }

    #[test]
    fn a_window_in_an_hour_that_does_not_exist_is_none_and_in_one_that_comes_twice_it_lasts_two() {
        let spring = inside("2017-03-25T12:00:00Z");
        let sunday = spring.iter().filter(|at| at.starts_with("2017-03-26"));
        assert_eq!(sunday.count(), 0, "{spring:?}");
        let autumn = inside("2016-10-29T12:00:00Z");
        let sunday: Vec<&String> = autumn
            .iter()
            .filter(|at| at.starts_with("2016-10-30"))
            .collect();
        assert_eq!(sunday.len(), 8, "{autumn:?}");
        assert_eq!(sunday[0], "2016-10-30T00:00:00Z");
        assert_eq!(sunday[7], "2016-10-30T01:45:00Z");
    }

    #[test]
    fn a_window_passes_midnight() {
        let usual = inside("2017-01-09T00:00:00Z");
        let friday: Vec<&String> = usual
            .iter()
            .filter(|at| at.as_str() < "2017-01-15")
            .collect();
        assert_eq!(friday.len(), 8);
        assert_eq!(friday[0], "2017-01-13T23:00:00Z");
        assert_eq!(friday[7], "2017-01-14T00:45:00Z");
        assert_eq!(usual.len(), 12);
    }

    #[test]
    fn a_day_that_is_closed_has_no_open_hour() {
        let mut schedule = maintained();
        let date = chrono::NaiveDate::from_ymd_opt(2017, 1, 11).unwrap();
        schedule.file(Day::Date(date), DayPlan::closed());
        let limits = Limits {
            hours: Hours::OpenOnly,
            ..Limits::default()
        };
        let grid = grid(&schedule, &limits, instant("2017-01-09T00:00:00Z"), 1);
        let mut open = grid.iter().filter(|quarter| quarter.is_allowed);
        assert!(open.all(|quarter| quarter.local.date != date));
        assert_eq!(
            grid.iter().filter(|quarter| quarter.is_allowed).count(),
            6 * 40
        );
    }

    #[test]
    fn limits_hold_for_every_quarter() {
        let mut schedule = Schedule::new(Tz::UTC);
        for day in 0..7 {
            let mut plan = DayPlan::open(8 * 60, 18 * 60);
            plan.maintenance
                .push(crate::insights::jobs::schedule::Span {
                    from: 23 * 60,
                    to: 60,
                });
            schedule.file(Day::Weekday(day), plan);
        }
        let as_of = instant("2017-03-20T00:00:00Z");
        let stretch = Stretch {
            from: instant("2017-03-21T09:10:00Z"),
            to: instant("2017-03-21T10:00:00Z"),
        };
        let limits = Limits {
            hours: Hours::OpenOnly,
            blackouts: vec![stretch],
            ..Limits::default()
        };
        let grid_of = |limits: &Limits| grid(&schedule, limits, as_of, 1);
        let allowed = grid_of(&limits)
            .iter()
            .filter(|quarter| quarter.is_allowed)
            .count();
        assert_eq!(allowed, 7 * 40 - 4);
        let inside = Limits {
            maintenance: Maintenance::Inside,
            ..Limits::default()
        };
        let grid = grid_of(&inside);
        assert_eq!(
            grid.iter().filter(|quarter| quarter.is_allowed).count(),
            7 * 8
        );
        assert!(
            grid.iter()
                .filter(|quarter| quarter.is_allowed)
                .all(|quarter| quarter.opening == Opening::Closed)
        );
    }
}
