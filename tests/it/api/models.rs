//! What the failure risk rests on, as clients see it: before anything was learned, and when it was.

use homepot_analytics::ingest::Patience;
use homepot_analytics::kinds::parse_any;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use crate::support::lives::{DAYS, life, midnight, registered};

const REPORT: &str = "query($asOf: DateTime, $provenance: Provenance) {
    modelReport(asOf: $asOf, provenance: $provenance) { status sentence provenance isTrained failures failuresNeeded
        devices summedUpAt trainedAt knownTo examples exampleDevices examplesFrom heldOutFrom
        backtests { horizonHours answers answersBeforeFailure prAuc rocAuc brier brierOfRate calibrationSlope
            calibrationIntercept deciles { meanRisk failedShare answers } leadTimeHours warnedShare sentence }
        lastTrial { trainedAt knownTo isAccepted unseenFrom loss lossInForce sentence } } }";

async fn report(app: &TestApp, variables: Value) -> Value {
    let mut data = app.data_with(REPORT, variables).await;
    data["modelReport"].take()
}

async fn metrics(app: &TestApp) -> String {
    let get = app.client().get(app.address("/metrics"));
    get.send().await.unwrap().text().await.unwrap()
}

/// A server that finds a history when it starts, once it has learned from it.
pub(super) async fn learned(app: &mut TestApp) -> Value {
    let mut events = registered("REAL");
    events.extend(life(0..DAYS, "REAL"));
    app.restart_after(async |ingest| {
        let now = ingest.clock().now();
        for events in events.chunks(500) {
            let given = events.iter().map(|event| (None, parse_any(event, now)));
            let given = given.collect();
            ingest.record(given, None, Patience::None).await.unwrap();
        }
    })
    .await;
    loop {
        let report = report(app, json!({})).await;
        // it is learned before the newest midnight is summed up
        if report["isTrained"] == true && report["summedUpAt"] == midnight(DAYS).to_string() {
            return report;
        }
    }
}

#[tokio::test]
async fn a_fleet_that_just_started_is_told_by_what_is_thought_beforehand() {
    on_each_database(async |app| {
        app.fleet().await;
        let told = report(app, json!({})).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(told["sentence"].as_str().unwrap(), @"The fleet has not been summed up yet, so that its failures are not known. Until then each device has the rate that is thought beforehand, 0.50 failures a device and month.");
        }
        let expected = json!({ "status": "LEARNING", "provenance": "REAL", "isTrained": false, "failures": 0,
            "failuresNeeded": 10, "devices": 0, "summedUpAt": null, "trainedAt": null, "knownTo": null,
            "examples": "0", "exampleDevices": 0, "examplesFrom": null, "heldOutFrom": null, "backtests": [],
            "lastTrial": null, "sentence": told["sentence"] });
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test]
async fn a_model_is_told_with_how_good_it_would_have_been() {
    on_each_database(async |app| {
        let told = learned(app).await;
        assert_eq!(told["failures"], 20, "{told:#}");
        assert_eq!(
            (&told["status"], &told["devices"]),
            (&json!("OK"), &json!(4))
        );
        let last = midnight(DAYS).to_string();
        assert_eq!(
            (&told["knownTo"], &told["summedUpAt"]),
            (&json!(last), &json!(last))
        );
        assert_eq!(told["trainedAt"], "2026-11-23T12:00:00Z");
        assert_eq!(told["heldOutFrom"], midnight(30).to_string());
        let tests = told["backtests"].as_array().unwrap();
        let hours: Vec<&Value> = tests.iter().map(|test| &test["horizonHours"]).collect();
        assert_eq!(hours, [24, 72]);
        for test in tests {
            assert!(test["brier"].as_f64() > Some(0.0), "{test:#}");
            assert!(test["prAuc"].as_f64() > Some(0.2), "{test:#}");
            let deciles = test["deciles"].as_array().unwrap();
            let answers = deciles
                .iter()
                .map(|decile| decile["answers"].as_str().unwrap());
            let answers: i64 = answers.map(|answers| answers.parse::<i64>().unwrap()).sum();
            assert_eq!(answers.to_string(), test["answers"].as_str().unwrap());
        }
        let of_a_day = &tests[0];
        assert!(of_a_day["brier"].as_f64() < of_a_day["brierOfRate"].as_f64());
        assert_eq!(told["lastTrial"]["isAccepted"], true);
        let failures = "homepot_failure_model_failures{provenance=\"REAL\"} 20\n";
        while !metrics(app).await.contains(failures) {}
    })
    .await;
}

#[tokio::test]
async fn what_was_learned_is_told_after_a_restart_and_as_of_then() {
    on_each_database(async |app| {
        let told = learned(app).await;
        app.clock.advance_ms(60_000);
        app.restart().await;
        assert_eq!(report(app, json!({})).await, told);
        let before = json!({ "asOf": midnight(DAYS).plus_ms(-3_600_000).to_string() });
        let before = report(app, before).await;
        assert_eq!(
            (&before["isTrained"], &before["status"]),
            (&json!(false), &json!("LEARNING"))
        );
        assert_eq!(before["trainedAt"], Value::Null);
        assert_eq!(before["summedUpAt"], midnight(DAYS - 1).to_string());
        let then = json!({ "asOf": midnight(DAYS).plus_ms(3_600_000).to_string() });
        assert_eq!(report(app, then).await["isTrained"], true);
        let of_simulated = json!({ "provenance": "SIMULATED" });
        let of_simulated = report(app, of_simulated).await;
        assert_eq!(
            (&of_simulated["devices"], &of_simulated["isTrained"]),
            (&json!(0), &json!(false))
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_is_told_of_the_future_nor_of_before_the_first_event() {
    on_each_database(async |app| {
        app.fleet().await;
        for as_of in ["2026-11-23T12:00:01Z", "2000-01-01T00:00:00Z"] {
            let code = app.code_with(REPORT, json!({ "asOf": as_of })).await;
            assert_eq!(code, "BAD_INPUT", "{as_of}");
        }
    })
    .await;
}
