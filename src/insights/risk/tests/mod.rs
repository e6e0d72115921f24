//! Properties across the modules.

use crate::event::Instant;
use crate::insights::input::{
    ConfigSeen, Device, ErrorSeen, Hour, Measure, Severity, State as Reported, StateSeen,
};
use crate::insights::input::{DAY, HOUR};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::shape::{Insight, Status};

use crate::insights::risk::answer::{self, Context};
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::model::{Horizon, Model, Settings, train};
use crate::insights::risk::shut::Shut;
use crate::insights::risk::signs::signs;
use crate::insights::risk::{forecast, health};

mod entries;
mod expected;
mod hours;
mod model;

const START: i64 = 1_700_006_400 * 1_000_000 / DAY * DAY;

fn device() -> Device {
    Device {
        id: "d".into(),
        site: "s".into(),
        model: Some("m".into()),
        age_years: Some(3.0),
    }
}

fn hour(start: i64, count: u32, value: f64) -> Hour {
    let sum = f64::from(count) * value;
    Hour {
        start: Instant(start),
        count,
        sum,
        sum_squares: sum * value,
        min: value,
        max: value,
        increase: value,
    }
}

fn error(at: i64, code: &str, severity: Severity) -> ErrorSeen {
    ErrorSeen {
        at: Instant(at),
        severity,
        category: "HARDWARE".into(),
        code: Some(code.into()),
        message: String::new(),
    }
}

/// Numbers from 0 to 1 that look random (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// A device with noise on two measures for so many hours.
fn quiet(hours: i64, dice: &mut Dice) -> State {
    let mut state = State::default();
    for n in 0..hours {
        fold(&mut state, n, 40.0 + 4.0 * dice.roll());
    }
    state
}

fn fold(state: &mut State, n: i64, value: f64) {
    let start = START + n * HOUR;
    let measures = [
        (Measure::CpuPercent, hour(start, 120, value)),
        (Measure::QueueDepth, hour(start, 120, value / 4.0)),
    ];
    state.fold(&Facts {
        start: Instant(start),
        measures: &measures,
        ..Facts::default()
    });
}

fn all(state: &State, fleet: &Fleet, model: &Model, as_of: Instant) -> [Insight; 4] {
    let device = device();
    let context = Context {
        device: &device,
        zone: chrono_tz::Europe::London,
        schedule: &Schedule::new(chrono_tz::Europe::London),
        fleet,
        model,
    };
    let none = Facts::default();
    [
        answer::read(state, &context, &none, as_of, Horizon::Day),
        answer::read(state, &context, &none, as_of, Horizon::ThreeDays),
        health::read(state, &context, &none, as_of),
        forecast::read(state, &context, &none, as_of, 7),
    ]
}

fn untrained(as_of: Instant) -> (Fleet, Model) {
    let fleet = Fleet::of([], as_of);
    let model = train(&[], &fleet, as_of, Settings::default());
    (fleet, model)
}

fn check(insights: &[Insight]) {
    for insight in insights {
        let (value, interval) = (insight.value.unwrap(), insight.interval.unwrap());
        assert!(
            value.is_finite() && interval.low <= value && value <= interval.high,
            "{insight:?}"
        );
        assert!(
            insight
                .reasons
                .iter()
                .all(|reason| reason.contribution.is_finite())
        );
    }
}

#[test]
fn a_device_without_data_is_insufficient_and_never_healthy() {
    let as_of = Instant(START);
    let (fleet, model) = untrained(as_of);
    for insight in all(&State::default(), &fleet, &model, as_of) {
        assert_eq!(insight.status, Status::Insufficient);
        assert!(
            insight.value.is_none() && insight.interval.is_none() && insight.reasons.len() == 1
        );
    }
}

#[test]
fn one_event_is_enough_for_a_value_that_is_still_learning() {
    let as_of = Instant(START + HOUR);
    let (fleet, model) = untrained(as_of);
    let mut state = State::default();
    fold(&mut state, 0, 40.0);
    let insights = all(&state, &fleet, &model, as_of);
    check(&insights);
    assert!(
        insights
            .iter()
            .all(|insight| insight.status == Status::Learning)
    );
}

#[test]
fn constant_measures_give_no_drift_and_no_nan() {
    let as_of = Instant(START + 500 * HOUR);
    let (fleet, model) = untrained(as_of);
    let mut state = State::default();
    (0..500).for_each(|n| fold(&mut state, n, 40.0));
    check(&all(&state, &fleet, &model, as_of));
    assert!(health::factors(&state, &fleet, &Shut::default(), as_of).health() > 99.9);
}

#[test]
fn silence_makes_it_stale_and_unhealthy() {
    let as_of = Instant(START + 700 * HOUR);
    let (fleet, model) = untrained(as_of);
    let state = quiet(500, &mut Dice(1));
    let insights = all(&state, &fleet, &model, as_of);
    check(&insights);
    assert!(
        insights
            .iter()
            .all(|insight| insight.status == Status::Stale)
    );
    assert!(insights[2].value.unwrap() < 50.0);
}

#[test]
fn a_shift_of_the_level_is_seen_at_thirty_seconds_and_at_a_day() {
    for (step, count) in [(1, 120), (24, 1)] {
        let mut dice = Dice(5);
        let mut state = State::default();
        let mut last = 0;
        for n in (0..60 * 24).step_by(step) {
            let start = START + n * HOUR;
            let value = 40.0 + 4.0 * dice.roll() + if n >= 58 * 24 { 8.0 } else { 0.0 };
            let measures = [(Measure::NetworkLatencyMs, hour(start, count, value))];
            state.fold(&Facts {
                start: Instant(start),
                measures: &measures,
                ..Facts::default()
            });
            last = start + HOUR;
        }
        let drift = state.tracks[0].drift(Instant(last), None, None).unwrap();
        assert!(
            drift.day > 4.0 && drift.before > 4.0,
            "step {step}: {drift:?}"
        );
        let calm = quiet(60 * 24, &mut dice);
        let drift = calm.tracks[0]
            .drift(Instant(START + 60 * DAY), None, None)
            .unwrap();
        assert!(drift.day.abs() < 4.0, "{drift:?}");
    }
}

#[test]
fn worse_evidence_never_raises_health() {
    let mut dice = Dice(11);
    let fleet = Fleet::default();
    for round in 0..60 {
        let hours = 100 + round * 7;
        let mut state = quiet(hours, &mut dice);
        let as_of = Instant(START + hours * HOUR);
        let mut health = health::factors(&state, &fleet, &Shut::default(), as_of).health();
        for step in 0..80 {
            let at = as_of.0 - 47 * HOUR + step * HOUR / 2 + round;
            let severity = if step % 3 == 0 {
                Severity::Critical
            } else {
                Severity::Warning
            };
            let errors = [error(at, &format!("E{}", step % 40), severity)];
            let failing = [StateSeen {
                at: Instant(as_of.0 - (80 - step) * 60_000_000),
                to: Reported::Error,
            }];
            let states: &[StateSeen] = if step == 40 { &failing } else { &[] };
            state = state.with_open(
                &Facts {
                    errors: &errors,
                    states,
                    ..Facts::default()
                },
                as_of,
            );
            let next = health::factors(&state, &fleet, &Shut::default(), as_of).health();
            assert!(
                next <= health + 1e-9,
                "round {round} step {step}: {health} then {next}"
            );
            health = next;
        }
        let mut worse = state.clone();
        worse.hours_seen &= 0xffff_f0f0;
        assert!(health::factors(&worse, &fleet, &Shut::default(), as_of).health() <= health);
    }
}

#[test]
fn a_larger_drift_never_raises_health() {
    let mut dice = Dice(13);
    let calm = quiet(600, &mut dice);
    let as_of = Instant(START + 624 * HOUR);
    let mut before = f64::INFINITY;
    for shift in 0..60 {
        let mut state = calm.clone();
        (600..624).for_each(|n| fold(&mut state, n, 42.0 + f64::from(shift)));
        let health = health::factors(&state, &Fleet::default(), &Shut::default(), as_of).health();
        assert!(health <= before + 1e-9);
        before = health;
    }
    assert!(before < 30.0);
}

#[test]
fn errors_before_the_last_failure_are_spent() {
    let mut state = quiet(200, &mut Dice(2));
    let at = START + 200 * HOUR;
    let errors = [error(at - 2 * HOUR, "E1", Severity::Error)];
    let states = [StateSeen {
        at: Instant(at - HOUR),
        to: Reported::Error,
    }];
    state = state.with_open(
        &Facts {
            errors: &errors,
            states: &states,
            ..Facts::default()
        },
        Instant(at),
    );
    let signs = signs(&state, &device(), &Fleet::default(), Instant(at));
    assert!(signs.errors.is_empty() && state.failures == 1);
    assert!(signs.drifts.iter().all(|(_, _, before)| *before == 0.0));
}

#[test]
fn state_stays_within_its_bound_and_survives_being_stored() {
    let mut state = State::default();
    let mut dice = Dice(17);
    for n in 0..2000_i64 {
        let start = START + n * HOUR;
        let measures: Vec<_> = Measure::ALL
            .iter()
            .map(|measure| (*measure, hour(start, 120, 1e5 * dice.roll())))
            .collect();
        let errors: Vec<_> = (0..20)
            .map(|e| {
                error(
                    start + e,
                    &format!("a rather long code of an error {e}"),
                    Severity::Critical,
                )
            })
            .collect();
        let to = if n % 2 == 0 {
            Reported::Error
        } else {
            Reported::Online
        };
        let states = [StateSeen {
            at: Instant(start),
            to,
        }];
        let configs = [ConfigSeen {
            at: Instant(start),
            parameter: format!("component.{}", n % 100),
        }];
        state.fold(&Facts {
            start: Instant(start),
            measures: &measures,
            errors: &errors,
            states: &states,
            configs: &configs,
            schedule: None,
            interval_seconds: None,
        });
    }
    let stored = postcard::to_stdvec(&state).unwrap();
    assert!(stored.len() <= 8_000, "{} bytes", stored.len());
    let again: State = postcard::from_bytes(&stored).unwrap();
    assert_eq!(again.tracks.len(), 9);
    let (fleet, model) = untrained(Instant(START + 2000 * HOUR));
    check(&all(&state, &fleet, &model, Instant(START + 2000 * HOUR)));
}

#[test]
fn forecast_tells_when_a_growing_disk_is_full() {
    let mut state = State::default();
    for n in 0..20 * 24 {
        let start = START + n * HOUR;
        let value = 60.0 + 1.5 * f64::from(i32::try_from(n).unwrap()) / 24.0;
        let measures = [(Measure::DiskPercent, hour(start, 120, value))];
        state.fold(&Facts {
            start: Instant(start),
            measures: &measures,
            ..Facts::default()
        });
    }
    let (days, soonest, latest) = forecast::days_to_full(&state).unwrap();
    assert!(
        (6.0..8.5).contains(&days) && soonest <= days && days <= latest.unwrap(),
        "{days} {soonest} {latest:?}"
    );
    let as_of = Instant(START + 20 * DAY);
    let (fleet, model) = untrained(as_of);
    let insights = all(&state, &fleet, &model, as_of);
    check(&insights);
    assert!(insights[2].value.unwrap() < 75.0, "{:?}", insights[2]);
    assert!(insights[3].value.unwrap() < 40.0, "{:?}", insights[3]);
    // in a week it fails no likelier than any of its fleet: what days came to has that in it
    let mut hazard = insights[3].reasons.iter();
    let hazard = hazard.find(|reason| reason.factor == "hazard").unwrap();
    assert!(hazard.contribution.abs() < 1e-9, "{hazard:?}");
}

/// A device that reports in each of the first thirty hours.
fn reporting() -> State {
    let mut state = State::default();
    (0..30).for_each(|n| fold(&mut state, n, 20.0));
    state
}

#[test]
fn a_device_that_was_heard_of_is_no_less_fresh_before_its_hour_is_summed_up() {
    let state = reporting();
    let later = Instant(START + 32 * HOUR);
    let ever = Instant(i64::MIN);
    let heard = state.heard(later, ever);
    assert!(state.coverage(later) < heard.coverage(later));
    assert!((heard.coverage(later) - 1.0).abs() < f64::EPSILON);
    assert_eq!(heard.last_measured, Some(later));
    assert_eq!(heard.tracks, state.tracks);
    let known = state.heard(Instant(START), ever);
    assert_eq!(known, state, "it is known already");
}

#[test]
fn a_device_that_was_silent_and_is_heard_of_once_was_heard_of_in_one_hour() {
    let state = reporting();
    // three days later, two minutes before the full hour
    let until = Instant(START + 102 * HOUR);
    let reading = Instant(until.0 - 2 * HOUR / 60);
    let heard = state.heard(until, reading);
    assert_eq!(heard.last_measured, Some(until));
    assert!((heard.coverage(until) - 1.0 / 24.0).abs() < f64::EPSILON);
    assert_eq!(
        heard,
        state.heard(until, Instant(until.0 - HOUR)),
        "as of the beginning of that hour"
    );
    let fleet = Fleet::default();
    let health = |state: &State| health::factors(state, &fleet, &Shut::default(), until).health();
    let mut folded = state.clone();
    fold(&mut folded, 101, 20.0);
    assert!((health(&heard) - health(&folded)).abs() < 1.0);
    assert!(health(&state.heard(until, Instant(i64::MIN))) > health(&heard) + 40.0);
    assert_eq!(state.heard(until, until), state, "nothing is known of it");
    let long_ago = Instant(until.0 - 9 * DAY);
    let of_a_day = state.heard(until, Instant(i64::MIN));
    assert_eq!(state.heard(until, long_ago), of_a_day);
}
