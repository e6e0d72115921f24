//! How long buckets are by themselves: as short as makes no more of them than are asked for.

use serde_json::json;

use super::super::app::on_each_database;

/// From when until when, on whose clock, how many buckets at most, and how long they are then.
const CASES: [(&str, &str, &str, usize, &str); 9] = [
    (
        "2026-11-16T00:00:00Z",
        "2026-11-23T00:00:00Z",
        "UTC",
        7,
        "DAY",
    ),
    (
        "2026-11-16T00:00:00Z",
        "2026-11-23T00:00:00Z",
        "UTC",
        6,
        "WEEK",
    ),
    // a month in which a day has 25 hours
    (
        "2026-09-30T22:00:00Z",
        "2026-10-31T23:00:00Z",
        "Europe/Berlin",
        31,
        "DAY",
    ),
    (
        "2026-09-30T22:00:00Z",
        "2026-10-31T23:00:00Z",
        "Europe/Berlin",
        30,
        "WEEK",
    ),
    (
        "2026-11-22T00:00:00Z",
        "2026-11-23T00:00:00Z",
        "UTC",
        24,
        "HOUR",
    ),
    // a day that has 23
    (
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
        "Europe/Berlin",
        23,
        "HOUR",
    ),
    (
        "2025-11-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
        "UTC",
        12,
        "MONTH",
    ),
    (
        "2025-11-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
        "UTC",
        11,
        "QUARTER",
    ),
    (
        "2020-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        "UTC",
        6,
        "YEAR",
    ),
];

#[tokio::test]
async fn buckets_are_as_short_as_makes_no_more_than_are_asked_for() {
    on_each_database(async |app| {
        app.fleet().await;
        for (from, to, zone, points, resolution) in CASES {
            let asked = format!(
                "{{ series(measures: [CPU_PERCENT], from: \"{from}\", to: \"{to}\", \
                 buckets: {{ points: {points}, timeZone: \"{zone}\" }}) {{ resolution every }} }}"
            );
            let told = app.data(&asked).await;
            let expected = json!({ "resolution": resolution, "every": 1 });
            assert_eq!(told["series"], expected, "{asked}");
        }
    })
    .await;
}
