//! The watch over devices: what is found of silence, of return, and of devices that are new.

use super::*;
use crate::event::{Cell, Fact, Position, Reference};
use crate::store::Place;

const NOON: Instant = Instant(1_800_000_000_000_000);
const SILENCE_MS: i64 = 90_000;

fn at(seconds: i64) -> Instant {
    NOON.plus_ms(seconds * 1_000)
}

fn event(kind: Kind, device: i64, occurred: i64, recorded: i64) -> Event {
    let draft = Draft::new(kind, at(occurred), Provenance::Real);
    let draft = if kind == Kind::DeviceStateChange {
        draft
            .set(states::Column::DeviceKey, "till")
            .set(states::Column::NewState, "OFFLINE")
    } else {
        draft.set(device_metrics::Column::DeviceKey, "till")
    };
    let mut fact = draft.finish().unwrap().fact;
    let index = fact.spec().device_index().unwrap();
    fact.cells[index] = Cell::Reference(Reference {
        key: device,
        id: format!("till-{device}").into(),
    });
    Event {
        position: Position(1),
        recorded_at: at(recorded),
        fact,
    }
}

/// Takes those that were heard of first as ONLINE, and that as recorded.
fn met(watch: &mut Watch) {
    let count = watch.new_ones(Instant(i64::MAX), usize::MAX).len();
    watch.know(count, &HashMap::new());
    watch.recorded(count);
}

fn heard(watch: &mut Watch, device: i64, seconds: i64) {
    let metrics = event(Kind::DeviceMetrics, device, seconds, seconds);
    watch.hear(&metrics, at(seconds));
}

/// States that wait to be recorded, with the seconds after noon at which they began.
fn waiting(watch: &Watch) -> Vec<(String, i64)> {
    let shown = |event: NewEvent| {
        let state = event.fact.cell(states::Column::NewState).text();
        let seconds = (event.fact.occurred_at.0 - NOON.0) / 1_000_000;
        (state.unwrap().to_owned(), seconds)
    };
    watch
        .unrecorded(usize::MAX)
        .into_iter()
        .map(shown)
        .collect()
}

fn recorded(watch: &mut Watch) -> Vec<(String, i64)> {
    let shown = waiting(watch);
    watch.recorded(shown.len());
    shown
}

fn states_of(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    let owned = |(state, at): &(&str, i64)| ((*state).to_owned(), *at);
    pairs.iter().map(owned).collect()
}

#[test]
fn what_is_not_recorded_waits_and_is_the_same_when_tried_again() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 0);
    met(&mut watch);
    watch.look(at(91));
    let facts = |watch: &Watch| -> Vec<Fact> {
        let first = watch.unrecorded(1).into_iter();
        first.map(|event| event.fact).collect()
    };
    let first = facts(&watch);
    watch.look(at(95));
    heard(&mut watch, 1, 100);
    assert_eq!(facts(&watch), first);
    // silent again, which waits until the two before it are recorded
    watch.look(at(300));
    assert_eq!(
        recorded(&mut watch),
        states_of(&[("OFFLINE", 90), ("ONLINE", 100)])
    );
    watch.look(at(301));
    assert_eq!(recorded(&mut watch), states_of(&[("OFFLINE", 190)]));
    watch.look(at(999));
    assert_eq!(recorded(&mut watch), []);
}

#[test]
fn a_log_whose_times_are_ahead_does_not_hide_signs_of_life() {
    let mut watch = Watch::new(SILENCE_MS);
    let day = 86_400;
    watch.hear(&event(Kind::DeviceMetrics, 1, 0, day), at(0));
    met(&mut watch);
    watch.look(at(89));
    assert_eq!(recorded(&mut watch), []);
    watch.look(at(90));
    assert_eq!(recorded(&mut watch), states_of(&[("OFFLINE", 90)]));
    watch.hear(&event(Kind::DeviceMetrics, 1, 120, day), at(120));
    assert_eq!(recorded(&mut watch), states_of(&[("ONLINE", 120)]));
}

#[test]
fn timers_go_back_with_a_clock_that_is_set_back() {
    let mut watch = Watch::new(SILENCE_MS);
    let day = 86_400;
    heard(&mut watch, 1, day);
    heard(&mut watch, 2, day);
    met(&mut watch);
    watch.hear(&event(Kind::DeviceMetrics, 2, 10, day), at(10));
    watch.look(at(99));
    assert_eq!(recorded(&mut watch), []);
    watch.look(at(100));
    assert_eq!(
        recorded(&mut watch),
        states_of(&[("OFFLINE", 100), ("OFFLINE", 100)])
    );
}

#[test]
fn a_late_report_of_a_silent_device_is_a_sign_of_life_from_when_it_came() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 0);
    met(&mut watch);
    watch.look(at(90));
    watch.hear(&event(Kind::DeviceMetrics, 1, 30, 200), at(200));
    assert_eq!(
        recorded(&mut watch),
        states_of(&[("OFFLINE", 90), ("ONLINE", 200)])
    );
    // what is older than ten minutes is history
    watch.look(at(290));
    watch.hear(&event(Kind::DeviceMetrics, 1, 299, 900), at(900));
    assert_eq!(recorded(&mut watch), states_of(&[("OFFLINE", 290)]));
}

#[test]
fn the_echo_of_an_older_state_changes_nothing() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 0);
    met(&mut watch);
    watch.look(at(90));
    heard(&mut watch, 1, 100);
    watch.hear(&event(Kind::DeviceStateChange, 1, 90, 91), at(101));
    recorded(&mut watch);
    heard(&mut watch, 1, 130);
    assert_eq!(recorded(&mut watch), []);
    // but a newer one from somebody else holds until the device is heard of again
    watch.hear(&event(Kind::DeviceStateChange, 1, 140, 140), at(140));
    watch.look(at(500));
    assert_eq!(recorded(&mut watch), []);
    heard(&mut watch, 1, 510);
    assert_eq!(recorded(&mut watch), states_of(&[("ONLINE", 510)]));
}

#[test]
fn one_that_cannot_be_recorded_lets_the_others_go_first() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 0);
    heard(&mut watch, 2, 1);
    met(&mut watch);
    watch.look(at(100));
    watch.put_first_last();
    assert_eq!(
        waiting(&watch),
        states_of(&[("OFFLINE", 91), ("OFFLINE", 90)])
    );
}

#[test]
fn a_new_device_has_its_time_to_say_its_state_before_it_is_spoken_for() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 0);
    heard(&mut watch, 2, 3);
    heard(&mut watch, 1, 4);
    assert!(watch.new_ones(at(4), usize::MAX).is_empty());
    assert_eq!(watch.new_ones(at(5), usize::MAX), [1]);
    watch.know(1, &HashMap::new());
    assert_eq!(recorded(&mut watch), states_of(&[("ONLINE", 0)]));
    heard(&mut watch, 1, 8);
    assert_eq!(watch.new_ones(at(8), usize::MAX), [2]);
    assert_eq!(recorded(&mut watch), []);
}

#[test]
fn a_new_device_that_was_offline_is_back_unless_it_has_said_so_since() {
    for (position, expected) in [(0, states_of(&[("ONLINE", 20)])), (2, Vec::new())] {
        let mut watch = Watch::new(SILENCE_MS);
        heard(&mut watch, 1, 20);
        let offline = Stated {
            place: Place {
                occurred_at: at(10),
                position: Position(position),
            },
            state: "OFFLINE".to_owned(),
        };
        watch.know(1, &HashMap::from([(1, offline)]));
        assert_eq!(recorded(&mut watch), expected);
        watch.look(at(999));
        assert_eq!(recorded(&mut watch).is_empty(), position == 2);
    }
}

#[test]
fn a_new_device_whose_state_cannot_be_read_does_not_fall_silent() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 0);
    watch.look(at(999));
    assert_eq!(recorded(&mut watch), []);
}

#[test]
fn a_new_device_does_not_wait_for_a_clock_that_was_set_back() {
    let mut watch = Watch::new(SILENCE_MS);
    heard(&mut watch, 1, 86_400);
    watch.look(at(0));
    assert_eq!(watch.new_ones(at(5), usize::MAX), [1]);
}
