//! What is made of single events, since rollups are too coarse for it.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::super::statements::cost;

const MINUTES: &str = "{ series(measures: [TRANSACTION_COUNT], from: \"2026-11-23T11:30:00Z\", \
    to: \"2026-11-23T11:40:00Z\", groupBy: [DEVICE], fill: NONE, \
    buckets: { resolution: MINUTE, timeZone: \"UTC\" }) { \
    groups { key { value } buckets { start increase } } } }";

/// Of each device two readings of a minute, an hour after others.
async fn record(app: &TestApp, devices: std::ops::Range<i64>) {
    let mut events = Vec::new();
    for n in devices {
        let reading = |count: i64, at: &str| {
            json!({ "deviceMetrics": { "deviceId": format!("d-{n:02}"), "transactionCount": count,
                "occurredAt": format!("2026-11-23T{at}Z") } })
        };
        events.push(
            json!({ "deviceRegistration": { "deviceId": format!("d-{n:02}"), "siteId": "harbour",
            "deviceType": "GATEWAY", "occurredAt": "2026-11-01T00:00:00Z" } }),
        );
        for (count, at) in [(90, "00:00:00"), (n, "10:29:00"), (n + 2, "10:30:00")] {
            events.push(reading(count, at));
        }
        events.push(reading(n + 5, "11:35:00"));
        events.push(reading(n + 12, "11:35:30"));
    }
    app.record(json!(events)).await;
    app.settle().await;
}

#[tokio::test]
async fn what_counters_showed_before_costs_the_same_for_one_device_and_for_thirty() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut costs = Vec::new();
        for devices in [0..1, 1..30] {
            record(app, devices).await;
            costs.push(cost(app, MINUTES).await);
        }
        assert_eq!(costs[0], costs[1]);
        let answer = app.data(MINUTES).await;
        let groups = answer["series"]["groups"].as_array().unwrap();
        assert_eq!(groups.len(), 30);
        let grown: Value = json!([{ "start": "2026-11-23T11:35:00Z", "increase": 10.0 }]);
        assert!(
            groups.iter().all(|group| group["buckets"] == grown),
            "{answer}"
        );
    })
    .await;
}
