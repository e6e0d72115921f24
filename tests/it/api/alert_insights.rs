//! Alerts of what insights say: a device that is not well, that is likely to fail, or of which something is unusual.

use serde_json::{Value, json};

use super::alert_ends::resolve;
use super::alerts::{follow, rule, step};
use super::app::{TestApp, on_each_database};
use super::insights::{afterwards, folded, reading, state, weeks};
use super::insights_streams::{healthy, hourly};
use super::models::learned;
use super::socket::Socket;

/// A minute later devices are judged again.
fn later(app: &TestApp) {
    app.clock.advance_ms(60_000);
}

/// The next step of a rule.
async fn next(stream: &mut (Socket, String), rule: &str) -> Value {
    loop {
        let step = step(&mut stream.0, &stream.1).await;
        if step["ruleId"] == rule {
            return step;
        }
    }
}

fn text(step: &Value, field: &str) -> String {
    step[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_device_that_is_not_well_opens_an_alert_and_closes_it_when_it_is_well_again() {
    on_each_database(async |app| {
        healthy(app).await;
        let mut steps = follow(app).await;
        let unwell = rule(app, "{ health: { below: 50 } }").await;
        later(app);
        app.record(json!([state("till-1", 1, "ERROR")])).await;
        later(app);
        let opened = next(&mut steps, &unwell).await;
        assert_eq!(
            (&opened["state"], &opened["cause"], &opened["siteId"]),
            (&json!("OPEN"), &json!("device/till-1"), &json!("harbour"))
        );
        let reason = text(&opened, "reason");
        assert!(
            reason.starts_with("its health is ") && reason.contains(", less than 50: "),
            "{reason}"
        );
        // a server that starts knows of it, and that it goes on is not told once more
        app.restart().await;
        steps = follow(app).await;
        app.record(json!([reading("till-1", 2, hourly())])).await;
        later(app);
        app.record(json!([state("till-1", 3, "ONLINE")])).await;
        later(app);
        let closed = next(&mut steps, &unwell).await;
        assert_eq!(
            (&closed["state"], &closed["alertId"], &closed["reason"]),
            (
                &json!("RESOLVED"),
                &opened["alertId"],
                &json!("it is well again")
            )
        );
    })
    .await;
}

#[tokio::test]
async fn what_somebody_has_resolved_is_not_opened_again_while_it_lasts() {
    on_each_database(async |app| {
        healthy(app).await;
        let mut steps = follow(app).await;
        let unwell = rule(app, "{ health: { below: 50 } }").await;
        app.record(json!([state("till-1", 0, "ERROR")])).await;
        later(app);
        let opened = next(&mut steps, &unwell).await;
        resolve(app, &opened).await;
        app.restart().await;
        steps = follow(app).await;
        later(app);
        app.record(json!([state("till-3", 2, "ERROR")])).await;
        later(app);
        let other = next(&mut steps, &unwell).await;
        assert_eq!(
            (&other["state"], &other["cause"]),
            (&json!("OPEN"), &json!("device/till-3"))
        );
    })
    .await;
}

#[tokio::test]
async fn something_unusual_is_an_alert_until_it_is_over() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(weeks("till-1").into()).await;
        folded(app).await;
        let mut steps = follow(app).await;
        let of_disk = rule(app, "{ anomaly: { measures: [DISK_PERCENT] } }").await;
        let of_all = rule(app, "{ anomaly: {} }").await;
        later(app);
        let late = json!({ "networkLatencyMs": 900, "cpuPercent": 30 });
        app.record(json!([reading("till-1", 1, late)])).await;
        app.clock.advance_ms(300_000);
        let opened = next(&mut steps, &of_all).await;
        assert_eq!(
            (&opened["state"], &opened["cause"]),
            (&json!("OPEN"), &json!("device/till-1"))
        );
        let reason = text(&opened, "reason");
        assert!(
            reason.starts_with("networkLatencyMs is unusual: "),
            "{reason}"
        );
        app.clock.advance_ms(20 * 3_600_000);
        app.record(json!(afterwards("till-1"))).await;
        app.clock.advance_ms(300_000);
        let closed = next(&mut steps, &of_all).await;
        assert_eq!(
            (&closed["state"], &closed["alertId"], &closed["reason"]),
            (
                &json!("RESOLVED"),
                &opened["alertId"],
                &json!("nothing unusual is seen any more")
            )
        );
        let alerts = app
            .data(&format!(
                "{{ alerts(filter: {{ ruleId: \"{of_disk}\" }}) {{ totalCount }} }}"
            ))
            .await;
        assert_eq!(alerts["alerts"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_is_likely_to_fail_is_an_alert_and_others_are_none() {
    on_each_database(async |app| {
        learned(app).await;
        let listed = app
            .data("{ devicesAtRisk { nodes { value status device { deviceId } } } }")
            .await;
        let nodes = listed["devicesAtRisk"]["nodes"].as_array().unwrap();
        let values: Vec<f64> = nodes
            .iter()
            .map(|node| node["value"].as_f64().unwrap())
            .collect();
        let (first, second) = (values[0], values[1]);
        assert!(first > second, "{listed:#}");
        let mut steps = follow(app).await;
        let chance = f64::midpoint(first, second);
        let at_risk = rule(app, &format!("{{ failureRisk: {{ chance: {chance} }} }}")).await;
        let opened = next(&mut steps, &at_risk).await;
        let likeliest = nodes[0]["device"]["deviceId"].as_str().unwrap();
        assert_eq!(opened["cause"], format!("device/{likeliest}"));
        let reason = text(&opened, "reason");
        assert!(
            reason.starts_with("the chance that it fails within 24 hours is "),
            "{reason}"
        );
        let alerts = app
            .data(&format!(
                "{{ alerts(filter: {{ ruleId: \"{at_risk}\" }}) {{ nodes {{
                condition value threshold }} }} }}"
            ))
            .await;
        let one = &alerts["alerts"]["nodes"].as_array().unwrap();
        assert_eq!(one.len(), 1, "{alerts:#}");
        assert_eq!(one[0]["condition"], "FAILURE_RISK");
        assert_eq!(one[0]["threshold"].as_f64(), Some(chance));
    })
    .await;
}

#[tokio::test]
async fn a_fleet_of_which_nothing_is_learned_is_at_no_risk_of_its_own() {
    on_each_database(async |app| {
        healthy(app).await;
        let mut steps = follow(app).await;
        let at_risk = rule(
            app,
            "{ failureRisk: { horizon: HOURS_72, chance: 0.000001 } }",
        )
        .await;
        let unwell = rule(app, "{ health: { below: 50 } }").await;
        app.record(json!([state("till-1", 0, "ERROR")])).await;
        later(app);
        // both were judged in one round
        next(&mut steps, &unwell).await;
        let alerts = app
            .data(&format!(
                "{{ alerts(filter: {{ ruleId: \"{at_risk}\" }}) {{ totalCount }} }}"
            ))
            .await;
        assert_eq!(alerts["alerts"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn what_no_insight_can_say_is_refused_and_a_rule_is_shown_as_it_was_made() {
    on_each_database(async |app| {
        for (watch, field) in [
            ("{ failureRisk: { chance: 0 } }", "chance"),
            ("{ failureRisk: { chance: 1.1 } }", "chance"),
            ("{ health: { below: 101 } }", "below"),
            ("{ anomaly: { score: -0.5 } }", "score"),
            ("{ anomaly: { measures: [CPU_PERCENT, UPTIME_SECONDS] } }", "measures"),
        ] {
            let made = app
                .data(&format!("mutation {{ createAlertRule(input: {{ name: \"r\", severity: INFO, watch: {watch} }}) {{
                    userErrors {{ field code }} }} }}"))
                .await;
            let expected = json!([{ "field": field, "code": "INVALID" }]);
            assert_eq!(made["createAlertRule"]["userErrors"], expected, "{watch}");
        }
        let id = rule(app, "{ failureRisk: { horizon: HOURS_72, chance: 0.5, certain: true } }").await;
        let rules = app
            .data("{ alertRules { ruleId condition watch { health { below } failureRisk { horizon chance certain } } } }")
            .await;
        let rules = rules["alertRules"].as_array().unwrap();
        let made = rules.iter().find(|rule| rule["ruleId"] == id.as_str()).unwrap();
        let watch = json!({ "health": null,
            "failureRisk": { "horizon": "HOURS_72", "chance": 0.5, "certain": true } });
        assert_eq!((&made["condition"], &made["watch"]), (&json!("FAILURE_RISK"), &watch));
    })
    .await;
}
