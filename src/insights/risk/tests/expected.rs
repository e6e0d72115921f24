//! What is expected of errors, and how wide what is said is while little was seen.

use super::{START, all, error, fold, hour, untrained};
use crate::event::Instant;
use crate::insights::input::{DAY, ErrorSeen, HOUR, Measure, Severity};
use crate::insights::risk::features::{Facts, State};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::health::{self, errors_factor};
use crate::insights::risk::model::{Settings, train};
use crate::insights::risk::shut::Shut;

/// A device that reports for so many hours, with so many errors spread over them.
fn ailing(hours: i64, errors: i64, severity: Severity) -> State {
    let mut state = State::default();
    for number in 0..hours {
        let start = START + number * HOUR;
        let within = (0..errors).map(|error| START + error * hours * HOUR / errors + 1);
        let within = within.filter(|at| (start..start + HOUR).contains(at));
        let errors: Vec<ErrorSeen> = within.map(|at| error(at, "E1", severity)).collect();
        let measures = [(Measure::CpuPercent, hour(start, 120, 40.0))];
        state.fold(&Facts {
            start: Instant(start),
            measures: &measures,
            errors: &errors,
            ..Facts::default()
        });
    }
    state
}

#[test]
fn half_as_many_errors_again_as_usual_are_no_news_and_three_times_as_many_are() {
    assert!((errors_factor(6.0, 9.0, 9.0) - 1.0).abs() < 1e-12);
    let thrice = errors_factor(6.0, 18.0, 0.0);
    assert!((0.3..0.5).contains(&thrice), "{thrice}");
    // where errors are rare one says much
    let rare = errors_factor(0.1, 1.0, 0.0);
    assert!((rare - 1.0 / 1.63).abs() < 1e-12, "{rare}");
    // the day before adds three tenths
    let both = errors_factor(0.1, 1.0, 1.0);
    assert!(
        (both - 1.0 / (1.0 + 0.7 * 0.9 * 1.3)).abs() < 1e-12,
        "{both}"
    );
}

#[test]
fn more_errors_never_leave_more_and_more_that_are_expected_never_less() {
    let few = (0..200_u32).map(|number| f64::from(number) / 40.0);
    let grid: Vec<f64> = few.chain((5..100).map(f64::from)).collect();
    for expected in &grid {
        let mut before = 1.0;
        for errors in &grid {
            let left = errors_factor(*expected, *errors, errors / 2.0);
            assert!(left <= before + 1e-12, "{expected} {errors}");
            before = left;
        }
    }
    for errors in &grid {
        let mut before = 0.0;
        for expected in &grid {
            let left = errors_factor(*expected, *errors, errors / 2.0);
            assert!(left >= before - 1e-12, "{expected} {errors}");
            before = left;
        }
    }
}

#[test]
fn some_warnings_do_not_condemn_a_device_of_a_fleet_that_nothing_is_known_of() {
    let as_of = Instant(START + 6 * HOUR);
    let (fleet, model) = untrained(as_of);
    let state = ailing(6, 8, Severity::Warning);
    let [_, _, health, _] = all(&state, &fleet, &model, as_of);
    let (value, interval) = (health.value.unwrap(), health.interval.unwrap());
    assert!(value >= 50.0 && interval.high >= 80.0, "{health:?}");
    assert!(interval.low < 50.0, "{health:?}");
    let many = ailing(6, 60, Severity::Critical);
    assert!(health::factors(&many, &fleet, &Shut::default(), as_of).health() < 10.0);
}

#[test]
fn what_a_fleet_expects_of_errors_is_known_on_its_first_day() {
    let as_of = Instant(START + 20 * HOUR);
    let states = [(); 4].map(|()| ailing(20, 8, Severity::Error));
    let device = super::device();
    let fleet = Fleet::of(states.iter().map(|state| (&device, state)), as_of);
    assert!((6.0..10.0).contains(&fleet.error_rate()), "{fleet:?}");
    let usual = health::factors(&states[0], &fleet, &Shut::default(), as_of).health();
    assert!(usual > 95.0, "{usual}");
    // and later it is what they have had in all that time
    let later = Instant(START + 10 * DAY);
    let states = [(); 4].map(|()| ailing(240, 80, Severity::Error));
    let fleet = Fleet::of(states.iter().map(|state| (&device, state)), later);
    assert!((7.0..9.0).contains(&fleet.error_rate()), "{fleet:?}");
}

#[test]
fn the_interval_of_health_narrows_with_what_was_seen() {
    let mut state = State::default();
    let mut width = f64::INFINITY;
    let mut widths = Vec::new();
    for number in 0..100 {
        fold(&mut state, number, 40.0);
        let as_of = Instant(START + (number + 1) * HOUR);
        let (fleet, model) = untrained(as_of);
        let [_, _, health, forecast] = all(&state, &fleet, &model, as_of);
        let interval = health.interval.unwrap();
        let now = interval.high - interval.low;
        assert!(now <= width + 1e-9, "{number}: {width} then {now}");
        width = now;
        widths.push(now);
        let forecast = forecast.interval.unwrap();
        assert!(number > 12 || forecast.high - forecast.low > 30.0);
    }
    assert!(widths[0] > 45.0 && widths[12] > 35.0, "{widths:?}");
    assert!(widths[99] < 5.0, "{widths:?}");
}

#[test]
fn nothing_is_recommended_where_all_devices_have_the_rate_of_the_fleet() {
    let as_of = Instant(START + 30 * HOUR);
    let fleet = Fleet {
        failures: 90.0,
        days: 60.0,
        devices: 12,
        ..Fleet::default()
    };
    let model = train(&[], &fleet, as_of, Settings::default());
    let state = ailing(30, 4, Severity::Error);
    let [_, three_days, ..] = all(&state, &fleet, &model, as_of);
    assert!(three_days.value.unwrap() > 0.3, "{three_days:?}");
    assert!(three_days.recommendations.is_empty(), "{three_days:?}");
}
