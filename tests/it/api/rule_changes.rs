//! Rules that are changed while something lasts: neither they nor others count it from anew.

use serde_json::Value;

use super::alerts::{follow, heard, next, rule};
use super::app::{TestApp, on_each_database};

async fn update(app: &TestApp, rule: &str, change: &str) {
    let document = format!(
        "mutation {{ updateAlertRule(input: {{ ruleId: \"{rule}\", {change} }}) {{ userErrors {{ code }} }} }}"
    );
    let data = app.data(&document).await;
    let refused = data["updateAlertRule"]["userErrors"].as_array();
    assert_eq!(refused.map(Vec::len), Some(0), "{data}");
}

/// Half a minute later all but one till report.
async fn but_one(app: &TestApp) {
    app.clock.advance_ms(30_000);
    heard(app, &["till-2", "till-3"]).await;
}

fn at(step: &Value) -> &str {
    step["occurredAt"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_rule_that_is_changed_again_and_again_gives_no_device_new_time() {
    on_each_database(async |app| {
        app.fleet().await;
        let other = rule(
            app,
            "{ metric: { measure: CPU_PERCENT, beyond: ABOVE, threshold: 99, forSeconds: 60 } }",
        )
        .await;
        let mut steps = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for n in 0..10 {
            update(app, &other, &format!("name: \"n{n}\"")).await;
            // nor does the rule itself, by its name
            update(app, "collection-gap", &format!("name: \"n{n}\"")).await;
            but_one(app).await;
        }
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(at(&opened), "2026-11-23T12:05:00Z");
        update(app, "collection-gap", "severity: CRITICAL").await;
        heard(app, &["till-1"]).await;
        next(&mut steps, "RESOLVED", "device/till-1").await;
    })
    .await;
}

#[tokio::test]
async fn a_rule_of_silence_that_begins_or_is_changed_goes_by_when_a_device_was_heard_of() {
    on_each_database(async |app| {
        app.fleet().await;
        let day = rule(
            app,
            "{ collectionGap: { minimumSeconds: 86400, intervals: 1 } }",
        )
        .await;
        let mut steps = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for _ in 0..7 {
            but_one(app).await;
        }
        let gap = |seconds: u32| {
            format!("{{ collectionGap: {{ minimumSeconds: {seconds}, intervals: 1 }} }}")
        };
        let new = rule(app, &gap(120)).await;
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(
            (&opened["ruleId"], at(&opened)),
            (&new.into(), "2026-11-23T12:02:00Z")
        );
        update(app, &day, &format!("watch: {}", gap(180))).await;
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(
            (&opened["ruleId"], at(&opened)),
            (&day.into(), "2026-11-23T12:03:00Z")
        );
    })
    .await;
}

#[tokio::test]
async fn what_begins_anew_knows_what_is_open_and_what_was_put_off() {
    on_each_database(async |app| {
        app.fleet().await;
        let gap = rule(
            app,
            "{ collectionGap: { minimumSeconds: 60, intervals: 1 } }",
        )
        .await;
        update(app, "collection-gap", "isEnabled: false").await;
        let mut steps = follow(app).await;
        heard(app, &["till-1", "till-2", "till-3"]).await;
        for _ in 0..4 {
            but_one(app).await;
        }
        let opened = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(at(&opened), "2026-11-23T12:01:00Z");
        let wider = "watch: { collectionGap: { minimumSeconds: 90, intervals: 1 } }";
        update(app, &gap, wider).await;
        update(app, "collection-gap", "isEnabled: true").await;
        for _ in 0..6 {
            but_one(app).await;
        }
        // the alert is open still, and the other rule has one of its own by when it was heard of
        let other = next(&mut steps, "OPEN", "device/till-1").await;
        assert_eq!(
            (other["ruleId"].as_str(), at(&other)),
            (Some("collection-gap"), "2026-11-23T12:05:00Z")
        );
        heard(app, &["till-1"]).await;
        for _ in 0..2 {
            next(&mut steps, "RESOLVED", "device/till-1").await;
        }
    })
    .await;
}
