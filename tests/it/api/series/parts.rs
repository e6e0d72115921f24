//! Readings that come in parts: what was expected once has come once, from whatever it is read.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::super::retention::{of, run};

/// Buckets that are made of hours, of quarters, and of minutes or single events.
const BUCKETS: [(&str, i64); 3] = [("HOUR", 1), ("MINUTE", 15), ("MINUTE", 1)];

/// So many readings of a device that say the same, one every 30 s from ten o'clock on.
fn readings((device, day): (&str, &str), many: i64, said: &Value) -> Vec<Value> {
    let reading = |n: i64| {
        let mut body = said.clone();
        body["deviceId"] = json!(device);
        let (minute, second) = (n / 2, n % 2 * 30);
        body["occurredAt"] = json!(format!("{day}T10:{minute:02}:{second:02}Z"));
        json!({ "deviceMetrics": body })
    };
    (0..many).map(reading).collect()
}

/// Four devices in service: one that tells all in two parts, one that tells half in two parts, neither of them 0, one
/// that tells all at once, and one that tells nothing; in any order.
async fn record(app: &TestApp, day: &str) {
    app.fleet().await;
    let registered = ["till-1", "till-2", "till-3", "till-4"].map(|device| {
        json!({ "deviceRegistration": { "deviceId": device, "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "occurredAt": "2025-01-01T00:00:00Z" } })
    });
    app.record(json!(registered)).await;
    let (whole, half, plain) = (("till-1", day), ("till-2", day), ("till-3", day));
    let mut events = [
        readings(whole, 120, &json!({ "part": 0, "cpuPercent": 10 })),
        readings(whole, 120, &json!({ "part": 1, "memoryPercent": 20 })),
        readings(half, 60, &json!({ "part": 7, "cpuPercent": 10 })),
        readings(half, 60, &json!({ "part": 8, "memoryPercent": 20 })),
        readings(plain, 120, &json!({ "queueDepth": 1 })),
    ]
    .concat();
    events.shuffle(&mut StdRng::seed_from_u64(7));
    for events in events.chunks(100) {
        app.outcomes(json!(events)).await;
    }
}

async fn groups(app: &TestApp, (day, by): (&str, &str), (unit, every): (&str, i64)) -> Vec<Value> {
    let asked = format!(
        "{{ series(measures: [READINGS, CPU_PERCENT], from: \"{day}T10:00:00Z\", to: \"{day}T11:00:00Z\", \
         groupBy: [{by}], buckets: {{ resolution: {unit}, every: {every}, timeZone: \"UTC\" }}) {{ \
         groups {{ measure key {{ value }} total {{ count coverage }} buckets {{ coverage }} }} }} }}"
    );
    let mut answer = app.data(&asked).await;
    let Value::Array(groups) = answer["series"]["groups"].take() else {
        panic!("{answer}");
    };
    groups
}

/// Of each group its measure, of what it is, how many values there were and how much of what was expected.
fn told(groups: &[Value]) -> Vec<Value> {
    let row = |group: &Value| {
        let (of, total) = (&group["key"][0]["value"], &group["total"]);
        json!([group["measure"], of, total["count"], total["coverage"]])
    };
    let mut rows: Vec<Value> = groups.iter().map(row).collect();
    rows.sort_by_key(Value::to_string);
    rows
}

async fn check(app: &TestApp, day: &str) {
    for buckets in BUCKETS {
        let by_device = groups(app, (day, "DEVICE"), buckets).await;
        assert_eq!(
            told(&by_device),
            [
                json!(["CPU_PERCENT", "till-1", 120.0, 1.0]),
                json!(["CPU_PERCENT", "till-2", 60.0, 0.5]),
                json!(["READINGS", "till-1", 240.0, 1.0]),
                json!(["READINGS", "till-2", 120.0, 0.5]),
                json!(["READINGS", "till-3", 120.0, 1.0]),
            ],
            "{buckets:?}"
        );
        let whole = by_device
            .iter()
            .filter(|group| group["key"][0]["value"] == "till-1");
        for group in whole {
            let buckets = group["buckets"].as_array().unwrap();
            assert!(buckets.iter().all(|b| b["coverage"] == 1.0), "{group}");
        }
        // 120 in the part 0 and 120 whole: those of 60 other instants may be parts of them
        let by_site = groups(app, (day, "SITE"), buckets).await;
        assert_eq!(
            told(&by_site),
            [
                json!(["CPU_PERCENT", "harbour", 180.0, 0.375]),
                json!(["READINGS", "harbour", 480.0, 0.5]),
            ],
            "{buckets:?}"
        );
    }
}

#[tokio::test]
async fn a_reading_that_comes_in_parts_has_come_once() {
    on_each_database(async |app| {
        record(app, "2026-11-23").await;
        // from the log, and from what is folded
        check(app, "2026-11-23").await;
        app.settle().await;
        check(app, "2026-11-23").await;
    })
    .await;
}

#[tokio::test]
async fn a_reading_that_comes_in_parts_has_come_once_when_it_is_archived() {
    on_each_database(async |app| {
        record(app, "2025-01-05").await;
        app.settle().await;
        let archived = run(app, false).await;
        assert_eq!(of(&archived, "deviceMetrics")["archivedEvents"], "480");
        check(app, "2025-01-05").await;
    })
    .await;
}
