//! A data lake is that of one history: it does not go on when its log has gone back, nor in a place where it could be
//! written over, and it tells of what was deleted from the log since.

use std::collections::BTreeSet;
use std::sync::Arc;

use homepot_analytics::event::{NewEvent, Position};
use homepot_analytics::export::lake::Lake;
use homepot_analytics::export::{ExportError, Filler, LakeMetrics, reached};
use homepot_analytics::kinds::Kind;
use homepot_analytics::places::Place;
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::retention::{self, Age};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::lake::{Breaking, Then, contents, fill};
use crate::support::{Database, TestLog, at, contract, error, event};

contract![
    a_lake_does_not_go_on_with_another_history,
    a_place_that_writes_over_files_takes_no_lake,
    a_manifest_has_also_what_was_deleted_since_it_was_written,
    what_the_lake_has_not_got_is_not_deleted,
];

fn lake(log: &TestLog, files: &Arc<Breaking>) -> Lake {
    Lake::new(log.handle(), Arc::<Breaking>::clone(files))
}

/// Has the database lose what is after a position, as it is after a failover to a replica that had not got it.
pub(super) async fn go_back(database: &Database, to: Position) {
    let to = to.0;
    for sql in [
        format!("DELETE FROM error_logs WHERE position > {to}"),
        format!("DELETE FROM commits WHERE first_position > {to}"),
        format!("UPDATE log_head SET position = {to}"),
    ] {
        database.execute(&sql).await;
    }
}

/// Also when the round was only begun in which what is lost was to be.
async fn a_lake_does_not_go_on_with_another_history(database: Database) {
    let mut log = database.open().await;
    let mut hours = 1;
    for takes in [i64::MAX, 1] {
        let files = Breaking::new(i64::MAX, Then::Break { is_after: false });
        log.record(vec![error("a"), error("b")]).await;
        fill(&lake(&log, &files)).await;
        let kept = log.head();
        log.record(vec![error("lost"); 3]).await;
        files.takes(takes);
        let is_whole = lake(&log, &files).round().await.is_ok();
        assert_eq!(is_whole, takes > 1);
        files.takes(i64::MAX);
        let (lost, there) = (log.head(), contents(&*files).await);
        log.close().await;
        go_back(&database, kept).await;
        log = database.open().await;
        let refused = lake(&log, &files).round().await.unwrap_err();
        let ExportError::Ahead {
            lake: upto,
            log: head,
        } = &refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!((*upto, *head), (lost, kept));
        assert!(refused.to_string().contains("empty folder"), "{refused}");
        // the same positions are given to others, and then more
        for _ in 0..2 {
            log.clock.advance_ms(hours * 3_600_000);
            hours *= 4;
            log.record(vec![error("other"); 3]).await;
            let refused = lake(&log, &files).round().await.unwrap_err();
            let ExportError::Diverged { position } = &refused else {
                panic!("{refused:?}")
            };
            assert_eq!(*position, lost);
            assert!(refused.to_string().contains("empty folder"), "{refused}");
        }
        assert_eq!(contents(&*files).await, there);
    }
    log.close().await;
}

async fn a_place_that_writes_over_files_takes_no_lake(database: Database) {
    let log = database.open().await;
    let overwriting = Breaking::new(0, Then::Overwrite);
    let refused = lake(&log, &overwriting).check().await;
    assert!(
        matches!(refused, Err(ExportError::Overwritten)),
        "{refused:?}"
    );
    let refusing = Breaking::new(0, Then::Refuse);
    let refused = lake(&log, &refusing).check().await;
    assert!(
        matches!(refused, Err(ExportError::Unconditional)),
        "{refused:?}"
    );
    let broken = Breaking::new(0, Then::Break { is_after: false });
    let refused = lake(&log, &broken).check().await;
    assert!(matches!(refused, Err(ExportError::Probe(_))), "{refused:?}");
    let folder = tempfile::tempdir().unwrap();
    let folder = Place::Folder(folder.path().to_owned());
    for files in [folder.open().await.unwrap(), Arc::new(InMemory::new())] {
        let lake = Lake::new(log.handle(), Arc::clone(&files));
        for _ in 0..2 {
            lake.check().await.unwrap();
        }
        assert_eq!(contents(&*files).await.1, ["probe.txt"]);
    }
    // what is another's is left alone
    let others: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let state = PutPayload::from(r#"{"version":1,"logId":"x","epoch":1,"position":5}"#);
    others.put(&Path::from("state.json"), state).await.unwrap();
    let refused = Lake::new(log.handle(), Arc::clone(&others)).check().await;
    assert!(
        matches!(refused, Err(ExportError::OtherLog { .. })),
        "{refused:?}"
    );
    assert_eq!(contents(&*others).await.1, ["state.json"]);
    log.close().await;
}

/// An error that happened on a day of another year.
fn old(day: &str) -> NewEvent {
    let body = json!({"category": "API", "severity": "ERROR", "errorMessage": "old",
        "occurredAt": format!("{day}T09:00:00Z")});
    event(&json!({ "errorLog": body }))
}

async fn a_manifest_has_also_what_was_deleted_since_it_was_written(database: Database) {
    let log = database.open().await;
    log.record(vec![old("2023-05-05"), error("new")]).await;
    // where it ends, and the file of the old one
    let files = Breaking::new(2, Then::Break { is_after: false });
    lake(&log, &files).round().await.unwrap_err();
    files.takes(i64::MAX);
    let before = at("2024-01-01T00:00:00Z");
    let archived = log.archive(Kind::ErrorLog, before, log.head()).await;
    assert_eq!(archived.unwrap().unwrap().events, 1);
    let deleted = log
        .drop_segment(&homepot_analytics::store::Deleting::all_before(
            Kind::ErrorLog,
            before,
        ))
        .await;
    assert_eq!(deleted.unwrap(), Some(1));
    fill(&lake(&log, &files)).await;
    let (events, names) = contents(&*files).await;
    assert_eq!(events.len(), 2);
    let manifest = names.iter().find(|name| name.starts_with("manifests/"));
    let manifest = Path::from(manifest.unwrap().as_str());
    let manifest = files.get(&manifest).await.unwrap().bytes().await.unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let told = manifest["files"].as_array().unwrap().iter();
    let told: BTreeSet<&str> = told.map(|file| file["path"].as_str().unwrap()).collect();
    let there = names.iter().filter(|name| name.starts_with("kind="));
    let there: BTreeSet<&str> = there.map(String::as_str).collect();
    assert_eq!((told.len(), told), (2, there));
    log.close().await;
}

/// Archived, deleted and held events of a run, and those held of what was planned before it.
async fn run(log: &TestLog) -> [i64; 4] {
    let runner = Runner::new(log.handle(), projections::following());
    runner.follow(Some(log.head())).await.unwrap();
    let planned = retention::planned(log).await.unwrap();
    let hour = std::time::Duration::from_hours(1);
    let run = retention::run(log, hour).await.unwrap();
    assert!(run.is_complete);
    let is_errors = |kind: &Kind| *kind == Kind::ErrorLog;
    let done = run.kinds.iter().find(|done| is_errors(&done.kind)).unwrap();
    let planned = planned.iter().find(|(kind, _)| is_errors(kind)).unwrap().1;
    assert_eq!(planned.archive_events, done.archived_events);
    assert_eq!(planned.delete_events, done.deleted_events);
    [
        done.archived_events,
        done.deleted_events,
        done.held_events,
        planned.held_events,
    ]
}

async fn what_the_lake_has_not_got_is_not_deleted(database: Database) {
    let log = database.open().await;
    let days = (Age::Days(10), Age::Days(20));
    let set = retention::set(&log, Kind::ErrorLog, days, "test").await;
    set.unwrap();
    log.record(vec![old("2023-05-05")]).await;
    // a server has begun to fill one
    let now = log.clock.now().0;
    let begun = format!("INSERT INTO lake_reached (id, position, told_at) VALUES (1, 0, {now})");
    database.execute(&begun).await;
    assert_eq!(run(&log).await, [1, 0, 1, 1]);
    assert_eq!(run(&log).await, [0, 0, 1, 1]);
    let stop = CancellationToken::new();
    let place = Place::Folder(database.dir().join("lake"));
    let filler = Filler::new(log.handle(), place, LakeMetrics::default());
    let filling = tokio::spawn(filler.run(stop.clone()));
    while reached(&log).await.unwrap() != Some(log.head()) {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    filling.await.unwrap();
    assert_eq!(run(&log).await, [0, 1, 0, 0]);
    // nobody fills it any more
    log.record(vec![old("2023-05-06")]).await;
    assert_eq!(run(&log).await, [1, 0, 1, 1]);
    log.clock.advance_ms(7 * 24 * 3_600 * 1_000);
    assert_eq!(reached(&log).await.unwrap(), None);
    assert_eq!(run(&log).await, [0, 1, 0, 0]);
    log.close().await;
}
