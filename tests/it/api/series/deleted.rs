//! What was summed up of events that were deleted for good stays, whatever comes late.

use serde_json::json;

use super::super::app::{TestApp, on_each_database};
use super::sold::{device, first_day_is_deleted, sales, site};

const QUERY: &str = "query($by: Dimension!) { series(measures: [TRANSACTION_COUNT], from: \"2026-10-01T00:00:00Z\", \
    to: \"2026-10-03T00:00:00Z\", buckets: { resolution: DAY, timeZone: \"UTC\" }, groupBy: [$by], fill: NONE) { \
    groups { key { value } buckets { start events increase } } } }";
const MINUTES: &str = "query($from: DateTime!) { series(measures: [TRANSACTION_COUNT], from: $from, \
    to: \"2026-10-02T00:20:00Z\", buckets: { resolution: MINUTE, timeZone: \"UTC\" }, fill: NONE) { \
    groups { buckets { start increase } } } }";
/// What was counted of each day: of whom, on which day, how many events and by how much the counter grew.
async fn counted(app: &TestApp, by: &str) -> Vec<(String, String, String, f64)> {
    let answer = app.data_with(QUERY, json!({ "by": by })).await;
    let mut counted = Vec::new();
    for group in answer["series"]["groups"].as_array().unwrap() {
        for bucket in group["buckets"].as_array().unwrap() {
            counted.push((
                group["key"][0]["value"].as_str().unwrap().to_owned(),
                bucket["start"].as_str().unwrap()[..10].to_owned(),
                bucket["events"].as_str().unwrap().to_owned(),
                bucket["increase"].as_f64().unwrap(),
            ));
        }
    }
    counted.sort_by(|one, other| (&one.1, &one.0).cmp(&(&other.1, &other.0)));
    counted
}

async fn is_counted(app: &TestApp, by: &str, expected: [(&str, &str, &str, f64); 2]) {
    let expected = expected.map(|(whose, day, events, increase)| {
        (
            whose.to_owned(),
            day.to_owned(),
            events.to_owned(),
            increase,
        )
    });
    assert_eq!(counted(app, by).await, expected);
}

/// A day of New York over whose midnight of UTC a counter counts, of which the first half is deleted.
async fn half_of_a_day_is_deleted(app: &TestApp) {
    app.record(json!([
        site("york", "America/New_York"),
        site("rome", "Europe/Rome"),
        device("york", "2026-09-01T00:00:00Z"),
        sales("2026-10-01T20:00:00Z", 100),
        sales("2026-10-01T23:50:00Z", 150),
        sales("2026-10-02T00:10:00Z", 170),
        sales("2026-10-02T01:00:00Z", 200),
    ]))
    .await;
    app.settle().await;
    first_day_is_deleted(app, "2").await;
}

#[tokio::test]
async fn what_comes_late_takes_nothing_from_what_was_summed_up_of_deleted_events() {
    on_each_database(async |app| {
        half_of_a_day_is_deleted(app).await;
        let days = |first, second| {
            [
                ("d", "2026-10-01", first, 150.0),
                ("d", "2026-10-02", second, 50.0),
            ]
        };
        is_counted(app, "DEVICE", days("2", "2")).await;
        // its day is read again behind what was deleted
        app.record(json!([sales("2026-10-02T00:30:00Z", 180)]))
            .await;
        is_counted(app, "DEVICE", days("2", "3")).await;
        app.settle().await;
        is_counted(app, "DEVICE", days("2", "3")).await;
        // before that it is added
        app.record(json!([sales("2026-10-01T22:00:00Z", 120)]))
            .await;
        is_counted(app, "DEVICE", days("3", "3")).await;
        app.settle().await;
        is_counted(app, "DEVICE", days("3", "3")).await;
    })
    .await;
}

#[tokio::test]
async fn single_events_go_on_from_what_was_summed_up_of_deleted_events() {
    on_each_database(async |app| {
        half_of_a_day_is_deleted(app).await;
        // behind what was deleted, and from the midst of the time of which rows are all that is left
        for from in ["2026-10-02T00:00:00Z", "2026-10-01T23:47:00Z"] {
            let answer = app.data_with(MINUTES, json!({ "from": from })).await;
            assert_eq!(
                answer["series"]["groups"][0]["buckets"],
                json!([{ "start": "2026-10-02T00:10:00Z", "increase": 20.0 }]),
                "from {from}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_that_moves_late_leaves_deleted_events_where_they_were_summed_up() {
    on_each_database(async |app| {
        half_of_a_day_is_deleted(app).await;
        app.record(json!([device("rome", "2026-09-15T00:00:00Z")]))
            .await;
        app.settle().await;
        is_counted(
            app,
            "DEVICE",
            [
                ("d", "2026-10-01", "2", 150.0),
                ("d", "2026-10-02", "2", 50.0),
            ],
        )
        .await;
        is_counted(
            app,
            "SITE",
            [
                ("york", "2026-10-01", "2", 150.0),
                ("rome", "2026-10-02", "2", 50.0),
            ],
        )
        .await;
    })
    .await;
}
