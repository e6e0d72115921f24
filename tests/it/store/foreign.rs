//! What another process commits is seen, and a reader that does not follow the log loses events.

use homepot_analytics::event::Position;
use homepot_analytics::store::Outcome;
use sea_orm::{ConnectionTrait, Statement, TransactionTrait};

use crate::support::{
    Database, FLEET_EVENTS, contract, device, error, exactly_once, metrics, request,
};

contract![
    followers_see_what_another_process_commits,
    two_processes_share_one_sequence,
    a_device_registered_elsewhere_is_known,
    a_device_moved_elsewhere_is_at_its_new_site,
    a_late_move_does_not_count,
    a_naive_reader_loses_events_and_the_check_sees_it,
];

async fn followers_see_what_another_process_commits(database: Database) {
    let (one, other) = (database.open().await, database.open().await);
    let mut tail = one.tail(Position(0), None);
    other.record(vec![error("a"), error("b")]).await;
    let seen: Vec<i64> = tail
        .next()
        .await
        .unwrap()
        .iter()
        .map(|e| e.position.0)
        .collect();
    assert_eq!(seen, [1, 2]);
    // more than the ring holds
    for _ in 0..3 {
        other.record(vec![error("e"); 700]).await;
    }
    let mut seen = Vec::new();
    while tail.position() < Position(2_102) {
        seen.extend(tail.next().await.unwrap().iter().map(|e| e.position.0));
    }
    exactly_once(&seen, 2, 2_102).unwrap();
    one.close().await;
    other.close().await;
}

async fn two_processes_share_one_sequence(database: Database) {
    let logs = [database.open().await, database.open().await];
    let followers: Vec<_> = logs
        .iter()
        .map(|log| {
            let mut tail = log.tail(Position(0), None);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while tail.position() < Position(200) {
                    seen.extend(tail.next().await.unwrap().iter().map(|e| e.position.0));
                }
                seen
            })
        })
        .collect();
    let appenders: Vec<_> = (0..20)
        .map(|ordinal| {
            let store = logs[ordinal % 2].handle();
            tokio::spawn(async move {
                for _ in 0..10 {
                    store.append(request(vec![error("e")])).await.unwrap();
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.unwrap();
    }
    for follower in followers {
        exactly_once(&follower.await.unwrap(), 0, 200).unwrap();
    }
    for log in logs {
        log.close().await;
    }
}

async fn a_device_registered_elsewhere_is_known(database: Database) {
    let (one, other) = (database.open().await, database.open().await);
    one.record(crate::support::fleet()).await;
    let outcomes = other.record(vec![metrics("d3", 0, 1.0)]).await;
    assert_eq!(outcomes, [Outcome::Recorded(Position(FLEET_EVENTS + 1))]);
    let read = one
        .follow(Position(FLEET_EVENTS), Position(FLEET_EVENTS + 1))
        .await;
    assert_eq!(read, [FLEET_EVENTS + 1]);
    one.close().await;
    other.close().await;
}

async fn a_device_moved_elsewhere_is_at_its_new_site(database: Database) {
    use homepot_analytics::store::EntityType::{Device, Site};
    let (one, other) = (
        database.open().await.with_fleet().await,
        database.open().await,
    );
    // the other commits first; this one must not go back to what it learns of that afterwards
    other.record(vec![device("d1", "s2")]).await;
    one.record(vec![device("d1", "s1")]).await;
    one.follow(Position(0), Position(FLEET_EVENTS + 2)).await;
    let names = one.names();
    let key = |entity, id| names.key(entity, id).unwrap();
    assert_eq!(
        names.site_of_device(key(Device, "d1")),
        Some(key(Site, "s1"))
    );
    one.close().await;
    other.close().await;
}

async fn a_late_move_does_not_count(database: Database) {
    use homepot_analytics::store::EntityType::{Device, Site};
    let log = database.open().await.with_fleet().await;
    let mut late = device("d1", "s2");
    late.fact.occurred_at = late.fact.occurred_at.plus_ms(-1);
    log.record(vec![late]).await;
    let key = |entity, id| log.names().key(entity, id).unwrap();
    assert_eq!(
        log.names().site_of_device(key(Device, "d1")),
        Some(key(Site, "s1"))
    );
    log.close().await;
}

/// The control: positions from a sequence, taken when a row is inserted and seen when its
/// transaction commits, and a reader that asks for what is greater than the last one it saw.
async fn a_naive_reader_loses_events_and_the_check_sees_it(database: Database) {
    if database.is_sqlite() {
        // one writer at a time: there is nothing to lose
        return;
    }
    database
        .execute("CREATE TABLE naive (position BIGSERIAL PRIMARY KEY)")
        .await;
    let (first, second) = (database.connect().await, database.connect().await);
    let reader = database.connect().await;
    let insert = "INSERT INTO naive DEFAULT VALUES";
    let (mut seen, mut last) = (Vec::new(), 0_i64);
    for _ in 0..10 {
        let slow = first.begin().await.unwrap();
        slow.execute_unprepared(insert).await.unwrap();
        let fast = second.begin().await.unwrap();
        fast.execute_unprepared(insert).await.unwrap();
        fast.commit().await.unwrap();
        let sql = "SELECT position FROM naive WHERE position > $1 ORDER BY position";
        let backend = reader.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, [last.into()]);
        for row in reader.query_all_raw(statement).await.unwrap() {
            last = row.try_get_by_index(0).unwrap();
            seen.push(last);
        }
        slow.commit().await.unwrap();
    }
    let stored = database.number("SELECT count(*) FROM naive").await;
    assert_eq!(stored, 20);
    assert_eq!(
        exactly_once(&seen, 0, 20),
        Err("saw 2 where 1 was due".to_owned())
    );
    assert!(seen.len() < 20, "the naive reader lost nothing");
}
