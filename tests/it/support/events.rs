//! Events in short.

use homepot_analytics::event::{Instant, NewEvent};
use homepot_analytics::kinds;
use homepot_analytics::store::Request;
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// Events of [`fleet`].
pub(crate) const FLEET_EVENTS: i64 = 5;

/// An instant.
pub(crate) fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// An id that is the same on every call.
pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// An event in its wire shape, read and checked as at the door.
pub(crate) fn event(wire: &Json) -> NewEvent {
    let mut event = kinds::parse_any(wire, at("2026-11-23T10:00:00Z")).unwrap();
    kinds::check(&mut event.fact).unwrap();
    event
}

/// A request without an expected version.
pub(crate) fn request(events: Vec<NewEvent>) -> Request {
    Request {
        events,
        expect: Vec::new(),
        registrations: Vec::new(),
        told: None,
    }
}

pub(crate) fn site(id: &str) -> NewEvent {
    event(&json!({"siteRegistration": {"siteId": id, "name": id}}))
}

pub(crate) fn device(id: &str, site: &str) -> NewEvent {
    event(&json!({"deviceRegistration":
        {"deviceId": id, "siteId": site, "deviceType": "POS_TERMINAL"}}))
}

/// Metrics of a device, at so many seconds after nine o'clock.
pub(crate) fn metrics(device: &str, second: i64, cpu_percent: f64) -> NewEvent {
    let occurred_at = at("2026-11-23T09:00:00Z").plus_ms(second * 1_000);
    event(
        &json!({"deviceMetrics": {"deviceId": device, "cpuPercent": cpu_percent,
        "occurredAt": occurred_at.to_string()}}),
    )
}

/// A state of a device, at so many seconds after nine o'clock.
pub(crate) fn state(device: &str, second: i64, state: &str) -> NewEvent {
    let occurred_at = at("2026-11-23T09:00:00Z").plus_ms(second * 1_000);
    event(
        &json!({"deviceStateChange": {"deviceId": device, "newState": state,
        "occurredAt": occurred_at.to_string()}}),
    )
}

/// An error without a key. The message `poison` makes its append fail (see [`super::Poison`]).
pub(crate) fn error(message: &str) -> NewEvent {
    event(&json!({"errorLog":
        {"category": "API", "severity": "ERROR", "errorMessage": message}}))
}

/// An error with a key.
pub(crate) fn keyed_error(number: u128, message: &str) -> NewEvent {
    let mut event = error(message);
    event.fact.event_id = Some(uuid(number));
    event
}

/// Two sites and three devices.
pub(crate) fn fleet() -> Vec<NewEvent> {
    vec![
        site("s1"),
        site("s2"),
        device("d1", "s1"),
        device("d2", "s1"),
        device("d3", "s2"),
    ]
}
