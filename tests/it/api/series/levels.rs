//! What is summed up needs no events: minutes of sites, hours and days are read where they suffice, and answers
//! are the same without the log.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use super::super::app::on_each_database;
use super::{record, soon_after};

const QUERY: &str = "query($by: [Dimension!], $buckets: BucketInput, $measures: [Measure!]!, $from: DateTime!) { \
    series(measures: $measures, from: $from, to: \"2026-10-28T00:00:00Z\", buckets: $buckets, groupBy: $by, \
    fill: NONE) { groups { key { value } buckets { start events count sum min max increase \
    percentile(of: 90) } } } }";

/// What groups are told apart by, the buckets, whether counters are asked for, and from when on.
const CASES: [(&str, &str, i64, bool, &str); 8] = [
    ("SITE", "MINUTE", 1, false, "2026-10-27T00:01:00Z"),
    ("SITE", "MINUTE", 15, true, "2026-10-23T00:15:00Z"),
    ("DEVICE", "MINUTE", 45, true, "2026-10-23T00:45:00Z"),
    ("SITE", "HOUR", 1, true, "2026-10-23T01:00:00Z"),
    ("SITE", "DAY", 1, true, "2026-10-23T01:00:00Z"),
    ("DEVICE", "DAY", 1, true, "2026-10-23T00:45:00Z"),
    ("DEVICE", "MONTH", 1, true, "2026-10-23T05:15:00Z"),
    ("DEVICE_TYPE", "WEEK", 1, false, "2026-10-23T00:00:00Z"),
];

#[tokio::test]
async fn what_is_summed_up_is_answered_without_the_events() {
    on_each_database(async |app| {
        soon_after(app);
        let mut random = StdRng::seed_from_u64(7);
        record(app, &mut random).await;
        app.settle().await;
        let mut answers = Vec::new();
        for without_events in [false, true] {
            if without_events {
                let db = app.database().await;
                db.execute_unprepared("DELETE FROM device_metrics")
                    .await
                    .unwrap();
                db.close().await.unwrap();
            }
            for (index, (by, unit, every, has_counters, from)) in CASES.into_iter().enumerate() {
                let measures: &[&str] = if has_counters {
                    &["CPU_PERCENT", "TRANSACTION_COUNT"]
                } else {
                    &["CPU_PERCENT", "READINGS"]
                };
                let asked = json!({ "by": [by], "measures": measures, "from": from,
                    "buckets": { "resolution": unit, "every": every, "timeZone": "UTC" } });
                let answer = app.data_with(QUERY, asked).await;
                let groups = answer["series"]["groups"].as_array().unwrap();
                assert!(groups.len() > 1, "{by} {unit} {answer}");
                if without_events {
                    assert_eq!(answer, answers[index], "{by} {unit}");
                } else {
                    answers.push(answer);
                }
            }
        }
    })
    .await;
}
