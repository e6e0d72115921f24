//! What is recorded while it is measured, and how it is told when.

use std::time::Instant as Stopwatch;

use homepot_analytics::clock::Clock;
use homepot_analytics::event::Instant;
use serde_json::{Value, json};

use crate::door::Door;
use crate::server::Server;

/// Sites.
const SITES: usize = 5;
/// Devices, of which each site has as many.
pub(crate) const DEVICES: usize = 100;
/// Events of a request.
const BATCH: usize = 1_000;

const RECORD: &str =
    "mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { status } } }";

/// The id of a device.
pub(crate) fn device(number: usize) -> String {
    format!("pos-{:03}", number % DEVICES)
}

/// A request that records events.
pub(crate) fn record(events: &[Value]) -> Vec<u8> {
    let request = json!({ "query": RECORD, "variables": { "input": { "events": events } } });
    request.to_string().into_bytes()
}

/// Registers the sites and devices, and records as many metrics of each, one in 30 seconds until now.
pub(crate) async fn seed(server: &Server, metrics: usize) -> anyhow::Result<()> {
    let mut door = Door::connect(server.address, "/graphql", server.key.as_deref()).await?;
    let mut events: Vec<Value> = (0..SITES)
        .map(|site| json!({ "siteRegistration": { "siteId": format!("site-{site}"), "name": "A shop" } }))
        .collect();
    events.extend((0..DEVICES).map(|number| {
        json!({ "deviceRegistration": {
            "deviceId": device(number), "siteId": format!("site-{}", number % SITES),
            "name": "A till", "deviceType": "POS_TERMINAL"
        } })
    }));
    let now = Clock::system().now();
    for number in 0..metrics * DEVICES {
        let round = number / DEVICES;
        let ago = i64::try_from(metrics - round)? * 30_000;
        events.push(metric(number, now.plus_ms(-ago)));
        if events.len() >= BATCH {
            recorded(&mut door, &events).await?;
            events.clear();
        }
    }
    recorded(&mut door, &events).await
}

/// Records events, of which none is refused.
pub(crate) async fn recorded(door: &mut Door, events: &[Value]) -> anyhow::Result<()> {
    let answer = door.good(&record(events)).await?;
    let refused = answer.windows(8).any(|eight| eight == b"REJECTED");
    anyhow::ensure!(!refused, "{}", String::from_utf8_lossy(answer));
    Ok(())
}

fn metric(number: usize, at: Instant) -> Value {
    let tenths = |factor: usize| {
        f64::from(u16::try_from(number * factor % 1_000).unwrap_or_default()) / 10.0
    };
    json!({ "deviceMetrics": {
        "deviceId": device(number), "occurredAt": at.to_string(), "cpuPercent": tenths(7),
        "memoryPercent": tenths(11), "diskPercent": tenths(13), "networkLatencyMs": tenths(17),
        "transactionCount": number % 300, "transactionVolume": "1234.50",
        "uptimeSeconds": 100_000 + number / DEVICES * 30, "queueDepth": number % 10
    } })
}

/// Microseconds since it began.
pub(crate) fn since(began: Stopwatch) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// An event that tells in the count of transactions when it was sent, and in the uptime which of its device it
/// is.
pub(crate) fn stamped(number: usize, which: usize, began: Stopwatch) -> Value {
    json!({ "deviceMetrics": {
        "deviceId": device(number), "occurredAt": Clock::system().now().to_string(), "cpuPercent": 50.0,
        "transactionCount": since(began), "uptimeSeconds": which
    } })
}

/// A number that stands in an item.
pub(crate) fn number(text: &str, name: &str) -> Option<u64> {
    let (_, rest) = text.split_once(name)?;
    let rest = rest.strip_prefix("\":")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}
