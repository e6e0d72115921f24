//! What is to be deleted while an export asks for it: it waits until the export is made, and not for ever.

use std::time::Duration;

use homepot_analytics::exports::{self, Ask, ExportsArgs, NewExport, Source};
use homepot_analytics::identity::Caller;
use homepot_analytics::ingest::Ingest;
use homepot_analytics::kinds::Kind;
use homepot_analytics::retention::{self, Done};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::app::{TestApp, on_each_database};
use super::super::retention::{run, set};
use super::{is_over, lines, taken, until};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// Metrics that are old enough to be deleted.
async fn recorded(app: &TestApp) {
    app.fleet().await;
    let old = |device: &str| {
        json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": 5,
            "occurredAt": "2025-01-05T10:00:00Z" } })
    };
    app.record(json!([old("till-1"), old("till-2")])).await;
    let ages = json!({ "kind": "deviceMetrics", "archiveAfterDays": 100, "deleteAfterDays": 100 });
    assert_eq!(set(app, ages).await["userErrors"], json!([]));
}

/// Asks for metrics.
async fn ask(ingest: &Ingest, export_id: Uuid) {
    let source = Source {
        name: "deviceMetrics".to_owned(),
        filter: Value::Null,
    };
    let ask = Ask {
        sources: vec![source],
        from: None,
        to: Some("2026-01-01T00:00:00Z".to_owned()),
        format: "jsonl".to_owned(),
        gzip: false,
        spreadsheet: false,
    };
    let (new, bounds) = (
        NewExport { export_id, ask },
        ExportsArgs::default().bounds(),
    );
    let caller = Caller::local();
    let created = exports::create(ingest.store(), &caller, new, bounds);
    created.await.unwrap();
}

/// What a run does with metrics.
async fn ran(ingest: &Ingest) -> Done {
    let run = retention::run(ingest.store(), Duration::from_hours(1)).await;
    let mut kinds = run.unwrap().kinds.into_iter();
    kinds.find(|done| done.kind == Kind::DeviceMetrics).unwrap()
}

#[tokio::test]
async fn what_an_export_asks_for_is_deleted_when_it_is_made() {
    on_each_database(async |app| {
        recorded(app).await;
        let id = Uuid::now_v7();
        app.restart_after(async |ingest| {
            ask(&ingest, id).await;
            let done = ran(&ingest).await;
            assert_eq!((done.archived_events, done.deleted_events), (2, 0));
            assert!(done.is_awaited);
        })
        .await;
        let export = until(app, &id.to_string(), is_over).await;
        assert_eq!(export["state"], "DONE", "{export:#}");
        assert_eq!(lines(&taken(app, &export).await).len(), 2);
        run(app, false).await;
        let data = app
            .data("{ retentionPolicies { kind deletedEvents } }")
            .await;
        let mut policies = data["retentionPolicies"].as_array().unwrap().iter();
        let policy = policies.find(|policy| policy["kind"] == "deviceMetrics");
        assert_eq!(policy.unwrap()["deletedEvents"], "2");
    })
    .await;
}

#[tokio::test]
async fn what_is_overdue_is_deleted_and_an_export_that_asks_for_it_says_so() {
    on_each_database(async |app| {
        recorded(app).await;
        let (id, clock) = (Uuid::now_v7(), app.clock.clone());
        app.restart_after(async |ingest| {
            ask(&ingest, id).await;
            assert!(ran(&ingest).await.is_awaited);
            clock.advance_ms(WEEK_MS);
            let done = ran(&ingest).await;
            assert_eq!((done.is_awaited, done.deleted_events), (false, 2));
        })
        .await;
        let export = until(app, &id.to_string(), is_over).await;
        assert_eq!(export["state"], "FAILED", "{export:#}");
        assert_eq!(export["error"]["code"], "EVENTS_DELETED", "{export:#}");
    })
    .await;
}
