//! Tests of the fleet as a whole: its laws, its day, and what commands do to it.

mod commands;
mod day;
mod laws;

use chrono::{DateTime, Days, TimeDelta, Utc};
use serde_json::Value;

use super::{Fleet, FleetOptions};

/// A Monday morning on which nothing special happens.
const MONDAY: &str = "2026-06-01T09:13:07.512Z";

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A fleet of twelve devices that report every five minutes, so that a week is soon simulated.
fn slow(seed: u64) -> FleetOptions {
    FleetOptions {
        seed,
        interval_seconds: 300,
        ..FleetOptions::default()
    }
}

/// All events of a number of days.
fn days(options: FleetOptions, start: &str, days: u64) -> Vec<Value> {
    let start = instant(start);
    Fleet::new(options, start).advance(start + Days::new(days))
}

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

/// The kind and the body of an event.
fn parts(event: &Value) -> (&str, &Value) {
    let (kind, body) = event.as_object().unwrap().iter().next().unwrap();
    (kind, body)
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let bodies = events.iter().filter_map(|event| event.get(kind));
    bodies.collect()
}

fn occurred_at(body: &Value) -> DateTime<Utc> {
    instant(text(body, "occurredAt"))
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap()
}

fn number(body: &Value, field: &str) -> f64 {
    body[field].as_f64().unwrap()
}
