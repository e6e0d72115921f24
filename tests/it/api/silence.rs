//! Life and silence become states: ONLINE when a device is heard of first, OFFLINE when it is not heard
//! of any more, ONLINE on its return.

use std::collections::HashSet;

use homepot_analytics::event::Instant;
use homepot_analytics::ingest::Patience;
use homepot_analytics::kinds::{Kind, parse_any};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::socket::Socket;

const STATES: &str =
    "subscription($a: String) { deviceStateChanges(after: $a) { deviceId previousState newState
    changedBy reason occurredAt provenance } }";

fn metrics(device: &str, at: Instant, interval: Option<i64>) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at.to_string(),
        "provenance": "CONTROLLED", "collectionIntervalSeconds": interval } })
}

async fn heard(app: &TestApp, interval: Option<i64>) {
    let metrics = metrics("till-1", app.clock.now(), interval);
    app.record(json!([metrics])).await;
}

async fn state(socket: &mut Socket, id: &str) -> Value {
    socket.data(id).await["deviceStateChanges"].take()
}

/// Follows the states of devices from now on.
async fn follow(app: &TestApp) -> (Socket, String) {
    let mut socket = app.socket().await;
    let after = json!({ "a": app.head().await });
    let id = socket.subscribe(STATES, after).await;
    (socket, id)
}

/// Takes it that a device is heard of for the first time.
async fn first_heard_of(socket: &mut Socket, id: &str) {
    assert_eq!(state(socket, id).await["reason"], "first heard of");
}

#[tokio::test]
async fn a_device_that_falls_silent_is_offline_and_online_when_it_returns() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut socket, id) = follow(app).await;
        heard(app, None).await;
        app.clock.advance_ms(91_000);
        first_heard_of(&mut socket, &id).await;
        let offline = state(&mut socket, &id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(offline, @r#"{"changedBy":"health-check","deviceId":"till-1","newState":"OFFLINE","occurredAt":"2026-11-23T12:01:30Z","previousState":"ONLINE","provenance":"CONTROLLED","reason":"not heard of for 90 s"}"#);
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
        let (mut socket, id) = follow(app).await;
        heard(app, Some(600)).await;
        app.clock.advance_ms(1_801_000);
        first_heard_of(&mut socket, &id).await;
        let offline = state(&mut socket, &id).await;
        assert_eq!(offline["reason"], "not heard of for 1800 s");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_alive_before_a_restart_is_watched_after_it() {
    on_each_database(async |app| {
        app.fleet().await;
        heard(app, None).await;
        app.restart().await;
        // it has its whole time from when the watch over it begins
        while states(app).await.1 != "OFFLINE" {
            app.clock.advance_ms(91_000);
        }
    })
    .await;
}

/// How many states were reported, and the newest of them.
async fn states(app: &TestApp) -> (String, Value) {
    let document = "{ deviceStateHistory(first: 1, all: true) { totalCount nodes { newState } } }";
    let data = app.data(document).await;
    let history = &data["deviceStateHistory"];
    let count = history["totalCount"].as_str().unwrap().to_owned();
    (
        count,
        history["nodes"]
            .as_array()
            .unwrap()
            .first()
            .map_or(Value::Null, |state| state["newState"].clone()),
    )
}

#[tokio::test]
async fn a_device_that_only_measures_itself_is_online_since_it_was_heard_of_first() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut socket, id) = follow(app).await;
        heard(app, None).await;
        app.clock.advance_ms(30_000);
        let online = state(&mut socket, &id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(online, @r#"{"changedBy":"health-check","deviceId":"till-1","newState":"ONLINE","occurredAt":"2026-11-23T12:00:00Z","previousState":null,"provenance":"CONTROLLED","reason":"first heard of"}"#);
        }
        // also when it is heard of again, and when the server has started again
        heard(app, None).await;
        app.restart().await;
        app.clock.advance_ms(10_000);
        let next = ["till-1", "till-2"].map(|device| metrics(device, app.clock.now(), None));
        let (mut socket, id) = follow(app).await;
        app.record(json!(next)).await;
        app.clock.advance_ms(6_000);
        assert_eq!(state(&mut socket, &id).await["deviceId"], "till-2");
        assert_eq!(states(app).await.0, "2");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_says_itself_what_state_it_is_in_is_not_spoken_for() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        let now = app.clock.now();
        app.record(json!([
            metrics("till-1", now, None),
            metrics("till-2", now, None)
        ]))
        .await;
        app.clock.advance_ms(2_000);
        app.record(json!([{ "deviceStateChange": { "deviceId": "till-1", "newState": "ERROR" } }]))
            .await;
        app.clock.advance_ms(4_000);
        let mut socket = app.socket().await;
        let id = socket.subscribe(STATES, json!({ "a": head })).await;
        assert_eq!(state(&mut socket, &id).await["newState"], "ERROR");
        assert_eq!(state(&mut socket, &id).await["deviceId"], "till-2");
        assert_eq!(states(app).await.0, "2");
    })
    .await;
}

#[tokio::test]
async fn history_says_nothing_of_now_also_after_a_restart() {
    on_each_database(async |app| {
        app.fleet().await;
        let (now, past) = (app.clock.now(), app.clock.now().plus_ms(-3_600_000));
        let online = json!({ "deviceStateChange": { "deviceId": "till-3", "newState": "ONLINE",
            "occurredAt": past.to_string() } });
        app.record(json!([
            metrics("till-1", past, None),
            metrics("till-3", past, None),
            online
        ]))
        .await;
        app.restart().await;
        let (mut socket, id) = follow(app).await;
        app.record(json!([metrics("till-2", now, None)])).await;
        app.clock.advance_ms(91_000);
        first_heard_of(&mut socket, &id).await;
        assert_eq!(state(&mut socket, &id).await["deviceId"], "till-2");
        assert_eq!(states(app).await.0, "3");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_offline_long_before_the_start_is_online_when_it_returns() {
    on_each_database(async |app| {
        app.fleet().await;
        let past = app.clock.now().plus_ms(-30 * 86_400_000).to_string();
        let offline = json!({ "deviceStateChange": { "deviceId": "till-1", "newState": "OFFLINE",
            "occurredAt": past } });
        app.record(json!([offline])).await;
        app.restart().await;
        let (mut socket, id) = follow(app).await;
        heard(app, None).await;
        app.clock.advance_ms(6_000);
        let online = state(&mut socket, &id).await;
        assert_eq!(online["newState"], "ONLINE");
        assert_eq!(online["reason"], "heard of again");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_not_folded_before_a_restart_is_watched_after_it() {
    on_each_database(async |app| {
        app.fleet().await;
        rename(app, "collection_counters", "hidden").await;
        let head = app.head().await;
        let event = parse_any(&metrics("till-1", app.clock.now(), None), app.clock.now());
        app.restart_after(async |ingest| {
            let given = vec![(Some(Kind::DeviceMetrics), event)];
            ingest.record(given, None, Patience::None).await.unwrap();
        })
        .await;
        let mut socket = app.socket().await;
        let told = fault(&mut socket, &head).await;
        assert!(told.contains("the projections: cannot "), "{told}");
        rename(app, "hidden", "collection_counters").await;
        app.settle().await;
        while states(app).await.1 != "OFFLINE" {
            app.clock.advance_ms(91_000);
        }
    })
    .await;
}

/// The next fault that this server records of itself.
pub(super) async fn fault(socket: &mut Socket, after: &str) -> String {
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
        let (mut socket, id) = follow(app).await;
        app.clock.advance_ms(91_000);
        let (mut online, mut offline) = (HashSet::new(), HashSet::new());
        for _ in 0..2_400 {
            let state = state(&mut socket, &id).await;
            let device = state["deviceId"].to_string();
            if state["newState"] == "ONLINE" {
                online.insert(device);
            } else {
                assert!(online.contains(&device));
                offline.insert(device);
            }
        }
        assert_eq!(offline.len(), 1_200);
    })
    .await;
}

#[tokio::test]
async fn a_silence_that_cannot_be_recorded_is_told_and_recorded_later_as_of_when_it_was() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut socket, id) = follow(app).await;
        heard(app, None).await;
        app.clock.advance_ms(6_000);
        first_heard_of(&mut socket, &id).await;
        let head = app.head().await;
        rename(app, "device_state_history", "hidden").await;
        app.clock.advance_ms(85_000);
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
        let (mut socket, id) = follow(app).await;
        heard(app, None).await;
        app.clock.advance_ms(91_000);
        first_heard_of(&mut socket, &id).await;
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
        let (mut socket, id) = follow(app).await;
        heard(app, None).await;
        app.clock.advance_ms(91_000);
        first_heard_of(&mut socket, &id).await;
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
        // a request, which is recorded and to be folded
        states(app).await;
        let told = fault(&mut socket, &head).await;
        assert!(told.contains("the projections: cannot "), "{told}");
        rename(app, "hidden", "collection_counters").await;
        app.settle().await;
    })
    .await;
}
