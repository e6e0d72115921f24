//! Which start is recommended, and what is said of it.

use super::*;
use crate::insights::input::{Hour, JobSeen};
use crate::insights::jobs::demand::{State, fold};
use crate::insights::jobs::schedule::{Day, DayPlan, Opening, Span};
use crate::insights::jobs::success;
use crate::insights::jobs::window::{Maintenance, Stretch};
use chrono_tz::Tz;

/// Monday 2018-01-01, 00:00 UTC.
const MONDAY: i64 = 1_514_764_800_000_000;

fn shop() -> Schedule {
    let mut schedule = Schedule::new(Tz::UTC);
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
    schedule
}

/// A shop that is quiet on Wednesday at 15:00.
fn learned(schedule: &Schedule) -> State {
    let mut state = State::default();
    for (day, at) in (0..70).flat_map(|day| (8..18).map(move |at| (day, at))) {
        let increase = if day % 7 == 2 && at == 15 { 1.0 } else { 10.0 };
        let start = Instant(MONDAY + day * DAY + at * HOUR);
        let hour = Hour {
            start,
            count: 1,
            sum: 0.0,
            sum_squares: 0.0,
            min: 0.0,
            max: 0.0,
            increase,
        };
        fold(&mut state, &hour, schedule, 3600.0);
    }
    state
}

fn ask(
    schedule: &Schedule,
    demand: &State,
    jobs: &SiteJobs,
    limits: &Limits,
    at: i64,
) -> Recommended {
    let (fleet_jobs, demand) = (FleetJobs::sum([jobs], "RESTART"), [demand]);
    let known = Known {
        schedule,
        demand: Tills::of(&demand),
        site_jobs: jobs,
        fleet_jobs,
    };
    let job = Job {
        job_type: "RESTART",
        duration_minutes: 60,
        limits,
        terms: Terms::default(),
    };
    recommend(&known, &job, Instant(MONDAY + at))
}

fn open_only() -> Limits {
    Limits {
        hours: Hours::OpenOnly,
        ..Limits::default()
    }
}

#[test]
fn the_quiet_hour_is_found() {
    let schedule = shop();
    let answer = ask(
        &schedule,
        &learned(&schedule),
        &SiteJobs::default(),
        &open_only(),
        70 * DAY,
    );
    let best = answer.best.unwrap();
    assert_eq!(best.start.0, MONDAY + 72 * DAY + 15 * HOUR);
    assert!(
        best.sentence.starts_with("Wednesday 15:00: "),
        "{}",
        best.sentence
    );
    assert_eq!(answer.insight.status, Status::Ok);
    assert!(answer.confidence.unwrap() > 0.9);
    assert_eq!(answer.alternatives.len(), 3);
    let interval = answer.insight.interval.unwrap();
    assert!(interval.low <= 1.0 && interval.high < 10.0, "{interval:?}");
}

#[test]
fn at_any_hour_it_is_a_closed_one() {
    let schedule = shop();
    let answer = ask(
        &schedule,
        &learned(&schedule),
        &SiteJobs::default(),
        &Limits::default(),
        70 * DAY,
    );
    let best = answer.best.unwrap();
    assert_eq!(
        schedule.opening(schedule.local(best.start)),
        Opening::Closed
    );
    assert_eq!(
        best.sentence,
        "Monday 00:00: no sale is expected then (0 to 0), the shop is closed until 08:00."
    );
}

#[test]
fn starts_are_two_hours_apart_and_parts_add_up() {
    let schedule = shop();
    let answer = ask(
        &schedule,
        &learned(&schedule),
        &SiteJobs::default(),
        &open_only(),
        70 * DAY,
    );
    let best = answer.best.unwrap();
    let parts: f64 = answer
        .insight
        .reasons
        .iter()
        .map(|reason| reason.contribution)
        .sum();
    assert!((parts - best.cost).abs() < 1e-9);
    let mut starts: Vec<i64> = answer
        .alternatives
        .iter()
        .map(|window| window.start.0)
        .collect();
    assert!(
        answer
            .alternatives
            .iter()
            .all(|window| window.cost >= best.cost)
    );
    starts.push(best.start.0);
    starts.sort_unstable();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 2 * HOUR));
}

#[test]
fn without_readings_it_rests_on_the_filed_hours_and_says_so() {
    let schedule = shop();
    let answer = ask(
        &schedule,
        &State::default(),
        &SiteJobs::default(),
        &Limits::default(),
        14 * HOUR,
    );
    assert_eq!(answer.insight.status, Status::Learning);
    let best = answer.best.unwrap();
    assert_eq!(
        schedule.opening(schedule.local(best.start)),
        Opening::Closed
    );
    assert!(
        best.sentence.contains("by the filed hours only"),
        "{}",
        best.sentence
    );
}

#[test]
fn a_guessed_open_hour_has_a_wide_interval() {
    let schedule = shop();
    let answer = ask(
        &schedule,
        &State::default(),
        &SiteJobs::default(),
        &open_only(),
        0,
    );
    let interval = answer.insight.interval.unwrap();
    assert!(interval.low == 0.0 && interval.high >= 5.0, "{interval:?}");
}

#[test]
fn with_nothing_it_is_insufficient_and_says_what_is_missing() {
    let answer = ask(
        &Schedule::new(Tz::UTC),
        &State::default(),
        &SiteJobs::default(),
        &Limits::default(),
        0,
    );
    assert_eq!(
        (answer.insight.status, answer.insight.value),
        (Status::Insufficient, None)
    );
    assert!(answer.insight.reasons[0].sentence.contains("2018-01-08"));
    let answer = ask(
        &Schedule::new(Tz::UTC),
        &learned(&shop()),
        &SiteJobs::default(),
        &open_only(),
        70 * DAY,
    );
    assert_eq!(answer.insight.status, Status::Insufficient);
}

#[test]
fn limits_that_leave_no_time_are_told() {
    let schedule = shop();
    let always = Stretch {
        from: Instant(0),
        to: Instant(i64::MAX),
    };
    for (limits, name) in [
        (
            Limits {
                blackouts: vec![always],
                ..Limits::default()
            },
            "the blackouts (blackouts)",
        ),
        (
            Limits {
                busy: vec![always],
                ..Limits::default()
            },
            "other jobs on its devices",
        ),
        (
            Limits {
                maintenance: Maintenance::Inside,
                ..Limits::default()
            },
            "the maintenance windows (maintenance)",
        ),
        (
            Limits {
                deadline: Some(Instant(MONDAY)),
                ..Limits::default()
            },
            "the deadline (deadline)",
        ),
    ] {
        let answer = ask(
            &schedule,
            &State::default(),
            &SiteJobs::default(),
            &limits,
            0,
        );
        assert_eq!(answer.insight.status, Status::Insufficient);
        assert_eq!(
            answer.insight.reasons[0].sentence,
            format!(
                "No start within 7 days is allowed for a job of 60 minutes: the limits leave no time. So many of 672 \
                 starts each limit takes alone: {name} 672. Move it, or ask again on 2018-01-02."
            )
        );
    }
}

#[test]
fn of_limits_that_leave_no_time_the_one_that_takes_the_most_is_first() {
    let mut schedule = Schedule::new(Tz::UTC);
    let mut plan = DayPlan::open(8 * 60, 18 * 60);
    plan.maintenance.push(Span {
        from: 22 * 60,
        to: 23 * 60,
    });
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), plan.clone()));
    let limits = Limits {
        maintenance: Maintenance::Inside,
        ..open_only()
    };
    let (none, jobs) = (State::default(), SiteJobs::default());
    let answer = ask(&schedule, &none, &jobs, &limits, 0);
    // a day has one start of an hour inside of the window, and 37 while the shop is open
    assert!(
        answer.insight.reasons[0].sentence.ends_with(
            "So many of 672 starts each limit takes alone: the maintenance windows (maintenance) 665, the opening \
             hours (hours) 413. Move the first, or ask again on 2018-01-02."
        ),
        "{:?}",
        answer.insight.reasons
    );
}

#[test]
fn what_is_expected_lies_in_the_interval_however_little_it_is() {
    let schedule = shop();
    for limits in [Limits::default(), open_only()] {
        for demand in [State::default(), learned(&schedule)] {
            let jobs = SiteJobs::default();
            let insight = ask(&schedule, &demand, &jobs, &limits, 70 * DAY).insight;
            let (value, interval) = (insight.value.unwrap(), insight.interval.unwrap());
            assert!(
                interval.low <= value && value <= interval.high,
                "{insight:?}"
            );
        }
    }
}

#[test]
fn of_a_type_that_never_ended_it_is_told_that_all_types_count() {
    let schedule = shop();
    let mut jobs = SiteJobs::default();
    for (job_type, is_told) in [("OTHER", true), ("RESTART", false)] {
        let job = JobSeen {
            at: Instant(MONDAY),
            job_type: job_type.to_owned(),
            is_success: true,
            duration_ms: None,
        };
        success::fold(&mut jobs, &job, &schedule);
        let demand = learned(&schedule);
        let answer = ask(&schedule, &demand, &jobs, &Limits::default(), 70 * DAY);
        let reasons = answer.insight.reasons.iter();
        let mut retry = reasons.filter(|reason| reason.factor == "retry");
        let sentence = &retry.next().unwrap().sentence;
        assert_eq!(
            sentence.starts_with("No job of this type has ended yet"),
            is_told,
            "{sentence}"
        );
    }
}

#[test]
fn old_readings_are_stale() {
    let schedule = shop();
    let answer = ask(
        &schedule,
        &learned(&schedule),
        &SiteJobs::default(),
        &Limits::default(),
        90 * DAY,
    );
    assert_eq!(answer.insight.status, Status::Stale);
}

#[test]
fn jobs_that_fail_at_night_move_the_start() {
    let schedule = shop();
    let mut jobs = SiteJobs::default();
    for day in 0..40 {
        for (at, is_success) in [(3, false), (20, true)] {
            let at = Instant(MONDAY + day * DAY + at * HOUR);
            let job = JobSeen {
                at,
                job_type: "RESTART".to_owned(),
                is_success,
                duration_ms: None,
            };
            success::fold(&mut jobs, &job, &schedule);
        }
    }
    let answer = ask(
        &schedule,
        &learned(&schedule),
        &jobs,
        &Limits::default(),
        70 * DAY,
    );
    let best = answer.best.unwrap();
    assert!(schedule.local(best.start).minute >= 18 * 60);
    assert!(best.success.unwrap().0 > 0.8);
}

#[test]
fn the_same_question_has_the_same_answer() {
    let schedule = shop();
    let state = learned(&schedule);
    let ask = || {
        ask(
            &schedule,
            &state,
            &SiteJobs::default(),
            &open_only(),
            70 * DAY + 7 * HOUR + 1,
        )
    };
    let (one, other) = (ask(), ask());
    assert_eq!(
        (one.insight, one.confidence),
        (other.insight, other.confidence)
    );
    assert_eq!(one.best, other.best);
}
