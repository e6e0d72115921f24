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

#[tokio::test]
async fn amounts_in_two_currencies_are_not_held_against_each_other() {
    on_each_database(async |app| {
        let site = |id: &str, zone: &str, currency: &str| {
            json!({ "siteRegistration": { "siteId": id, "name": id, "timeZone": zone,
                "currency": currency, "occurredAt": "2026-01-01T00:00:00Z" } })
        };
        let device = |id: &str, site: &str| {
            json!({ "deviceRegistration": { "deviceId": id, "siteId": site,
                "deviceType": "POS_TERMINAL", "occurredAt": "2026-01-01T00:00:00Z" } })
        };
        let sold = |id: &str, amount: &str| {
            json!({ "deviceMetrics": { "deviceId": id, "transactionVolume": amount,
                "occurredAt": "2026-11-22T10:00:00Z" } })
        };
        app.record(json!([
            site("tokyo", "Asia/Tokyo", "JPY"),
            site("paris", "Europe/Paris", "EUR"),
            device("t-1", "tokyo"),
            device("t-2", "tokyo"),
            device("p-1", "paris"),
            device("p-2", "paris"),
        ]))
        .await;
        app.record(json!([
            sold("t-1", "9000"),
            sold("t-2", "5000"),
            sold("p-1", "30"),
            sold("p-2", "20.5"),
        ]))
        .await;
        let asked = "{ series(measures: [TRANSACTION_VOLUME], from: \"2026-11-22T00:00:00Z\", \
            to: \"2026-11-23T00:00:00Z\", groupBy: [DEVICE], top: 1, fill: NONE, \
            buckets: { resolution: HOUR, timeZone: \"UTC\" }) { groups { currency isOther key { value } \
            total { increase } } } }";
        // of all together only what the tills of Tokyo took would be among the first
        let expected = [
            json!(["EUR", false, "p-1", 30.0]),
            json!(["JPY", false, "t-1", 9000.0]),
            json!(["EUR", true, null, 20.5]),
            json!(["JPY", true, null, 5000.0]),
        ];
        for settled in [false, true] {
            if settled {
                app.settle().await;
            }
            let answer = app.data(asked).await;
            let groups = answer["series"]["groups"].as_array().unwrap();
            let told = |group: &Value| {
                let (key, total) = (&group["key"][0]["value"], &group["total"]["increase"]);
                json!([group["currency"], group["isOther"], key, total])
            };
            let told: Vec<Value> = groups.iter().map(told).collect();
            assert_eq!(told, expected);
        }
    })
    .await;
}
