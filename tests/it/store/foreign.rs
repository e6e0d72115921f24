//! What another process commits is seen, and a reader that does not follow the log loses events.

use std::time::Duration;

use homepot_analytics::event::Position;
use homepot_analytics::store::{EntityType, Outcome, Tail};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::support::{
    Database, FLEET_EVENTS, TestLog, contract, device, error, exactly_once, metrics, request,
};

contract![
    followers_see_what_another_process_commits,
    two_processes_share_one_sequence,
    a_device_registered_elsewhere_is_known,
    a_device_moved_elsewhere_is_at_its_new_site,
    with_an_event_of_a_device_its_site_is_known,
    whoever_knows_a_device_knows_its_site,
    a_late_move_does_not_count,
    a_follower_sees_each_event_once,
    a_naive_reader_loses_events_in_the_same_test,
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

/// Whoever follows events of a site filters them by its key.
async fn with_an_event_of_a_device_its_site_is_known(database: Database) {
    let here = TestLog::open_with(&database, |opening| {
        // it is not to see the registrations
        opening.limits.tail_poll = Duration::from_hours(1);
        opening.limits.ring_events_max = 0;
    })
    .await;
    let other = database.open().await.with_fleet().await;
    other.record(vec![metrics("d3", 0, 0.5)]).await;
    let read = here.after(Position(FLEET_EVENTS), 1).await.unwrap();
    assert_eq!(read.events.len(), 1);
    let names = here.names();
    let site = names.key(EntityType::Site, "s2").unwrap();
    let device = names.key(EntityType::Device, "d3").unwrap();
    assert_eq!(names.site_of_device(device), Some(site));
    here.close().await;
    other.close().await;
}

/// Also while the names of many are read at once.
async fn whoever_knows_a_device_knows_its_site(database: Database) {
    let here = TestLog::open_with(&database, |opening| {
        // all names are read anew
        opening.limits.ring_events_max = 0;
        opening.limits.tail_poll = Duration::from_millis(1);
    })
    .await;
    let other = database.open().await.with_fleet().await;
    let names = here.names();
    let device = loop {
        if let Some(device) = names.key(EntityType::Device, "d3") {
            break device;
        }
        tokio::task::yield_now().await;
    };
    let site = names.site_of_device(device);
    assert!(site.is_some());
    assert_eq!(site, names.key(EntityType::Site, "s2"));
    here.close().await;
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

/// Reads the log once more, while a commit is appended.
trait Reader {
    async fn read(&mut self, appender: &mut Appender<'_>) -> Vec<i64>;
}

/// Appends commits of two kinds, one at a time.
struct Appender<'a> {
    log: &'a TestLog,
    commits: i64,
}

/// Commits that are appended while a reader reads.
const COMMITS: i64 = 20;

impl Appender<'_> {
    async fn commit(&mut self) {
        if self.commits < COMMITS {
            self.commits += 1;
            let metrics = metrics("d1", self.commits, 1.0);
            self.log.record(vec![error("e"), metrics]).await;
        }
    }
}

/// The reader that this program has.
struct Follower(Tail);

impl Reader for Follower {
    async fn read(&mut self, appender: &mut Appender<'_>) -> Vec<i64> {
        let both = futures_util::future::join(self.0.next(), appender.commit());
        let events = both.await.0.unwrap();
        events.iter().map(|event| event.position.0).collect()
    }
}

/// The control: asks each table for what lies beyond the last position that it saw.
struct Naive {
    db: DatabaseConnection,
    last: i64,
}

impl Naive {
    async fn beyond(&self, table: &str) -> Vec<i64> {
        let backend = self.db.get_database_backend();
        let last = self.last;
        let sql = format!("SELECT position FROM {table} WHERE position > {last}");
        let rows = self.db.query_all_raw(Statement::from_string(backend, sql));
        let rows = rows.await.unwrap();
        rows.iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    }
}

impl Reader for Naive {
    async fn read(&mut self, appender: &mut Appender<'_>) -> Vec<i64> {
        let mut seen = self.beyond("error_logs").await;
        appender.commit().await;
        seen.extend(self.beyond("device_metrics").await);
        seen.sort_unstable();
        self.last = seen.last().copied().unwrap_or(self.last);
        seen
    }
}

/// Reads until all commits were seen to their last position, and checks what was seen.
async fn reads_each_once(log: &TestLog, reader: &mut impl Reader) -> Result<(), String> {
    let (first, upto) = (FLEET_EVENTS, FLEET_EVENTS + 2 * COMMITS);
    let mut appender = Appender { log, commits: 0 };
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| *last < upto) {
        seen.extend(reader.read(&mut appender).await);
    }
    exactly_once(&seen, first, upto)
}

async fn a_follower_sees_each_event_once(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut follower = Follower(log.tail(Position(FLEET_EVENTS), None));
    reads_each_once(&log, &mut follower).await.unwrap();
    log.close().await;
}

/// Positions are committed in their order, so within one table nothing is lost; between the tables
/// there is no one moment. That holds on either database, also where there is one writer.
async fn a_naive_reader_loses_events_in_the_same_test(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut naive = Naive {
        db: database.connect().await,
        last: FLEET_EVENTS,
    };
    let lost = reads_each_once(&log, &mut naive).await;
    assert_eq!(lost, Err("saw 7 where 6 was due".to_owned()));
    naive.db.close().await.unwrap();
    log.close().await;
}
