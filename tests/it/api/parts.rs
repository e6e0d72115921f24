//! Readings that come in parts.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};

fn part(part: i64, minute: i64, measures: &Value) -> Value {
    let mut body = json!({ "deviceId": "till-1", "occurredAt": at(minute), "part": part });
    let measures = measures.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(measures);
    json!({ "deviceMetrics": body })
}

async fn latest(app: &TestApp, fields: &str) -> Value {
    let document = format!("{{ device(deviceId: \"till-1\") {{ latestMetrics {{ {fields} }} }} }}");
    app.settle().await;
    app.data(&document).await["device"]["latestMetrics"].take()
}

#[tokio::test]
async fn parts_of_a_reading_are_events_of_their_own_and_each_is_known_again() {
    on_each_database(async |app| {
        app.fleet().await;
        let parts = json!([
            part(7, 0, &json!({ "cpuPercent": 10 })),
            part(8, 0, &json!({ "memoryPercent": 20 })),
            part(0, 0, &json!({ "diskPercent": 30 })),
        ]);
        let first = app.record(parts.clone()).await;
        let again = app.outcomes(parts).await;
        assert_eq!(texts(&again, "status"), ["DUPLICATE"; 3]);
        let positions: Vec<String> = first.iter().map(i64::to_string).collect();
        assert_eq!(texts(&again, "position"), positions);
        let other = json!([part(8, 0, &json!({ "memoryPercent": 21 }))]);
        assert_eq!(texts(&app.outcomes(other).await, "status"), ["CONFLICT"]);
        let data = app.data("{ deviceMetrics { nodes { part } } }").await;
        let nodes = &data["deviceMetrics"]["nodes"];
        assert_eq!(texts(nodes, "part"), ["0", "8", "7"]);
    })
    .await;
}

#[tokio::test]
async fn a_whole_reading_is_the_part_nought() {
    on_each_database(async |app| {
        app.fleet().await;
        let body = json!({ "deviceId": "till-1", "occurredAt": at(0), "cpuPercent": 10 });
        app.record(json!([{ "deviceMetrics": body }])).await;
        let again = json!([part(0, 0, &json!({ "cpuPercent": 10 }))]);
        assert_eq!(texts(&app.outcomes(again).await, "status"), ["DUPLICATE"]);
    })
    .await;
}

#[tokio::test]
async fn the_newest_reading_has_the_measures_of_all_its_parts() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            part(7, -1, &json!({ "cpuPercent": 99, "queueDepth": 3 })),
            part(1, 0, &json!({ "cpuPercent": 10, "memoryPercent": 15 })),
            part(
                2,
                0,
                &json!({ "memoryPercent": 20, "extra": { "by": "two" } })
            ),
            part(3, 0, &json!({ "services": { "pay": "UP" } })),
        ]))
        .await;
        let whole = latest(
            app,
            "cpuPercent memoryPercent queueDepth services extra occurredAt",
        )
        .await;
        let expected = json!({ "cpuPercent": 10.0, "memoryPercent": 20.0, "queueDepth": null,
            "services": { "pay": "UP" }, "extra": { "by": "two" }, "occurredAt": at(0) });
        assert_eq!(whole, expected);
        // a part that comes late is of the same reading
        app.record(json!([part(4, 0, &json!({ "queueDepth": 5 }))]))
            .await;
        assert_eq!(
            latest(app, "queueDepth cpuPercent").await,
            json!({ "queueDepth": 5, "cpuPercent": 10.0 })
        );
        // and one of an older reading is not
        app.record(json!([part(9, -1, &json!({ "diskPercent": 5 }))]))
            .await;
        assert_eq!(
            latest(app, "diskPercent").await,
            json!({ "diskPercent": null })
        );
    })
    .await;
}
