//! Tests of the state, and the series that other tests use.

use super::*;
use crate::insights::anomaly::{Change, OPEN, Scored, score};
use crate::insights::input::Sample;

/// An hour with twelve samples about a value.
pub(crate) fn hour(at: i64, value: f64) -> Hour {
    let spread = 1.0;
    Hour {
        start: Instant(at * HOUR),
        count: 12,
        sum: 12.0 * value,
        sum_squares: 12.0 * (value * value + spread * spread),
        min: value - 2.0 * spread,
        max: value + 2.0 * spread,
        increase: 0.0,
    }
}

/// 80 from 9 to 17, else 20, and a little more from hour to hour.
pub(crate) fn daily(at: i64) -> f64 {
    let base = if (9..18).contains(&at.rem_euclid(24)) {
        80.0
    } else {
        20.0
    };
    base + f64::from(i32::try_from((at * 7).rem_euclid(5)).unwrap_or(0)) * 0.5
}

/// The state after so many days of a series by the hour.
pub(crate) fn fed(days: i64, series: impl Fn(i64) -> f64) -> State {
    let mut state = State::default();
    for at in 0..days * 24 {
        let hour = hour(at, series(at));
        fold(&mut state, Measure::NetworkLatencyMs, Tz::UTC, &hour);
    }
    state
}

/// The score of one sample after a state.
pub(crate) fn one(state: &State, hours: i64, value: f64) -> Scored {
    let sample = Sample {
        at: Instant(hours * HOUR + HOUR / 2),
        value,
    };
    let mut incident = state.incident();
    score(
        state,
        Tz::UTC,
        &References::default(),
        &mut incident,
        &[sample],
    )[0]
}

#[test]
fn nothing_is_unusual_before_the_warm_up() {
    let state = fed(0, daily);
    assert!(one(&state, 0, 1e6).score.abs() < f64::EPSILON);
    let mut state = State::default();
    fold(
        &mut state,
        Measure::NetworkLatencyMs,
        Tz::UTC,
        &hour(0, 5.0),
    );
    assert!(one(&state, 1, 1e6).score.abs() < f64::EPSILON);
}

#[test]
fn what_is_usual_at_noon_is_unusual_at_night() {
    let state = fed(14, daily);
    let (noon, night) = (
        one(&state, 14 * 24 + 12, 80.0),
        one(&state, 14 * 24 + 2, 80.0),
    );
    assert!(noon.score < 0.25, "{noon:?}");
    assert!(night.score >= OPEN, "{night:?}");
    assert!(noon.low < 80.0 && noon.high > 80.0 && night.high < 80.0);
    assert_eq!(night.change, Change::Opened);
}

#[test]
fn half_of_what_is_usual_is_seen_even_though_it_is_near_the_level() {
    let state = fed(10, daily);
    assert!(one(&state, 10 * 24 + 12, 40.0).score >= OPEN);
}

#[test]
fn a_series_that_never_varies_is_calm_until_it_does() {
    let mut state = State::default();
    for at in 0..14 * 24 {
        let flat = Hour {
            sum_squares: 12.0 * 45.0 * 45.0,
            min: 45.0,
            max: 45.0,
            ..hour(at, 45.0)
        };
        fold(&mut state, Measure::NetworkLatencyMs, Tz::UTC, &flat);
    }
    let (same, other) = (one(&state, 14 * 24, 45.0), one(&state, 14 * 24, 60.0));
    assert!(same.score < OPEN, "{same:?}");
    assert!(other.score >= OPEN, "{other:?}");
}

#[test]
fn an_incident_does_not_teach_itself() {
    let usual = fed(21, daily);
    let after = fed(21, |at| {
        if (480..484).contains(&at) {
            5_000.0
        } else {
            daily(at)
        }
    });
    let (before, later) = (
        one(&usual, 21 * 24 + 12, 80.0),
        one(&after, 21 * 24 + 12, 80.0),
    );
    assert!(
        (before.expected - later.expected).abs() < 10.0,
        "{before:?} {later:?}"
    );
    assert!(one(&after, 21 * 24 + 12, 5_000.0).score >= OPEN);
}

#[test]
fn the_score_rises_with_the_distance() {
    let state = fed(14, daily);
    let scores: Vec<f64> = (0..200)
        .map(|k| one(&state, 14 * 24 + 12, 90.0 + f64::from(k)).score)
        .collect();
    assert!(scores.windows(2).all(|pair| pair[0] <= pair[1]));
}

#[test]
fn what_goes_on_is_less_and_less_news() {
    let state = fed(14, daily);
    let sample = |k: i64| Sample {
        at: Instant(14 * 24 * HOUR + k * 60_000_000),
        value: 900.0,
    };
    let samples: Vec<Sample> = (0..20).map(sample).collect();
    let mut incident = state.incident();
    let scored = score(
        &state,
        Tz::UTC,
        &References::default(),
        &mut incident,
        &samples,
    );
    assert!(scored.iter().all(|scored| scored.score >= OPEN));
    assert!(scored.iter().filter(|scored| scored.news >= OPEN).count() <= 3);
    assert_eq!(
        scored
            .iter()
            .filter(|scored| scored.change == Change::Opened)
            .count(),
        1
    );
}

#[test]
fn late_and_broken_hours_change_nothing() {
    let state = fed(3, daily);
    let mut other = state.clone();
    fold(
        &mut other,
        Measure::NetworkLatencyMs,
        Tz::UTC,
        &hour(5, 1_000.0),
    );
    fold(
        &mut other,
        Measure::NetworkLatencyMs,
        Tz::UTC,
        &Hour {
            sum: f64::NAN,
            ..hour(80, 1.0)
        },
    );
    fold(
        &mut other,
        Measure::NetworkLatencyMs,
        Tz::UTC,
        &Hour {
            count: 0,
            ..hour(81, 1.0)
        },
    );
    assert_eq!(state, other);
}

#[test]
fn a_sample_a_day_is_enough_after_a_month() {
    let mut state = State::default();
    for day in 0..40 {
        let value = 50.0 + daily(day) / 100.0;
        let once = Hour {
            count: 1,
            sum: value,
            sum_squares: value * value,
            min: value,
            max: value,
            ..hour(24 * day, value)
        };
        fold(&mut state, Measure::DiskPercent, Tz::UTC, &once);
    }
    assert!(one(&state, 40 * 24, 50.5).score < OPEN);
    assert!(one(&state, 40 * 24, 95.0).score >= OPEN);
}

#[test]
fn a_counter_is_judged_by_its_rise_an_hour() {
    let mut state = State::default();
    for at in 0..14 * 24 {
        let rise = daily(at);
        fold(
            &mut state,
            Measure::TransactionCount,
            Tz::UTC,
            &Hour {
                increase: rise,
                ..hour(at, 1e5)
            },
        );
    }
    let expected = state.expectation(12, &References::default());
    assert!((expected.value() - 80.0).abs() < 10.0, "{expected:?}");
}

#[test]
fn hours_of_the_week_are_those_of_the_zone() {
    // 1970-01-01 was a Thursday; at 00:00Z it was 19:00 on Wednesday in New York.
    assert_eq!(hour_of_week(Instant(0), Tz::UTC), 72);
    assert_eq!(hour_of_week(Instant(0), Tz::America__New_York), 2 * 24 + 19);
}

#[test]
fn it_serialises_in_about_a_kilobyte_and_comes_back_the_same() {
    let state = fed(30, daily);
    let text = serde_json::to_string(&state).unwrap();
    let again: State = serde_json::from_str(&text).unwrap();
    let close = |a: &State, b: &State| {
        serde_json::to_string(a).unwrap() == serde_json::to_string(b).unwrap()
    };
    assert!(close(&state, &again));
}

#[test]
fn nothing_is_ever_not_a_number() {
    let mut state = State::default();
    let values = [0.0, 0.0, 1e300, -1e300, 5.0, 1e-300, 0.0, 7.0];
    for (at, value) in (0..400).zip(values.iter().cycle()) {
        let odd = Hour {
            count: 1,
            sum: *value,
            sum_squares: value * value,
            min: *value,
            max: *value,
            ..hour(at, 0.0)
        };
        fold(&mut state, Measure::NetworkLatencyMs, Tz::UTC, &odd);
        let scored = one(&state, at + 1, 3.0);
        assert!(
            scored.score.is_finite() && scored.news.is_finite(),
            "{at} {scored:?}"
        );
    }
}

/// Openings in so many weeks of noise about a daily rhythm, sampled every so many seconds.
fn openings_in_noise(weeks: i64, interval: i64) -> usize {
    let (mut state, mut incident, mut random) = (State::default(), Incident::default(), 7_u32);
    let mut openings = 0;
    for start in (0..weeks * 168).map(|hour| hour * 3_600) {
        let mut samples = Vec::new();
        for second in (start..start + 3_600).filter(|second| second % interval == 0) {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(random >> 8) / 16_777_216.0;
            let value = daily(start / 3_600) + 20.0 * noise;
            samples.push(Sample {
                at: Instant(second * 1_000_000),
                value,
            });
        }
        let Some(first) = samples.first() else {
            continue;
        };
        let values = || samples.iter().map(|sample| sample.value);
        let hour = Hour {
            start: Instant(first.at.0.div_euclid(HOUR) * HOUR),
            count: u32::try_from(samples.len()).unwrap(),
            sum: values().sum(),
            sum_squares: values().map(|value| value * value).sum(),
            min: values().fold(f64::MAX, f64::min),
            max: values().fold(f64::MIN, f64::max),
            increase: 0.0,
        };
        let scored = score(
            &state,
            Tz::UTC,
            &References::default(),
            &mut incident,
            &samples,
        );
        openings += scored
            .iter()
            .filter(|row| row.change == Change::Opened)
            .count();
        fold(&mut state, Measure::NetworkLatencyMs, Tz::UTC, &hour);
    }
    openings
}

#[test]
fn noise_opens_as_seldom_at_thirty_seconds_as_at_a_day() {
    for interval in [30, 300, 3_600, 4 * 3_600, 24 * 3_600] {
        let openings = openings_in_noise(12, interval);
        println!("every {interval} s: {openings} openings in 12 weeks");
        // One hour in 57 is 35 in 12 weeks.
        assert!(openings <= 12 * 4, "{interval}: {openings}");
    }
}
