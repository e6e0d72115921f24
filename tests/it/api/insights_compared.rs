//! With which devices one that was changed is compared, and who is told what the change did.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::access::{ask, grant, key, recorded};
use super::app::{TestApp, at, on_each_database};
use super::insights::reading;

/// Minutes of a day.
const DAY: i64 = 1_440;

/// Three weeks of latencies by the hour of a device, until three hours before noon: they vary from day to day as those
/// of all others, and a little otherwise.
fn alike(device: &str, salt: i64, provenance: &str) -> Vec<Value> {
    let wave = |of: i64, period: i64| f64::from(i32::try_from(of.rem_euclid(period)).unwrap());
    // no two of a device are of one instant
    let shift = if provenance == "REAL" { 0 } else { 30 };
    let hours = (3..3 + 21 * 24).rev();
    let of = |hour: i64| {
        let day = (12 - hour).div_euclid(24);
        let latency = 40.0 + wave(day * 7, 13) + 0.1 * wave(day * 5 + salt, 7);
        let body = json!({ "networkLatencyMs": latency, "provenance": provenance });
        reading(device, shift - 60 * hour, body)
    };
    hours.map(of).collect()
}

/// The parameter is changed ten days ago.
fn change(device: &str) -> Value {
    json!({ "configurationChange": { "entityType": "DEVICE", "entityId": device, "parameterName": "retry.limit",
        "newValue": 7, "changedBy": "me", "occurredAt": at(-10 * DAY) } })
}

/// With how many devices the first till is compared.
async fn compared(app: &TestApp) -> Value {
    let document = "{ configurationImpact(deviceId: \"till-1\") { provenance effects { name devicesCompared } } }";
    let mut data = app.data(document).await;
    let impact = data["configurationImpact"].take();
    assert_eq!(impact["provenance"], "REAL");
    let effects = impact["effects"].as_array().unwrap().iter();
    let mut latency = effects.filter(|effect| effect["name"] == "networkLatencyMs");
    latency.next().unwrap()["devicesCompared"].clone()
}

#[tokio::test]
async fn devices_with_the_same_change_take_nobodys_place_and_the_fleet_stands_in_for_a_site() {
    on_each_database(async |app| {
        app.fleet().await;
        // more than are read, all changed, and behind them one that was not
        let mut events = Vec::new();
        for number in 0..45 {
            let id = format!("other-{number:02}");
            events.push(
                json!({ "deviceRegistration": { "deviceId": id, "siteId": "harbour",
                "deviceType": "POS_TERMINAL" } }),
            );
            events.push(change(&id));
        }
        app.record(json!(events)).await;
        app.record(json!([change("till-1"), change("till-2")]))
            .await;
        app.record(json!(alike("till-1", 0, "REAL"))).await;
        app.record(json!(alike("till-3", 1, "REAL"))).await;
        assert_eq!(compared(app).await, 1, "with the one of another site");
        app.record(
            json!([{ "deviceRegistration": { "deviceId": "spare", "siteId": "harbour",
            "deviceType": "POS_TERMINAL" } }]),
        )
        .await;
        app.record(json!(alike("spare", 2, "REAL"))).await;
        // another parameter is no such change
        let mut other = change("spare");
        other["configurationChange"]["parameterName"] = json!("volume");
        app.record(json!([other])).await;
        app.record(json!([change("till-3")])).await;
        assert_eq!(compared(app).await, 1, "with the one of its site");
        app.record(json!([change("spare")])).await;
        assert_eq!(compared(app).await, 0, "there is nobody left");
    })
    .await;
}

#[tokio::test]
async fn what_is_real_is_not_compared_with_what_is_made_up() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([change("till-1")])).await;
        app.record(json!(alike("till-1", 0, "REAL"))).await;
        app.record(json!(alike("till-2", 1, "SIMULATED"))).await;
        assert_eq!(compared(app).await, 0, "with nobody");
        app.record(json!(alike("till-3", 2, "REAL"))).await;
        assert_eq!(compared(app).await, 1, "with the one of another site");
        app.record(json!(alike("till-2", 3, "REAL"))).await;
        assert_eq!(compared(app).await, 1, "with the one of its site");
    })
    .await;
}

#[tokio::test]
async fn whoever_does_not_reach_where_a_device_has_moved_is_not_told_of_its_changes() {
    on_each_database(async |app| {
        app.fleet().await;
        app.clock.advance_ms(120_000);
        let mut changed = change("till-3");
        changed["configurationChange"]["occurredAt"] = json!(at(1));
        app.record(json!([
            reading("till-3", 1, json!({ "cpuPercent": 5 })),
            changed
        ]))
        .await;
        let listed = app.data("{ configurationHistory { nodes { id } } }").await;
        let id = &listed["configurationHistory"]["nodes"][0]["id"];
        let document = "query($id: ID!) { configurationImpact(changeId: $id) { parameterName } }";
        let request = json!({ "query": document, "variables": { "id": id } });
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let market = key(app, grant(Role::Viewer, &["market"])).await;
        let both = key(app, grant(Role::Viewer, &["market", "harbour"])).await;
        let told = json!({ "parameterName": "retry.limit" });
        for holder in [&admin, &market, &both] {
            let (_, answer) = ask(app, holder, request.clone()).await;
            assert_eq!(answer["data"]["configurationImpact"], told, "{answer}");
        }
        app.clock.advance_ms(120_000);
        let moved = json!([{ "deviceRegistration": { "deviceId": "till-3", "siteId": "harbour",
            "deviceType": "POS_TERMINAL" } }]);
        assert_eq!(recorded(app, &admin, moved).await, ["RECORDED"]);
        for holder in [&admin, &both] {
            let (_, answer) = ask(app, holder, request.clone()).await;
            assert_eq!(answer["data"]["configurationImpact"], told, "{answer}");
        }
        let (_, answer) = ask(app, &market, request).await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "NOT_FOUND",
            "{answer}"
        );
    })
    .await;
}
