//! What was heard or asked for before a person was erased does not tell of them after it.

use std::sync::Arc;

use homepot_analytics::event::Cell;
use homepot_analytics::ingest::Ingest;
use homepot_analytics::kinds::Kind;
use homepot_analytics::retention;
use homepot_analytics::store::Outcome;
use homepot_analytics::webhooks::{Outbox, WebhookArgs};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::segments::{archive_before, files};
use crate::support::{Database, TestLog, at, contract, event, samples};

contract![
    a_step_that_was_heard_before_an_erasure_is_put_in_without_the_person,
    an_export_that_waits_and_names_who_is_erased_fails,
];

/// The id of somebody who is erased.
const PERSON: &str = "one@shop.example";

/// Something that the person did long ago is in a segment, of which the file is not there.
async fn with_a_lost_segment(database: &Database) -> TestLog {
    let log = database.open().await.with_fleet().await;
    let old = event(
        &json!({"userActivity": {"userId": PERSON, "activityType": "PAGE_VIEW",
        "occurredAt": "2026-01-31T23:59:52Z"}}),
    );
    log.record(vec![old]).await;
    let before = at("2026-02-15T00:00:00Z");
    assert_eq!(archive_before(&log, before, log.head()).await, 1);
    log.close().await;
    for file in files(database) {
        std::fs::rename(&file, database.dir().join("aside")).unwrap();
    }
    database.open().await
}

/// Records that the person has opened alerts; how many.
async fn open_alerts(log: &TestLog) -> i64 {
    let mut steps = samples(Kind::AlertTransition, 5, 7);
    for step in &mut steps {
        for (field, text) in [
            ("changedBy", PERSON),
            ("state", "OPEN"),
            ("severity", "CRITICAL"),
        ] {
            let index = step.fact.spec().index_of(field).unwrap();
            step.fact.cells[index] = Cell::from(text);
        }
    }
    let outcomes = log.record(steps).await;
    let is_recorded = |outcome: &&Outcome| matches!(outcome, Outcome::Recorded(_));
    i64::try_from(outcomes.iter().filter(is_recorded).count()).unwrap()
}

/// The rows are erased, and what was heard of them is still in memory, since the erasure is not done.
async fn a_step_that_was_heard_before_an_erasure_is_put_in_without_the_person(database: Database) {
    let log = with_a_lost_segment(&database).await;
    let (identity, head) = (log.identity(), log.head());
    let checkpoint = format!(
        "INSERT INTO checkpoints (projection, position, log_id, epoch) \
         VALUES ('webhooks_put_in', {head}, '{}', {})",
        identity.log_id, identity.epoch
    );
    database.execute(&checkpoint).await;
    let webhook = "INSERT INTO webhooks (webhook_id, url, secret, severity, states, site_ids, \
        is_enabled, created_at, created_by, version) \
        VALUES ('w', 'http://127.0.0.1:1/', '', 'INFO', '[\"OPEN\"]', '[]', 1, 0, 'test', 1)";
    database.execute(webhook).await;
    let steps = open_alerts(&log).await;
    assert!(steps > 0);
    retention::erase_person(&log, PERSON, "test").await.unwrap();
    assert!(retention::erase_waiting(&log).await.is_err());
    let ingest = Ingest::new(log.handle());
    let outbox = Outbox::new(&ingest, WebhookArgs::default(), None, Arc::default());
    let stop = CancellationToken::new();
    let sending = tokio::spawn(outbox.run(stop.clone()));
    let count = "SELECT count(*) FROM webhook_deliveries";
    while database.number(count).await < steps {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    sending.await.unwrap();
    let says = |person: &str| format!("{count} WHERE body LIKE '%\"changedBy\":\"{person}\"%'");
    assert_eq!(database.number(&says(PERSON)).await, 0);
    assert_eq!(database.number(&says("erased")).await, steps);
    log.close().await;
}

async fn an_export_that_waits_and_names_who_is_erased_fails(database: Database) {
    let log = database.open().await;
    let asked_of = |person: &str| {
        json!({"sources": [{"name": "errorLogs", "filter": {"userId": {"eq": person}}}],
            "format": "jsonl", "gzip": false})
        .to_string()
    };
    for (id, state, person) in [
        ("a", "QUEUED", PERSON),
        ("b", "RUNNING", PERSON),
        ("c", "DONE", PERSON),
        ("d", "QUEUED", "other"),
    ] {
        let asked = asked_of(person);
        let sql = format!(
            "INSERT INTO exports (export_id, asked, format, state, events, bytes, position, \
             restarts, account, reach, administrators, created_by, created_at, changed_at) VALUES \
             ('{id}', '{asked}', 'jsonl', '{state}', 0, 0, 1, 0, 'token/test', '', 0, 'test', 0, 0)"
        );
        database.execute(&sql).await;
    }
    retention::erase_person(&log, PERSON, "test").await.unwrap();
    retention::erase_waiting(&log).await.unwrap();
    let told = "SELECT export_id || ' ' || state || ' ' || coalesce(error_code, '-') \
        FROM exports ORDER BY export_id";
    let rows = database.query(told).await;
    let rows: Vec<String> = rows
        .iter()
        .map(|r| r.try_get_by_index(0).unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            "a FAILED PERSON_ERASED",
            "b FAILED PERSON_ERASED",
            "c DONE -",
            "d QUEUED -"
        ]
    );
    let named = format!("SELECT count(*) FROM exports WHERE asked LIKE '%{PERSON}%'");
    assert_eq!(database.number(&named).await, 0);
    let kept = "SELECT count(*) FROM exports WHERE asked LIKE '%other%'";
    assert_eq!(database.number(kept).await, 1);
    log.close().await;
}
