//! What a device sold at sites, and the deletion of what is too old of it.

use serde_json::{Value, json};

use super::super::app::TestApp;

const SET: &str = "mutation { setRetentionPolicy(input: { kind: deviceMetrics, archiveAfterDays: 52, \
    deleteAfterDays: 52 }) { userErrors { code } } }";
const RUN: &str = "mutation { runRetention { kinds { kind deletedEvents } userErrors { code } } }";

pub(super) fn site(id: &str, zone: &str) -> Value {
    json!({ "siteRegistration": { "siteId": id, "name": id, "timeZone": zone,
        "occurredAt": "2026-01-01T00:00:00Z" } })
}

pub(super) fn device(site: &str, at: &str) -> Value {
    json!({ "deviceRegistration": { "deviceId": "d", "siteId": site, "deviceType": "GATEWAY",
        "occurredAt": at } })
}

pub(super) fn sales(at: &str, count: i64) -> Value {
    json!({ "deviceMetrics": { "deviceId": "d", "transactionCount": count, "occurredAt": at } })
}

/// Deletes what was sold on the first of October, which are so many events.
pub(super) async fn first_day_is_deleted(app: &TestApp, events: &str) {
    assert_eq!(
        app.data(SET).await["setRetentionPolicy"]["userErrors"],
        json!([])
    );
    let run = app.data(RUN).await;
    let kinds = run["runRetention"]["kinds"].as_array().unwrap();
    let of = kinds.iter().find(|of| of["kind"] == "deviceMetrics");
    assert_eq!(of.unwrap()["deletedEvents"], events);
}
