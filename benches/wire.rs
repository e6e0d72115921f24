//! Events as clients send them.

use homepot_analytics::event::{Event, Instant, NewEvent, Position};
use homepot_analytics::kinds::to_json;
use serde_json::{Value, json};

const RECORD: &str = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) { \
    outcomes { index status position code field message } } }";

/// An event as JSON.
pub(crate) fn wire(event: NewEvent) -> Value {
    to_json(&Event {
        position: Position::START,
        recorded_at: Instant::default(),
        fact: event.fact,
    })
}

/// The body of a request of GraphQL that records events.
pub(crate) fn recording(events: Vec<NewEvent>) -> String {
    let events: Vec<Value> = events.into_iter().map(wire).collect();
    json!({ "query": RECORD, "variables": { "input": { "events": events } } }).to_string()
}

/// Whether an answer says that some event was not recorded.
pub(crate) fn has_refused(answer: &[u8]) -> bool {
    answer
        .windows(8)
        .any(|eight| eight == b"REJECTED" || eight == b"OVERLOAD")
}
