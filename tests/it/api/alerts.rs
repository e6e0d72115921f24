//! Alerts: what a rule watches for opens one, once for each cause, and it closes by itself.

use homepot_analytics::event::Instant;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::socket::Socket;

const STEPS: &str = "subscription($a: String) { alertTransitions(after: $a) { alertId ruleId cause
    state deviceId siteId durationMs changedBy occurredAt reason } }";

pub(super) fn metrics(device: &str, at: Instant) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at.to_string(),
        "collectionIntervalSeconds": 30 } })
}

/// Takes it that devices report now.
pub(super) async fn heard(app: &TestApp, devices: &[&str]) {
    let now = app.clock.now();
    let events = devices.iter().map(|device| metrics(device, now));
    app.record(events.collect()).await;
}

/// Follows the steps of alerts from now on.
pub(super) async fn follow(app: &TestApp) -> (Socket, String) {
    let mut socket = app.socket().await;
    let after = json!({ "a": app.head().await });
    let id = socket.subscribe(STEPS, after).await;
    (socket, id)
}

pub(super) async fn step(socket: &mut Socket, id: &str) -> Value {
    socket.data(id).await["alertTransitions"].take()
}

#[tokio::test]
async fn a_device_that_dies_opens_an_alert_and_closes_it_on_its_return_with_the_length() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut socket, id) = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for _ in 0..10 {
            app.clock.advance_ms(30_000);
            heard(app, &["till-2", "till-3"]).await;
        }
        let opened = step(&mut socket, &id).await;
        assert_eq!(opened["state"], "OPEN");
        assert_eq!(opened["cause"], "device/till-1");
        assert_eq!(opened["siteId"], "harbour");
        assert_eq!(opened["occurredAt"], "2026-11-23T12:05:00Z");
        assert_eq!(opened["durationMs"], "300000");
        app.clock.advance_ms(20_000);
        heard(app, &["till-1", "till-2", "till-3"]).await;
        let closed = step(&mut socket, &id).await;
        assert_eq!(closed["state"], "RESOLVED");
        assert_eq!(closed["alertId"], opened["alertId"]);
        assert_eq!(closed["durationMs"], "320000");
        assert_eq!(closed["reason"], "it is heard of again");
    })
    .await;
}
