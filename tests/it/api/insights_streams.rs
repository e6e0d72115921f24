//! The streams of insights: what changes is told once, and gone on from where it was told.

use std::time::Duration;

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::access::{grant, key};
use super::app::{NOON, TestApp, on_each_database};
use super::insights::{afterwards, folded, reading, state, weeks};
use super::socket::Socket;

const HEALTHS: &str =
    "subscription($after: String, $f: DeviceFilter) { healthChanges(after: $after, filter: $f) {
    cursor asOf changes { before band health { value device { deviceId } } } } }";
const UNUSUAL: &str = "subscription($after: String) { anomalies(after: $after) {
    cursor changes { step anomaly { measure state openedAt device { deviceId } } } } }";

/// A reading of a device that reports once an hour, and is not taken for silent before ten have passed.
pub(super) fn hourly() -> Value {
    json!({ "cpuPercent": 5, "collectionIntervalSeconds": 3_600 })
}

/// Two devices in good health; the place of the log at which they are, as of noon.
pub(super) async fn healthy(app: &TestApp) -> String {
    app.fleet().await;
    let mut events = Vec::new();
    for device in ["till-1", "till-3"] {
        events.push(state(device, -600, "ONLINE"));
        events.extend((1..10).map(|hour| reading(device, -60 * hour, hourly())));
    }
    app.record(json!(events)).await;
    let noon = noon(app).await;
    folded(app).await;
    noon
}

/// The cursor of an event that happens at noon: what changes after that is told after it, whenever that begins.
async fn noon(app: &TestApp) -> String {
    let event = json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": "noon",
        "occurredAt": NOON } });
    app.record(json!([event])).await;
    let listed = app
        .data("{ errorLogs(filter: { errorMessage: { eq: \"noon\" } }) { edges { cursor } } }")
        .await;
    let cursor = listed["errorLogs"]["edges"][0]["cursor"].as_str();
    cursor.unwrap().to_owned()
}

/// The devices of an item with the bands that they came from and to.
fn told(item: &Value) -> Vec<(String, Value, Value)> {
    let changes = item["healthChanges"]["changes"].as_array().unwrap().iter();
    let one = |change: &Value| {
        let device = change["health"]["device"]["deviceId"].as_str().unwrap();
        (
            device.to_owned(),
            change["before"].clone(),
            change["band"].clone(),
        )
    };
    changes.map(one).collect()
}

#[tokio::test]
async fn a_device_that_comes_into_another_band_is_told_once() {
    on_each_database(async |app| {
        let after = healthy(app).await;
        app.clock.advance_ms(60_000);
        let other = reading("till-3", 1, hourly());
        app.record(json!([state("till-1", 1, "ERROR"), other]))
            .await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(HEALTHS, json!({ "after": after })).await;
        let first = socket.data(&id).await;
        assert_eq!(
            told(&first),
            [("till-1".to_owned(), json!("GOOD"), json!("POOR"))]
        );
        assert_eq!(first["healthChanges"]["asOf"], "2026-11-23T12:01:00Z");
        // that it goes on is no change, and that it is over is one
        app.clock.advance_ms(60_000);
        app.record(json!([reading("till-1", 2, hourly())])).await;
        app.clock.advance_ms(60_000);
        app.record(json!([state("till-1", 3, "ONLINE")])).await;
        let second = socket.data(&id).await;
        let over = told(&second);
        assert_eq!(over.len(), 1, "{over:?}");
        assert_eq!((over[0].0.as_str(), &over[0].1), ("till-1", &json!("POOR")));
        assert_ne!(over[0].2, "POOR");
        // whoever goes on from the first is told the second, and from that nothing
        let cursor = |item: &Value| json!({ "after": item["healthChanges"]["cursor"] });
        let again = socket.subscribe(HEALTHS, cursor(&first)).await;
        assert_eq!(told(&socket.data(&again).await), over);
        let rest = socket.subscribe(HEALTHS, cursor(&second)).await;
        assert_eq!(
            socket.next_within(&rest, Duration::from_secs(1)).await,
            None
        );
    })
    .await;
}

#[tokio::test]
async fn an_incident_that_begins_and_is_over_is_told_each_time_once() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(weeks("till-1").into()).await;
        let after = noon(app).await;
        app.clock.advance_ms(60_000);
        let late = json!({ "networkLatencyMs": 900, "cpuPercent": 30 });
        app.record(json!([reading("till-1", 1, late)])).await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(UNUSUAL, json!({ "after": after })).await;
        let opened = socket.data(&id).await["anomalies"]["changes"].clone();
        let expected = json!([{ "step": "OPENED", "anomaly": { "measure": "NETWORK_LATENCY_MS", "state": "OPEN",
            "openedAt": "2026-11-23T12:01:00Z", "device": { "deviceId": "till-1" } } }]);
        assert_eq!(opened, expected);
        app.clock.advance_ms(20 * 3_600_000);
        app.record(json!(afterwards("till-1"))).await;
        let closed = socket.data(&id).await["anomalies"]["changes"].clone();
        let expected = json!([{ "step": "CLOSED", "anomaly": { "measure": "NETWORK_LATENCY_MS", "state": "CLOSED",
            "openedAt": "2026-11-23T12:01:00Z", "device": { "deviceId": "till-1" } } }]);
        assert_eq!(closed, expected);
    })
    .await;
}

#[tokio::test]
async fn streams_are_of_what_is_within_reach_and_asked_for() {
    on_each_database(async |app| {
        let after = healthy(app).await;
        app.clock.advance_ms(60_000);
        let failed = json!([state("till-1", 1, "ERROR"), state("till-3", 1, "ERROR")]);
        app.record(failed).await;
        let devices = |item: &Value| -> Vec<String> {
            let told = told(item).into_iter();
            told.map(|(device, ..)| device).collect()
        };
        // of a site, by a filter
        let mut socket = app.socket().await;
        let asked = json!({ "after": after, "f": { "siteId": "harbour" } });
        let id = socket.subscribe(HEALTHS, asked).await;
        assert_eq!(devices(&socket.data(&id).await), ["till-1"]);
        // and of the other, by who asks
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["market"])).await;
        let mut socket = Socket::open_as(app.app().address, &viewer).await;
        let id = socket.subscribe(HEALTHS, json!({ "after": after })).await;
        assert_eq!(devices(&socket.data(&id).await), ["till-3"]);
    })
    .await;
}
