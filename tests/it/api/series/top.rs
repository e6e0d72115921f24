//! The first groups and all others as one: no more is made than what is told.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};

/// Groups of which each has so many buckets that all of them together have more than are answered.
const CODES: usize = 80;
const RANGE: &str = "from: \"2026-11-08T00:00:00Z\", to: \"2026-11-23T00:00:00Z\"";
const BUCKETS: &str = "buckets: { resolution: MINUTE, every: 15, timeZone: \"UTC\" }, fill: NONE";

/// Of each code one error more than of the one before, each in a quarter of its own.
async fn record(app: &TestApp) {
    let mut events = Vec::new();
    for code in 0..CODES {
        for nth in 0..=code % 8 {
            let (day, hour) = (8 + code % 15, (code + nth) % 24);
            events.push(
                json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR",
                "errorMessage": "x", "errorCode": format!("C{code:03}"), "deviceId": "till-1",
                "occurredAt": format!("2026-11-{day:02}T{hour:02}:{:02}:00Z", 15 * (nth % 4)) } }),
            );
        }
    }
    app.record(json!(events)).await;
}

#[tokio::test]
async fn buckets_are_made_of_the_first_groups_alone_and_of_all_others_as_one() {
    on_each_database(async |app| {
        app.fleet().await;
        record(app).await;
        let all = format!(
            "{{ series(measures: [ERRORS], {RANGE}, groupBy: [ERROR_CODE], {BUCKETS}) {{ position }} }}"
        );
        assert_eq!(app.code(&all).await, "LIMIT_EXCEEDED");
        let answer = app.query(json!({ "query": all })).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        let figures = "each group has 1440 buckets, and all groups together have at most 100000, which is 69 groups";
        assert!(message.starts_with(figures), "{message}");
        assert!(message.contains("`top`") && message.contains("`resolution`"), "{message}");
        let asked = |top: &str| {
            format!(
                "{{ series(measures: [ERRORS], {RANGE}, groupBy: [ERROR_CODE], {top} {BUCKETS}, \
                compareWith: PREVIOUS_WEEK) {{ groups {{ key {{ value }} isOther total {{ count \
                earlier {{ count }} }} buckets {{ start count }} }} }} }}"
            )
        };
        for settled in [false, true] {
            if settled {
                app.settle().await;
            }
            let answer = app.data(&asked("top: 5,")).await;
            let groups = answer["series"]["groups"].as_array().unwrap();
            let told = |group: &Value| json!([group["key"][0]["value"], group["total"]["count"]]);
            let told: Vec<Value> = groups.iter().map(told).collect();
            // of those that come to the same the first by name
            let first = ["C007", "C015", "C023", "C031", "C039"];
            let mut expected: Vec<Value> = first.iter().map(|code| json!([code, 8.0])).collect();
            expected.push(json!([null, f64::from(36 * 10 - 5 * 8)]));
            assert_eq!(told, expected);
            assert_eq!(groups[5]["isOther"], true);
            for group in groups {
                let buckets = group["buckets"].as_array().unwrap().iter();
                let count: f64 = buckets.map(|bucket| bucket["count"].as_f64().unwrap()).sum();
                assert_eq!(json!(count), group["total"]["count"], "{group}");
            }
        }
    })
    .await;
}
