//! The open alerts of devices and sites, where these are shown.

use std::collections::BTreeSet;

use homepot_analytics::identity::Role;
use serde_json::json;

use super::access::{ask, grant, key};
use super::alerts::{opened, rule};
use super::app::{TestApp, on_each_database, texts};

async fn resolve(app: &TestApp, alert: &str) {
    let document = format!(
        "mutation {{ resolveAlert(input: {{ alertId: \"{alert}\" }}) {{ userErrors {{ code }} }} }}"
    );
    let data = app.data(&document).await;
    assert_eq!(data["resolveAlert"]["userErrors"], json!([]));
}

#[tokio::test]
async fn a_device_and_its_site_show_what_is_open_and_no_more_than_is_asked_for() {
    on_each_database(async |app| {
        app.fleet().await;
        let first = opened(app, &["till-1", "till-2", "till-3"]).await;
        app.clock.advance_ms(1_000);
        // of a second rule, of which each has an alert too
        let second = opened(app, &["till-1", "till-2"]).await;
        let document = "{ device(deviceId: \"till-1\") { openAlerts { alertId state device { deviceId } site { siteId } } }
            site(siteId: \"harbour\") { openAlerts { alertId openedAt cause } }
            few: site(siteId: \"harbour\") { openAlerts(first: 1) { alertId } }
            none: site(siteId: \"harbour\") { openAlerts(first: 0) { alertId } } }";
        let data = app.data(document).await;
        let shown = &data["device"]["openAlerts"];
        let ids: BTreeSet<String> = texts(shown, "alertId").into_iter().collect();
        assert_eq!(ids, BTreeSet::from([first[0].clone(), second[0].clone()]));
        assert_eq!(shown[0]["device"], json!({ "deviceId": "till-1" }));
        assert_eq!(shown[0]["site"], json!({ "siteId": "harbour" }));
        let at_site = &data["site"]["openAlerts"];
        let ids = texts(at_site, "alertId");
        assert_eq!(data["few"]["openAlerts"], json!([{ "alertId": ids[0] }]));
        assert_eq!(data["none"]["openAlerts"], json!([]));
        let causes = texts(at_site, "cause");
        assert!(causes.iter().all(|cause| cause != "device/till-3"), "{at_site}");
        // those first that were opened last
        let places: Vec<_> = texts(at_site, "openedAt").into_iter().zip(ids).collect();
        assert_eq!(places.len(), 4);
        assert!(places.is_sorted_by(|one, next| one > next), "{at_site}");
        resolve(app, &second[0]).await;
        let data = app.data("{ device(deviceId: \"till-1\") { openAlerts { alertId } } }").await;
        assert_eq!(texts(&data["device"]["openAlerts"], "alertId"), [first[0].clone()]);
    })
    .await;
}

#[tokio::test]
async fn more_than_a_hundred_open_alerts_are_asked_for_in_vain() {
    on_each_database(async |app| {
        app.fleet().await;
        for first in [-1, 101] {
            let document = format!(
                "{{ device(deviceId: \"till-1\") {{ openAlerts(first: {first}) {{ cause }} }} }}"
            );
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{first}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_is_bound_sees_the_open_alerts_within_reach_alone() {
    on_each_database(async |app| {
        app.fleet().await;
        opened(app, &["till-1", "till-2", "till-3"]).await;
        app.close_to_strangers().await;
        let device = key(app, grant(Role::Device, &[])).await;
        let viewer = key(app, grant(Role::Viewer, &["market"])).await;
        let document = "{ devices { nodes { deviceId openAlerts { cause } } } sites { nodes { siteId openAlerts { cause } } } }";
        let own = json!([{ "cause": "device/till-1" }]);
        let there = json!([{ "cause": "device/till-3" }]);
        for (who, device, site, alerts) in [
            (device, "till-1", "harbour", own),
            (viewer, "till-3", "market", there),
        ] {
            let (_, answer) = ask(app, &who, json!({ "query": document })).await;
            assert_eq!(
                answer["data"],
                json!({ "devices": { "nodes": [{ "deviceId": device, "openAlerts": alerts }] },
                    "sites": { "nodes": [{ "openAlerts": alerts, "siteId": site }] } }),
                "{answer:#}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn the_alert_of_a_whole_site_is_at_the_site_and_at_none_of_its_devices() {
    on_each_database(async |app| {
        app.fleet().await;
        let per_site = "{ errorRate: { severity: ERROR, errors: 1, windowSeconds: 60, per: SITE } }";
        rule(app, per_site).await;
        let (mut socket, id) = super::alerts::follow(app).await;
        app.record(json!([
            { "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "e", "deviceId": "till-1" } },
        ]))
        .await;
        let step = super::alerts::step(&mut socket, &id).await;
        assert_eq!(step["cause"], "site/harbour", "{step}");
        let data = app
            .data("{ sites { nodes { siteId openAlerts { cause } } } device(deviceId: \"till-1\") { openAlerts { cause } } }")
            .await;
        assert_eq!(
            data["sites"]["nodes"],
            json!([{ "openAlerts": [{ "cause": "site/harbour" }], "siteId": "harbour" },
                { "openAlerts": [], "siteId": "market" }])
        );
        assert_eq!(data["device"]["openAlerts"], json!([]));
    })
    .await;
}
