//! What the log tells of itself: its head, and when it cannot do its work.

use homepot_analytics::store::{AppendError, Outcome, Standing, StoreError};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::support::{Database, FLEET_EVENTS, Gate, TestLog, contract, error, event, request};

contract![
    the_head_is_told_after_a_start_and_whoever_commits,
    a_database_that_went_back_is_not_appended_to,
    a_log_of_a_newer_schema_is_not_appended_to,
    that_a_log_is_of_a_newer_schema_is_seen_without_an_append,
    a_log_of_an_older_version_is_brought_to_the_schema_of_a_new_one,
    a_frozen_node_delays_the_others_and_has_none_of_them_refused,
    old_events_make_few_partitions,
];

fn told_head(log: &TestLog) -> String {
    let mut registry = Registry::default();
    log.metrics().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("log_head_position "));
    line.unwrap().to_owned()
}

async fn the_head_is_told_after_a_start_and_whoever_commits(database: Database) {
    let log = database.open().await.with_fleet().await;
    let other = database.open().await;
    assert_eq!(
        told_head(&other),
        format!("log_head_position {FLEET_EVENTS}")
    );
    let mut head = other.watch_head();
    log.record(vec![error("a")]).await;
    head.wait_for(|head| head.0 > FLEET_EVENTS).await.unwrap();
    // the feeder tells it right after it has told the followers
    while told_head(&other) != format!("log_head_position {}", FLEET_EVENTS + 1) {
        tokio::task::yield_now().await;
    }
    other.close().await;
    log.close().await;
}

async fn a_database_that_went_back_is_not_appended_to(database: Database) {
    let log = database.open().await.with_fleet().await;
    assert_eq!(log.standing(), Standing::Sound);
    let lost = "UPDATE log_head SET position = 4; DELETE FROM commits; \
                DELETE FROM device_registrations WHERE position = 5";
    database.execute(lost).await;
    for _ in 0..2 {
        let refused = log.append(request(vec![error("a")])).await;
        let Err(AppendError::Store(refused)) = refused else {
            panic!("{refused:?}")
        };
        assert!(
            matches!(*refused, StoreError::WentBack { .. }),
            "{refused:?}"
        );
    }
    assert_eq!(log.standing(), Standing::WentBack);
    assert_eq!(database.number("SELECT position FROM log_head").await, 4);
    log.close().await;
}

/// As a newer version does that folds more inside the appends.
const RAISE: &str = "UPDATE log_head SET schema = schema + 1";

async fn a_log_of_a_newer_schema_is_not_appended_to(database: Database) {
    let log = database.open().await.with_fleet().await;
    database.execute(RAISE).await;
    for _ in 0..2 {
        let refused = log.append(request(vec![error("a")])).await;
        let Err(AppendError::Store(refused)) = refused else {
            panic!("{refused:?}")
        };
        assert!(
            matches!(*refused, StoreError::Superseded { .. }),
            "{refused:?}"
        );
    }
    assert_eq!(log.standing(), Standing::Superseded);
    let head = database.number("SELECT position FROM log_head").await;
    assert_eq!(head, FLEET_EVENTS);
    log.close().await;
}

async fn that_a_log_is_of_a_newer_schema_is_seen_without_an_append(database: Database) {
    let log = database.open().await;
    database.execute(RAISE).await;
    while log.standing() == Standing::Sound {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.standing(), Standing::Superseded);
    log.close().await;
}

async fn a_log_of_an_older_version_is_brought_to_the_schema_of_a_new_one(database: Database) {
    let schema = "SELECT schema FROM log_head";
    database.open().await.with_fleet().await.close().await;
    let of_new = database.number(schema).await;
    let older = "ALTER TABLE log_head DROP COLUMN schema; \
        DELETE FROM seaql_migrations WHERE version = 'm0030_log_schema'";
    database.execute(older).await;
    let log = database.open().await;
    assert_eq!(database.number(schema).await, of_new);
    let outcomes = log.record(vec![error("a")]).await;
    assert!(matches!(outcomes[..], [Outcome::Recorded(_)]));
    log.close().await;
}

/// A node that stands still inside an append, as one does whose process is stopped.
async fn a_frozen_node_delays_the_others_and_has_none_of_them_refused(database: Database) {
    if database.is_sqlite() {
        // it has one node
        return;
    }
    let gate = Gate::default();
    let frozen = TestLog::open_with(&database, |opening| {
        opening.folds.push(std::sync::Arc::new(gate.clone()));
    })
    .await;
    let other = database.open().await;
    let page = event(&serde_json::json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    let stopped = async {
        let appended = frozen.append(request(vec![page.clone()])).await;
        assert!(appended.is_err(), "{appended:?}");
        assert_eq!(frozen.standing(), Standing::AppendsFail);
    };
    let going_on = async {
        gate.reached().await;
        // the server of PostgreSQL ends the session of the one before the other gives up
        let appended = other.append(request(vec![error("a")])).await;
        assert!(appended.is_ok(), "{appended:?}");
        assert_eq!(other.standing(), Standing::Sound);
        gate.open();
    };
    futures_util::future::join(stopped, going_on).await;
    let outcomes = frozen.record(vec![page]).await;
    assert!(matches!(outcomes[..], [Outcome::Recorded(_)]));
    assert_eq!(frozen.standing(), Standing::Sound);
    other.close().await;
    frozen.close().await;
}

async fn old_events_make_few_partitions(database: Database) {
    let log = database.open().await;
    let page = |year: i32, month: u32| {
        let at = format!("{year}-{month:02}-15T00:00:00Z");
        event(&serde_json::json!({"userActivity":
            {"activityType": "PAGE_VIEW", "occurredAt": at}}))
    };
    let months = (2000..=2026).flat_map(|year| (1..=12).map(move |month| (year, month)));
    let months = months.filter(|month| *month <= (2026, 11));
    let events: Vec<_> = months.map(|(year, month)| page(year, month)).collect();
    let count = i64::try_from(events.len()).unwrap();
    log.record(events).await;
    log.record(vec![page(2000, 1), page(2026, 11)]).await;
    let stored = database.number("SELECT count(*) FROM user_activity").await;
    assert_eq!(stored, count + 2);
    if !database.is_sqlite() {
        let partitions = "SELECT count(*) FROM pg_inherits \
                          WHERE inhparent = 'user_activity'::regclass";
        assert_eq!(database.number(partitions).await, 25);
    }
    log.close().await;
}
