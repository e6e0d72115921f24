//! Small segments are put together: there are few of them, and what is in them is read as before.

use std::sync::atomic::{AtomicUsize, Ordering};

use homepot_analytics::event::{Instant, NewEvent, Position};
use homepot_analytics::kinds::Kind;
use homepot_analytics::retention::{self, Age, ErasureState};
use homepot_analytics::store::{ClaimError, Deleting, MERGE, Outcome, Store};

use super::erasures::{erase, events_of, of_person};
use super::filters::{all_of, filled, pages_are_what_passes, pages_of_parents_are_what_passes};
use super::retention::{findings, fold};
use super::segments::{CUTS, archivable, archive, archived_beside_readers, files, is_whole, keyed};
use crate::support::{Database, TestLog, at, contract, event};

contract![
    late_events_leave_no_more_segments_than_there_are_spans,
    a_run_puts_together_what_it_archives_late,
    a_run_puts_together_as_many_as_there_are_some_at_a_time,
    what_was_put_together_is_read_as_before,
    readers_miss_and_repeat_nothing_while_segments_are_put_together,
    wherever_it_is_broken_off_each_event_is_in_one_place,
    nothing_is_put_together_until_who_is_erased_is_looked_for_in_all,
    what_is_old_enough_to_be_deleted_stays_apart,
    a_segment_that_is_not_there_is_put_together_with_none,
    nothing_is_put_together_while_a_backup_reads_all_segments,
    of_deleted_segments_those_that_meet_are_one_row,
];

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Puts all small segments of a kind together; answers how many.
async fn put_together(store: &Store, kind: Kind) -> usize {
    let mut together = 0;
    for small in store.small_segments(kind, None).await.unwrap() {
        together += store.put_together(&small).await.unwrap();
    }
    together
}

/// An error of so many days ago.
fn of_day(days: i64) -> NewEvent {
    let then = at("2026-11-23T09:00:00Z").plus_ms(-days * DAY_MS);
    let body = serde_json::json!({"category": "API", "severity": "ERROR", "errorMessage": "late",
        "occurredAt": then.to_string()});
    event(&serde_json::json!({ "errorLog": body }))
}

/// Errors of all years since 2000.
fn of_all_years() -> Vec<NewEvent> {
    (100..9_800).step_by(60).map(of_day).collect()
}

async fn all_errors(log: &TestLog) -> usize {
    let count = log.count(&all_of(Kind::ErrorLog)).await.unwrap();
    usize::try_from(count).unwrap()
}

async fn late_events_leave_no_more_segments_than_there_are_spans(database: Database) {
    let log = database.open().await;
    let (kind, before) = (Kind::ErrorLog, at("2026-10-01T00:00:00Z"));
    let mut spans = 0;
    for round in 1..=6 {
        log.record(of_all_years()).await;
        let mut made = 0;
        while log
            .archive(kind, before, log.head())
            .await
            .unwrap()
            .is_some()
        {
            made += 1;
        }
        let together = put_together(&log, kind).await;
        if round == 1 {
            spans = made;
            assert_eq!(together, 0);
        }
        assert!(spans < of_all_years().len());
        let listed = log.archived(kind).await.unwrap().segments;
        assert_eq!((made, listed), (spans, i64::try_from(spans).unwrap()));
        assert_eq!(files(&database).len(), spans);
        assert_eq!(all_errors(&log).await, round * of_all_years().len());
    }
    let overlapping = "SELECT count(*) FROM segments a JOIN segments b \
        ON a.id < b.id AND a.first_at <= b.last_at AND b.first_at <= a.last_at";
    assert_eq!(database.number(overlapping).await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    // what is older goes together with more
    log.clock.advance_ms(400 * 24 * 3_600 * 1_000);
    assert!(put_together(&log, kind).await > 0);
    assert!(files(&database).len() < spans);
    assert_eq!(all_errors(&log).await, 6 * of_all_years().len());
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn a_run_puts_together_what_it_archives_late(database: Database) {
    let log = database.open().await;
    let hour = std::time::Duration::from_hours(1);
    for late in [800, 801, 802] {
        log.record(vec![of_day(late)]).await;
        fold(&log).await;
        let run = retention::run(&log, hour).await.unwrap();
        let mut done = run.kinds.iter();
        let done = done.find(|done| done.kind == Kind::ErrorLog).unwrap();
        assert!(run.is_complete && done.archived_events == 1);
        assert_eq!(done.put_together, if late == 800 { 0 } else { 2 });
        assert_eq!(files(&database).len(), 1);
        let planned = retention::planned(&log).await.unwrap();
        assert!(
            planned
                .iter()
                .all(|(_, waiting)| waiting.archive_events == 0)
        );
    }
    log.close().await;
}

/// Each of them is of one event, and all are of one span.
async fn a_run_puts_together_as_many_as_there_are_some_at_a_time(database: Database) {
    const SEGMENTS: usize = 300;
    let log = database.open().await;
    let (kind, before) = (Kind::ErrorLog, at("2026-10-01T00:00:00Z"));
    log.record(vec![of_day(500); SEGMENTS]).await;
    for upto in 1..=log.head().0 {
        let archived = log.archive(kind, before, Position(upto)).await.unwrap();
        assert_eq!(archived.map(|archived| archived.events), Some(1));
    }
    fold(&log).await;
    assert_eq!(log.small_segments(kind, None).await.unwrap().len(), 2);
    let hour = std::time::Duration::from_hours(1);
    let run = retention::run(&log, hour).await.unwrap();
    let done = run.kinds.iter().find(|done| done.kind == kind).unwrap();
    // those that come of the first ones go together too
    assert_eq!((run.is_complete, done.put_together), (true, SEGMENTS + 2));
    assert_eq!(files(&database).len(), 1);
    assert_eq!(all_errors(&log).await, SEGMENTS);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// The samples of each kind are of one span.
async fn what_was_put_together_is_read_as_before(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    for kind in archivable() {
        let before = log.archived(kind).await.unwrap();
        let together = put_together(&log, kind).await;
        assert_eq!(i64::try_from(together), Ok(before.segments));
        let after = log.archived(kind).await.unwrap();
        assert_eq!((after.segments, after.events), (1, before.events));
        assert_eq!(
            (after.first_at, after.last_at),
            (before.first_at, before.last_at)
        );
        assert_eq!(put_together(&log, kind).await, 0);
    }
    assert_eq!(files(&database).len(), archivable().count());
    // nothing of it is in memory any more
    log.close().await;
    let log = database.open().await;
    pages_are_what_passes(&log, &events, 100);
    pages_of_parents_are_what_passes(&log, &events).await;
    let all: Vec<i64> = (1..=log.head().0).collect();
    assert_eq!(log.follow(Position::START, log.head()).await, all);
    for events in keyed() {
        let outcomes = log.record(events).await;
        let repeats = outcomes.iter().all(|o| matches!(o, Outcome::Duplicate(_)));
        assert!(repeats, "{outcomes:?}");
    }
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn readers_miss_and_repeat_nothing_while_segments_are_put_together(database: Database) {
    let together = async |log: &TestLog| {
        for kind in archivable() {
            put_together(log, kind).await;
        }
    };
    archived_beside_readers(&database, together).await;
}

/// Lets others go first so many times.
async fn turns_of_others(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

async fn wherever_it_is_broken_off_each_event_is_in_one_place(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    let kind = Kind::DeviceMetrics;
    let mut turns = 1;
    loop {
        let small = log.small_segments(kind, None).await.unwrap();
        let Some(small) = small.first() else { break };
        tokio::select! {
            biased;
            together = log.put_together(small) => assert!(together.unwrap() > 1),
            () = turns_of_others(turns) => {}
        }
        turns *= 2;
        assert!(is_whole(&log, &events, kind).await, "{turns}");
        // what it had begun with the database has ended by then
        let ages = (Age::Days(90), Age::Never);
        retention::set(&log, kind, ages, "test").await.unwrap();
        log.record(vec![of_day(0)]).await;
        log.sweep_segments().await.unwrap();
        assert!(is_whole(&log, &events, kind).await, "{turns}");
    }
    let listed = database.number("SELECT count(*) FROM segments").await;
    assert_eq!(i64::try_from(files(&database).len()), Ok(listed));
    assert_eq!(log.archived(kind).await.unwrap().segments, 1);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn nothing_is_put_together_until_who_is_erased_is_looked_for_in_all(database: Database) {
    let kinds = [Kind::UserActivity, Kind::ErrorLog];
    let (log, _) = filled(&database).await;
    log.record(of_person("one", 1_000)).await;
    log.record(of_person("other", 2_000)).await;
    archive(&log).await;
    let asked = retention::erase_person(&log, "one", "test").await.unwrap();
    let mut small = Vec::new();
    for kind in kinds {
        small.extend(log.small_segments(kind, None).await.unwrap());
    }
    assert_eq!(small.len(), 2);
    log.close().await;
    // it is broken off by a segment that cannot be read
    let name = "SELECT name FROM segments WHERE name LIKE 'error_logs-%' ORDER BY first_at";
    let name: String = database.query(name).await[0].try_get_by_index(0).unwrap();
    let mut all = files(&database).into_iter();
    let (file, aside) = (
        all.find(|file| file.ends_with(&name)).unwrap(),
        database.dir().join("aside"),
    );
    std::fs::rename(&file, &aside).unwrap();
    let log = database.open().await;
    assert!(retention::erase_waiting(&log).await.is_err());
    std::fs::rename(&aside, &file).unwrap();
    for small in &small {
        assert_eq!(log.put_together(small).await.unwrap(), 0);
        let more = log.small_segments(small.kind, None).await.unwrap();
        assert_eq!(more, []);
    }
    retention::erase_waiting(&log).await.unwrap();
    let row = retention::erasure(&log, &asked.erasure_id).await.unwrap();
    assert_eq!(ErasureState::of(&row.unwrap()), ErasureState::Done);
    for kind in kinds {
        assert!(put_together(&log, kind).await > 1);
    }
    assert_eq!(events_of(&log, "one").await, 0);
    // and who is erased later is found in what was put together
    let erased = erase(&log, "other").await;
    assert_eq!((erased.events, erased.segments), (4, 2));
    assert_eq!(events_of(&log, "other").await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// How many segments of a kind end before an instant, and how many do not.
async fn old_and_young(database: &Database, kind: Kind, cut: Instant) -> (i64, i64) {
    let count = |is: &str| {
        let (code, cut) = (kind.code(), cut.0);
        format!("SELECT count(*) FROM segments WHERE kind = {code} AND last_at {is} {cut}")
    };
    let old = database.number(&count("<")).await;
    (old, database.number(&count(">=")).await)
}

async fn what_is_old_enough_to_be_deleted_stays_apart(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    let cut = at(CUTS[1]);
    for kind in archivable() {
        let before = old_and_young(&database, kind, cut).await;
        for small in log.small_segments(kind, Some(cut)).await.unwrap() {
            assert!(log.put_together(&small).await.unwrap() > 1);
        }
        let after = old_and_young(&database, kind, cut).await;
        assert_eq!(after, (before.0.min(1), before.1.min(1)), "{kind:?}");
        assert!(is_whole(&log, &events, kind).await, "{kind:?}");
        let deleting = Deleting::all_before(kind, cut);
        let deleted = log.drop_segment(&deleting).await.unwrap();
        assert_eq!(deleted.is_some(), before.0 > 0, "{kind:?}");
        assert_eq!(log.drop_segment(&deleting).await.unwrap(), None);
    }
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn a_segment_that_is_not_there_is_put_together_with_none(database: Database) {
    let log = database.open().await;
    let (kind, before) = (Kind::ErrorLog, at("2026-10-01T00:00:00Z"));
    for _ in 0..3 {
        log.record(vec![of_day(500)]).await;
        log.archive(kind, before, log.head()).await.unwrap();
    }
    log.close().await;
    let (file, aside) = (files(&database).remove(0), database.dir().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let log = database.open().await;
    assert_eq!(put_together(&log, kind).await, 2);
    assert_eq!(log.archived(kind).await.unwrap().segments, 2);
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(put_together(&log, kind).await, 2);
    assert_eq!(all_errors(&log).await, 3);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn nothing_is_put_together_while_a_backup_reads_all_segments(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    let store = log.handle();
    let (looks, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let look = |_| {
        let claim = || tokio::runtime::Handle::current().block_on(store.claim(MERGE));
        let claim = tokio::task::block_in_place(claim);
        looks.fetch_add(1, Ordering::SeqCst);
        let is_taken = matches!(claim, Err(ClaimError::Taken));
        taken.fetch_add(usize::from(is_taken), Ordering::SeqCst);
    };
    let file = database.dir().join("backup.gz");
    log.backup(&file, &look).await.unwrap();
    let looks = looks.load(Ordering::SeqCst);
    assert!(looks > 0);
    assert_eq!(taken.load(Ordering::SeqCst), looks);
    log.claim_patiently(MERGE).await.unwrap();
    log.close().await;
}

/// What is recorded in between and not deleted stands between them.
async fn of_deleted_segments_those_that_meet_are_one_row(database: Database) {
    let log = database.open().await;
    let (kind, before) = (Kind::ErrorLog, at("2026-10-01T00:00:00Z"));
    for days in [9_000, 5_000, 10, 1_000] {
        log.record(vec![of_day(days)]).await;
    }
    let lost = log.head().0 - 1;
    while log
        .archive(kind, before, log.head())
        .await
        .unwrap()
        .is_some()
    {}
    let last = "SELECT max(id) FROM segments";
    let ids = database.number(last).await;
    assert_eq!(ids, 3);
    let deleting = Deleting::all_before(kind, before);
    while log.drop_segment(&deleting).await.unwrap().is_some() {}
    let rows = "SELECT count(*) FROM segments";
    assert_eq!(database.number(rows).await, 2);
    // the next one gets an id that there was not
    assert_eq!(database.number(last).await, ids);
    assert_eq!(log.archived(kind).await.unwrap().deleted_events, 3);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    let sql = format!("DELETE FROM error_logs WHERE position = {lost}");
    database.execute(&sql).await;
    assert_ne!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}
