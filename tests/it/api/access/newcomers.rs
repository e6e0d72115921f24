//! Devices that are not known are registered by what is recorded of them, by a key that may.

use homepot_analytics::identity::{Grant, More, Role};
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::{ask, data, grant, key, recorded};

fn registering(sites: &[&str]) -> Grant {
    Grant {
        more: More {
            registers_devices: true,
            ..More::default()
        },
        ..grant(Role::Ingest, sites)
    }
}

fn metrics(app: &TestApp, device: &str) -> Value {
    let at = app.clock.now().to_string();
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at, "provenance": "CONTROLLED" } })
}

async fn devices(app: &TestApp, admin: &str) -> String {
    let data = data(
        app,
        admin,
        "{ devices(filter: { siteId: \"harbour\" }) { totalCount } }",
    )
    .await;
    data["devices"]["totalCount"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_device_that_is_not_known_is_registered_by_what_is_recorded_of_it() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let collector = key(app, registering(&["harbour"])).await;
        let events = json!([
            metrics(app, "new-1"),
            { "deviceMetrics": { "deviceId": "new-2", "occurredAt": app.clock.now().to_string(), "cpuPercent": 9999 } },
            { "deviceMetrics": { "deviceId": "new-3", "occurredAt": app.clock.now().plus_ms(600_000).to_string() } },
            { "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "e", "deviceId": "new-1" } },
            metrics(app, "till-1"),
            metrics(app, "till-3"),
        ]);
        assert_eq!(recorded(app, &collector, events).await, [
            "RECORDED", "REJECTED OUT_OF_RANGE", "REJECTED UNKNOWN_DEVICE", "RECORDED", "RECORDED",
            "REJECTED UNKNOWN_DEVICE",
        ]);
        // in this order, and in one commit; the server records its own requests beside them
        let log = data(app, &admin, "{ deviceRegistrations(first: 1) { nodes { position recordedAt } }
            deviceMetrics(first: 2, order: LAST_RECORDED_FIRST) { nodes { position recordedAt } }
            errorLogs(first: 1, order: LAST_RECORDED_FIRST) { nodes { position recordedAt } } }").await;
        let of = |list: &str, at: usize, field: &str| log[list]["nodes"][at][field].as_str().unwrap().to_owned();
        let rows = [("deviceRegistrations", 0), ("deviceMetrics", 1), ("errorLogs", 0), ("deviceMetrics", 0)];
        let positions: Vec<i64> = rows.iter().map(|(list, at)| of(list, *at, "position").parse().unwrap()).collect();
        assert_eq!(positions, (positions[0]..positions[0] + 4).collect::<Vec<_>>());
        assert_eq!(of("deviceRegistrations", 0, "recordedAt"), of("deviceMetrics", 0, "recordedAt"));
        let made = data(app, &admin, "{ device(deviceId: \"new-1\") { deviceType name site { siteId } deviceRegistrations { nodes { provenance } } } }").await;
        assert_eq!(made["device"], json!({ "deviceType": "UNKNOWN", "name": null, "site": { "siteId": "harbour" },
            "deviceRegistrations": { "nodes": [{ "provenance": "CONTROLLED" }] } }));
        assert_eq!(devices(app, &admin).await, "3");
        // a key without that permission registers nothing
        let plain = key(app, grant(Role::Ingest, &["harbour"])).await;
        assert_eq!(recorded(app, &plain, json!([metrics(app, "new-9")])).await, ["REJECTED UNKNOWN_DEVICE"]);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_records_and_registers_nothing_further() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let collector = key(app, registering(&["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let error = json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "e", "deviceId": "new-1" } });
        let document = "mutation($e: [EventInput!]!) { recordEvents(input: { events: $e, idempotencyKey: \"k\" }) { outcomes { status position } } }";
        let request = json!({ "query": document, "variables": { "e": [error] } });
        let (_, first) = ask(app, &collector, request.clone()).await;
        let (_, again) = ask(app, &collector, request).await;
        let outcome = |answer: &Value| answer["data"]["recordEvents"]["outcomes"][0].clone();
        assert_eq!(outcome(&first)["status"], "RECORDED");
        assert_eq!(outcome(&again)["status"], "DUPLICATE");
        assert_eq!(outcome(&first)["position"], outcome(&again)["position"]);
        // and of several at once each device is registered once
        let both = json!([metrics(app, "new-2"), metrics(app, "new-3")]);
        let (a, b, c) = tokio::join!(
            recorded(app, &collector, both.clone()),
            recorded(app, &collector, both.clone()),
            recorded(app, &collector, both),
        );
        let recorded = [a, b, c].concat().iter().filter(|status| *status == "RECORDED").count();
        assert_eq!(recorded, 2);
        let data = data(app, &admin, "{ deviceRegistrations { totalCount } }").await;
        assert_eq!(data["deviceRegistrations"]["totalCount"], "6");
    })
    .await;
}

#[tokio::test]
async fn no_more_than_a_hundred_devices_are_registered_so_in_an_hour() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let collector = key(app, registering(&["harbour"])).await;
        let many: Vec<Value> = (0..150)
            .map(|n| metrics(app, &format!("new-{n:03}")))
            .collect();
        let outcomes = recorded(app, &collector, json!(many)).await;
        assert!(outcomes[..100].iter().all(|status| status == "RECORDED"));
        assert!(
            outcomes[100..]
                .iter()
                .all(|status| status == "REJECTED TOO_MANY_DEVICES")
        );
        assert_eq!(devices(app, &admin).await, "102");
        // those that are known go on, and an hour later there is room again
        app.clock.advance_ms(3_599_000);
        let known = json!([metrics(app, "new-000"), metrics(app, "more")]);
        assert_eq!(
            recorded(app, &collector, known).await,
            ["RECORDED", "REJECTED TOO_MANY_DEVICES"]
        );
        app.clock.advance_ms(1_000);
        assert_eq!(
            recorded(app, &collector, json!([metrics(app, "more")])).await,
            ["RECORDED"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_site_of_a_thousand_devices_gets_no_more_so() {
    on_each_database(async |app| {
        app.fleet().await;
        let registration = |n: usize| {
            json!({ "deviceRegistration": { "deviceId": format!("old-{n}"),
            "siteId": "harbour", "deviceType": "GATEWAY" } })
        };
        app.record((0..998).map(registration).collect()).await;
        app.close_to_strangers().await;
        let collector = key(app, registering(&["harbour"])).await;
        assert_eq!(
            recorded(app, &collector, json!([metrics(app, "more")])).await,
            ["REJECTED TOO_MANY_DEVICES"]
        );
    })
    .await;
}

#[tokio::test]
async fn the_permission_is_for_collectors_of_one_site() {
    on_each_database(async |app| {
        app.fleet().await;
        for (role, sites, code) in [
            ("INGEST", json!(["harbour"]), None),
            ("INGEST", json!(["harbour", "market"]), Some("INVALID")),
            ("INGEST", Value::Null, Some("INVALID")),
            ("OPERATOR", json!(["harbour"]), Some("INVALID")),
            ("ENROL", json!(["harbour"]), Some("INVALID")),
        ] {
            let input = json!({ "name": "k", "role": role, "siteIds": sites, "registersDevices": role != "ENROL" });
            let document = "mutation($i: CreateAccessKeyInput!) { createAccessKey(input: $i) { accessKey { registersDevices } userErrors { field code } } }";
            let answer = app.data_with(document, json!({ "i": input })).await;
            let answer = &answer["createAccessKey"];
            assert_eq!(answer["userErrors"][0]["code"].as_str(), code, "{role} {sites}");
            assert_eq!(answer["accessKey"]["registersDevices"].as_bool(), code.is_none().then_some(true));
        }
    })
    .await;
}
