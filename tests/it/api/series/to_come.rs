//! What is to come: it dilutes nothing that is told of a second or an hour.

use serde_json::{Value, json};

use super::super::app::on_each_database;

const RANGE: &str = "from: \"2026-11-23T11:00:00Z\", to: \"2026-11-23T14:00:00Z\"";
const WEEK: &str = "from: \"2026-11-23T11:00:00Z\", to: \"2026-11-30T11:00:00Z\"";

fn error(at: &str) -> Value {
    json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "x",
        "errorCode": "A", "deviceId": "till-1", "occurredAt": format!("2026-11-23T{at}Z") } })
}

fn near(told: &Value, expected: f64) {
    let off = told.as_f64().map(|told| (told - expected).abs());
    assert!(off.is_some_and(|off| off < 1e-12), "{told}, not {expected}");
}

#[tokio::test]
async fn what_is_told_of_a_second_or_an_hour_is_of_the_time_that_is_past() {
    on_each_database(async |app| {
        app.fleet().await;
        // it is half past twelve
        app.clock.advance_ms(1_800_000);
        let six = (0..6).map(|second| error(&format!("11:10:0{second}")));
        let three = (0..3).map(|second| error(&format!("12:10:0{second}")));
        app.record(six.chain(three).collect()).await;
        let asked = format!(
            "{{ series(measures: [ERRORS], {RANGE}, buckets: {{ resolution: HOUR, timeZone: \"UTC\" }}) {{ \
             groups {{ buckets {{ rate }} total {{ rate }} }} }} \
             breakdown(measures: [ERRORS], by: ERROR_CODE, aggregate: RATE, {RANGE}) {{ \
             lists {{ rows {{ value }} }} }} errorStats({RANGE}) {{ perHour }} }}"
        );
        let told = app.data(&asked).await;
        let group = &told["series"]["groups"][0];
        near(&group["buckets"][0]["rate"], 6.0 / 3_600.0);
        near(&group["buckets"][1]["rate"], 3.0 / 1_800.0);
        assert_eq!(group["buckets"][2]["rate"], Value::Null);
        near(&group["total"]["rate"], 9.0 / 5_400.0);
        let ranked = &told["breakdown"]["lists"][0]["rows"][0];
        near(&ranked["value"], 9.0 / 5_400.0);
        near(&told["errorStats"]["perHour"], 6.0);
    })
    .await;
}

#[tokio::test]
async fn a_heat_map_has_the_hours_that_are_past() {
    on_each_database(async |app| {
        app.fleet().await;
        app.clock.advance_ms(1_800_000);
        let errors = ["11:10:00", "11:20:00", "12:10:00"].map(error);
        app.record(json!(errors)).await;
        let asked = format!(
            "{{ heatmap(measure: ERRORS, {WEEK}, timeZone: \"UTC\") {{ \
             weeks {{ cells {{ value perHour hours }} }} }} }}"
        );
        let told = app.data(&asked).await;
        let cells = told["heatmap"]["weeks"][0]["cells"].as_array().unwrap();
        let past = [
            json!({ "value": 2.0, "perHour": 2.0, "hours": 1.0 }),
            json!({ "value": 1.0, "perHour": 2.0, "hours": 0.5 }),
        ];
        assert_eq!(cells[11..13], past);
        let to_come = json!({ "value": null, "perHour": null, "hours": 0.0 });
        let others = cells[..11].iter().chain(&cells[13..]);
        assert!(others.clone().all(|cell| *cell == to_come), "{told}");
        assert_eq!(others.count(), 166);
    })
    .await;
}

/// A device whose clock is ahead: what it says counts, and of a time that has not come there is no rate.
#[tokio::test]
async fn what_is_ahead_of_time_counts_and_has_no_rate() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([error("12:02:00")])).await;
        let range = "from: \"2026-11-23T12:02:00Z\", to: \"2026-11-23T12:03:00Z\"";
        let asked = format!(
            "{{ series(measures: [ERRORS], {range}, buckets: {{ resolution: MINUTE }}) {{ \
             groups {{ buckets {{ count rate }} total {{ count rate }} }} }} errorStats({range}) {{ total perHour }} }}"
        );
        let told = app.data(&asked).await;
        let ahead = json!({ "count": 1.0, "rate": null });
        let group = json!({ "buckets": [ahead], "total": ahead });
        assert_eq!(told["series"]["groups"], json!([group]));
        assert_eq!(told["errorStats"], json!({ "total": "1", "perHour": 0.0 }));
    })
    .await;
}
