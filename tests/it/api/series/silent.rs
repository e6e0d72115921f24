//! Devices that are silent: that they are ONLINE is known for a while, and from then on nobody knows.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::super::retention::{of, run, set};

const AVAILABILITY: &str = "{ availability(from: \"2025-01-05T00:00:00Z\", to: \"2025-01-05T12:00:00Z\", \
    groupBy: [DEVICE]) { groups { key { value } total { \
    availability onlineSeconds errorSeconds unknownSeconds } } } }";
const TIMELINE: &str = "{ stateTimeline(deviceId: \"silent\", from: \"2025-01-05T05:00:00Z\", \
    to: \"2025-01-05T12:00:00Z\") { intervals { state start end since isOpen } } }";

fn instant(at: &str) -> String {
    format!("2025-01-05T{at}:00Z")
}

fn reading(device: &str, at: &str, seconds: Option<u32>) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": 10, "occurredAt": instant(at),
        "collectionIntervalSeconds": seconds } })
}

fn state(device: &str, at: &str, state: &str) -> Value {
    json!({ "deviceStateChange": { "deviceId": device, "newState": state, "occurredAt": instant(at) } })
}

/// Three devices in service, of which one is heard of until 00:20, one sends no readings, and one is in ERROR.
async fn three(app: &TestApp) {
    app.fleet().await;
    let registered = ["silent", "mute", "broken"].map(|device| {
        json!({ "deviceRegistration": { "deviceId": device, "siteId": "harbour",
            "deviceType": "GATEWAY", "occurredAt": "2025-01-01T00:00:00Z" } })
    });
    app.record(json!(registered)).await;
    app.record(json!([
        state("silent", "00:00", "ONLINE"),
        state("mute", "00:00", "ONLINE"),
        state("broken", "01:00", "ERROR"),
        reading("silent", "00:20", Some(60)),
        reading("silent", "00:10", Some(60)),
        reading("broken", "00:50", None),
    ]))
    .await;
}

/// Of each device: its availability, and for how long it was ONLINE, in ERROR, and nobody knew.
async fn told(app: &TestApp) -> Vec<Value> {
    let data = app.data(AVAILABILITY).await;
    let groups = data["availability"]["groups"].as_array().unwrap().iter();
    let row = |group: &Value| {
        let total = &group["total"];
        json!([
            group["key"][0]["value"],
            total["availability"],
            total["onlineSeconds"],
            total["errorSeconds"],
            total["unknownSeconds"]
        ])
    };
    let mut rows: Vec<Value> = groups.map(row).collect();
    rows.sort_by_key(Value::to_string);
    rows
}

/// What is told when the silent one was ONLINE for so many minutes of twelve hours.
fn online(minutes: u32) -> Vec<Value> {
    let (online, unknown) = (60.0 * f64::from(minutes), 60.0 * f64::from(720 - minutes));
    vec![
        json!(["broken", 0.0, 0.0, 39_600.0, 3_600.0]),
        json!(["mute", 1.0, 43_200.0, 0.0, 0.0]),
        json!(["silent", 1.0, online, 0.0, unknown]),
    ]
}

#[tokio::test]
async fn a_device_that_is_not_heard_of_any_more_is_not_available_for_ever() {
    on_each_database(async |app| {
        three(app).await;
        // from the log, and from what is folded
        assert_eq!(told(app).await, online(80));
        app.settle().await;
        assert_eq!(told(app).await, online(80));
        let archived = run(app, false).await;
        assert_eq!(of(&archived, "deviceMetrics")["archivedEvents"], "3");
        assert_eq!(told(app).await, online(80));
        // it is heard of again, and that is told late
        app.record(json!([reading("silent", "06:00", None)])).await;
        assert_eq!(told(app).await, online(140));
        app.settle().await;
        assert_eq!(told(app).await, online(140));
        let policy =
            json!({ "kind": "deviceMetrics", "archiveAfterDays": 90, "deleteAfterDays": 100 });
        assert_eq!(set(app, policy).await["userErrors"], json!([]));
        run(app, false).await;
        let left = app.data("{ deviceMetrics { totalCount } }").await;
        assert_eq!(left["deviceMetrics"]["totalCount"], "0");
        assert_eq!(told(app).await, online(140));
    })
    .await;
}

#[tokio::test]
async fn a_device_may_be_silent_for_three_of_its_intervals_and_its_state_is_a_sign_of_life() {
    on_each_database(async |app| {
        three(app).await;
        app.record(json!([
            reading("silent", "09:00", Some(1_800)),
            reading("silent", "06:00", None)
        ]))
        .await;
        app.settle().await;
        assert_eq!(told(app).await, online(290));
        app.record(json!([state("silent", "11:00", "ONLINE")]))
            .await;
        assert_eq!(told(app).await, online(350));
        let data = app.data(TIMELINE).await;
        let interval = |state: &str, start: &str, end: &str, since: &str| {
            json!({ "state": state, "start": instant(start), "end": instant(end), "since": instant(since),
                "isOpen": end == "12:00" })
        };
        let expected = json!([
            interval("UNKNOWN", "05:00", "06:00", "01:50"),
            interval("ONLINE", "06:00", "07:30", "00:00"),
            interval("UNKNOWN", "07:30", "09:00", "07:30"),
            interval("ONLINE", "09:00", "10:30", "00:00"),
            interval("UNKNOWN", "10:30", "11:00", "10:30"),
            interval("ONLINE", "11:00", "12:00", "00:00"),
        ]);
        assert_eq!(data["stateTimeline"]["intervals"], expected);
    })
    .await;
}
