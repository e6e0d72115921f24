//! Silence becomes a state: OFFLINE when a device is not heard of any more, ONLINE on its return.

use homepot_analytics::event::Instant;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::socket::Socket;

const STATES: &str =
    "subscription($a: String) { deviceStateChanges(after: $a) { deviceId previousState newState
    changedBy reason occurredAt provenance } }";

async fn heard(app: &TestApp, interval: Option<i64>) {
    let now: Instant = app.clock.now();
    app.record(
        json!([{ "deviceMetrics": { "deviceId": "till-1", "occurredAt": now.to_string(),
        "provenance": "CONTROLLED", "collectionIntervalSeconds": interval } }]),
    )
    .await;
}

async fn state(socket: &mut Socket, id: &str) -> Value {
    socket.data(id).await["deviceStateChanges"].take()
}

#[tokio::test]
async fn a_device_that_falls_silent_is_offline_and_online_when_it_returns() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(STATES, json!({ "a": app.head().await })).await;
        heard(app, None).await;
        app.clock.advance_ms(91_000);
        let offline = state(&mut socket, &id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(offline, @r#"{"changedBy":"health-check","deviceId":"till-1","newState":"OFFLINE","occurredAt":"2026-11-23T12:01:31Z","previousState":null,"provenance":"CONTROLLED","reason":"not heard of for 91 s"}"#);
        }
        app.clock.advance_ms(60_000);
        heard(app, None).await;
        let online = state(&mut socket, &id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(online, @r#"{"changedBy":"health-check","deviceId":"till-1","newState":"ONLINE","occurredAt":"2026-11-23T12:02:31Z","previousState":"OFFLINE","provenance":"CONTROLLED","reason":"heard of again"}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_that_reports_rarely_is_given_three_of_its_intervals() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut socket = app.socket().await;
        let id = socket
            .subscribe(STATES, json!({ "a": app.head().await }))
            .await;
        heard(app, Some(600)).await;
        app.clock.advance_ms(1_801_000);
        let offline = state(&mut socket, &id).await;
        assert_eq!(offline["reason"], "not heard of for 1801 s");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_alive_before_a_restart_is_watched_after_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        heard(app, None).await;
        app.restart().await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(STATES, json!({ "a": head })).await;
        app.clock.advance_ms(200_000);
        assert_eq!(state(&mut socket, &id).await["newState"], "OFFLINE");
    })
    .await;
}
