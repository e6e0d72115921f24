//! Following the log: each position once, in order, whatever the reader does.

use std::sync::Arc;

use homepot_analytics::event::{Event, Position};
use homepot_analytics::kinds::Kind;
use homepot_analytics::store::{Store, StoreError};
use sea_orm::ConnectionTrait;

use crate::support::{
    Database, FLEET_EVENTS, TestLog, contract, error, exactly_once, metrics, recorded, request,
};

contract![
    followers_see_each_position_once_beside_appends,
    a_follower_resumes_at_any_position,
    a_follower_of_some_kinds_sees_only_them,
    a_follower_that_looks_on_passes_over_other_kinds,
    a_follower_waits_until_something_comes,
    the_ring_and_the_tables_tell_the_same,
    what_is_handed_over_at_once_has_a_size,
    a_hole_is_seen_when_its_commit_is_read_in_parts,
    a_commit_that_is_missing_is_a_hole,
    what_another_process_appends_is_brought_in_by_the_next_look,
];

async fn open(database: &Database, ring: usize, page: usize) -> TestLog {
    TestLog::open_with(database, |opening| {
        opening.limits.ring_events_max = ring;
        opening.limits.page_events = page;
    })
    .await
}

async fn append_many(store: Store, requests: usize) {
    for ordinal in 0..requests {
        let events = vec![error(&format!("{ordinal}")); ordinal % 5 + 1];
        store.append(request(events)).await.unwrap();
    }
}

async fn followers_see_each_position_once_beside_appends(database: Database) {
    // no ring, a ring smaller than a request, and one that holds a few
    for (ring, page) in [(0, 1), (3, 7), (20, 3)] {
        let log = open(&database, ring, page).await;
        let from = log.head();
        let appenders: Vec<_> = (0..4)
            .map(|_| tokio::spawn(append_many(log.handle(), 50)))
            .collect();
        let upto = Position(from.0 + 4 * 150);
        let followers: Vec<_> = (0..3)
            .map(|_| {
                let mut tail = log.tail(from, None);
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while tail.position() < upto {
                        seen.extend(tail.next().await.unwrap().iter().map(|e| e.position.0));
                    }
                    seen
                })
            })
            .collect();
        for appender in appenders {
            appender.await.unwrap();
        }
        for follower in followers {
            exactly_once(&follower.await.unwrap(), from.0, upto.0).unwrap();
        }
        log.close().await;
    }
}

async fn a_follower_resumes_at_any_position(database: Database) {
    let log = open(&database, 10, 4).await;
    append_many(log.handle(), 20).await;
    let head = Position(60);
    for from in 0..head.0 {
        let seen = log.follow(Position(from), head).await;
        exactly_once(&seen, from, head.0).unwrap();
    }
    log.close().await;
    // the same without a ring that knows them
    let log = open(&database, 10, 4).await;
    for from in 0..head.0 {
        let seen = log.follow(Position(from), head).await;
        exactly_once(&seen, from, head.0).unwrap();
    }
    log.close().await;
}

async fn a_follower_of_some_kinds_sees_only_them(database: Database) {
    for ring in [0, 1_000] {
        let log = open(&database, ring, 2).await;
        log.record(crate::support::fleet()).await;
        let from = log.head();
        for second in 0..10 {
            let second = second + i64::try_from(ring).unwrap();
            log.record(vec![error("e"), metrics("d1", second, 1.0)])
                .await;
        }
        let mut tail = log.tail(from, Some(&[Kind::DeviceMetrics]));
        let mut seen = Vec::new();
        while seen.len() < 10 {
            seen.extend(
                tail.next()
                    .await
                    .unwrap()
                    .iter()
                    .map(|event| event.fact.kind),
            );
        }
        assert_eq!(seen, [Kind::DeviceMetrics; 10]);
        log.close().await;
    }
}

async fn a_follower_that_looks_on_passes_over_other_kinds(database: Database) {
    let log = open(&database, 0, 2).await;
    append_many(log.handle(), 10).await;
    let mut tail = log.tail(Position(0), Some(&[Kind::DeviceMetrics]));
    while tail.position() < Position(30) {
        assert!(tail.next_looked_at().await.unwrap().is_empty());
    }
    log.close().await;
}

async fn a_follower_waits_until_something_comes(database: Database) {
    let log = database.open().await;
    let mut tail = log.tail(Position(0), None);
    {
        let mut next = Box::pin(tail.next());
        assert!(futures_util::poll!(&mut next).is_pending());
        log.record(vec![error("e")]).await;
        assert_eq!(next.await.unwrap().len(), 1);
    }
    assert_eq!(tail.position(), Position(1));
    log.close().await;
}

async fn the_ring_and_the_tables_tell_the_same(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut tail = log.tail(Position(0), None);
    log.record(vec![
        crate::support::state("d1", 10, "ONLINE"),
        crate::support::state("d1", 30, "ERROR"),
        metrics("d1", 5, 0.1),
    ])
    .await;
    log.record(vec![crate::support::state("d1", 20, "OFFLINE")])
        .await;
    let mut live = Vec::new();
    while tail.position().0 < FLEET_EVENTS + 4 {
        live.extend(tail.next().await.unwrap());
    }
    let read = log.after(Position(0), 100).await.unwrap().events;
    assert_eq!(live, read);
    log.close().await;
}

async fn what_is_handed_over_at_once_has_a_size(database: Database) {
    const SLICE_BYTES_MAX: usize = 8_192;
    const KINDS: [Kind; 3] = [Kind::ErrorLog, Kind::DeviceMetrics, Kind::DeviceStateChange];
    for ring in [0, 1_000] {
        let log = open(&database, ring, 100).await.with_fleet().await;
        let from = log.head();
        // one commit of two kinds and many slices, then small ones, then an event larger than a slice
        let mut mixed = Vec::new();
        for ordinal in 0..100 {
            mixed.push(error(&"x".repeat(500)));
            mixed.push(metrics("d1", from.0 + ordinal, 0.1));
        }
        log.record(mixed).await;
        append_many(log.handle(), 20).await;
        let large = error(&"x".repeat(10_000));
        log.record(vec![large, error("e")]).await;
        let all = log.after(from, 10_000).await.unwrap().events;
        exactly_once(&positions(&all), from.0, log.head().0).unwrap();
        for kinds in [
            None,
            Some(&KINDS[..1]),
            Some(&KINDS[1..]),
            Some(&KINDS[2..]),
        ] {
            let mut tail = log.tail(from, kinds).in_slices_of(SLICE_BYTES_MAX);
            let (mut seen, mut slices) = (Vec::new(), 0);
            while tail.position() < log.head() {
                let slice = tail.next_looked_at().await.unwrap();
                let bytes: usize = slice.iter().map(|event| event.fact.weight_bytes()).sum();
                assert!(slice.len() <= 1 || bytes <= SLICE_BYTES_MAX, "{bytes}");
                seen.extend(slice);
                slices += 1;
            }
            let asked = |event: &Arc<Event>| kinds.is_none_or(|k| k.contains(&event.fact.kind));
            let expected: Vec<_> = all.iter().filter(|event| asked(event)).cloned().collect();
            assert_eq!(seen, expected, "{kinds:?}");
            assert!(slices < 60, "{slices} slices of {kinds:?}");
        }
        log.close().await;
    }
}

fn positions(events: &[Arc<Event>]) -> Vec<i64> {
    events.iter().map(|event| event.position.0).collect()
}

async fn a_hole_is_seen_when_its_commit_is_read_in_parts(database: Database) {
    let log = open(&database, 0, 100).await;
    let from = log.head().0;
    log.record(vec![error(&"x".repeat(500)); 100]).await;
    let raw = database.connect().await;
    // before, in and behind the part that is read
    for (missing, after) in [(3, 40), (42, 40), (90, 40)] {
        let missing = from + missing;
        for kinds in [None, Some([Kind::ErrorLog].as_slice())] {
            let tail = || log.tail(Position(from + after), kinds);
            tail().in_slices_of(8_192).next().await.unwrap();
            let moved =
                |to, of| format!("UPDATE error_logs SET position = {to} WHERE position = {of}");
            let taken_out = moved(missing + 1_000_000, missing);
            raw.execute_unprepared(&taken_out).await.unwrap();
            let read = tail().in_slices_of(8_192).next().await;
            assert!(matches!(read, Err(StoreError::Hole { .. })), "{read:?}");
            let put_back = moved(missing, missing + 1_000_000);
            raw.execute_unprepared(&put_back).await.unwrap();
        }
    }
    raw.close().await.unwrap();
    log.close().await;
}

async fn a_commit_that_is_missing_is_a_hole(database: Database) {
    let log = open(&database, 0, 100).await;
    let from = log.head();
    append_many(log.handle(), 10).await;
    let raw = database.connect().await;
    let sql = "DELETE FROM commits WHERE first_position = (SELECT min(first_position) FROM commits \
        WHERE first_position > 4)";
    raw.execute_unprepared(sql).await.unwrap();
    raw.close().await.unwrap();
    for after in [from, Position(6)] {
        let read = log.tail(after, None).next().await;
        assert!(matches!(read, Err(StoreError::Hole { .. })), "{read:?}");
    }
    log.close().await;
}

/// That it is soon follows from how often it is looked for, which is a limit of the configuration.
async fn what_another_process_appends_is_brought_in_by_the_next_look(database: Database) {
    let here = database.open().await;
    let other = database.open().await;
    for ordinal in 0..20 {
        let appended = other.append(request(vec![error(&format!("{ordinal}"))]));
        let position = recorded(&appended.await.unwrap())[0];
        // one look may have begun before the append, the one after it has not
        let looks = here.metrics().looks() + 2;
        while here.metrics().looks() < looks {
            tokio::task::yield_now().await;
        }
        assert!(here.head().0 >= position);
    }
    here.close().await;
    other.close().await;
}
