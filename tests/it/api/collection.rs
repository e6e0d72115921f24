//! What is collected, what was refused, and how the log stands.

use serde_json::{Value, json};

use super::alerts::{follow, step};
use super::app::{TestApp, at, on_each_database};
use super::inputs::error;

async fn source(app: &TestApp, name: &str) -> Value {
    let data = app
        .data("{ collectionStatus { asOf sources { source status records realRecords controlledRecords simulatedRecords oldestAt newestAt
            expectedIntervalSeconds gaps insightReady insightLacks method purpose refused { kind field code deviceId count lastAt } } } }")
        .await;
    let sources = data["collectionStatus"]["sources"].as_array().unwrap();
    sources
        .iter()
        .find(|source| source["source"] == name)
        .unwrap()
        .clone()
}

#[tokio::test]
async fn the_eight_kinds_of_records_are_listed_and_empty_at_first() {
    on_each_database(async |app| {
        let data = app
            .data("{ collectionStatus { asOf sources { source status records } } }")
            .await;
        assert_eq!(data["collectionStatus"]["asOf"], super::app::NOON);
        let eight = [
            "deviceMetrics",
            "jobOutcome",
            "deviceStateChange",
            "errorLog",
            "configurationChange",
            "siteSchedule",
            "userActivity",
            "apiRequest",
        ];
        let mut listed = super::app::texts(&data["collectionStatus"]["sources"], "source");
        listed.retain(|source| eight.contains(&source.as_str()));
        assert_eq!(listed, eight);
        assert_eq!(source(app, "jobOutcome").await["status"], "EMPTY");
    })
    .await;
}

#[tokio::test]
async fn records_are_counted_by_provenance_and_a_source_that_falls_silent_is_stale() {
    on_each_database(async |app| {
        app.fleet().await;
        let metrics = |minutes: i64, provenance: &str| json!({ "deviceMetrics": {
            "deviceId": "till-1", "occurredAt": at(minutes), "provenance": provenance } });
        app.record(json!([metrics(-3, "REAL"), metrics(-2, "SIMULATED"), metrics(-1, "SIMULATED"), metrics(-4, "CONTROLLED")]))
            .await;
        let found = source(app, "deviceMetrics").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(found, @r#"{"controlledRecords":"1","expectedIntervalSeconds":30,"gaps":0,"insightLacks":["96 more records: there are 4 of 100","168 more hours: they span 0 of 168"],"insightReady":false,"method":"agents report every 30 s","newestAt":"2026-11-23T11:59:00Z","oldestAt":"2026-11-23T11:56:00Z","purpose":"health and capacity","realRecords":"1","records":"4","refused":[],"simulatedRecords":"2","source":"deviceMetrics","status":"COLLECTING"}"#);
        }
        let (mut socket, id) = follow(app).await;
        app.clock.advance_ms(10 * 60_000);
        assert_eq!(step(&mut socket, &id).await["cause"], "device/till-1");
        let found = source(app, "deviceMetrics").await;
        assert_eq!((&found["status"], &found["gaps"]), (&json!("STALE"), &json!(1)));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_counted_once() {
    on_each_database(async |app| {
        app.fleet().await;
        let event = json!([{ "deviceMetrics": { "deviceId": "till-1", "occurredAt": at(-1) } }]);
        app.record(event.clone()).await;
        app.outcomes(event).await;
        app.settle().await;
        assert_eq!(source(app, "deviceMetrics").await["records"], "1");
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_is_counted_by_field_code_and_device() {
    on_each_database(async |app| {
        app.fleet().await;
        let metrics = |device: &str, cpu: f64| json!({ "deviceMetrics": {
            "deviceId": device, "occurredAt": at(-1), "cpuPercent": cpu } });
        app.outcomes(json!([
            metrics("till-1", 9_999.0), metrics("till-1", 101.0), metrics("till-2", -1.0),
            metrics("nobody", 5.0), error(&"x".repeat(10_001), "INFO"),
        ]))
        .await;
        // what is counted is written now and then, and when the server stops
        app.restart().await;
        let refused = &source(app, "deviceMetrics").await["refused"];
        let mut lines: Vec<String> = refused.as_array().unwrap().iter().map(Value::to_string).collect();
        lines.sort();
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines.join("\n"), @r#"
        {"code":"OUT_OF_RANGE","count":"1","deviceId":"till-2","field":"cpuPercent","kind":"deviceMetrics","lastAt":"2026-11-23T12:00:00Z"}
        {"code":"OUT_OF_RANGE","count":"2","deviceId":"till-1","field":"cpuPercent","kind":"deviceMetrics","lastAt":"2026-11-23T12:00:00Z"}
        {"code":"UNKNOWN_DEVICE","count":"1","deviceId":null,"field":"deviceId","kind":"deviceMetrics","lastAt":"2026-11-23T12:00:00Z"}
        "#);
        }
        let refused = &source(app, "errorLog").await["refused"];
        assert_eq!(refused[0]["code"], "TOO_LONG");
    })
    .await;
}

#[tokio::test]
async fn store_health_tells_head_identity_and_lag() {
    on_each_database(async |app| {
        app.fleet().await;
        app.settle().await;
        let mut data = app
            .data("{ storeHealth { database head epoch logId cursor queuedEvents projectionLagEvents droppedEvents } }")
            .await;
        let health = data["storeHealth"].take();
        let database = if app.app().ingest.store().file().is_some() { "SQLite" } else { "PostgreSQL" };
        assert_eq!(health["database"], database);
        assert!(health["head"].as_str().unwrap().parse::<i64>().unwrap() >= 5);
        assert_eq!(health["logId"], app.app().ingest.store().identity().log_id.to_string());
        assert_eq!(health["droppedEvents"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_source_that_comes_as_it_happens_is_quiet_when_nothing_has_happened_for_a_day() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "siteSchedule": { "siteId": "harbour", "dayOfWeek": "MONDAY", "isClosed": true } }]))
            .await;
        let found = source(app, "siteSchedule").await;
        assert_eq!((&found["status"], &found["gaps"]), (&json!("COLLECTING"), &Value::Null));
        app.clock.advance_ms(25 * 3_600_000);
        assert_eq!(source(app, "siteSchedule").await["status"], "QUIET");
    })
    .await;
}

#[tokio::test]
async fn insights_can_be_read_from_a_hundred_records_of_a_week() {
    on_each_database(async |app| {
        app.fleet().await;
        let metrics = |n: i64| json!({ "deviceMetrics": { "deviceId": "till-1", "occurredAt": at(-n * 104) } });
        app.record(json!((0..98).map(metrics).collect::<Vec<_>>())).await;
        let found = source(app, "deviceMetrics").await;
        assert_eq!(found["insightReady"], false);
        assert_eq!(
            found["insightLacks"],
            json!(["2 more records: there are 98 of 100"])
        );
        app.record(json!([metrics(98)])).await;
        app.record(json!([metrics(99)])).await;
        let found = source(app, "deviceMetrics").await;
        assert_eq!((&found["insightReady"], &found["insightLacks"]), (&json!(true), &json!([])));
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_of_no_source_is_told_apart() {
    on_each_database(async |app| {
        app.outcomes(json!([{ "deviceRegistration": { "deviceId": "d", "siteId": "nowhere", "deviceType": "GATEWAY" } }]))
            .await;
        app.restart().await;
        let data = app
            .data("{ collectionStatus { otherwiseRefused { kind field code count } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data["collectionStatus"]["otherwiseRefused"], @r#"[{"code":"UNKNOWN_SITE","count":"1","field":"siteId","kind":"deviceRegistration"}]"#);
        }
    })
    .await;
}
