//! What a BI tool sees: ids as texts, instants as timestamps, money as decimals.

use homepot_analytics::kinds::Kind;
use serde_json::json;

use crate::support::{Database, contract, event, samples, uuid};

contract![
    every_kind_has_a_view_with_all_its_events,
    ids_are_texts,
    instants_are_timestamps_to_the_microsecond,
    money_is_a_decimal,
    truths_are_booleans_where_there_are_any,
];

/// The first column of a query, each value as text.
async fn texts(database: &Database, column: &str, view: &str) -> Vec<Option<String>> {
    let sql = format!("SELECT CAST({column} AS TEXT) FROM report_{view} ORDER BY position");
    let rows = database.query(&sql).await;
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

fn some(text: &str) -> Option<String> {
    Option::from(text.to_owned())
}

async fn every_kind_has_a_view_with_all_its_events(database: Database) {
    let log = database.open().await.with_fleet().await;
    for kind in Kind::all() {
        log.record(samples(kind, 9, 3)).await;
        let table = kind.spec().table;
        let count = database
            .number(&format!("SELECT count(*) FROM {table}"))
            .await;
        let viewed = texts(&database, "provenance", table).await;
        assert_eq!(count, i64::try_from(viewed.len()).unwrap());
        let words = ["REAL", "CONTROLLED", "SIMULATED"];
        assert!(
            viewed
                .iter()
                .flatten()
                .all(|word| words.contains(&word.as_str()))
        );
    }
    log.close().await;
}

async fn ids_are_texts(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![event(
        &json!({"jobOutcome": {"jobId": "j", "jobType": "t", "eventId": uuid(0xABC),
        "status": "FAILED", "deviceId": "d1"}}),
    )])
    .await;
    let view = "job_outcomes";
    assert_eq!(texts(&database, "device_id", view).await, [some("d1")]);
    assert_eq!(texts(&database, "site_id", view).await, [None]);
    let id = "00000000-0000-0000-0000-000000000abc";
    assert_eq!(texts(&database, "event_id", view).await, [some(id)]);
    log.record(vec![event(
        &json!({"jobOutcome": {"jobId": "j", "jobType": "t", "status": "ERROR"}}),
    )])
    .await;
    assert_eq!(texts(&database, "event_id", view).await, [some(id), None]);
    log.close().await;
}

async fn instants_are_timestamps_to_the_microsecond(database: Database) {
    let log = database.open().await.with_fleet().await;
    for occurred_at in ["2026-11-23T09:59:59.000001Z", "2026-11-23T09:59:59.999999Z"] {
        log.record(vec![event(&json!({"deviceMetrics":
            {"deviceId": "d1", "occurredAt": occurred_at}}))])
            .await;
    }
    let view = "device_metrics";
    let shown = texts(&database, "occurred_at", view).await;
    if database.is_sqlite() {
        let expected = ["2026-11-23T09:59:59.000001Z", "2026-11-23T09:59:59.999999Z"];
        assert_eq!(shown, expected.map(some));
    } else {
        let shown = texts(&database, "occurred_at AT TIME ZONE 'UTC'", view).await;
        let expected = ["2026-11-23 09:59:59.000001", "2026-11-23 09:59:59.999999"];
        assert_eq!(shown, expected.map(some));
        let ty = texts(&database, "pg_typeof(recorded_at)", view).await;
        assert_eq!(ty[0], some("timestamp with time zone"));
    }
    log.close().await;
}

async fn money_is_a_decimal(database: Database) {
    let log = database.open().await.with_fleet().await;
    let given = [
        json!("900719925474099.1234"),
        json!("-0.5"),
        json!("-12.0001"),
        json!(null),
        json!(0),
    ];
    for (second, money) in given.iter().enumerate() {
        let occurred_at = format!("2026-11-23T09:00:{second:02}Z");
        log.record(vec![event(&json!({"deviceMetrics": {"deviceId": "d1",
            "occurredAt": occurred_at, "transactionVolume": money}}))])
            .await;
    }
    let shown = texts(&database, "transaction_volume", "device_metrics").await;
    let expected = [
        some("900719925474099.1234"),
        some("-0.5000"),
        some("-12.0001"),
        None,
        some("0.0000"),
    ];
    assert_eq!(shown, expected);
    log.close().await;
}

async fn truths_are_booleans_where_there_are_any(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![event(&json!({"siteSchedule":
        {"siteId": "s1", "dayOfWeek": "SUNDAY", "isClosed": true}}))])
        .await;
    let shown = texts(&database, "is_closed", "site_operating_schedules").await;
    assert_eq!(
        shown,
        [some(if database.is_sqlite() { "1" } else { "true" })]
    );
    log.close().await;
}
