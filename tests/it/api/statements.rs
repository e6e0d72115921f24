//! What is nested costs one statement for all parents, however many there are.

use std::sync::Arc;

use entity::api_request_logs::Column;
use homepot_analytics::event::Event;
use homepot_analytics::kinds::Kind;
use serde_json::{Value, json};

use super::alerts::opened;
use super::app::{TestApp, at, on_each_database};
use super::job_steps::issued;

async fn statements(app: &TestApp) -> u64 {
    let text = app
        .client()
        .get(app.address("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(r#"homepot_read_seconds_count{by="request"} "#));
    line.unwrap().parse().unwrap()
}

/// Statements that a document without a name costs when it is asked for again: what is kept of it was read. What was
/// recorded is summed up first, also the requests until then, of which the server tells a little later.
pub(super) async fn cost(app: &TestApp, document: &str) -> u64 {
    const NAME: &str = "AskedBefore";
    let store = app.app().ingest.store();
    let mut told = store.tail(store.head(), Some(&[Kind::ApiRequest]));
    app.data(&format!("query {NAME} {document}")).await;
    let is_it = |event: &Arc<Event>| event.fact.cell(Column::OperationName).text() == Some(NAME);
    while !told.next().await.unwrap().iter().any(is_it) {}
    app.settle().await;
    let before = statements(app).await;
    app.data(document).await;
    statements(app).await - before
}

async fn fleet_of(app: &TestApp, devices: usize) {
    app.fleet().await;
    let mut events = Vec::new();
    for n in 0..devices {
        let (device, site) = (format!("d-{n:02}"), format!("s-{:02}", n % 5));
        events.push(json!({ "siteRegistration": { "siteId": site, "name": site } }));
        events.push(json!({ "deviceRegistration": { "deviceId": device, "siteId": site, "deviceType": "GATEWAY" } }));
        for minutes in 1..4 {
            events.push(
                json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at(-minutes) } }),
            );
        }
        events.push(json!({ "deviceStateChange": { "deviceId": device, "newState": "ONLINE" } }));
        events.push(
            json!({ "siteSchedule": { "siteId": site, "dayOfWeek": "MONDAY", "isClosed": true } }),
        );
        events.push(
            json!({ "configurationChange": { "entityType": "DEVICE", "entityId": device,
            "parameterName": "volume", "newValue": n, "changedBy": "me" } }),
        );
    }
    app.record(json!(events)).await;
}

#[tokio::test]
async fn metrics_and_sites_of_twenty_devices_cost_three_statements_as_those_of_one() {
    on_each_database(async |app| {
        fleet_of(app, 20).await;
        let document = |devices: usize| {
            format!(
                "{{ devices(first: {devices}) {{ nodes {{
            deviceMetrics(first: 10) {{ nodes {{ cpuPercent }} }} site {{ name }} }} }} }}"
            )
        };
        for devices in [1, 20] {
            assert_eq!(cost(app, &document(devices)).await, 3, "{devices} devices");
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_is_nested_costs_the_same_for_one_parent_and_for_twenty() {
    on_each_database(async |app| {
        fleet_of(app, 20).await;
        for (list, nested, statements) in [
            ("devices", "latestMetrics { cpuPercent }", 2),
            ("devices", "deviceMetrics(first: 1) { totalCount nodes { id } }", 3),
            ("devices", "currentStateSince", 2),
            ("devices", "configuration { value }", 4),
            // of a kind that is archived and of which nothing is found it is asked whether something was
            // archived meanwhile
            ("devices", "errorLogs { totalCount }", 3),
            // what a filter names and nobody has registered is looked up once
            (
                "devices",
                "a: errorLogs(filter: { deviceId: { eq: \"nobody\" } }) { totalCount }
                b: errorLogs(filter: { deviceId: { in: [\"nobody\", \"none\"] } }) { totalCount }",
                6,
            ),
            ("devices", "site { schedule { dayOfWeek } }", 4),
            ("devices", "site { devices(first: 3) { nodes { deviceId } } }", 4),
            ("sites", "schedule { dayOfWeek }", 3),
            ("sites", "status { isOpen schedule { dayOfWeek } }", 3),
            (
                "sites",
                "operatingHours(from: \"2026-11-23T00:00:00Z\", to: \"2026-11-30T00:00:00Z\") { start }",
                3,
            ),
            ("sites", "configuration { value }", 4),
            ("sites", "devices(first: 3) { nodes { deviceId } }", 3),
            ("sites", "devices(first: 3) { totalCount }", 4),
            ("sites", "deviceMetrics(first: 3) { totalCount nodes { device { name } } }", 5),
            ("deviceMetrics", "device { name site { name } } site { name }", 4),
            ("events", "... on DeviceMetrics { device { name } } ... on DeviceStateChange { device { os } }", 24),
        ] {
            for first in [1, 20] {
                let document = format!("{{ {list}(first: {first}) {{ nodes {{ {nested} }} }} }}");
                let cost = cost(app, &document).await;
                assert!(cost <= statements, "{list} {{ {nested} }} of {first}: {cost} statements");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn open_alerts_cost_one_statement_for_one_parent_and_for_twenty() {
    on_each_database(async |app| {
        fleet_of(app, 20).await;
        let devices: Vec<String> = (0..20).map(|n| format!("d-{n:02}")).collect();
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        opened(app, &devices).await;
        app.settle().await;
        for (nested, statements) in [
            ("openAlerts { cause severity }", 2),
            (
                "openAlerts(first: 1) { alertId } more: openAlerts(first: 2) { alertId }",
                3,
            ),
            ("openAlerts { device { name } site { name } }", 4),
        ] {
            for list in ["devices", "sites"] {
                for first in [1, 20] {
                    let document =
                        format!("{{ {list}(first: {first}) {{ nodes {{ {nested} }} }} }}");
                    let cost = cost(app, &document).await;
                    assert!(
                        cost <= statements,
                        "{list} {{ {nested} }} of {first}: {cost} statements"
                    );
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_devices_of_jobs_cost_the_same_for_one_job_and_for_ten() {
    on_each_database(async |app| {
        app.fleet().await;
        for n in 0..10 {
            let create = format!("mutation {{ createJob(input: {{ jobType: CUSTOM, name: \"J{n}\", siteIds: [\"harbour\"] }}) {{ job {{ jobId }} }} }}");
            app.data(&create).await;
        }
        issued(app, 20).await;
        let mut costs = Vec::<Value>::new();
        for first in [1, 10] {
            let document = format!("{{ jobs(first: {first}) {{ nodes {{ devicesTargeted targets {{ device {{ name }} }} }} }} }}");
            costs.push(json!(cost(app, &document).await));
        }
        assert_eq!(costs, [json!(4), json!(4)]);
    })
    .await;
}
