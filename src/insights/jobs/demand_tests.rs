//! What the demand of a till is learned to be.

use super::*;
use crate::insights::input::DAY;
use crate::insights::jobs::rates::ANY_CLOSED;
use crate::insights::jobs::schedule::{Day, DayPlan};
use chrono::NaiveDate;
use chrono_tz::Tz;

/// Monday 2018-01-01, 00:00 UTC.
const MONDAY: i64 = 1_514_764_800_000_000;

fn hour(start: i64, increase: f64) -> Hour {
    let start = Instant(start);
    Hour {
        start,
        count: 1,
        sum: increase,
        sum_squares: 0.0,
        min: 0.0,
        max: 0.0,
        increase,
    }
}

fn shop() -> Schedule {
    let mut schedule = Schedule::new(Tz::UTC);
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
    schedule
}

/// Ten sales in every open hour for so many days.
fn steady(schedule: &Schedule, days: i64) -> State {
    let mut state = State::default();
    for (day, at) in (0..days).flat_map(|day| (8..18).map(move |at| (day, at))) {
        fold(
            &mut state,
            &hour(MONDAY + day * DAY + at * HOUR, 10.0),
            schedule,
            3600.0,
        );
    }
    state
}

#[test]
fn a_constant_rate_is_learned() {
    let schedule = shop();
    let state = steady(&schedule, 70);
    let demand = state.demand(&schedule, Instant(MONDAY + 70 * DAY));
    assert!(
        (demand.rates[12].mean() - 10.0).abs() < 0.2,
        "{}",
        demand.rates[12].mean()
    );
    assert!(demand.rates[3].mean() < 0.02);
    assert!(demand.rates[ANY_CLOSED].mean() < 0.02);
    assert!(demand.noise < 0.05);
    assert_eq!(state.coverage(), Some(1.0));
}

#[test]
fn silence_widens_what_can_be_expected() {
    let schedule = shop();
    let state = steady(&schedule, 70);
    let now = state.demand(&schedule, Instant(MONDAY + 70 * DAY)).rates[12];
    let later = state.demand(&schedule, Instant(MONDAY + 400 * DAY)).rates[12];
    assert!(later.mean() / later.rate > 2.0 * now.mean() / now.rate);
    assert!((later.mean() - 10.0).abs() < 1.0);
}

#[test]
fn an_exception_teaches_nothing() {
    let mut schedule = shop();
    let before = steady(&schedule, 14);
    let date = NaiveDate::from_ymd_opt(2018, 1, 15).unwrap();
    schedule.file(Day::Date(date), DayPlan::open(8 * 60, 18 * 60));
    let mut after = before.clone();
    fold(
        &mut after,
        &hour(MONDAY + 14 * DAY + 9 * HOUR, 900.0),
        &schedule,
        3600.0,
    );
    let sold = |state: &State| state.sales.iter().copied().map(f64::from).sum::<f64>();
    assert!(sold(&after) <= sold(&before));
}

#[test]
fn a_daily_report_is_shared_out_over_the_open_hours() {
    let schedule = shop();
    let mut state = State::default();
    for day in 0..70 {
        fold(
            &mut state,
            &hour(MONDAY + day * DAY + 23 * HOUR, 100.0),
            &schedule,
            86_400.0,
        );
    }
    let demand = state.demand(&schedule, Instant(MONDAY + 70 * DAY));
    let day: f64 = demand.rates.iter().take(24).map(|rate| rate.mean()).sum();
    assert!((day - 100.0).abs() < 15.0, "{day}");
    assert!(demand.rates[3].mean() < 1.0);
}

#[test]
fn what_came_in_an_outage_is_not_of_the_hour_it_was_told_in() {
    let schedule = shop();
    let mut state = steady(&schedule, 70);
    let day = MONDAY + 70 * DAY;
    fold(&mut state, &hour(day + 8 * HOUR, 10.0), &schedule, 30.0);
    fold(&mut state, &hour(day + 14 * HOUR, 60.0), &schedule, 30.0);
    let demand = state.demand(&schedule, Instant(day + DAY));
    assert!(
        (demand.rates[14].mean() - 10.0).abs() < 0.5,
        "{}",
        demand.rates[14].mean()
    );
    assert!(state.coverage().unwrap() < 1.0);
}

#[test]
fn an_hour_of_a_zone_off_by_half_an_hour_is_two_halves() {
    let mut schedule = Schedule::new(Tz::Asia__Kolkata);
    (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(0, DAY_MINUTES)));
    let mut state = State::default();
    fold(&mut state, &hour(MONDAY, 10.0), &schedule, 3600.0);
    for cell in [5, 6] {
        assert!((f64::from(state.sales[cell]) - 5.0).abs() < 1e-9);
    }
    assert_eq!((state.seen(5), state.seen(6)), (0.5, 0.5));
}

#[test]
fn repeats_and_what_is_no_number_are_left_out() {
    let schedule = shop();
    let state = steady(&schedule, 9);
    let mut same = state.clone();
    for (start, increase) in [
        (0, 5.0),
        (8 * DAY + 17 * HOUR, 5.0),
        (9 * DAY, f64::NAN),
        (9 * DAY, -1.0),
    ] {
        fold(
            &mut same,
            &hour(MONDAY + start, increase),
            &schedule,
            f64::NAN,
        );
    }
    assert_eq!(same, state);
}

#[test]
fn the_state_survives_being_stored_and_stays_small() {
    let schedule = shop();
    let state = steady(&schedule, 200);
    let text = serde_json::to_string(&state).unwrap();
    assert!(text.len() < 6_000, "{}", text.len());
    let mut read: State = serde_json::from_str(&text).unwrap();
    let mut state = state;
    let next = hour(MONDAY + 200 * DAY + 8 * HOUR, 10.0);
    fold(&mut state, &next, &schedule, 3600.0);
    fold(&mut read, &next, &schedule, 3600.0);
    assert_eq!(read, state);
}

#[test]
fn any_input_gives_numbers() {
    for schedule in [shop(), Schedule::new(Tz::UTC)] {
        for state in [
            State::default(),
            steady(&schedule, 1),
            steady(&schedule, 60),
        ] {
            for at in [0, 100 * DAY, 20_000 * DAY] {
                let demand = state.demand(&schedule, Instant(MONDAY + at));
                let is_number = |rate: &Gamma| rate.mean().is_finite() && rate.shape > 0.0;
                assert!(demand.rates.iter().all(is_number) && demand.noise.is_finite());
            }
        }
    }
}
