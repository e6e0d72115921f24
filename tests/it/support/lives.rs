//! A fleet whose devices fail, day by day: most often after an error.

use homepot_analytics::event::Instant;
use homepot_analytics::insights::input::DAY;
use serde_json::{Value as Json, json};

use super::at;

/// When everything begins; the log is opened 40 days and ten hours later.
const START: &str = "2026-10-14T00:00:00Z";
/// Days until the log is opened.
pub(crate) const DAYS: i64 = 40;
/// Devices.
pub(crate) const DEVICES: i64 = 4;

pub(crate) fn midnight(day: i64) -> Instant {
    Instant(at(START).0 + day * DAY)
}

/// An instant of a day, so many minutes after midnight.
fn minute(day: i64, minutes: i64) -> String {
    midnight(day).plus_ms(minutes * 60_000).to_string()
}

pub(crate) fn till(number: i64) -> String {
    format!("till-{number}")
}

/// The site and its devices.
pub(crate) fn registered(provenance: &str) -> Vec<Json> {
    let site = json!({ "siteRegistration": { "siteId": "shop", "name": "Shop", "timeZone": "UTC",
        "occurredAt": START, "provenance": provenance } });
    let device = |number| {
        json!({ "deviceRegistration": { "deviceId": till(number), "siteId": "shop",
            "deviceType": "POS_TERMINAL", "model": format!("m{}", number % 2),
            "occurredAt": START, "provenance": provenance } })
    };
    let devices = (0..DEVICES).map(device);
    [site].into_iter().chain(devices).collect()
}

/// A reading of each device every three hours of some days.
pub(crate) fn readings(days: std::ops::Range<i64>, provenance: &str) -> Vec<Json> {
    // no two of a device are of one instant
    let shift = if provenance == "REAL" { 11 } else { 31 };
    let mut readings = Vec::new();
    for day in days {
        for (number, hour) in (0..DEVICES).flat_map(|number| (0..8).map(move |n| (number, 3 * n))) {
            let wave = (day * 31 + hour * 7 + number * 13) % 17;
            readings.push(json!({ "deviceMetrics": { "deviceId": till(number),
                "occurredAt": minute(day, hour * 60 + shift + number), "cpuPercent": 30 + wave,
                "memoryPercent": 50 + wave / 2, "uptimeSeconds": 3_600 * (day * 24 + hour + 1),
                "collectionIntervalSeconds": 10_800, "provenance": provenance } }));
        }
    }
    readings
}

pub(crate) fn error(day: i64, number: i64, provenance: &str) -> Json {
    json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "read head",
        "errorCode": "E17", "deviceId": till(number), "occurredAt": minute(day, 9 * 60 + number),
        "provenance": provenance } })
}

/// A device fails in the evening, and is repaired.
pub(crate) fn failure(day: i64, number: i64, provenance: &str) -> [Json; 2] {
    [("ERROR", 22 * 60 + number), ("ONLINE", 23 * 60 + number)].map(|(state, minutes)| {
        json!({ "deviceStateChange": { "deviceId": till(number), "newState": state,
            "occurredAt": minute(day, minutes), "changedBy": "agent", "provenance": provenance } })
    })
}

/// Whether a device fails on a day: every eighth, each on one of its own.
pub(crate) fn fails(day: i64, number: i64) -> bool {
    (day - 5 - number).rem_euclid(8) == 0
}

/// Some days in which devices fail after an error.
pub(crate) fn life(days: std::ops::Range<i64>, provenance: &str) -> Vec<Json> {
    let mut events = readings(days.clone(), provenance);
    for day in days {
        for number in (0..DEVICES).filter(|number| fails(day, *number)) {
            events.push(error(day, number, provenance));
            events.extend(failure(day, number, provenance));
        }
    }
    events
}
