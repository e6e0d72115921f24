//! Alerts: what a rule watches for opens one, once for each cause, and it closes by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use homepot_analytics::event::Instant;
use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, start};
use super::socket::Socket;

pub(super) const STEPS: &str =
    "subscription($a: String) { alertTransitions(after: $a) { alertId ruleId cause
    state deviceId siteId durationMs changedBy occurredAt reason } }";

pub(super) fn metrics(device: &str, at: Instant) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at.to_string(),
        "collectionIntervalSeconds": 30 } })
}

/// Takes it that devices report now.
pub(super) async fn heard(app: &TestApp, devices: &[&str]) {
    let now = app.clock.now();
    let events = devices.iter().map(|device| metrics(device, now));
    app.record(events.collect()).await;
}

/// Follows the steps of alerts from now on.
pub(super) async fn follow(app: &TestApp) -> (Socket, String) {
    let mut socket = app.socket().await;
    let after = json!({ "a": app.head().await });
    let id = socket.subscribe(STEPS, after).await;
    (socket, id)
}

pub(super) async fn step(socket: &mut Socket, id: &str) -> Value {
    socket.data(id).await["alertTransitions"].take()
}

#[tokio::test]
async fn a_device_that_dies_opens_an_alert_and_closes_it_on_its_return_with_the_length() {
    on_each_database(async |app| {
        app.fleet().await;
        let (mut socket, id) = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for _ in 0..10 {
            app.clock.advance_ms(30_000);
            heard(app, &["till-2", "till-3"]).await;
        }
        let opened = step(&mut socket, &id).await;
        assert_eq!(opened["state"], "OPEN");
        assert_eq!(opened["cause"], "device/till-1");
        assert_eq!(opened["siteId"], "harbour");
        assert_eq!(opened["occurredAt"], "2026-11-23T12:05:00Z");
        assert_eq!(opened["durationMs"], "300000");
        app.clock.advance_ms(20_000);
        heard(app, &["till-1", "till-2", "till-3"]).await;
        let closed = step(&mut socket, &id).await;
        assert_eq!(closed["state"], "RESOLVED");
        assert_eq!(closed["alertId"], opened["alertId"]);
        assert_eq!(closed["durationMs"], "320000");
        assert_eq!(closed["reason"], "it is heard of again");
    })
    .await;
}

/// Makes a rule and answers with its id.
pub(super) async fn rule(app: &TestApp, watch: &str) -> String {
    let document = format!(
        "mutation {{ createAlertRule(input: {{ name: \"r\", severity: CRITICAL, watch: {watch} }}) {{
            rule {{ ruleId isEnabled }} userErrors {{ field code message }} }} }}"
    );
    let data = app.data(&document).await;
    let id = data["createAlertRule"]["rule"]["ruleId"].as_str();
    id.unwrap_or_else(|| panic!("{data:#}")).to_owned()
}

/// Has a rule that is met by any state of a device, and devices that meet it.
pub(super) async fn opened(app: &TestApp, devices: &[&str]) -> Vec<String> {
    let (mut socket, id) = follow(app).await;
    rule(
        app,
        "{ state: { states: [ONLINE, OFFLINE, ERROR, UNKNOWN] } }",
    )
    .await;
    let states = devices.iter().map(|device| in_state(device, "ERROR"));
    app.record(states.collect()).await;
    let mut alerts = BTreeMap::new();
    while alerts.len() < devices.len() {
        let step = step(&mut socket, &id).await;
        let text = |field: &str| step[field].as_str().unwrap_or_default().to_owned();
        if step["state"] == "OPEN" && devices.contains(&text("deviceId").as_str()) {
            alerts.insert(text("deviceId"), text("alertId"));
        }
    }
    devices
        .iter()
        .map(|device| alerts[*device].clone())
        .collect()
}

pub(super) fn in_state(device: &str, state: &str) -> Value {
    json!({ "deviceStateChange": { "deviceId": device, "newState": state } })
}

pub(super) async fn next(stream: &mut (Socket, String), state: &str, cause: &str) -> Value {
    let step = step(&mut stream.0, &stream.1).await;
    assert_eq!(
        (&step["state"], &step["cause"]),
        (&json!(state), &json!(cause)),
        "{step}"
    );
    step
}

pub(super) fn cpu(app: &TestApp, seconds_ago: i64, percent: i32) -> Value {
    let at = app.clock.now().plus_ms(-seconds_ago * 1_000);
    json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": percent,
        "occurredAt": at.to_string() } })
}

#[tokio::test]
async fn a_measure_is_beyond_for_as_long_as_its_readings_say_whenever_they_come() {
    on_each_database(async |app| {
        app.fleet().await;
        rule(
            app,
            "{ metric: { measure: CPU_PERCENT, beyond: ABOVE, threshold: 90, forSeconds: 120 } }",
        )
        .await;
        let mut steps = follow(app).await;
        // what was measured between them comes last, and breaks the first run
        app.record(json!([cpu(app, 0, 95)])).await;
        app.clock.advance_ms(60_000);
        app.record(json!([cpu(app, 0, 96)])).await;
        app.record(json!([cpu(app, 30, 10)])).await;
        app.clock.advance_ms(90_000);
        app.record(json!([cpu(app, 0, 97)])).await;
        app.clock.advance_ms(30_000);
        app.record(json!([cpu(app, 0, 98)])).await;
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(opened["durationMs"], "120000");
        assert_eq!(opened["occurredAt"], "2026-11-23T12:03:00Z");
        app.clock.advance_ms(30_000);
        app.record(json!([cpu(app, 0, 50)])).await;
        let closed = next(&mut steps, "RESOLVED", "device/till-1").await;
        assert_eq!(closed["durationMs"], "150000");
    })
    .await;
}

#[tokio::test]
async fn a_state_that_lasts_opens_an_alert_also_after_a_restart_and_the_next_state_closes_it() {
    on_each_database(async |app| {
        app.fleet().await;
        rule(app, "{ state: { states: [ERROR], forSeconds: 600 } }").await;
        let after = app.head().await;
        app.record(json!([in_state("till-1", "ERROR")])).await;
        app.clock.advance_ms(300_000);
        app.record(json!([in_state("till-1", "ERROR")])).await;
        app.restart().await;
        app.clock.advance_ms(300_000);
        let mut socket = app.socket().await;
        let id = socket.subscribe(STEPS, json!({ "a": after })).await;
        let mut steps = (socket, id);
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(opened["durationMs"], "600000");
        app.record(json!([in_state("till-1", "ONLINE")])).await;
        next(&mut steps, "RESOLVED", "device/till-1").await;
    })
    .await;
}

#[tokio::test]
async fn errors_that_come_too_often_open_one_alert_until_they_are_rare_again() {
    on_each_database(async |app| {
        app.fleet().await;
        let rate = "{ errorRate: { severity: ERROR, errors: 3, windowSeconds: 60, per: DEVICE } }";
        rule(app, rate).await;
        let mut steps = follow(app).await;
        let error = |severity: &str| {
            json!({ "errorLog": { "category": "DEVICE", "severity": severity,
                "errorMessage": "e", "deviceId": "till-3" } })
        };
        app.record(json!([error("ERROR"), error("WARNING"), error("CRITICAL")]))
            .await;
        app.clock.advance_ms(20_000);
        app.record(json!([error("ERROR"), error("ERROR")])).await;
        let opened = next(&mut steps, "OPEN", "device/till-3").await;
        assert_eq!(opened["reason"], "3 errors within 60 s");
        app.clock.advance_ms(61_000);
        next(&mut steps, "RESOLVED", "device/till-3").await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_failed_opens_an_alert_and_the_same_that_completes_closes_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut steps = follow(app).await;
        let outcome = |status: &str| {
            json!({ "jobOutcome": { "jobId": "night", "jobType": "RESTART", "scope": "JOB",
                "status": status, "devicesTargeted": 4, "devicesFailed": 1 } })
        };
        app.record(json!([outcome("COMPLETED"), outcome("FAILED")]))
            .await;
        let opened = next(&mut steps, "OPEN", "job/night").await;
        assert_eq!(opened["ruleId"], "job-failure");
        // that it completed before says nothing of now
        let mut late = outcome("COMPLETED");
        let before = app.clock.now().plus_ms(-60_000);
        late["jobOutcome"]["occurredAt"] = json!(before.to_string());
        app.record(json!([late])).await;
        app.clock.advance_ms(60_000);
        app.record(json!([outcome("ERROR"), outcome("COMPLETED")]))
            .await;
        let closed = next(&mut steps, "RESOLVED", "job/night").await;
        assert_eq!(closed["alertId"], opened["alertId"]);
        assert_eq!(closed["durationMs"], "60000");
    })
    .await;
}

#[tokio::test]
async fn silence_while_the_site_is_closed_counts_from_when_it_opens() {
    on_each_database(async |app| {
        app.fleet().await;
        opens_at_two(app, "market").await;
        silent_until_it_opens(app, ("market", "till-3")).await;
    })
    .await;
}

#[tokio::test]
async fn the_hours_of_a_site_count_for_its_first_device_too() {
    on_each_database(async |app| {
        app.fleet().await;
        let site = json!({ "siteRegistration": { "siteId": "pier", "name": "Pier",
            "timeZone": "Europe/London" } });
        app.record(json!([site])).await;
        opens_at_two(app, "pier").await;
        app.restart().await;
        let device = json!({ "deviceRegistration": { "deviceId": "till-4", "siteId": "pier",
            "deviceType": "POS_TERMINAL" } });
        app.record(json!([device])).await;
        silent_until_it_opens(app, ("pier", "till-4")).await;
    })
    .await;
}

async fn opens_at_two(app: &TestApp, site: &str) {
    let hours = |day: &str| {
        json!({ "siteSchedule": { "siteId": site, "dayOfWeek": day,
            "openTime": "14:00", "closeTime": "18:00" } })
    };
    app.record(json!([hours("MONDAY"), hours("TUESDAY")])).await;
}

/// A device at a site that opens at 14:00 is heard of at 12:00 only.
async fn silent_until_it_opens(app: &TestApp, (site, device): (&str, &str)) {
    let mut steps = follow(app).await;
    heard(app, &[device, "till-1", "till-2"]).await;
    for _ in 0..14 {
        app.clock.advance_ms(600_000);
        heard(app, &["till-1", "till-2"]).await;
    }
    // till-1 and till-2 report every 10 minutes, and say that they would every 30 s
    let mut of_site = Vec::new();
    while of_site.is_empty() {
        let step = step(&mut steps.0, &steps.1).await;
        if step["siteId"] == site {
            of_site.push(step["occurredAt"].clone());
        }
    }
    assert_eq!(of_site, [json!("2026-11-23T14:05:00Z")]);
}

#[tokio::test]
async fn a_site_that_is_silent_is_one_alert_and_counts_as_a_gap_of_each_device() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut steps = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for _ in 0..12 {
            app.clock.advance_ms(30_000);
            heard(app, &["till-3"]).await;
        }
        next(&mut steps, "OPEN", "site/harbour").await;
        let data = app
            .data("{ collectionStatus { sources { source gaps } } alerts { nodes { cause state } totalCount } }")
            .await;
        let sources = data["collectionStatus"]["sources"].as_array().unwrap();
        let of_metrics = sources.iter().find(|row| row["source"] == "deviceMetrics");
        assert_eq!(of_metrics.unwrap()["gaps"], 2);
        assert_eq!(data["alerts"]["totalCount"], "1");
        app.clock.advance_ms(1_000);
        heard(app, &["till-1", "till-2", "till-3"]).await;
        next(&mut steps, "RESOLVED", "site/harbour").await;
    })
    .await;
}

const MOVE: &str =
    "{ alert { state version acknowledgedBy resolvedBy } userErrors { field code } }";

#[tokio::test]
async fn people_take_alerts_up_silence_and_close_them_and_the_cause_is_not_told_again() {
    on_each_database(async |app| {
        app.fleet().await;
        let id = opened(app, &["till-1"]).await.remove(0);
        let mut steps = follow(app).await;
        let give = async |app: &TestApp, operation: &str, more: &str| {
            let document =
                format!("mutation {{ {operation}(input: {{ alertId: \"{id}\"{more} }}) {MOVE} }}");
            app.data(&document).await[operation].take()
        };
        let taken = give(app, "acknowledgeAlert", ", reason: \"mine\"").await;
        assert_eq!(taken["alert"]["state"], "ACKNOWLEDGED");
        let stale = give(app, "resolveAlert", ", expectedVersion: \"1\"").await;
        assert_eq!(stale["userErrors"][0]["code"], "CONFLICT");
        let until = app.clock.now().plus_ms(600_000);
        let silent = give(app, "silenceAlert", &format!(", until: \"{until}\"")).await;
        assert_eq!(silent["alert"]["state"], "SILENCED");
        next(&mut steps, "ACKNOWLEDGED", "device/till-1").await;
        next(&mut steps, "SILENCED", "device/till-1").await;
        app.clock.advance_ms(600_000);
        next(&mut steps, "OPEN", "device/till-1").await;
        let closed = give(app, "resolveAlert", "").await;
        assert_eq!(closed["alert"]["state"], "RESOLVED");
        next(&mut steps, "RESOLVED", "device/till-1").await;
        let over = give(app, "acknowledgeAlert", "").await;
        assert_eq!(over["userErrors"][0]["code"], "WRONG_STATE");
        // it is in the same state still, also for a server that begins anew
        app.restart().await;
        let next_id = opened(app, &["till-2"]).await;
        assert_eq!(next_id.len(), 1);
        let data = app
            .data("{ alerts(filter: { deviceId: \"till-1\" }) { totalCount } }")
            .await;
        // one of each rule that it has met
        assert_eq!(data["alerts"]["totalCount"], "2");
    })
    .await;
}

#[tokio::test]
async fn a_rule_is_changed_and_deleted_and_its_alerts_are_closed() {
    on_each_database(async |app| {
        app.fleet().await;
        opened(app, &["till-1"]).await;
        let mut steps = follow(app).await;
        let data = app.data("{ alertRules { ruleId isDefault version name } }").await;
        let rules = data["alertRules"].as_array().unwrap();
        assert_eq!(rules.len(), 3, "{data:#}");
        let id = rules[2]["ruleId"].as_str().unwrap();
        let wrong = app
            .data(&format!("mutation {{ updateAlertRule(input: {{ ruleId: \"{id}\",
                watch: {{ jobFailure: {{}} }} }}) {{ userErrors {{ field code }} }} }}"))
            .await;
        assert_eq!(wrong["updateAlertRule"]["userErrors"][0]["code"], "WRONG_STATE");
        let changed = app
            .data("mutation { updateAlertRule(input: { ruleId: \"collection-gap\", name: \"Gaps\", expectedVersion: \"0\" }) {
                rule { name isDefault } userErrors { code } } }")
            .await;
        assert_eq!(changed["updateAlertRule"]["rule"], json!({ "name": "Gaps", "isDefault": true }));
        let deleted = app
            .data(&format!("mutation {{ deleteAlertRule(input: {{ ruleId: \"{id}\" }}) {{ rule {{ name }} userErrors {{ code }} }} }}"))
            .await;
        assert_eq!(deleted["deleteAlertRule"], json!({ "rule": null, "userErrors": [] }));
        let closed = next(&mut steps, "RESOLVED", "device/till-1").await;
        assert_eq!(closed["reason"], "its rule was deleted or disabled");
    })
    .await;
}

#[tokio::test]
async fn two_nodes_open_one_alert() {
    on_each_database(async |app| {
        if app.url().starts_with("sqlite") {
            // one node alone may have that
            return;
        }
        app.fleet().await;
        let other = start(app.url(), app.clock.clone()).await;
        let mut steps = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for _ in 0..12 {
            app.clock.advance_ms(30_000);
            heard(app, &["till-2", "till-3"]).await;
        }
        next(&mut steps, "OPEN", "device/till-1").await;
        heard(app, &["till-1"]).await;
        next(&mut steps, "RESOLVED", "device/till-1").await;
        other.stop().await;
        let data = app.data("{ alertTransitions { totalCount } }").await;
        assert_eq!(data["alertTransitions"]["totalCount"], "2");
    })
    .await;
}

/// What is committed and not yet heard of by a node is old there too.
#[tokio::test]
async fn who_follows_alerts_at_another_node_hears_of_what_comes_and_of_nothing_old() {
    on_each_database(async |app| {
        if app.url().starts_with("sqlite") {
            // one node alone may have that
            return;
        }
        app.fleet().await;
        let old = opened(app, &["till-1", "till-2"]).await;
        let other = start(app.url(), app.clock.clone()).await;
        let mut socket = Socket::open(other.address).await;
        let mut states = ["ONLINE", "MAINTENANCE"].iter().cycle();
        for alert in &old {
            for operation in ["acknowledgeAlert", "resolveAlert"] {
                let document =
                    format!("mutation {{ {operation}(input: {{ alertId: \"{alert}\" }}) {MOVE} }}");
                app.data(&document).await;
                let stream = "subscription { alerts { state alert { cause } } }";
                let id = socket.subscribe(stream, json!({})).await;
                // the subscription has begun once something comes
                let first = loop {
                    let state = states.next().unwrap();
                    app.clock.advance_ms(1_000);
                    app.record(json!([in_state("till-3", state)])).await;
                    let limit = Duration::from_millis(100);
                    if let Some(first) = socket.next_within(&id, limit).await {
                        break first;
                    }
                };
                let cause = &first["data"]["alerts"]["alert"]["cause"];
                assert_eq!(cause, "device/till-3", "after {operation}: {first}");
                socket.unsubscribe(&id).await;
            }
        }
        drop(socket);
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_alert_of_a_job_made_elsewhere_stands_where_its_devices_stood_when_it_ended() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut steps = follow(app).await;
        app.clock.advance_ms(3_600_000);
        app.record(json!([{ "deviceRegistration": { "deviceId": "till-3", "siteId": "harbour",
            "deviceType": "POS_TERMINAL" } }]))
            .await;
        let ended = |job: &str, scope: &str, device: Option<&str>, site: Option<&str>| {
            json!({ "jobOutcome": { "jobId": job, "jobType": "RESTART", "scope": scope, "status": "FAILED",
                "deviceId": device, "siteId": site, "occurredAt": at(30) } })
        };
        let cases = [
            (vec![ended("of-one", "JOB", Some("till-3"), None)], json!("market")),
            (vec![ended("at-one", "JOB", None, Some("harbour"))], json!("harbour")),
            (
                vec![
                    ended("of-many", "DEVICE", Some("till-1"), None),
                    ended("of-many", "DEVICE", Some("till-2"), None),
                    ended("of-many", "JOB", None, None),
                ],
                json!("harbour"),
            ),
            (
                vec![
                    ended("of-all", "DEVICE", Some("till-1"), None),
                    ended("of-all", "DEVICE", Some("till-3"), None),
                    ended("of-all", "JOB", None, None),
                ],
                Value::Null,
            ),
        ];
        for (events, site) in cases {
            let cause = format!("job/{}", events[0]["jobOutcome"]["jobId"].as_str().unwrap());
            app.record(json!(events)).await;
            assert_eq!(next(&mut steps, "OPEN", &cause).await["siteId"], site, "{cause}");
        }
    })
    .await;
}
