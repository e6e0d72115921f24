//! The same time a week, a month or a year before: beside each bucket stands what the clock showed alike, and beside
//! what the earlier time does not have stands nothing.

use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::recorded::{MICROS, micros, text};

const HOUR: i64 = 3_600 * MICROS;
const BESIDE: &str = "groups { buckets { start earlier { start end count } } total { earlier { start end count } } }";

/// Has a till measure something at each of some times.
async fn measure(app: &TestApp, times: impl Iterator<Item = String>) {
    let events = times.map(|at| {
        json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5, "occurredAt": at } })
    });
    app.record(events.collect()).await;
}

/// So many times of a day.
fn times(day: &str, many: usize) -> impl Iterator<Item = String> {
    (0..many).map(move |second| format!("{day}T12:00:0{second}Z"))
}

/// What stands beside a day, from one to another.
fn of_days(from: &str, to: &str, count: f64) -> Value {
    json!({ "start": format!("{from}T00:00:00Z"), "end": format!("{to}T00:00:00Z"), "count": count })
}

const DAYS: &str = "measures: [CPU_PERCENT], from: \"2026-03-28T00:00:00Z\", to: \"2026-04-03T00:00:00Z\", \
    buckets: { resolution: DAY, timeZone: \"UTC\" }, compareWith: PREVIOUS_MONTH";

#[tokio::test]
async fn beside_a_day_that_the_month_before_does_not_have_stands_nothing() {
    on_each_database(async |app| {
        app.fleet().await;
        let many = [("02-27", 1), ("02-28", 2), ("03-01", 3), ("03-02", 4), ("03-03", 5), ("03-30", 1)];
        for (day, many) in many {
            measure(app, times(&format!("2026-{day}"), many)).await;
        }
        let bucket = |day: &str, earlier: Value| json!({ "start": format!("2026-{day}T00:00:00Z"), "earlier": earlier });
        let groups = json!([{
            "buckets": [
                bucket("03-28", of_days("2026-02-28", "2026-03-01", 2.0)),
                bucket("03-29", Value::Null),
                bucket("03-30", Value::Null),
                bucket("03-31", Value::Null),
                bucket("04-01", of_days("2026-03-01", "2026-03-02", 3.0)),
                bucket("04-02", of_days("2026-03-02", "2026-03-03", 4.0)),
            ],
            "total": { "earlier": of_days("2026-02-28", "2026-03-03", 9.0) },
        }]);
        let told = app.data(&format!("{{ series({DAYS}) {{ {BESIDE} }} }}")).await;
        assert_eq!(told["series"]["groups"], groups);
        // and so for whoever follows it, who is told of the day beside which something comes
        let followed = format!("subscription {{ seriesUpdates({DAYS}) {{ series {{ {BESIDE} }} }} }}");
        let mut socket = app.socket().await;
        let id = socket.subscribe(&followed, json!({})).await;
        let told = socket.data(&id).await["seriesUpdates"].take();
        assert_eq!(told["series"]["groups"], groups);
        measure(app, ["2026-03-01T13:00:00Z".to_owned()].into_iter()).await;
        let told = socket.data(&id).await["seriesUpdates"].take();
        let changed = json!([{
            "buckets": [bucket("04-01", of_days("2026-03-01", "2026-03-02", 4.0))],
            "total": { "earlier": of_days("2026-02-28", "2026-03-03", 10.0) },
        }]);
        assert_eq!(told["series"]["groups"], changed);
    })
    .await;
}

#[tokio::test]
async fn beside_a_week_stands_the_whole_week_of_the_year_before() {
    on_each_database(async |app| {
        app.fleet().await;
        let days = (24..=30).flat_map(|day| times(&format!("2025-03-{day}"), 1).collect::<Vec<_>>());
        measure(app, days.chain(["2026-03-25T12:00:00Z".to_owned()])).await;
        let asked = format!(
            "{{ series(measures: [CPU_PERCENT], from: \"2026-03-23T00:00:00Z\", to: \"2026-03-29T23:00:00Z\", \
             buckets: {{ resolution: WEEK, timeZone: \"Europe/London\" }}, compareWith: PREVIOUS_YEAR) {{ {BESIDE} }} }}"
        );
        let told = app.data(&asked).await;
        let week = json!({ "start": "2025-03-24T00:00:00Z", "end": "2025-03-30T23:00:00Z", "count": 7.0 });
        let groups = json!([{
            "buckets": [{ "start": "2026-03-23T00:00:00Z", "earlier": week }],
            "total": { "earlier": week },
        }]);
        assert_eq!(told["series"]["groups"], groups);
    })
    .await;
}

#[tokio::test]
async fn beside_an_hour_stands_that_hour_of_the_clock_also_when_clocks_were_changed() {
    on_each_database(async |app| {
        app.fleet().await;
        // in each hour of two days
        let begin = micros("2026-10-16T23:30:00Z");
        let hours = (0..48).map(|hour| text(begin + hour * HOUR));
        measure(app, hours.chain(["2026-10-24T10:00:00Z".to_owned()])).await;
        let asked = format!(
            "{{ series(measures: [CPU_PERCENT], from: \"2026-10-23T23:00:00Z\", to: \"2026-10-26T00:00:00Z\", \
             buckets: {{ resolution: HOUR, timeZone: \"Europe/London\" }}, compareWith: PREVIOUS_WEEK) {{ {BESIDE} }} }}"
        );
        let again = micros("2026-10-25T01:00:00Z");
        // from the log, and from what is summed up
        for _ in 0..2 {
            let told = app.data(&asked).await;
            let group = &told["series"]["groups"][0];
            let buckets = group["buckets"].as_array().unwrap();
            assert_eq!(buckets.len(), 49);
            for bucket in buckets {
                let start = micros(bucket["start"].as_str().unwrap());
                let beside = &bucket["earlier"];
                if start == again {
                    assert_eq!(*beside, Value::Null);
                    continue;
                }
                let later = if start > again { HOUR } else { 0 };
                let before = start - 7 * 24 * HOUR - later;
                assert_eq!(micros(beside["start"].as_str().unwrap()), before, "{bucket}");
                assert_eq!(micros(beside["end"].as_str().unwrap()), before + HOUR, "{bucket}");
                assert_eq!(beside["count"], 1.0, "{bucket}");
            }
            assert_eq!(group["total"]["earlier"]["count"], 48.0);
            app.settle().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_range_that_the_month_before_does_not_have_is_compared_with_nothing() {
    on_each_database(async |app| {
        app.fleet().await;
        measure(app, times("2026-02-28", 2).chain(times("2026-03-30", 1))).await;
        let asked = |from: &str, to: &str| {
            let of = format!(
                "measures: [CPU_PERCENT], from: \"{from}T00:00:00Z\", to: \"{to}T00:00:00Z\", \
                 compareWith: PREVIOUS_MONTH"
            );
            format!(
                "{{ series({of}, buckets: {{ resolution: MONTH, timeZone: \"UTC\" }}) {{ \
                 groups {{ buckets {{ earlier {{ count }} }} total {{ earlier {{ count }} }} }} }} \
                 breakdown({of}, by: DEVICE, aggregate: COUNT, timeZone: \"UTC\") {{ earlierFrom earlierTo \
                 lists {{ value earlierValue rows {{ earlierValue change }} }} }} }}"
            )
        };
        let told = app.data(&asked("2026-03-29", "2026-03-31")).await;
        let groups = json!([{ "buckets": [{ "earlier": null }], "total": { "earlier": null } }]);
        assert_eq!(told["series"]["groups"], groups);
        let breakdown = json!({ "earlierFrom": null, "earlierTo": null,
            "lists": [{ "value": 1.0, "earlierValue": null, "rows": [{ "earlierValue": null, "change": null }] }] });
        assert_eq!(told["breakdown"], breakdown);
        // until a day that it does not have, and so all of it
        let told = app.data(&asked("2026-03-01", "2026-03-31")).await;
        let groups = json!([{ "buckets": [{ "earlier": { "count": 2.0 } }], "total": { "earlier": { "count": 2.0 } } }]);
        assert_eq!(told["series"]["groups"], groups);
        let breakdown = json!({ "earlierFrom": "2026-02-01T00:00:00Z", "earlierTo": "2026-03-01T00:00:00Z",
            "lists": [{ "value": 1.0, "earlierValue": 2.0, "rows": [{ "earlierValue": 2.0, "change": -1.0 }] }] });
        assert_eq!(told["breakdown"], breakdown);
    })
    .await;
}
