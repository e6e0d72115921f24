//! Which quarters of an hour the limits allow.

use super::*;
use crate::insights::jobs::cost::quarters;
use crate::insights::jobs::schedule::{Day, DayPlan, Span};
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
    let allowed = grid.iter().filter(|quarter| quarter.is_allowed());
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
    let mut open = grid.iter().filter(|quarter| quarter.is_allowed());
    assert!(open.all(|quarter| quarter.local.date != date));
    assert_eq!(
        grid.iter().filter(|quarter| quarter.is_allowed()).count(),
        6 * 40
    );
}

/// The starts of a job that limits allow in the week from a Monday on, at a site with hours of each day.
fn allowed(plan: &DayPlan, limits: &Limits, duration_minutes: u32) -> Vec<String> {
    let mut schedule = Schedule::new(Tz::UTC);
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), plan.clone()));
    let length = quarters(duration_minutes);
    let grid = grid(&schedule, limits, instant("2017-03-20T00:00:00Z"), length);
    let starts = grid.windows(length);
    let starts = starts.filter(|taken| allows(taken, duration_minutes));
    let starts = starts.map(|taken| taken[0].at.to_string());
    starts
        .filter(|at| at.starts_with("2017-03-21"))
        .map(|at| at[11..16].to_owned())
        .collect()
}

#[test]
fn filed_hours_hold_for_every_minute_of_a_job() {
    let span = |from, to| Span { from, to };
    let mut plan = DayPlan::open(8 * 60 + 50, 18 * 60 + 5);
    plan.maintenance = vec![span(2 * 60, 2 * 60 + 50), span(4 * 60 + 1, 4 * 60 + 20)];
    let inside = Limits {
        maintenance: Maintenance::Inside,
        ..Limits::default()
    };
    assert!(allowed(&plan, &inside, 60).is_empty());
    assert_eq!(allowed(&plan, &inside, 50), ["02:00"]);
    assert!(allowed(&plan, &inside, 51).is_empty());
    assert_eq!(allowed(&plan, &inside, 20), ["02:00", "02:15", "02:30"]);
    // a window that is neither at the first nor at the last minute of a quarter
    plan.maintenance = vec![span(4 * 60 + 3, 4 * 60 + 9)];
    let avoid = Limits {
        maintenance: Maintenance::Avoid,
        ..Limits::default()
    };
    let starts = allowed(&plan, &avoid, 15);
    assert_eq!(starts.len(), 95);
    assert!(!starts.contains(&"04:00".to_owned()));
    assert!(allowed(&plan, &avoid, 3).contains(&"04:00".to_owned()));
    let closed = Limits {
        hours: Hours::ClosedOnly,
        ..Limits::default()
    };
    let starts = allowed(&plan, &closed, 60);
    assert!(starts.contains(&"07:45".to_owned()));
    assert!(!starts.contains(&"08:00".to_owned()));
    assert!(!starts.contains(&"18:00".to_owned()));
    assert!(starts.contains(&"18:15".to_owned()));
    let open = Limits {
        hours: Hours::OpenOnly,
        ..Limits::default()
    };
    let starts = allowed(&plan, &open, 60);
    assert_eq!(starts.first().unwrap(), "09:00");
    assert_eq!(starts.last().unwrap(), "17:00");
}

#[test]
fn a_job_may_end_within_a_quarter_when_something_else_begins() {
    let plan = DayPlan::open(8 * 60, 18 * 60);
    let blackout = Stretch {
        from: instant("2017-03-21T02:50:00Z"),
        to: instant("2017-03-21T23:59:30Z"),
    };
    let limits = Limits {
        blackouts: vec![blackout],
        not_before: Some(instant("2017-03-21T01:31:00Z")),
        deadline: Some(instant("2017-03-21T02:40:00Z")),
        ..Limits::default()
    };
    assert_eq!(allowed(&plan, &limits, 55), ["01:45"]);
    assert!(allowed(&plan, &limits, 56).is_empty());
    let limits = Limits {
        deadline: None,
        ..limits
    };
    assert_eq!(allowed(&plan, &limits, 50), ["01:45", "02:00"]);
    assert_eq!(allowed(&plan, &limits, 51), ["01:45"]);
}

#[test]
fn a_window_shorter_than_a_quarter_is_seen() {
    let mut plan = DayPlan::open(8 * 60, 18 * 60);
    let mut schedule = Schedule::new(Tz::UTC);
    let monday = instant("2017-03-20T00:05:00Z");
    schedule.file(Day::Weekday(2), plan.clone());
    assert!(!has_maintenance(&schedule, monday));
    plan.maintenance = vec![Span {
        from: 2 * 60 + 1,
        to: 2 * 60 + 4,
    }];
    schedule.file(Day::Weekday(2), plan);
    assert!(has_maintenance(&schedule, monday));
}

#[test]
fn limits_hold_for_every_quarter() {
    let mut schedule = Schedule::new(Tz::UTC);
    for day in 0..7 {
        let mut plan = DayPlan::open(8 * 60, 18 * 60);
        plan.maintenance.push(Span {
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
        .filter(|quarter| quarter.is_allowed())
        .count();
    assert_eq!(allowed, 7 * 40 - 4);
    let inside = Limits {
        maintenance: Maintenance::Inside,
        ..Limits::default()
    };
    let grid = grid_of(&inside);
    assert_eq!(
        grid.iter().filter(|quarter| quarter.is_allowed()).count(),
        7 * 8
    );
    assert!(
        grid.iter()
            .filter(|quarter| quarter.is_allowed())
            .all(|quarter| quarter.opening == Opening::Closed)
    );
}
