//! Events as clients send them.

use std::time::Instant as Stopwatch;

use homepot_analytics::event::{Event, Instant, NewEvent, Position};
use homepot_analytics::kinds::to_json;
use serde_json::{Value, json};

use crate::door::Door;
use crate::figures::milliseconds;

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

/// Sends bodies that record events, one after the other; how many milliseconds each took.
pub(crate) async fn post_all(mut client: Door, bodies: Vec<String>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(bodies.len());
    for body in bodies {
        let started = Stopwatch::now();
        let answer = client.good(body.as_bytes()).await?;
        times.push(milliseconds(started.elapsed()));
        anyhow::ensure!(!has_refused(answer), "an event was refused");
    }
    Ok(times)
}

/// Whether an answer says that some event was not recorded.
fn has_refused(answer: &[u8]) -> bool {
    answer
        .windows(8)
        .any(|eight| eight == b"REJECTED" || eight == b"OVERLOAD")
}
