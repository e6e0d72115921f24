//! Silence becomes a state: OFFLINE when a device is not heard of any more, ONLINE on its return.

use std::collections::HashSet;

use homepot_analytics::event::Instant;
use sea_orm::ConnectionTrait;
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
            insta::assert_snapshot!(offline, @r#"{"changedBy":"health-check","deviceId":"till-1","newState":"OFFLINE","occurredAt":"2026-11-23T12:01:30Z","previousState":null,"provenance":"CONTROLLED","reason":"not heard of for 90 s"}"#);
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
        assert_eq!(offline["reason"], "not heard of for 1800 s");
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

/// The next fault that this server records of itself.
async fn fault(socket: &mut Socket, after: &str) -> String {
    let document = "subscription($a: String) { errorLogs(after: $a) { errorMessage } }";
    let id = socket.subscribe(document, json!({ "a": after })).await;
    let mut data = socket.data(&id).await;
    data["errorLogs"]["errorMessage"].take().to_string()
}

async fn rename(app: &TestApp, from: &str, to: &str) {
    let harm = app.database().await;
    let sql = format!("ALTER TABLE {from} RENAME TO {to}");
    ConnectionTrait::execute_unprepared(&harm, &sql)
        .await
        .unwrap();
    harm.close().await.unwrap();
}

#[tokio::test]
async fn more_devices_than_a_request_takes_fall_silent_at_once() {
    on_each_database(async |app| {
        app.fleet().await;
        let now = app.clock.now().to_string();
        let device = |n: usize| {
            json!({ "deviceRegistration": {
            "deviceId": format!("many-{n}"), "siteId": "market", "deviceType": "POS_TERMINAL" } })
        };
        let metrics = |n: usize| {
            json!({ "deviceMetrics": {
            "deviceId": format!("many-{n}"), "occurredAt": now } })
        };
        for half in [0..1_000, 1_000..1_200] {
            app.record(half.clone().map(device).collect()).await;
            app.record(half.map(metrics).collect()).await;
        }
        let mut socket = app.socket().await;
        let id = socket
            .subscribe(STATES, json!({ "a": app.head().await }))
            .await;
        app.clock.advance_ms(91_000);
        let mut offline = HashSet::new();
        for _ in 0..1_200 {
            let state = state(&mut socket, &id).await;
            assert_eq!(state["newState"], "OFFLINE");
            offline.insert(state["deviceId"].to_string());
        }
        assert_eq!(offline.len(), 1_200);
    })
    .await;
}

#[tokio::test]
async fn a_silence_that_cannot_be_recorded_is_told_and_recorded_later_as_of_when_it_was() {
    on_each_database(async |app| {
        app.fleet().await;
        heard(app, None).await;
        let head = app.head().await;
        let mut socket = app.socket().await;
        rename(app, "device_state_history", "hidden").await;
        app.clock.advance_ms(91_000);
        let told = fault(&mut socket, &head).await;
        assert!(told.contains("an append: cannot "), "{told}");
        app.clock.advance_ms(600_000);
        rename(app, "hidden", "device_state_history").await;
        let id = socket.subscribe(STATES, json!({ "a": head })).await;
        let offline = state(&mut socket, &id).await;
        assert_eq!(offline["newState"], "OFFLINE");
        assert_eq!(offline["occurredAt"], "2026-11-23T12:01:30Z");
        heard(app, None).await;
        assert_eq!(state(&mut socket, &id).await["newState"], "ONLINE");
    })
    .await;
}

#[tokio::test]
async fn the_health_check_outlives_a_failed_read() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut socket = app.socket().await;
        let id = socket
            .subscribe(STATES, json!({ "a": app.head().await }))
            .await;
        heard(app, None).await;
        app.clock.advance_ms(91_000);
        assert_eq!(state(&mut socket, &id).await["newState"], "OFFLINE");
        app.settle().await;
        let head = app.head().await;
        drop(socket);
        rename(app, "device_status", "hidden").await;
        app.restart().await;
        let mut socket = app.socket().await;
        let mut told = String::new();
        let document = "subscription($a: String) { errorLogs(after: $a) { errorMessage } }";
        let id = socket.subscribe(document, json!({ "a": head })).await;
        while !told.contains("the health check") {
            told = socket.data(&id).await["errorLogs"].take().to_string();
        }
        rename(app, "hidden", "device_status").await;
        let id = socket.subscribe(STATES, json!({ "a": head })).await;
        heard(app, None).await;
        assert_eq!(state(&mut socket, &id).await["newState"], "ONLINE");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_wrong_once_does_not_hide_that_a_device_returns() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut socket = app.socket().await;
        let id = socket
            .subscribe(STATES, json!({ "a": app.head().await }))
            .await;
        heard(app, None).await;
        app.clock.advance_ms(91_000);
        assert_eq!(state(&mut socket, &id).await["newState"], "OFFLINE");
        let day_ms = 86_400_000;
        app.clock.advance_ms(day_ms);
        app.record(json!([{ "userActivity": { "activityType": "PAGE_VIEW" } }]))
            .await;
        app.clock.advance_ms(60_000 - day_ms);
        heard(app, None).await;
        let online = state(&mut socket, &id).await;
        assert_eq!(online["newState"], "ONLINE");
        assert_eq!(online["occurredAt"], "2026-11-23T12:02:31Z");
    })
    .await;
}

#[tokio::test]
async fn projections_that_stop_are_told_as_an_error_of_the_server() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        let mut socket = app.socket().await;
        rename(app, "collection_counters", "hidden").await;
        let told = fault(&mut socket, &head).await;
        assert!(told.contains("the projections: cannot "), "{told}");
        rename(app, "hidden", "collection_counters").await;
        app.settle().await;
    })
    .await;
}
