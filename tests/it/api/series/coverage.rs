//! How much was expected: by the interval that a device told last.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};

fn reading(device: &str, at: &str, interval: Option<u32>) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": 10,
        "occurredAt": format!("2026-11-23T{at}:00Z"), "collectionIntervalSeconds": interval } })
}

/// How much was expected of each device from ten to eleven of a day.
pub(in super::super) async fn expected(app: &TestApp, day: &str) -> Vec<Value> {
    let asked = format!(
        "{{ series(measures: [CPU_PERCENT], from: \"{day}T10:00:00Z\", to: \"{day}T11:00:00Z\", \
         groupBy: [DEVICE], buckets: {{ resolution: HOUR }}) {{ \
         groups {{ key {{ value }} buckets {{ expected }} total {{ expected }} }} }} }}"
    );
    let answer = app.data(&asked).await;
    let groups = answer["series"]["groups"].as_array().unwrap().iter();
    let mut told: Vec<Value> = groups
        .map(|group| {
            assert_eq!(
                group["buckets"],
                json!([group["total"]]),
                "one hour is one bucket"
            );
            json!([group["key"][0]["value"], group["total"]["expected"]])
        })
        .collect();
    told.sort_by_key(Value::to_string);
    told
}

#[tokio::test]
async fn the_interval_is_that_of_the_newest_reading_that_tells_one() {
    on_each_database(async |app| {
        app.fleet().await;
        let registered = ["till-1", "till-2", "till-3"].map(|device| {
            json!({ "deviceRegistration": { "deviceId": device, "siteId": "harbour",
                "deviceType": "POS_TERMINAL", "occurredAt": "2026-11-01T00:00:00Z" } })
        });
        app.record(json!(registered)).await;
        app.record(json!([
            reading("till-1", "10:00", Some(60)),
            reading("till-1", "10:10", Some(600)),
            reading("till-1", "10:20", None),
            reading("till-2", "10:00", None),
            reading("till-3", "10:00", Some(600)),
        ]))
        .await;
        // however many come after it that tell none, and in however many parts
        let silent = (1..=20).map(|minute| reading("till-3", &format!("10:{minute:02}"), None));
        app.record(silent.collect()).await;
        let parts = (0..10).map(|part| {
            let mut reading = reading("till-1", "10:25", None);
            reading["deviceMetrics"]["part"] = json!(part);
            reading
        });
        app.record(parts.collect()).await;
        // what comes late was told before
        app.record(json!([reading("till-3", "09:50", Some(30))]))
            .await;
        let by_default = json!(["till-2", 120.0]);
        // from the log, and from what is folded
        for _ in 0..2 {
            let told = expected(app, "2026-11-23").await;
            assert_eq!(
                told,
                [
                    json!(["till-1", 6.0]),
                    by_default.clone(),
                    json!(["till-3", 6.0])
                ]
            );
            app.settle().await;
        }
        app.record(json!([
            reading("till-1", "10:30", Some(1_800)),
            reading("till-3", "10:40", Some(60)),
        ]))
        .await;
        let told = expected(app, "2026-11-23").await;
        assert_eq!(
            told,
            [json!(["till-1", 2.0]), by_default, json!(["till-3", 60.0])]
        );
    })
    .await;
}
