//! A full queue refuses at once, and what was taken is kept.

use std::sync::Arc;

use homepot_analytics::event::{NewEvent, Position};
use homepot_analytics::store::{AppendError, Outcome};
use serde_json::json;

use crate::support::{
    Database, Gate, TestLog, contract, error, event, exactly_once, recorded, request,
};

contract![
    a_full_queue_refuses_and_loses_nothing_it_took,
    a_queue_full_of_bytes_refuses,
    a_request_heavier_than_the_queue_has_its_turn,
    a_caller_that_is_gone_holds_no_place,
    stopping_appends_what_waits_and_ends_under_load,
    a_caller_that_can_wait_is_not_refused,
];

/// An event that stands before the gate.
fn gated() -> NewEvent {
    event(&json!({"userActivity": {"activityType": "PAGE_VIEW"}}))
}

async fn open(database: &Database, gate: &Gate, events: usize, bytes: usize) -> TestLog {
    TestLog::open_with(database, |opening| {
        opening.folds.push(Arc::new(gate.clone()));
        opening.limits.queue_events_max = events;
        opening.limits.queue_bytes_max = bytes;
    })
    .await
}

async fn a_full_queue_refuses_and_loses_nothing_it_took(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 10, 1 << 20).await;
    let store = log.handle();
    let first = tokio::spawn(async move { store.append(request(vec![gated()])).await });
    gate.reached().await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let store = log.handle();
        let three = request(vec![error("e"); 3]);
        let mut append = Box::pin(async move { store.append(three).await });
        // polled once, so that it stands in the queue
        assert!(futures_util::poll!(&mut append).is_pending());
        taken.push(tokio::spawn(append));
    }
    assert_eq!(log.queued_events(), 10);
    let refused = log.append(request(vec![error("e")])).await;
    assert!(matches!(refused, Err(AppendError::Overloaded)));
    gate.open();
    let mut positions = recorded(&first.await.unwrap().unwrap());
    for append in taken {
        positions.extend(recorded(&append.await.unwrap().unwrap()));
    }
    positions.sort_unstable();
    exactly_once(&positions, 0, 10).unwrap();
    assert_eq!(log.queued_events(), 0);
    assert_eq!(
        log.record(vec![error("e")]).await,
        [Outcome::Recorded(Position(11))]
    );
    log.close().await;
}

async fn a_queue_full_of_bytes_refuses(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 1_000, 20_000).await;
    let store = log.handle();
    let first = tokio::spawn(async move { store.append(request(vec![gated()])).await });
    gate.reached().await;
    let heavy = || request(vec![error(&"x".repeat(9_900))]);
    let store = log.handle();
    let mut second = Box::pin(async move { store.append(heavy()).await });
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(matches!(
        log.append(heavy()).await,
        Err(AppendError::Overloaded)
    ));
    gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap();
    log.append(heavy()).await.unwrap();
    log.close().await;
}

async fn a_request_heavier_than_the_queue_has_its_turn(database: Database) {
    let gate = Gate::default();
    gate.open();
    let log = open(&database, &gate, 5, 1_000).await;
    let heavy = || request(vec![error(&"x".repeat(2_000)); 7]);
    recorded(&log.append(heavy()).await.unwrap());
    recorded(&log.append_patiently(heavy()).await.unwrap());
    log.close().await;
}

async fn a_caller_that_is_gone_holds_no_place(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 10, 1 << 20).await;
    let store = log.handle();
    let first = tokio::spawn(async move { store.append(request(vec![gated()])).await });
    gate.reached().await;
    let store = log.handle();
    let mut gone = Box::pin(async move { store.append(request(vec![error("e"); 9])).await });
    assert!(futures_util::poll!(&mut gone).is_pending());
    drop(gone);
    gate.open();
    first.await.unwrap().unwrap();
    // it was in the queue, and so it was appended: its caller would have been told
    assert_eq!(
        log.record(vec![error("e")]).await,
        [Outcome::Recorded(Position(11))]
    );
    assert_eq!(log.queued_events(), 0);
    log.close().await;
}

async fn stopping_appends_what_waits_and_ends_under_load(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 1_000, 1 << 20).await;
    let callers = (0..8).map(|_| {
        let store = log.handle();
        tokio::spawn(async move {
            let mut positions = Vec::new();
            // goes on until the log is closed
            while let Ok(appended) = store.append(request(vec![error("e")])).await {
                positions.extend(recorded(&appended));
            }
            positions
        })
    });
    let callers: Vec<_> = callers.collect();
    let store = log.handle();
    let held = tokio::spawn(async move { store.append(request(vec![gated()])).await });
    gate.reached().await;
    let closing = tokio::spawn(log.close());
    gate.open();
    closing.await.unwrap();
    let mut positions = recorded(&held.await.unwrap().unwrap());
    for caller in callers {
        positions.extend(caller.await.unwrap());
    }
    positions.sort_unstable();
    exactly_once(&positions, 0, i64::try_from(positions.len()).unwrap()).unwrap();
    let head = database.number("SELECT position FROM log_head").await;
    assert!(head >= *positions.last().unwrap());
}

async fn a_caller_that_can_wait_is_not_refused(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 1, 1 << 20).await;
    let store = log.handle();
    let first = tokio::spawn(async move { store.append(request(vec![gated()])).await });
    gate.reached().await;
    let store = log.handle();
    let mut waits =
        Box::pin(async move { store.append_patiently(request(vec![error("e")])).await });
    assert!(futures_util::poll!(&mut waits).is_pending());
    gate.open();
    first.await.unwrap().unwrap();
    assert_eq!(recorded(&waits.await.unwrap()), [2]);
    log.close().await;
}
