//! Tests of the readings as a whole.

use crate::event::Instant;
use crate::insights::input::State as DeviceState;
use crate::insights::input::{DAY, HOUR, SECOND};
use crate::insights::shape::{Insight, Status};
use chrono_tz::Europe::London;

use crate::insights::reliability::data::data_quality;
use crate::insights::reliability::fleet::Fleet;
use crate::insights::reliability::insight::{Ask, add, fleet, reliability};
use crate::insights::reliability::intervals::{Failures, State};
use crate::insights::reliability::quality;

const START: i64 = 20_000 * DAY;

fn ask(horizon: Option<f64>) -> Ask<'static> {
    Ask {
        site: "a",
        zone: London,
        failures: Failures::Any,
        horizon,
    }
}

/// A device that reports now and then for 6.2 days, with so many outages of 15 minutes.
fn device(outages: i64) -> State {
    let mut state = State::default();
    let mut reports = (0..=54)
        .map(|index| START + index * 535_680 * SECOND / 54)
        .peekable();
    for outage in 0..outages {
        let at = START + (outage * 2 + 1) * 535_680 * SECOND / (outages * 2);
        while let Some(report) = reports.next_if(|report| *report < at) {
            state.report(Instant(report));
        }
        state.change(Instant(at), DeviceState::Offline);
        state.change(Instant(at + 900 * SECOND), DeviceState::Online);
    }
    reports.for_each(|report| state.report(Instant(report)));
    state
}

fn cold_start() -> (Fleet, Vec<State>, Instant) {
    let as_of = Instant(START + 535_680 * SECOND);
    let counts = [0, 3, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7];
    let states: Vec<State> = counts.into_iter().map(device).collect();
    let mut fleet = Fleet::new(24.0);
    for state in &states {
        add(&mut fleet, state, "a", Failures::Any, as_of);
    }
    (fleet, states, as_of)
}

fn check(insight: &Insight) {
    assert_eq!(
        insight.value.is_none(),
        insight.status == Status::Insufficient
    );
    assert_eq!(insight.value.is_none(), insight.interval.is_none());
    if let (Some(value), Some(interval)) = (insight.value, insight.interval) {
        assert!(value.is_finite() && interval.low <= value && interval.high.is_finite());
    }
    assert!(!insight.reasons.is_empty());
    assert!(
        insight
            .reasons
            .iter()
            .all(|reason| !reason.sentence.contains("NaN"))
    );
}

#[test]
fn the_cold_start_says_what_it_should() {
    let (sums, states, as_of) = cold_start();
    let all = fleet(&sums, as_of);
    check(&all);
    assert!((all.value.unwrap() - 30.786).abs() < 0.001);
    let interval = all.interval.unwrap();
    assert!((interval.low - 23.81).abs() < 0.01 && (interval.high - 40.54).abs() < 0.01);
    assert!(
        all.reasons[0]
            .sentence
            .contains("one in 30.8 h (23.8–40.5 h)")
    );
    let none = reliability(&states[0], &sums.prior(), &ask(None), as_of);
    check(&none);
    assert!(none.interval.unwrap().low > 40.0);
    assert!(
        none.reasons[0].sentence.contains("over 40 h"),
        "{:?}",
        none.reasons[0]
    );
    for state in &states {
        check(&reliability(
            state,
            &sums.prior(),
            &ask(Some(2_904.0)),
            as_of,
        ));
    }
}

#[test]
fn what_was_never_heard_of_is_insufficient_and_says_until_when() {
    let as_of = Instant(START);
    let nothing = reliability(
        &State::default(),
        &Fleet::new(24.0).prior(),
        &ask(None),
        as_of,
    );
    check(&nothing);
    assert_eq!(nothing.status, Status::Insufficient);
    let mut one = State::default();
    one.report(Instant(START));
    let insight = reliability(&one, &Fleet::new(24.0).prior(), &ask(None), as_of);
    check(&insight);
    assert!(
        insight.reasons[0]
            .sentence
            .contains("24 h are needed: 2024-10-05 01:00")
    );
    check(&fleet(&Fleet::new(24.0), as_of));
}

#[test]
fn a_new_device_learns_from_its_fleet() {
    let (sums, _, as_of) = cold_start();
    let mut state = State::default();
    state.report(Instant(as_of.0 - HOUR));
    let insight = reliability(&state, &sums.prior(), &ask(Some(240.0)), as_of);
    check(&insight);
    assert_eq!(insight.status, Status::Learning);
}

#[test]
fn silence_makes_it_stale_but_an_outage_does_not() {
    let (sums, mut states, as_of) = cold_start();
    let late = Instant(as_of.0 + 40 * DAY);
    let insight = reliability(&states[3], &sums.prior(), &ask(None), late);
    check(&insight);
    assert_eq!(insight.status, Status::Stale);
    states[4].change(as_of, DeviceState::Error);
    let insight = reliability(&states[4], &sums.prior(), &ask(None), late);
    assert_ne!(insight.status, Status::Stale);
    assert!(
        insight
            .reasons
            .iter()
            .any(|reason| reason.factor == "outage.open")
    );
}

#[test]
fn quality_tells_coverage_gaps_and_what_it_does_not_know() {
    let mut state = quality::State::default();
    let unknown = data_quality(&state, London, Instant(START));
    check(&unknown);
    assert_eq!(unknown.status, Status::Insufficient);
    state.tell(30.0);
    for index in 0..100 {
        state.report(Instant(START + index * 30 * SECOND));
    }
    state.refused("OUT_OF_RANGE", 2);
    let insight = data_quality(&state, London, Instant(START + 2 * 3_000 * SECOND));
    check(&insight);
    assert!((insight.value.unwrap() - 0.5).abs() < 1e-9);
    let factors: Vec<_> = insight.reasons.iter().map(|reason| reason.factor).collect();
    assert_eq!(factors, ["coverage", "gap.open", "gaps", "refusals"]);
}

/// The sentence of a factor.
fn sentence<'a>(insight: &'a Insight, factor: &str) -> &'a str {
    let mut reasons = insight.reasons.iter();
    let reason = reasons.find(|reason| reason.factor == factor);
    reason.map_or("", |reason| reason.sentence.as_str())
}

#[test]
fn hours_are_told_as_seen_or_as_vouched_for_and_add_up() {
    let (sums, _, _) = cold_start();
    let mut state = State::default();
    state.cadence.tell(60.0);
    (0..=72).for_each(|minute| state.report(Instant(START + minute * 60 * SECOND)));
    let as_of = Instant(START + 60 * HOUR);
    let insight = reliability(&state, &sums.prior(), &ask(None), as_of);
    let own = sentence(&insight, "mtbf.own");
    assert!(
        own.starts_with("No failure in 25.2 h (1.2 h seen and 24.0 h vouched for): over "),
        "{own}"
    );
    let time = sentence(&insight, "time.unobserved");
    assert!(
        time.starts_with("Seen up 1.2 h, ")
            && time.contains("Not observed 58.8 h, ")
            && time.contains("; 24.0 h of these, "),
        "{time}"
    );
    let repair = sentence(&insight, "mttr");
    assert!(
        repair.starts_with("No repair of it was seen; by its fleet, a failure lasts "),
        "{repair}"
    );
    // of what was seen all the time nothing is vouched for
    let insight = reliability(
        &state,
        &sums.prior(),
        &ask(None),
        Instant(START + 72 * 60 * SECOND),
    );
    let own = sentence(&insight, "mtbf.own");
    assert!(own.starts_with("No failure in 1.2 h seen: over "), "{own}");
    assert!(!sentence(&insight, "time.unobserved").contains("vouched"));
}

#[test]
fn one_failure_and_one_repair_are_no_failures_and_repairs() {
    let (sums, _, as_of) = cold_start();
    let insight = reliability(&device(1), &sums.prior(), &ask(None), as_of);
    assert!(sentence(&insight, "mtbf.own").starts_with("1 failure in "));
    assert!(
        sentence(&insight, "mttr").starts_with("By 1 repair of its own and mostly by its fleet, ")
    );
    let insight = reliability(&device(4), &sums.prior(), &ask(None), as_of);
    assert!(sentence(&insight, "mttr").starts_with("By 4 repairs, a failure lasts "));
}

#[test]
fn no_more_reports_came_than_were_to_come_and_how_late_is_told_in_a_unit_that_suits() {
    let mut state = quality::State::default();
    state.tell(30.0);
    for index in 0..=100 {
        state.report(Instant(START + index * 30 * SECOND));
    }
    let as_of = Instant(START + 3_000 * SECOND);
    let told = |state: &quality::State| data_quality(state, London, as_of);
    let came = "100 of 100 reports came in the last 7 days: 100.00 %.";
    assert_eq!(sentence(&told(&state), "coverage"), came);
    let fleet = |received: f64| quality::Coverage {
        received,
        expected: 100_000.0,
    };
    let more = |received: f64, devices| fleet(received).told(devices).contains("more");
    assert!(!more(100_067.0, 100) && more(100_067.0, 30) && more(100_002.0, 1));
    let late = |hours: i64| {
        let mut state = state.clone();
        state.recorded(Instant(START), Instant(START + hours * HOUR));
        sentence(&told(&state), "lateness").to_owned()
    };
    assert_eq!(
        late(20),
        "95 of 100 reports arrived within 36.4 h of being taken; one in 20 came later."
    );
    assert_eq!(
        late(2_400),
        "One report in 20 arrived more than 24.3 days after it was taken."
    );
}
