//! How alerts end, and what opens none again: what people have closed, and what is not known any more.

use serde_json::{Value, json};

use super::alerts::{STEPS, cpu, follow, heard, in_state, next, rule};
use super::app::{TestApp, on_each_database};
use super::silence::fault;
use super::socket::Socket;

/// Closes an alert as people do.
pub(super) async fn resolve(app: &TestApp, alert: &Value) {
    let document = format!(
        "mutation {{ resolveAlert(input: {{ alertId: {} }}) {{ alert {{ state }} }} }}",
        alert["alertId"]
    );
    let data = app.data(&document).await;
    assert_eq!(data["resolveAlert"]["alert"]["state"], "RESOLVED");
}

/// Starts the server again, and follows the steps of alerts from before that on.
async fn follow_anew(app: &mut TestApp) -> (Socket, String) {
    let after = json!({ "a": app.head().await });
    app.restart().await;
    let mut socket = app.socket().await;
    let id = socket.subscribe(STEPS, after).await;
    (socket, id)
}

async fn measured(app: &TestApp, percent: i32) {
    app.clock.advance_ms(60_000);
    app.record(json!([cpu(app, 0, percent)])).await;
}

#[tokio::test]
async fn a_measure_that_people_have_closed_is_told_again_when_it_was_below_and_not_before() {
    on_each_database(async |app| {
        app.fleet().await;
        rule(
            app,
            "{ metric: { measure: CPU_PERCENT, beyond: ABOVE, threshold: 90, forSeconds: 120 } }",
        )
        .await;
        let mut steps = follow(app).await;
        for _ in 0..3 {
            measured(app, 95).await;
        }
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        resolve(app, &opened).await;
        next(&mut steps, "RESOLVED", "device/till-1").await;
        // for longer than is read as a rule, before a restart and after it
        for _ in 0..12 {
            measured(app, 95).await;
        }
        let mut steps = follow_anew(app).await;
        for _ in 0..3 {
            measured(app, 95).await;
        }
        measured(app, 50).await;
        for _ in 0..3 {
            measured(app, 95).await;
        }
        let again = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(again["durationMs"], "120000");
        assert_eq!(again["occurredAt"], app.clock.now().to_string());
    })
    .await;
}

fn errors(device: &str, count: usize) -> Vec<Value> {
    let error = json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR",
        "errorMessage": "e", "deviceId": device } });
    vec![error; count]
}

#[tokio::test]
async fn errors_that_people_have_closed_are_told_again_when_they_were_rare_and_not_before() {
    on_each_database(async |app| {
        app.fleet().await;
        let rate = "{ errorRate: { severity: ERROR, errors: 3, windowSeconds: 60, per: DEVICE } }";
        rule(app, rate).await;
        let mut steps = follow(app).await;
        app.record(json!(errors("till-3", 3))).await;
        let opened = next(&mut steps, "OPEN", "device/till-3").await;
        app.record(json!(errors("till-1", 3))).await;
        next(&mut steps, "OPEN", "device/till-1").await;
        resolve(app, &opened).await;
        next(&mut steps, "RESOLVED", "device/till-3").await;
        let both = [errors("till-3", 1), errors("till-1", 1)].concat();
        for _ in 0..6 {
            app.clock.advance_ms(15_000);
            app.record(json!(both)).await;
        }
        let mut steps = follow_anew(app).await;
        for _ in 0..2 {
            app.clock.advance_ms(15_000);
            app.record(json!(both)).await;
        }
        app.clock.advance_ms(61_000);
        next(&mut steps, "RESOLVED", "device/till-1").await;
        app.record(json!(errors("till-3", 3))).await;
        next(&mut steps, "OPEN", "device/till-3").await;
    })
    .await;
}

#[tokio::test]
async fn errors_of_a_site_by_a_rule_for_one_of_its_devices_stay_after_a_restart() {
    on_each_database(async |app| {
        app.fleet().await;
        let rate = "{ errorRate: { severity: ERROR, errors: 3, windowSeconds: 60, per: SITE } },
            deviceIds: [\"till-3\"]";
        rule(app, rate).await;
        let mut steps = follow(app).await;
        app.record(json!(errors("till-3", 3))).await;
        next(&mut steps, "OPEN", "site/market").await;
        let mut steps = follow_anew(app).await;
        app.clock.advance_ms(30_000);
        app.record(json!(errors("till-3", 3))).await;
        app.clock.advance_ms(61_000);
        let closed = next(&mut steps, "RESOLVED", "site/market").await;
        assert_eq!(closed["reason"], "errors are rare again");
    })
    .await;
}

#[tokio::test]
async fn a_measure_that_is_reported_no_more_closes_its_alert() {
    on_each_database(async |app| {
        app.fleet().await;
        rule(
            app,
            "{ metric: { measure: CPU_PERCENT, beyond: ABOVE, threshold: 90, forSeconds: 0 } }",
        )
        .await;
        let mut steps = follow(app).await;
        app.record(json!([cpu(app, 0, 95)])).await;
        next(&mut steps, "OPEN", "device/till-1").await;
        app.clock.advance_ms(200_000);
        heard(app, &["till-1"]).await;
        app.clock.advance_ms(101_000);
        let closed = next(&mut steps, "RESOLVED", "device/till-1").await;
        assert_eq!(closed["reason"], "it is not measured any more");
        assert_eq!(closed["occurredAt"], "2026-11-23T12:05:00Z");
        app.record(json!([cpu(app, 0, 95)])).await;
        let again = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(again["durationMs"], "0");
    })
    .await;
}

#[tokio::test]
async fn the_next_alert_of_a_cause_is_silenced_until_its_silence_was_to_end() {
    on_each_database(async |app| {
        app.fleet().await;
        rule(app, "{ state: { states: [ERROR], forSeconds: 600 } }").await;
        let mut steps = follow(app).await;
        app.record(json!([in_state("till-1", "ERROR")])).await;
        app.clock.advance_ms(600_000);
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        let until = app.clock.now().plus_ms(1_200_000);
        let silence = format!(
            "mutation {{ silenceAlert(input: {{ alertId: {}, until: \"{until}\" }}) {{
                alert {{ state }} }} }}",
            opened["alertId"]
        );
        app.data(&silence).await;
        next(&mut steps, "SILENCED", "device/till-1").await;
        app.record(json!([in_state("till-1", "ONLINE")])).await;
        next(&mut steps, "RESOLVED", "device/till-1").await;
        app.record(json!([in_state("till-1", "ERROR")])).await;
        // it is noticed some time after it has lasted long enough
        app.settle().await;
        app.clock.advance_ms(800_000);
        let silenced = next(&mut steps, "SILENCED", "device/till-1").await;
        assert_eq!(silenced["occurredAt"], "2026-11-23T12:20:00Z");
        let data = app
            .data("{ alerts(first: 1) { nodes { silencedUntil } } }")
            .await;
        let node = &data["alerts"]["nodes"][0];
        assert_eq!(node["silencedUntil"], until.to_string());
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_told_as_an_error_of_the_server() {
    on_each_database(async |app| {
        app.fleet().await;
        let id = rule(app, "{ jobFailure: {} }").await;
        let head = app.head().await;
        let harm = app.database().await;
        let sql = format!("UPDATE alert_rules SET spec = '[]' WHERE rule_id = '{id}'");
        sea_orm::ConnectionTrait::execute_unprepared(&harm, &sql)
            .await
            .unwrap();
        harm.close().await.unwrap();
        app.data("{ alertRules { ruleId } }").await;
        let mut socket = app.socket().await;
        let told = fault(&mut socket, &head).await;
        assert!(
            told.contains(&format!("rule {id} cannot be read")),
            "{told}"
        );
    })
    .await;
}
