//! What is brought in whatever order is told as it happened, and many errors take little room.

use entity::{device_state_history as states, error_logs as errors};

use super::*;
use crate::event::Provenance;
use crate::insights::input::{HOUR, Hour, Measure, SECOND, Severity, State as Reported};
use crate::kinds::Draft;

const START: i64 = 490_000 * HOUR;
const WHOSE: Whose = (7, Provenance::Real);

const fn at(seconds: i64) -> Instant {
    Instant(START + seconds * SECOND)
}

fn failed(position: i64, seconds: i64, (code, severity): (&str, &str)) -> Event {
    let draft = Draft::new(Kind::ErrorLog, at(seconds), Provenance::Real)
        .set(errors::Column::Category, "DEVICE")
        .set(errors::Column::Severity, severity)
        .set(errors::Column::ErrorMessage, "no paper")
        .set(errors::Column::ErrorCode, code);
    event(position, draft)
}

fn became(position: i64, seconds: i64, to: &str) -> Event {
    let draft = Draft::new(Kind::DeviceStateChange, at(seconds), Provenance::Real);
    let draft = draft.set(states::Column::DeviceKey, "till-1");
    event(position, draft.set(states::Column::NewState, to))
}

fn event(position: i64, draft: Draft) -> Event {
    let fact = draft.finish().unwrap().fact;
    Event {
        position: Position(position),
        recorded_at: fact.occurred_at,
        fact,
    }
}

fn told(events: &[Event], as_of: Instant) -> (Arc<features::State>, DeviceHour) {
    let mut brought = Brought::default();
    for event in events {
        brought.take(WHOSE, event).unwrap();
    }
    assert!(brought.has(WHOSE) && !brought.has((7, Provenance::Simulated)));
    let mut told = brought.told(BTreeMap::new(), &BTreeMap::new(), as_of);
    told.remove(&WHOSE).unwrap()
}

/// What a state comes to that is told each event in turn.
fn each(events: &[Event], as_of: Instant) -> features::State {
    let facts = events.iter().map(|event| &event.fact);
    let of = |kind: Kind| facts.clone().filter(move |fact| fact.kind == kind);
    let errors: Vec<ErrorSeen> = of(Kind::ErrorLog).map(error).collect();
    let states: Vec<StateSeen> = of(Kind::DeviceStateChange).map(state).collect();
    let facts = Facts {
        errors: &errors,
        states: &states,
        ..Facts::default()
    };
    features::State::default().with_open(&facts, as_of)
}

#[test]
fn few_events_are_told_one_by_one_in_order() {
    let events = [
        became(3, 30, "ONLINE"),
        failed(2, 20, ("E2", "ERROR")),
        became(4, 10, "ERROR"),
        failed(1, 40, ("E1", "CRITICAL")),
    ];
    let (state, hour) = told(&events, at(60));
    assert_eq!(*state, features::State::default());
    let codes = hour.errors.iter().map(|error| error.code.as_deref());
    assert_eq!(codes.collect::<Vec<_>>(), [Some("E2"), Some("E1")]);
    let took = hour.states.iter().map(|state| state.to);
    let expected = [Reported::Error, Reported::Online];
    assert_eq!(took.collect::<Vec<_>>(), expected);
    assert_eq!(hour.start, hour_of(at(60)));
}

#[test]
fn many_errors_are_counted_and_come_to_what_each_of_them_does() {
    let of = |number: i64| {
        let kind = [("E1", "ERROR"), ("E2", "ERROR"), ("E1", "CRITICAL")];
        let kind = kind[usize::try_from(number % 3).unwrap()];
        failed(number, number * 5, kind)
    };
    let mut events: Vec<Event> = (0..1_400).map(of).collect();
    events.push(became(2_000, 100, "ERROR"));
    let as_of = at(2 * 3_600);
    let expected = each(&events, as_of);
    events.reverse();
    let mut brought = Brought::default();
    for event in &events {
        brought.take(WHOSE, event).unwrap();
    }
    // three groups in two hours, and those that were held before there were many
    assert!(brought.of[&WHOSE].errors.len() <= 6 + EACH_MAX);
    let (state, hour) = told(&events, as_of);
    assert!(hour.errors.is_empty(), "they are in the state");
    let with = state.with_open(&hour.open_facts(), as_of);
    let sorted = |state: &features::State| {
        let mut seen = state.errors.clone();
        seen.sort_by_key(|seen| (seen.at, seen.group, seen.severity));
        seen
    };
    assert_eq!(sorted(&with), sorted(&expected));
    assert_eq!(with.states, expected.states);
    assert_eq!(with.events, expected.events);
}

#[test]
fn errors_of_ever_other_groups_take_no_more_room_and_none_is_left_out() {
    let of = |number: i64| {
        let code = format!("E{number}");
        failed(number, number / 4, (&code, "WARNING"))
    };
    let mut events: Vec<Event> = (0..5_000).map(of).collect();
    events.push(failed(9_999, 1_300, ("X", "CRITICAL")));
    let mut brought = Brought::default();
    for event in &events {
        brought.take(WHOSE, event).unwrap();
    }
    assert_eq!(brought.of[&WHOSE].errors.len(), ERRORS_MAX + 1);
    let (state, _) = told(&events, at(1_500));
    let count: u32 = state.errors.iter().map(|seen| seen.count).sum();
    assert_eq!(count, 5_001);
    let mut critical = state.errors.iter();
    let critical = critical.find(|seen| seen.severity == Severity::Critical);
    assert_eq!(critical.map(|seen| seen.count), Some(1));
}

#[test]
fn what_would_take_too_much_room_is_refused() {
    let mut brought = Brought {
        allowance: Allowance::of(1_000),
        ..Brought::default()
    };
    let mut changes = (0..1_000).map(|number| became(number, number, "ONLINE"));
    let refused = changes.find_map(|change| brought.take(WHOSE, &change).err());
    assert!(matches!(
        refused,
        Some(StoreError::TooLarge { bytes_max: 1_000 })
    ));
    // errors that are alike take none
    let mut brought = Brought {
        allowance: Allowance::of(2_000),
        ..Brought::default()
    };
    for number in 0..1_000 {
        let alike = failed(number, number, ("E1", "ERROR"));
        brought.take(WHOSE, &alike).unwrap();
    }
}

#[test]
fn a_state_is_heard_of_before_errors_are_folded_into_it() {
    let mut known = features::State::default();
    let start = Instant(START - 3 * HOUR);
    let hour = Hour {
        start,
        count: 1,
        sum: 20.0,
        sum_squares: 400.0,
        min: 20.0,
        max: 20.0,
        increase: 0.0,
    };
    known.fold(&Facts {
        start,
        measures: &[(Measure::CpuPercent, hour)],
        ..Facts::default()
    });
    let states = BTreeMap::from([(WHOSE, Arc::new(known))]);
    let mut brought = Brought::default();
    for number in 0..10 {
        let alike = failed(number, number, ("E1", "ERROR"));
        brought.take(WHOSE, &alike).unwrap();
    }
    let heard = BTreeMap::from([(WHOSE, (Instant(START), Instant(START - HOUR)))]);
    let told = brought.told(states, &heard, at(60));
    let (state, _) = &told[&WHOSE];
    assert_eq!(state.last_measured, Some(Instant(START)));
    assert_eq!(
        state.hours_seen & 0b111,
        0b101,
        "what is not known is not filled"
    );
    assert_eq!(state.errors[0].count, 10);
}
