//! Months of a shop whose clocks change in some of them: each is from one midnight there to another.

use serde_json::{Value, json};

use super::super::app::on_each_database;

const MONTHS: &str = "{ series(measures: [CPU_PERCENT], from: \"2026-02-01T00:00:00Z\", \
    to: \"2026-11-23T00:00:00Z\", fill: NONE, \
    buckets: { resolution: MONTH, timeZone: \"Europe/London\" }) { \
    groups { buckets { start end count } } } }";

/// When something was measured, and when the month begins and ends that it is of.
const MEASURED: [(&str, &str, &str); 6] = [
    (
        "2026-03-01T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-03-31T23:00:00Z",
    ),
    (
        "2026-03-31T22:59:59Z",
        "2026-03-01T00:00:00Z",
        "2026-03-31T23:00:00Z",
    ),
    (
        "2026-03-31T23:00:00Z",
        "2026-03-31T23:00:00Z",
        "2026-04-30T23:00:00Z",
    ),
    (
        "2026-09-30T23:00:00Z",
        "2026-09-30T23:00:00Z",
        "2026-11-01T00:00:00Z",
    ),
    (
        "2026-10-31T23:59:59Z",
        "2026-09-30T23:00:00Z",
        "2026-11-01T00:00:00Z",
    ),
    (
        "2026-11-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    ),
];

#[tokio::test]
async fn months_in_which_clocks_change_are_those_of_the_shop() {
    on_each_database(async |app| {
        app.fleet().await;
        let measured = MEASURED.iter().map(|(at, ..)| {
            json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5, "occurredAt": at } })
        });
        app.outcomes(measured.collect()).await;
        let mut expected: Vec<(&str, &str, f64)> = Vec::new();
        for (_, start, end) in MEASURED {
            match expected.last_mut() {
                Some((same, _, count)) if *same == start => *count += 1.0,
                _ => expected.push((start, end, 1.0)),
            }
        }
        let bucket = |(start, end, count): &(&str, &str, f64)| json!({ "start": start, "end": end, "count": count });
        let expected: Vec<Value> = expected.iter().map(bucket).collect();
        // from the log, and from what is summed up
        for _ in 0..2 {
            let told = app.data(MONTHS).await;
            assert_eq!(told["series"]["groups"][0]["buckets"], json!(expected));
            app.settle().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_whole_month_is_held_against_a_whole_month_however_long_both_are() {
    on_each_database(async |app| {
        app.fleet().await;
        let measured = [
            "2026-09-01T10:00:00Z",
            "2026-08-31T22:30:00Z",
            "2026-08-01T00:00:00Z",
        ];
        let measured = measured.map(|at| {
            json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5, "occurredAt": at } })
        });
        app.record(json!(measured)).await;
        let september = "{ series(measures: [CPU_PERCENT], from: \"2026-09-01T00:00:00+01:00\", \
            to: \"2026-10-01T00:00:00+01:00\", compareWith: PREVIOUS_PERIOD, \
            buckets: { resolution: MONTH, timeZone: \"Europe/London\" }) { \
            groups { buckets { count earlier { start end count } } } } }";
        let told = app.data(september).await;
        let august =
            json!({ "start": "2026-07-31T23:00:00Z", "end": "2026-08-31T23:00:00Z", "count": 2.0 });
        let expected = json!([{ "count": 1.0, "earlier": august }]);
        assert_eq!(told["series"]["groups"][0]["buckets"], expected);
    })
    .await;
}

/// What was measured about the ends of months, a week and days of which some have other hours.
const ABOUT_ENDS: [&str; 9] = [
    "2026-07-31T23:00:00Z",
    "2026-08-31T22:30:00Z",
    "2026-09-01T10:00:00Z",
    "2026-09-30T22:30:00Z",
    "2026-10-18T23:00:00Z",
    "2026-10-23T23:00:00Z",
    "2026-10-24T23:00:00Z",
    "2026-10-25T23:30:00Z",
    "2026-10-26T10:00:00Z",
];

/// Buckets, from when until when, and from when on it is compared with how many.
const WHOLE: [(&str, &str, &str, &str, f64); 6] = [
    (
        "MONTH",
        "2026-08-31T23:00:00Z",
        "2026-09-30T23:00:00Z",
        "2026-07-31T23:00:00Z",
        2.0,
    ),
    (
        "MONTH",
        "2026-09-30T23:00:00Z",
        "2026-11-01T00:00:00Z",
        "2026-08-31T23:00:00Z",
        2.0,
    ),
    (
        "MONTH",
        "2026-08-31T23:00:00Z",
        "2026-11-01T00:00:00Z",
        "2026-06-30T23:00:00Z",
        2.0,
    ),
    (
        "WEEK",
        "2026-10-26T00:00:00Z",
        "2026-11-02T00:00:00Z",
        "2026-10-18T23:00:00Z",
        4.0,
    ),
    (
        "DAY",
        "2026-10-26T00:00:00Z",
        "2026-10-27T00:00:00Z",
        "2026-10-24T23:00:00Z",
        2.0,
    ),
    (
        "DAY",
        "2026-10-24T23:00:00Z",
        "2026-10-26T00:00:00Z",
        "2026-10-23T23:00:00Z",
        1.0,
    ),
];

#[tokio::test]
async fn a_breakdown_of_whole_months_weeks_and_days_is_compared_as_a_series_of_them() {
    on_each_database(async |app| {
        app.fleet().await;
        let measured = ABOUT_ENDS.map(|at| {
            json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5, "occurredAt": at } })
        });
        app.record(json!(measured)).await;
        for (resolution, from, to, earlier_from, earlier) in WHOLE {
            let of = format!(
                "measures: [CPU_PERCENT], from: \"{from}\", to: \"{to}\", compareWith: PREVIOUS_PERIOD"
            );
            let asked = format!(
                "{{ series({of}, buckets: {{ resolution: {resolution}, timeZone: \"Europe/London\" }}) {{ \
                 groups {{ total {{ earlier {{ count }} }} }} }} \
                 breakdown({of}, by: DEVICE, aggregate: COUNT, timeZone: \"Europe/London\") {{ \
                 earlierFrom earlierTo lists {{ earlierValue }} }} }}"
            );
            let told = app.data(&asked).await;
            let total = &told["series"]["groups"][0]["total"];
            assert_eq!(total["earlier"]["count"], earlier, "{asked}");
            let expected = json!({ "earlierFrom": earlier_from, "earlierTo": from,
                "lists": [{ "earlierValue": earlier }] });
            assert_eq!(told["breakdown"], expected, "{asked}");
        }
    })
    .await;
}
