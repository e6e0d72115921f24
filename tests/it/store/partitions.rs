//! On PostgreSQL the large tables have the partitions of the next month before they need them, and a read
//! that takes too long is stopped.

use std::sync::Arc;
use std::time::Duration;

use homepot_analytics::event::Position;
use homepot_analytics::store::{Cause, Folds, Outcome};
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::support::{Database, Patience, TestLog, at, contract, event};

contract![
    several_servers_make_the_next_month_at_once,
    a_read_that_takes_too_long_is_stopped_and_told_as_busy,
    no_statement_holds_the_head_for_long,
];

const PARTITIONS: &str = "SELECT count(*) FROM pg_inherits \
    WHERE inhparent = 'user_activity'::regclass";

async fn several_servers_make_the_next_month_at_once(database: Database) {
    if database.is_sqlite() {
        return;
    }
    let logs = [
        database.open().await,
        database.open().await,
        database.open().await,
    ];
    let making = logs.iter().map(|log| log.make_partitions_ahead());
    for made in futures_util::future::join_all(making).await {
        made.unwrap();
    }
    assert_eq!(database.number(PARTITIONS).await, 2);
    let month = at("2026-12-01T00:00:00Z").0 - logs[0].clock.now().0;
    for log in &logs {
        log.clock.advance_ms(month / 1_000);
        let page = event(&serde_json::json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
        let outcomes = log.record(vec![page]).await;
        assert!(matches!(outcomes[..], [Outcome::Recorded(_)]));
    }
    assert_eq!(database.number(PARTITIONS).await, 2, "they were there");
    for log in logs {
        log.close().await;
    }
}

async fn a_read_that_takes_too_long_is_stopped_and_told_as_busy(database: Database) {
    if database.is_sqlite() {
        return;
    }
    let log = TestLog::open_with(&database, |opening| {
        opening.reads_within = Some(Duration::from_millis(200));
    })
    .await;
    let page = event(&serde_json::json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    log.record(vec![page]).await;
    let other = database.connect().await;
    let lock = other.begin().await.unwrap();
    let sql = "LOCK TABLE user_activity IN ACCESS EXCLUSIVE MODE";
    lock.execute_unprepared(sql).await.unwrap();
    // sooner than it would give the lock up
    let read = tokio::time::timeout(Duration::from_secs(4), log.after(Position(0), 10));
    let error = read.await.expect("it is stopped").unwrap_err();
    assert_eq!(error.cause(), Cause::Busy, "{error}");
    lock.rollback().await.unwrap();
    assert_eq!(log.after(Position(0), 10).await.unwrap().events.len(), 1);
    other.close().await.unwrap();
    log.close().await;
}

async fn no_statement_holds_the_head_for_long(database: Database) {
    if database.is_sqlite() {
        return;
    }
    let patience = Patience::default();
    let log = TestLog::open_with(&database, |opening| {
        opening.folds.push(Arc::new(patience.clone()));
    })
    .await;
    let page = event(&serde_json::json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    log.record(vec![page]).await;
    assert_eq!(patience.told(), ["30s 4s"]);
    // what is folded apart nobody waits for, however much is reckoned in between
    let folds = Folds {
        inline: vec![Arc::new(patience.clone())],
        following: Vec::new(),
    };
    log.verify(&folds, &|_| {}).await.unwrap();
    assert_eq!(patience.told(), ["30s 4s", "0 1h"]);
    // of what does not hold it, some takes as long as it takes
    assert_eq!(
        database
            .number("SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'")
            .await,
        0
    );
    log.close().await;
}
