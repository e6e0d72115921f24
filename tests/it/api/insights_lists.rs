//! Insights that list: devices at risk and anomalies, in order, page by page, and within reach.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::access::{ask, grant, key};
use super::app::{TestApp, at, on_each_database, texts};
use super::insights::{afterwards, folded, reading, state, weeks};

/// Devices of another type at both sites, all of which report; of two it is known that they are worse than the others.
async fn fleet(app: &TestApp) {
    app.fleet().await;
    let mut events = Vec::new();
    for (number, site) in [(0, "harbour"), (1, "harbour"), (2, "market"), (3, "market")] {
        let device = format!("gate-{number}");
        events.push(json!({ "deviceRegistration": { "deviceId": device, "siteId": site, "deviceType": "GATEWAY" } }));
        events.push(reading(&device, -200, json!({ "cpuPercent": 5 })));
        events.push(state(&device, -199, "ONLINE"));
    }
    for device in ["till-1", "till-3"] {
        events.push(reading(device, -200, json!({ "cpuPercent": 5 })));
    }
    app.record(json!(events)).await;
    folded(app).await;
}

fn devices(list: &Value) -> Vec<String> {
    let nodes = list["nodes"].as_array().unwrap().iter();
    let id = |node: &Value| node["device"]["deviceId"].as_str().unwrap().to_owned();
    nodes.map(id).collect()
}

#[tokio::test]
async fn devices_at_risk_stand_in_order_of_their_risk_and_are_paged_through() {
    on_each_database(async |app| {
        fleet(app).await;
        let all = "{ devicesAtRisk { nodes { value device { deviceId } } totalCount } }";
        let all = app.data(all).await["devicesAtRisk"].clone();
        // a device of which nothing is known is not among them
        assert_eq!(all["totalCount"], "6");
        let values = all["nodes"].as_array().unwrap().iter();
        let values: Vec<f64> = values.map(|node| node["value"].as_f64().unwrap()).collect();
        assert!(values.is_sorted_by(|one, next| one >= next), "{values:?}");
        let document = "query($after: String) { devicesAtRisk(first: 4, after: $after, asOf: \"2026-11-23T12:00:00Z\") {
            edges { cursor } nodes { value device { deviceId } } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
        let mut paged = Vec::new();
        let mut after = Value::Null;
        for (rows, is_last) in [(4, false), (2, true)] {
            let page = app.data_with(document, json!({ "after": after })).await["devicesAtRisk"].clone();
            assert_eq!(page["nodes"].as_array().unwrap().len(), rows);
            assert_eq!(page["pageInfo"]["hasNextPage"], json!(!is_last));
            assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(is_last));
            assert_eq!(page["edges"][rows - 1]["cursor"], page["pageInfo"]["endCursor"]);
            paged.extend(devices(&page));
            after = page["pageInfo"]["endCursor"].clone();
        }
        assert_eq!(paged, devices(&all));
    })
    .await;
}

#[tokio::test]
async fn devices_at_risk_are_filtered_by_site_type_threshold_and_provenance() {
    on_each_database(async |app| {
        fleet(app).await;
        let document = "{ site: devicesAtRisk(filter: { siteId: \"harbour\" }) { nodes { device { deviceId } } }
            type: devicesAtRisk(filter: { deviceType: [POS_TERMINAL] }) { nodes { device { deviceId } } }
            one: devicesAtRisk(filter: { deviceIds: [\"gate-2\"] }) { nodes { device { deviceId } } }
            kept: devicesAtRisk(threshold: 0, filter: { currentState: [MAINTENANCE] }) { totalCount }
            any: devicesAtRisk(threshold: 0, filter: {
                currentState: [ONLINE, OFFLINE, ERROR, MAINTENANCE, UNKNOWN] }) { totalCount }
            none: devicesAtRisk(threshold: 1) { nodes { device { deviceId } } }
            all: devicesAtRisk(threshold: 0, horizon: HOURS_72) { totalCount }
            simulated: devicesAtRisk(provenance: SIMULATED) { totalCount } }";
        let data = app.data(document).await;
        let sorted = |list: &Value| {
            let mut devices = devices(list);
            devices.sort();
            devices
        };
        assert_eq!(sorted(&data["site"]), ["gate-0", "gate-1", "till-1"]);
        assert_eq!(sorted(&data["type"]), ["till-1", "till-3"]);
        assert_eq!(sorted(&data["one"]), ["gate-2"]);
        assert_eq!(sorted(&data["none"]), [""; 0]);
        assert_eq!(data["all"]["totalCount"], "6");
        assert_eq!(data["any"]["totalCount"], "6");
        assert_eq!(data["kept"]["totalCount"], "0");
        assert_eq!(data["simulated"]["totalCount"], "0");
    })
    .await;
}

/// A device whose latency is ten times what it uses to be, in an hour that is over and now.
async fn unusual(app: &TestApp) {
    app.fleet().await;
    let mut events = weeks("till-1");
    let late = json!({ "networkLatencyMs": 900, "cpuPercent": 30 });
    events.extend([-110, 0].map(|minutes| reading("till-1", minutes, late.clone())));
    app.record(json!(events)).await;
}

#[tokio::test]
async fn an_incident_is_open_and_its_present_score_is_told_with_it() {
    on_each_database(async |app| {
        unusual(app).await;
        let document =
            "{ anomalies(states: [OPEN]) { totalCount nodes { measure state openedAt lastSeenAt peak value status
                device { deviceId } interval { low high } reasons { factor sentence } } }
            quiet: anomalies(states: [QUIET]) { nodes { measure state openedAt peak } }
            other: anomalies(measures: [CPU_PERCENT], states: [OPEN]) { totalCount }
            later: anomalies(states: [CLOSED], since: \"2026-11-23T00:00:00Z\") { totalCount }
            market: anomalies(filter: { siteId: \"market\" }) { totalCount }
            gates: anomalies(filter: { deviceType: [GATEWAY] }) { totalCount } }";
        let data = app.data(document).await;
        assert_eq!(data["anomalies"]["totalCount"], "1");
        let incident = &data["anomalies"]["nodes"][0];
        assert_eq!(
            (&incident["measure"], &incident["state"]),
            (&json!("NETWORK_LATENCY_MS"), &json!("OPEN"))
        );
        assert_eq!(incident["openedAt"], "2026-11-23T10:00:00Z");
        assert_eq!(incident["lastSeenAt"], "2026-11-23T12:00:00Z");
        assert_eq!(incident["device"], json!({ "deviceId": "till-1" }));
        assert!(incident["peak"].as_f64().unwrap() >= 0.44, "{incident}");
        let high = incident["interval"]["high"].as_f64().unwrap();
        assert!(high < 900.0, "{incident}");
        let sentence = incident["reasons"][0]["sentence"].as_str().unwrap();
        assert!(sentence.starts_with("Latency 900 ms"), "{sentence}");
        let factors = texts(&incident["reasons"], "factor");
        assert!(
            factors.contains(&"anomaly.incident".to_owned()),
            "{factors:?}"
        );
        let quiet =
            json!([{ "measure": "CPU_PERCENT", "state": "QUIET", "openedAt": null, "peak": null }]);
        assert_eq!(data["quiet"]["nodes"], quiet);
        for list in ["other", "later", "market", "gates"] {
            assert_eq!(data[list]["totalCount"], "0", "{list}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_incident_that_is_over_is_listed_with_when_it_was() {
    on_each_database(async |app| {
        unusual(app).await;
        app.clock.advance_ms(20 * 3_600_000);
        app.record(json!(afterwards("till-1"))).await;
        let document = "query($since: DateTime) { anomalies(states: [CLOSED], since: $since, measures: [NETWORK_LATENCY_MS]) {
            nodes { state openedAt lastSeenAt peak value reasons { sentence } } } }";
        let data = app.data_with(document, json!({})).await;
        let over = &data["anomalies"]["nodes"][0];
        assert_eq!((&over["state"], &over["openedAt"]), (&json!("CLOSED"), &json!("2026-11-23T10:00:00Z")));
        assert_eq!(over["value"], over["peak"]);
        let sentence = over["reasons"][0]["sentence"].as_str().unwrap();
        assert!(sentence.starts_with("Latency was unusual from Monday, 23 November, 10:00"), "{sentence}");
        let none = app.data_with(document, json!({ "since": at(18 * 60) })).await;
        assert_eq!(none["anomalies"]["nodes"], json!([]));
        // as of when it was open, it still is
        let then = "{ anomalies(asOf: \"2026-11-23T12:00:00Z\", states: [OPEN]) { nodes { state openedAt } } }";
        let data = app.data(then).await;
        let open = json!([{ "state": "OPEN", "openedAt": "2026-11-23T10:00:00Z" }]);
        assert_eq!(data["anomalies"]["nodes"], open);
    })
    .await;
}

#[tokio::test]
async fn whoever_is_bound_sees_what_is_within_reach_alone() {
    on_each_database(async |app| {
        fleet(app).await;
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["market"])).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let document =
            "{ devicesAtRisk { nodes { device { deviceId } } totalCount } reliability { devices }
            dataQuality { devices } anomalies(states: [QUIET, OPEN, CLOSED]) { totalCount } }";
        for (who, seen, count) in [
            (&viewer, vec!["gate-2", "gate-3", "till-3"], 3),
            (&device, vec!["till-1"], 1),
        ] {
            let (_, answer) = ask(app, who, json!({ "query": document })).await;
            let data = &answer["data"];
            let mut found = devices(&data["devicesAtRisk"]);
            found.sort();
            assert_eq!(found, seen, "{answer:#}");
            assert_eq!(data["devicesAtRisk"]["totalCount"], count.to_string());
            assert_eq!(
                (
                    &data["reliability"]["devices"],
                    &data["dataQuality"]["devices"]
                ),
                (&json!(count), &json!(count))
            );
        }
        let other = "{ deviceHealth(deviceId: \"till-1\") { value } }";
        let (_, answer) = ask(app, &viewer, json!({ "query": other })).await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "NOT_FOUND",
            "{answer}"
        );
        let (_, answer) = ask(
            app,
            &viewer,
            json!({ "query": "{ reliability(siteId: \"harbour\") { value } }" }),
        )
        .await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "NOT_FOUND",
            "{answer}"
        );
    })
    .await;
}
