//! What was archived is read, repeated, checked and backed up as if it had stayed in its table.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homepot_analytics::event::{Event, Instant, Position};
use homepot_analytics::kinds::{Identity, Kind};
use homepot_analytics::projections;
use homepot_analytics::store::{
    Archived, Check, Columns, Finding, Outcome, Place, Store, StoreError, backup, restore, verify,
};

use super::filters::{all_of, filled, pages_are_what_passes, pages_of_parents_are_what_passes};
use crate::support::{Backend, Database, TestLog, at, contract, samples};

contract![
    pages_and_counts_are_the_same_after_archiving,
    pages_of_devices_and_sites_are_the_same_after_archiving,
    events_are_found_by_place_and_time_after_archiving,
    the_log_is_followed_over_segments_as_before,
    what_was_archived_is_a_duplicate,
    what_was_archived_and_says_something_else_is_a_conflict,
    another_node_reads_what_was_just_archived,
    readers_miss_and_repeat_nothing_while_it_is_archived,
    only_what_is_old_and_folded_is_archived,
    an_archived_log_is_sound,
    a_changed_file_of_a_segment_is_found,
    a_missing_file_of_a_segment_is_found,
    what_is_missing_beside_a_missing_segment_is_found,
    a_segment_that_is_also_in_its_table_is_found,
    a_backup_has_the_segments,
    a_log_its_segments_and_backups_are_their_owners_alone,
    a_file_that_no_list_names_is_swept,
];

/// Before when samples are archived, one segment of each kind after the other; some are left.
pub(super) const CUTS: [&str; 3] = [
    "2026-01-31T23:59:53Z",
    "2026-01-31T23:59:58Z",
    "2026-02-01T00:00:03Z",
];

pub(super) fn archivable() -> impl Iterator<Item = Kind> {
    Kind::all().filter(|kind| kind.spec().keeping.archives())
}

pub(super) async fn archive_before(store: &Store, before: Instant, upto: Position) -> i64 {
    let mut events = 0;
    for kind in archivable() {
        while let Some(archived) = store.archive(kind, before, upto).await.unwrap() {
            events += archived.events;
        }
    }
    events
}

/// Archives the older samples, in several segments of each kind.
pub(super) async fn archive(log: &TestLog) {
    for cut in CUTS {
        assert!(archive_before(log, at(cut), log.head()).await > 0);
    }
}

async fn sound(log: &TestLog) -> Vec<Finding> {
    let verified = log.verify(&projections::all(), &|_| {}).await;
    verified.unwrap().findings
}

async fn pages_and_counts_are_the_same_after_archiving(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    for kind in archivable() {
        let table = kind.spec().table;
        let left = database
            .number(&format!("SELECT count(*) FROM {table}"))
            .await;
        assert!((1..40).contains(&left), "{left} left in {table}");
        assert!(log.archived(kind).await.unwrap().segments > 1);
    }
    pages_are_what_passes(&log, &events, 400);
    log.close().await;
}

async fn pages_of_devices_and_sites_are_the_same_after_archiving(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    pages_of_parents_are_what_passes(&log, &events).await;
    log.close().await;
}

async fn events_are_found_by_place_and_time_after_archiving(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    for kind in archivable() {
        let of_kind: Vec<&Event> = events.iter().filter(|e| e.fact.kind == kind).collect();
        let places: Vec<Place> = of_kind.iter().map(|event| Place::of(event)).collect();
        let all = (kind, Columns::ALL);
        let mut found = log.at(all, &places, &log.allowance()).await.unwrap();
        found.sort_by_key(|event| event.position);
        assert!(found.iter().eq(of_kind.iter().copied()));
        let positions: Vec<Position> = of_kind.iter().map(|event| event.position).collect();
        let found = log.of_positions(all, &positions, &log.allowance()).await;
        assert_eq!(found.unwrap().len(), of_kind.len());
        let device = kind.spec().device_index();
        let reading = |event: &&Event| {
            let device = event.fact.cells[device?].int()?;
            Some((device, event.fact.occurred_at))
        };
        for event in of_kind.iter().filter(|event| reading(event).is_some()) {
            let reading = reading(event).unwrap();
            let together = log.together(all, &[reading], &log.allowance()).await;
            assert!(together.unwrap().contains(event));
        }
    }
    log.close().await;
}

async fn the_log_is_followed_over_segments_as_before(database: Database) {
    let (log, _) = filled(&database).await;
    let upto = log.head();
    let mut before = Vec::new();
    for page in [1, 7, 1_000] {
        before.push(sliced(&log, page).await);
    }
    archive(&log).await;
    // nothing of it is in memory any more
    log.close().await;
    let log = database.open().await;
    for (page, before) in [1, 7, 1_000].into_iter().zip(before) {
        assert_eq!(sliced(&log, page).await, before);
    }
    let all: Vec<i64> = (1..=upto.0).collect();
    assert_eq!(log.follow(Position::START, upto).await, all);
    for position in 1..=upto.0 {
        let event = log.event(Position(position)).await.unwrap();
        assert_eq!(event.unwrap().position, Position(position));
    }
    assert_eq!(log.event(upto.next()).await.unwrap(), None);
    log.close().await;
}

async fn sliced(log: &TestLog, page: usize) -> Vec<Event> {
    let (mut events, mut position) = (Vec::new(), Position::START);
    while position < log.head() {
        let slice = log.after(position, page).await.unwrap();
        position = slice.upto;
        events.extend(slice.events.iter().map(|event| (**event).clone()));
    }
    events
}

/// Samples that have a key, of kinds that are archived.
pub(super) fn keyed() -> impl Iterator<Item = Vec<homepot_analytics::event::NewEvent>> {
    (1..).zip(Kind::all()).filter_map(|(seed, kind)| {
        let mut events = samples(kind, 40, seed);
        let by_id = kind.spec().identity == Identity::EventId;
        events.retain(|new| !by_id || new.fact.event_id.is_some());
        kind.spec().keeping.archives().then_some(events)
    })
}

async fn what_was_archived_is_a_duplicate(database: Database) {
    let (log, _) = filled(&database).await;
    let mut first = Vec::new();
    for events in keyed() {
        first.push(log.record(events).await);
    }
    archive(&log).await;
    let head = log.head();
    log.close().await;
    let log = database.open().await;
    for (events, first) in keyed().zip(first) {
        assert!(first.iter().all(|o| matches!(o, Outcome::Duplicate(_))));
        assert_eq!(log.record(events).await, first);
    }
    assert_eq!(log.head(), head);
    log.close().await;
}

async fn what_was_archived_and_says_something_else_is_a_conflict(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    let head = log.head();
    for mut events in keyed() {
        for new in &mut events {
            new.fact.extra = serde_json::json!({"says": "something else"}).into();
        }
        let outcomes = log.record(events).await;
        let conflicts = outcomes.iter().all(|o| matches!(o, Outcome::Conflict(_)));
        assert!(conflicts, "{outcomes:?}");
    }
    assert_eq!(log.head(), head);
    log.close().await;
}

async fn another_node_reads_what_was_just_archived(database: Database) {
    let (log, events) = filled(&database).await;
    let other = database.open().await;
    for cut in CUTS {
        archive_before(&log, at(cut), log.head()).await;
        for kind in archivable() {
            let page = other.page(&all_of(kind), &other.allowance()).await.unwrap();
            let of_kind = events.iter().filter(|event| event.fact.kind == kind);
            assert!(page.iter().eq(of_kind), "{kind:?}");
            let count = other.count(&all_of(kind)).await.unwrap();
            assert_eq!(usize::try_from(count), Ok(page.len()));
        }
        let slice = other.after(Position::START, 100_000).await.unwrap();
        assert_eq!(slice.upto, log.head());
    }
    other.close().await;
    log.close().await;
}

async fn readers_miss_and_repeat_nothing_while_it_is_archived(database: Database) {
    archived_beside_readers(&database, async |_| ()).await;
}

/// Archives a second at a time, and so in many small segments, and does something after each of them, while two read
/// everything again and again.
pub(super) async fn archived_beside_readers(database: &Database, then: impl AsyncFn(&TestLog)) {
    let (log, events) = filled(database).await;
    let other = database.open().await;
    let ends = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for store in [log.handle(), other.handle()] {
        let (ends, events) = (Arc::clone(&ends), events.clone());
        readers.push(tokio::spawn(async move {
            let mut rounds = 0;
            while !ends.load(Ordering::SeqCst) || rounds == 0 {
                rounds += 1;
                for kind in archivable() {
                    assert!(is_whole(&store, &events, kind).await, "{kind:?}");
                }
            }
        }));
    }
    let mut before = at("2026-01-31T23:59:50Z");
    while before < at("2026-02-01T00:00:05Z") {
        before = before.plus_ms(1_000);
        archive_before(&log, before, log.head()).await;
        then(&log).await;
    }
    ends.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    other.close().await;
    log.close().await;
}

/// Whether all events of a kind are read, and counted, each once.
pub(super) async fn is_whole(store: &Store, events: &[Event], kind: Kind) -> bool {
    let page = store.page(&all_of(kind), &store.allowance()).await.unwrap();
    let count = store.count(&all_of(kind)).await.unwrap();
    let of_kind = events.iter().filter(|event| event.fact.kind == kind);
    usize::try_from(count) == Ok(page.len()) && page.iter().eq(of_kind)
}

async fn only_what_is_old_and_folded_is_archived(database: Database) {
    let (log, events) = filled(&database).await;
    let before = at(CUTS[1]);
    for kind in archivable() {
        let old = events.iter().filter(|event| event.fact.kind == kind);
        let old = old.filter(|event| event.fact.occurred_at < before);
        let positions: Vec<i64> = old.map(|event| event.position.0).collect();
        let upto = Position(positions[positions.len() / 2]);
        let folded = positions.iter().filter(|position| **position <= upto.0);
        let expected = i64::try_from(folded.count()).unwrap();
        let archived = log.archive(kind, before, upto).await.unwrap();
        assert!(matches!(archived, Some(Archived { events, .. }) if events == expected));
        assert_eq!(log.archive(kind, before, upto).await.unwrap(), None);
        assert_eq!(
            log.archive(kind, before, Position::START).await.unwrap(),
            None
        );
    }
    log.close().await;
}

async fn an_archived_log_is_sound(database: Database) {
    let (log, _) = filled(&database).await;
    let before = log.verify(&projections::all(), &|_| {}).await.unwrap();
    archive(&log).await;
    let after = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(after.findings, []);
    assert_eq!((after.events, after.head), (before.events, before.head));
    log.close().await;
}

/// The files of all segments.
pub(super) fn files(database: &Database) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(database.segments()).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

pub(super) async fn checks_of(database: &Database) -> Vec<Check> {
    let verified = verify(&database.location(), &projections::all(), &|_| {}).await;
    let findings = verified.unwrap().findings;
    findings.into_iter().map(|finding| finding.check).collect()
}

async fn a_changed_file_of_a_segment_is_found(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    let file = files(&database).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(checks_of(&database).await, [Check::Segments]);
    // whoever reads it is told, and gets nothing wrong
    let log = database.open().await;
    let mut refused = 0;
    for kind in archivable() {
        let page = log.page(&all_of(kind), &log.allowance()).await;
        refused += i32::from(matches!(page, Err(StoreError::Files(_))));
    }
    assert_eq!(refused, 1);
    log.close().await;
}

async fn a_missing_file_of_a_segment_is_found(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    std::fs::remove_file(files(&database).remove(0)).unwrap();
    assert_eq!(checks_of(&database).await, [Check::Segments]);
}

async fn what_is_missing_beside_a_missing_segment_is_found(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    log.close().await;
    let files = files(&database);
    let of_metrics = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("device_metrics-")
    };
    std::fs::remove_file(files.iter().find(of_metrics).unwrap()).unwrap();
    let one =
        "DELETE FROM device_metrics WHERE position = (SELECT min(position) FROM device_metrics)";
    database.execute(one).await;
    let checks = checks_of(&database).await;
    assert!(checks.contains(&Check::Segments) && checks.contains(&Check::Counts));
    // and so is what is missing of a kind of which each segment can be read
    let one = "DELETE FROM error_logs WHERE position = (SELECT min(position) FROM error_logs)";
    database.execute(one).await;
    let more = checks_of(&database).await;
    let counts = |checks: &[Check]| checks.iter().filter(|c| **c == Check::Counts).count();
    assert!(counts(&more) > counts(&checks), "{more:?}");
}

async fn a_segment_that_is_also_in_its_table_is_found(database: Database) {
    let (log, _) = filled(&database).await;
    let (kind, before) = (Kind::DeviceMetrics, at(CUTS[0]));
    database
        .execute("CREATE TABLE kept AS SELECT * FROM device_metrics")
        .await;
    log.archive(kind, before, log.head()).await.unwrap();
    log.close().await;
    let again = format!(
        "INSERT INTO device_metrics SELECT * FROM kept WHERE occurred_at < {}",
        before.0
    );
    database.execute(&again).await;
    database.execute("DROP TABLE kept").await;
    assert!(checks_of(&database).await.contains(&Check::Positions));
}

async fn a_backup_has_the_segments(database: Database) {
    let (log, events) = filled(&database).await;
    archive(&log).await;
    let file = database.dir().join("backup.gz");
    backup(&database.location(), &file, &|_| {}).await.unwrap();
    log.close().await;
    let other = match database.backend {
        Backend::Sqlite => Backend::Postgres,
        Backend::Postgres => Backend::Sqlite,
    };
    let other = Database::make(other).await;
    for copy in [Some(database.empty("restored").await), other]
        .into_iter()
        .flatten()
    {
        restore(&file, &copy.location(), &|_| {}).await.unwrap();
        let log = copy.open().await;
        assert_eq!(sound(&log).await, []);
        for kind in archivable() {
            let page = log.page(&all_of(kind), &log.allowance()).await.unwrap();
            assert!(
                page.iter()
                    .eq(events.iter().filter(|e| e.fact.kind == kind))
            );
        }
        log.close().await;
        copy.remove().await;
    }
}

async fn a_log_its_segments_and_backups_are_their_owners_alone(database: Database) {
    if let Some(file) = database.location().url.strip_prefix("sqlite://") {
        // one that the program itself makes
        std::fs::remove_file(file).unwrap();
        let location = homepot_analytics::store::Location {
            create: true,
            ..database.location()
        };
        homepot_analytics::store::migrate(&location).await.unwrap();
    }
    let (log, _) = filled(&database).await;
    archive(&log).await;
    let file = database.dir().join("backup.gz");
    backup(&database.location(), &file, &|_| {}).await.unwrap();
    let mode = |path: &std::path::Path| {
        let rights = std::fs::metadata(path).unwrap().permissions();
        rights.mode() & 0o777
    };
    if let Some(file) = database.location().url.strip_prefix("sqlite://") {
        for behind in ["", "-wal", "-shm"] {
            let file = format!("{file}{behind}");
            assert_eq!(mode(file.as_ref()), 0o600, "{file}");
        }
    }
    log.close().await;
    let segments = files(&database);
    let home = segments[0].parent().unwrap();
    for folder in [home, home.parent().unwrap()] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    for file in segments.iter().chain([&file]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

async fn a_file_that_no_list_names_is_swept(database: Database) {
    let (log, _) = filled(&database).await;
    archive(&log).await;
    let listed = files(&database);
    let folder = listed[0].parent().unwrap();
    for orphan in [
        "device_metrics-20260101-0.parquet",
        "error_logs-20260101-0.parquet#1",
    ] {
        std::fs::write(folder.join(orphan), "half").unwrap();
    }
    assert_eq!(log.sweep_segments().await.unwrap(), 2);
    let mut left = files(&database);
    let mut listed = listed;
    left.sort();
    listed.sort();
    assert_eq!(left, listed);
    assert_eq!(log.sweep_segments().await.unwrap(), 0);
    assert_eq!(sound(&log).await, []);
    log.close().await;
}
