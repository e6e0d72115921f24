//! What a device measured in the hour before a change is frozen with it, and the hour after follows.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::access::{ask, grant, key};
use super::super::app::{TestApp, at, on_each_database};
use super::super::device_commands::{Followed, complete};
use super::{done, parameters};

const AFTER: &str =
    "subscription { configurationEvidence(filter: { phase: { eq: AFTER } }) { position } }";

/// A reading of `till-1` so many minutes from noon.
fn reading(minute: i64, cpu: f64) -> Value {
    json!({ "deviceMetrics": { "deviceId": "till-1", "occurredAt": at(minute), "cpuPercent": cpu, "queueDepth": minute.abs() } })
}

/// Count, mean, p95 and max of some values, as one would reckon them by hand.
fn naive(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let count = u32::try_from(values.len()).unwrap();
    let below =
        |value: f64| u32::try_from(values.iter().filter(|one| **one <= value).count()).unwrap();
    let p95 = values
        .iter()
        .find(|value| below(**value) * 100 >= 95 * count)
        .unwrap();
    let mean = values.iter().sum::<f64>() / f64::from(count);
    json!({ "count": count, "max": values.last(), "mean": mean, "p95": p95 })
}

async fn evidence(app: &TestApp, command: &str) -> Value {
    let document = "query($id: ID!) { changeEvidence(commandId: $id) { before { occurredAt readings readingsProvenance measures }
        after { occurredAt readings measures } } }";
    let mut data = app.data_with(document, json!({ "id": command })).await;
    data["changeEvidence"].take()
}

/// Sets a parameter and has `till-1` apply it; the command.
async fn apply(app: &TestApp, value: i64) -> String {
    let mut device = Followed::new(app, Some("till-1")).await;
    done(app, "till-1", &[("volume", json!(value))]).await;
    let id = device.told("till-1 1 ISSUED").await;
    assert!(complete(app, &id, "COMPLETED").await.is_empty());
    id
}

fn cpu(minute: i64) -> f64 {
    f64::from(i32::try_from((minute * 37).rem_euclid(100)).unwrap())
}

#[tokio::test]
async fn the_hour_before_is_frozen_and_the_hour_after_follows_once() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        app.record((-70..0).map(|minute| reading(minute, cpu(minute))).collect()).await;
        // of another device, and of another provenance
        app.record(json!([
            { "deviceMetrics": { "deviceId": "till-2", "occurredAt": at(-1), "cpuPercent": 100 } },
            { "deviceMetrics": { "deviceId": "till-1", "occurredAt": "2026-11-23T11:59:30Z", "cpuPercent": 100, "provenance": "SIMULATED" } },
        ]))
        .await;
        let command = apply(app, 1).await;
        let told = evidence(app, &command).await;
        let before = naive((-60..0).map(cpu).collect());
        assert_eq!(told["before"]["measures"]["cpuPercent"], before);
        let depth = naive((1..=60_i32).map(f64::from).collect());
        assert_eq!(told["before"]["measures"]["queueDepth"], depth);
        assert_eq!(told["before"]["readings"], 60);
        assert_eq!(told["before"]["readingsProvenance"], "REAL");
        assert_eq!(told["before"]["occurredAt"], at(0));
        assert_eq!(told["after"], Value::Null);
        app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "occurredAt": "2026-11-23T11:30:30Z", "cpuPercent": 100 } }])).await;
        assert_eq!(evidence(app, &command).await, told, "what comes late changes nothing");
        let mut socket = app.socket().await;
        let followed = socket.subscribe(AFTER, json!({})).await;
        // the last of them are known before the hour is over
        for minutes in 0..12 {
            let five = minutes * 5..minutes * 5 + 5;
            app.record(five.map(|minute| reading(minute, cpu(minute))).collect()).await;
            app.clock.advance_ms(300_000);
        }
        socket.data(&followed).await;
        let told = evidence(app, &command).await;
        assert_eq!(told["after"]["measures"]["cpuPercent"], naive((0..60).map(cpu).collect()));
        assert_eq!(told["after"]["occurredAt"], at(60));
        app.restart().await;
        let count = app.data("{ configurationEvidence { totalCount } }").await;
        assert_eq!(count["configurationEvidence"]["totalCount"], "2");
    })
    .await;
}

#[tokio::test]
async fn an_hour_that_passed_while_the_server_was_stopped_is_told_when_it_is_back() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        let command = apply(app, 1).await;
        assert_eq!(
            evidence(app, &command).await["before"]["measures"],
            json!({})
        );
        app.stop().await;
        app.clock.advance_ms(7_200_000);
        app.start_again().await;
        let mut socket = app.socket().await;
        let document = AFTER.replace("(filter", "(after: \"AFTER\", filter");
        let head = document.replace(
            "AFTER\", filter",
            &format!("{}\", filter", start(app).await),
        );
        let followed = socket.subscribe(&head, json!({})).await;
        socket.data(&followed).await;
        let told = evidence(app, &command).await;
        assert_eq!(told["after"]["occurredAt"], at(60));
        assert_eq!(told["after"]["readings"], 0);
    })
    .await;
}

#[tokio::test]
async fn of_a_device_that_was_moved_its_former_site_reads_nothing_that_came_later() {
    on_each_database(async |app| {
        app.fleet().await;
        parameters(app, &["volume"]).await;
        app.record(json!([reading(-1, 40.0)])).await;
        let command = apply(app, 1).await;
        app.clock.advance_ms(60_000);
        app.data("mutation { moveDevice(input: { deviceId: \"till-1\", siteId: \"market\" }) { userErrors { code } } }")
            .await;
        let mut socket = app.socket().await;
        let followed = socket.subscribe(AFTER, json!({})).await;
        app.clock.advance_ms(60 * 60_000);
        socket.data(&followed).await;
        app.close_to_strangers().await;
        let document = "query($id: ID!) { changeEvidence(commandId: $id) { before { readings } after { readings } } }";
        let request = json!({ "query": document, "variables": { "id": command } });
        for (sites, told) in [
            (["harbour"].as_slice(), json!({ "before": { "readings": 1 }, "after": null })),
            (&["market"], Value::Null),
            (&[], json!({ "before": { "readings": 1 }, "after": { "readings": 0 } })),
        ] {
            let key = key(app, grant(Role::Viewer, sites)).await;
            let (_, answer) = ask(app, &key, request.clone()).await;
            assert_eq!(answer["data"]["changeEvidence"], told, "{sites:?} {answer}");
        }
    })
    .await;
}

/// Cursor of the first event: what is followed from there is all.
async fn start(app: &TestApp) -> String {
    let data = app
        .data("{ events(first: 1, order: FIRST_RECORDED_FIRST) { edges { cursor } } }")
        .await;
    data["events"]["edges"][0]["cursor"]
        .as_str()
        .unwrap()
        .to_owned()
}
