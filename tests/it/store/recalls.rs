//! What an append may repeat of what was archived is looked for outside of its transaction: nobody waits for it
//! who does not need it, and nothing is missed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homepot_analytics::event::{NewEvent, Position};
use homepot_analytics::kinds::Kind;
use homepot_analytics::store::{AppendError, Outcome, Standing, StoreError};
use serde_json::json;

use super::filters::filled;
use super::segments::{archive_before, files, keyed};
use crate::support::{
    Database, FLEET_EVENTS, Gate, TestLog, at, contract, error, event, metrics, request,
};

contract![
    what_is_archived_while_it_is_repeated_is_a_duplicate,
    of_two_readings_that_lie_far_apart_what_is_between_is_not_read,
    a_segment_that_cannot_be_read_fails_only_who_needs_it,
    a_look_into_a_segment_keeps_nobody_waiting,
    another_part_of_an_archived_reading_is_recorded,
];

async fn what_is_archived_while_it_is_repeated_is_a_duplicate(database: Database) {
    let (log, _) = filled(&database).await;
    let other = database.open().await;
    let mut repeats = Vec::new();
    for events in keyed() {
        let first = log.record(events.clone()).await;
        assert!(first.iter().all(|o| matches!(o, Outcome::Duplicate(_))));
        repeats.push((events, first));
    }
    let (head, repeats) = (log.head(), Arc::new(repeats));
    let ends = Arc::new(AtomicBool::new(false));
    let mut repeating = Vec::new();
    for store in [log.handle(), other.handle()] {
        let (ends, repeats) = (Arc::clone(&ends), Arc::clone(&repeats));
        repeating.push(tokio::spawn(async move {
            let mut rounds = 0;
            while !ends.load(Ordering::SeqCst) || rounds < 2 {
                rounds += 1;
                for (events, first) in &*repeats {
                    let again = store.append(request(events.clone())).await;
                    assert_eq!(again.unwrap().outcomes, *first);
                }
            }
        }));
    }
    let mut before = at("2026-01-31T23:59:50Z");
    while before < at("2026-02-01T00:00:05Z") {
        before = before.plus_ms(1_000);
        archive_before(&log, before, head).await;
    }
    ends.store(true, Ordering::SeqCst);
    for repeating in repeating {
        repeating.await.unwrap();
    }
    assert_eq!(log.committed_head().await.unwrap(), head);
    other.close().await;
    log.close().await;
}

/// The files of three segments with a reading each, 100 seconds apart.
async fn three_segments(database: &Database, log: &TestLog) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for second in [0, 100, 200] {
        log.record(vec![metrics("d1", second, 1.0)]).await;
        let before = at("2026-11-23T09:00:00Z").plus_ms(second * 1_000 + 1);
        let archived = log.archive(Kind::DeviceMetrics, before, log.head()).await;
        assert_eq!(archived.unwrap().unwrap().events, 1);
        let new = files(database).into_iter().find(|f| !found.contains(f));
        found.push(new.unwrap());
    }
    found
}

async fn of_two_readings_that_lie_far_apart_what_is_between_is_not_read(database: Database) {
    let log = database.open().await.with_fleet().await;
    let files = three_segments(&database, &log).await;
    std::fs::remove_file(&files[1]).unwrap();
    let far_apart = vec![metrics("d1", 0, 1.0), metrics("d1", 200, 1.0)];
    let first = Position(FLEET_EVENTS + 1);
    let outcomes = log.record(far_apart).await;
    let last = first.next().next();
    assert_eq!(
        outcomes,
        [Outcome::Duplicate(first), Outcome::Duplicate(last)]
    );
    // nor is it for one of another device, or of a time at which nothing was archived
    let beside = vec![metrics("d2", 100, 1.0), metrics("d1", 101, 1.0)];
    let outcomes = log.record(beside).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Recorded(_))));
    log.close().await;
}

/// A log with a gate.
async fn gated(database: &Database, gate: &Gate, bytes: usize) -> TestLog {
    let log = TestLog::open_with(database, |opening| {
        opening.folds.push(Arc::new(gate.clone()));
        opening.limits.queue_bytes_max = bytes;
    });
    log.await
}

/// The files of three segments of a log that is closed, so that nobody has read of them, nor is about to.
async fn archived(database: &Database) -> Vec<PathBuf> {
    let log = database.open().await.with_fleet().await;
    let files = three_segments(database, &log).await;
    log.close().await;
    files
}

async fn a_segment_that_cannot_be_read_fails_only_who_needs_it(database: Database) {
    let gate = Gate::default();
    let files = archived(&database).await;
    let log = gated(&database, &gate, 1 << 20).await;
    std::fs::remove_file(&files[1]).unwrap();
    let store = log.handle();
    let page_view = event(&json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    let first = tokio::spawn(async move { store.append(request(vec![page_view])).await });
    gate.reached().await;
    // all of these are of the batch after it
    let mut batch = Vec::new();
    for new in [metrics("d1", 100, 1.0), metrics("d1", 200, 1.0), error("e")] {
        let store = log.handle();
        let mut append = Box::pin(async move { store.append(request(vec![new])).await });
        assert!(futures_util::poll!(&mut append).is_pending());
        batch.push(append);
    }
    gate.open();
    first.await.unwrap().unwrap();
    let answers = futures_util::future::join_all(batch).await;
    let failed = |answer: &Result<_, AppendError>| match answer {
        Err(AppendError::Store(error)) => matches!(**error, StoreError::Files(_)),
        _ => false,
    };
    assert!(failed(&answers[0]), "{:?}", answers[0]);
    let outcomes = answers[1..]
        .iter()
        .map(|a| a.as_ref().unwrap().outcomes.clone());
    let outcomes: Vec<Outcome> = outcomes.flatten().collect();
    let head = log.head();
    let third = Position(FLEET_EVENTS + 3);
    assert_eq!(
        outcomes,
        [Outcome::Duplicate(third), Outcome::Recorded(head)]
    );
    assert_eq!(log.standing(), Standing::Sound);
    log.close().await;
}

/// A reading that was archived, with much else.
fn heavy() -> NewEvent {
    let mut new = metrics("d1", 0, 1.0);
    new.fact.extra = json!({"note": "x".repeat(900)}).into();
    new
}

/// In the place of a file a pipe, which nobody can read before it is written.
fn pipe(file: &Path) {
    std::fs::remove_file(file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(file).status();
    assert!(made.unwrap().success());
}

async fn a_look_into_a_segment_keeps_nobody_waiting(database: Database) {
    let files = archived(&database).await;
    let log = gated(&database, &Gate::default(), 1_000).await;
    pipe(&files[0]);
    let store = log.handle();
    let mut looking = Box::pin(async move { store.append(request(vec![heavy()])).await });
    assert!(futures_util::poll!(&mut looking).is_pending());
    // when what came after it is answered it was kept out, and when it hears of that it looks
    let after = log.append_patiently(request(vec![error("e")])).await;
    after.unwrap();
    assert!(futures_util::poll!(&mut looking).is_pending());
    let looking = tokio::spawn(looking);
    // there is room for one of them to be looked for
    let refused = log.append(request(vec![heavy()])).await;
    assert!(
        matches!(refused, Err(AppendError::Overloaded)),
        "{refused:?}"
    );
    for _ in 0..10 {
        let events = vec![error("e"), metrics("d1", 1_000, 1.0)];
        let appended = log.append_patiently(request(events)).await.unwrap();
        assert!(matches!(appended.outcomes[0], Outcome::Recorded(_)));
    }
    assert!(!looking.is_finished());
    let written = tokio::task::spawn_blocking(move || {
        let pipe = std::fs::OpenOptions::new().write(true).open(&files[0]);
        pipe.map(drop)
    });
    written.await.unwrap().unwrap();
    let failed = looking.await.unwrap();
    assert!(matches!(failed, Err(AppendError::Store(_))), "{failed:?}");
    log.close().await;
}

async fn another_part_of_an_archived_reading_is_recorded(database: Database) {
    let log = database.open().await.with_fleet().await;
    let part = |part: i64| {
        event(
            &json!({"deviceMetrics": {"deviceId": "d1", "cpuPercent": 1, "part": part,
            "occurredAt": "2026-11-23T09:00:00Z"}}),
        )
    };
    log.record(vec![part(1), part(2)]).await;
    archive_before(&log, at("2026-11-23T09:30:00Z"), log.head()).await;
    let outcomes = log.record(vec![part(2), part(3)]).await;
    let second = Position(FLEET_EVENTS + 2);
    assert_eq!(
        outcomes,
        [Outcome::Duplicate(second), Outcome::Recorded(second.next())]
    );
    log.close().await;
}
