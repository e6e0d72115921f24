//! What is exported is the log: each event once, as it is, in every format.

mod again;
mod filled;
mod histories;
mod lake;
mod made;
mod spreadsheets;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use homepot_analytics::columnar::{File, Form, Layout};
use homepot_analytics::event::{Cell, Event, Position};
use homepot_analytics::export::{
    Asked, Events, ExportError, Format, Readers, Target, Written, write,
};
use homepot_analytics::kinds::{Filter, Identity, Kind, Operand, Operator, parse_any};
use homepot_analytics::store::{Outcome, Place, Store};
use tokio_util::sync::CancellationToken;

use crate::support::{Database, TestLog, at, contract, error, samples};

contract![
    lines_of_all_kinds_are_the_log,
    files_of_columns_are_the_log,
    what_comes_later_is_not_in_it,
    what_few_are_asked_for_is_found_in_a_large_log,
    large_events_are_exported_in_small_pages,
    a_file_is_whole_or_not_there,
    columns_are_those_of_one_kind,
];

/// Events of every kind that is recorded by sources, some of them late.
async fn recorded(database: &Database, seed: u64) -> TestLog {
    let log = database.open().await.with_fleet().await;
    for kind in recordable() {
        for events in samples(kind, 40, seed).chunks(7).rev() {
            let outcomes = log.record(events.to_vec()).await;
            let taken = |outcome: &Outcome| !matches!(outcome, Outcome::Rejected(_));
            assert!(outcomes.iter().all(taken), "{kind:?}: {outcomes:?}");
        }
    }
    log
}

fn recordable() -> impl Iterator<Item = Kind> {
    let made = [Kind::SiteRegistration, Kind::DeviceRegistration];
    Kind::all().filter(move |kind| kind.spec().recordable && !made.contains(kind))
}

/// All events of the log, in the order in which they happened.
async fn all(log: &TestLog) -> Vec<Event> {
    let mut events = Vec::new();
    let mut reached = Position(0);
    while reached < log.head() {
        let slice = log.after(reached, 500).await.unwrap();
        events.extend(slice.events.iter().map(|event| Event::clone(event)));
        reached = slice.upto;
    }
    events.sort_by_key(|event| (event.fact.occurred_at, event.position));
    events
}

async fn export(
    store: &Store,
    kinds: &[Kind],
    format: Format,
    path: &Path,
) -> Result<Written, ExportError> {
    export_for(store, kinds, (format, Readers::Programs), path).await
}

async fn export_for(
    store: &Store,
    kinds: &[Kind],
    (format, readers): (Format, Readers),
    path: &Path,
) -> Result<Written, ExportError> {
    let asked = Asked {
        kinds: kinds
            .iter()
            .map(|kind| (*kind, Filter::default()))
            .collect(),
        upto: store.head(),
    };
    let events = Events::new(store.clone(), asked);
    let (told, stop) = (|_| {}, CancellationToken::new());
    let target = Target::at(path).await?;
    let form = (format, readers, kinds.to_vec());
    write(events, form, target, (&told, &stop)).await
}

async fn lines_of_all_kinds_are_the_log(database: Database) {
    let log = recorded(&database, 7).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl.gz");
    let kinds: Vec<Kind> = Kind::all().filter(|kind| kind.spec().recordable).collect();
    let written = export(&log.handle(), &kinds, Format::Jsonl, &path).await;
    let written = written.unwrap();
    assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    let mut text = String::new();
    let file = fs::File::open(&path).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut events = all(&log).await;
    // what others name is registered before them
    events.sort_by_key(|event| event.fact.kind.min(Kind::DeviceMetrics));
    assert_eq!(written.events, u64::try_from(events.len()).unwrap());
    assert_eq!(text.lines().count(), events.len());
    let now = at("2026-11-23T10:00:00Z");
    for (line, event) in text.lines().zip(&events) {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let read = parse_any(&json, now).unwrap().fact;
        assert_eq!(read.kind, event.fact.kind);
        assert_eq!(read.occurred_at, event.fact.occurred_at);
        let given = event.fact.event_id;
        assert!(given.is_none_or(|id| read.event_id == Some(id)));
        let is_known_otherwise = event.fact.spec().identity == Identity::DeviceAndTime;
        assert!(read.event_id.is_some() || is_known_otherwise);
        assert_eq!(read.provenance, event.fact.provenance);
        assert_eq!(read.extra, event.fact.extra);
        let fields = event.fact.spec().fields.iter().zip(&event.fact.cells);
        for ((field, cell), read) in fields.zip(&read.cells) {
            let same = match (cell.text(), read.text()) {
                (Some(cell), Some(read)) => cell == read,
                _ => cell == read,
            };
            let is_given = field.origin != homepot_analytics::kinds::Origin::FilledIn;
            let is_derived = field.name == "previousState";
            assert!(
                same || !is_given || is_derived,
                "{}: {cell:?} {read:?}",
                field.name
            );
        }
    }
    log.close().await;
}

async fn files_of_columns_are_the_log(database: Database) {
    let log = recorded(&database, 8).await;
    let folder = tempfile::tempdir().unwrap();
    for kind in recordable() {
        let mut expected = all(&log).await;
        expected.retain(|event| event.fact.kind == kind);
        let path = folder.path().join(format!("{}.parquet", kind.spec().table));
        let written = export(&log.handle(), &[kind], Format::Parquet, &path).await;
        assert_eq!(
            written.unwrap().events,
            u64::try_from(expected.len()).unwrap()
        );
        let events = read(&fs::read(&path).unwrap(), kind);
        let shown = events.clone();
        let events: Vec<Event> = events.into_iter().map(without_derived).collect();
        let expected = expected.into_iter().map(without_keys).map(without_derived);
        let expected: Vec<Event> = expected.collect();
        assert_eq!(events, expected, "{kind:?}");

        let path = folder.path().join("some.csv");
        let written = export(&log.handle(), &[kind], Format::Csv, &path).await;
        written.unwrap();
        let mut table = csv::Reader::from_path(&path).unwrap();
        let layout = Layout::of(kind, Form::Export);
        let names: Vec<&str> = layout.slots.iter().map(|slot| slot.name.as_str()).collect();
        assert_eq!(table.headers().unwrap().iter().collect::<Vec<_>>(), names);
        let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), expected.len());
        for (row, event) in rows.iter().zip(&shown) {
            let shown: Vec<_> = layout.slots.iter().map(|slot| slot.text(event)).collect();
            assert_eq!(row.iter().collect::<Vec<_>>(), shown, "{kind:?}");
        }
    }
    log.close().await;
}

/// The events of a file of Parquet.
pub(super) fn read(file: &[u8], kind: Kind) -> Vec<Event> {
    let layout = Arc::new(Layout::of(kind, Form::Export));
    let file = File::open(Bytes::copy_from_slice(file), layout).unwrap();
    let mut events = Vec::new();
    for group in 0..file.groups() {
        let table = file.table(group).unwrap();
        events.extend((0..table.len()).map(|row| table.event(row).unwrap()));
    }
    events
}

/// An event without the state before it: it is told by what the log has by now, not by what was reported.
fn without_derived(mut event: Event) -> Event {
    let index = event.fact.spec().index_of("previousState");
    if let Some(cell) = index.and_then(|index| event.fact.cells.get_mut(index)) {
        *cell = Cell::Null;
    }
    event
}

/// An event as others see it, who know ids and no keys.
pub(super) fn without_keys(mut event: Event) -> Event {
    for cell in &mut event.fact.cells {
        if let Cell::Reference(reference) = cell {
            reference.key = 0;
        }
    }
    event
}

async fn what_comes_later_is_not_in_it(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a"), error("b")]).await;
    let asked = Asked {
        kinds: vec![(Kind::ErrorLog, Filter::default())],
        upto: log.head(),
    };
    let mut events = Events::new(log.handle(), asked);
    log.record(vec![error("c")]).await;
    assert_eq!(events.count().await.unwrap(), 2);
    let positions: Vec<Place> = events.next().await.unwrap().iter().map(Place::of).collect();
    assert_eq!(positions.len(), 2);
    assert!(events.next().await.unwrap().is_empty());
    log.close().await;
}

/// In most parts of the log there is none that is asked for.
async fn what_few_are_asked_for_is_found_in_a_large_log(database: Database) {
    let log = database.open().await;
    for _ in 0..21 {
        log.record(vec![error("many"); 1_000]).await;
    }
    log.record(vec![error("last")]).await;
    let index = Kind::ErrorLog.spec().index_of("errorMessage").unwrap();
    for (message, found) in [("last", 1), ("none", 0)] {
        let filter = Filter::Is(Operand::Field(index), Operator::Contains(message.into()));
        let asked = Asked {
            kinds: vec![(Kind::ErrorLog, filter)],
            upto: log.head(),
        };
        let mut events = Events::new(log.handle(), asked);
        assert_eq!(events.next().await.unwrap().len(), found);
        assert!(events.next().await.unwrap().is_empty());
    }
    log.close().await;
}

/// A page of them would have more than may be held, and the largest of them has so by itself.
async fn large_events_are_exported_in_small_pages(database: Database) {
    const MIB: usize = 1024 * 1024;
    let log = database.open().await;
    // few bytes on the wire, and many in memory
    let mut large = error("large");
    large.fact.extra = Cell::Json(Arc::new(serde_json::json!(vec![0; 32_000])));
    for _ in 0..14 {
        log.record(vec![large.clone(); 5]).await;
    }
    log.record(vec![error("small"); 3]).await;
    let asked = Asked {
        kinds: vec![(Kind::ErrorLog, Filter::default())],
        upto: log.head(),
    };
    let mut events = Events::new(log.handle(), asked);
    let mut positions = Vec::new();
    loop {
        let page = events.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        let bytes: usize = page.iter().map(|event| event.fact.weight_bytes()).sum();
        assert!(page.len() == 1 || bytes <= 16 * MIB, "{bytes} bytes");
        positions.extend(page.iter().map(|event| event.position.0));
    }
    assert_eq!(positions, (1..=log.head().0).collect::<Vec<_>>());
    log.close().await;
}

async fn a_file_is_whole_or_not_there(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a"); 1_000]).await;
    log.record(vec![error("b"); 1_000]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.jsonl");
    fs::write(&path, "as it was").unwrap();
    let asked = Asked {
        kinds: vec![(Kind::ErrorLog, Filter::default())],
        upto: log.head(),
    };
    let stop = CancellationToken::new();
    let at_first = stop.clone();
    // told to end while it is at it
    let told = move |_| at_first.cancel();
    let events = Events::new(log.handle(), asked);
    let form = (Format::Jsonl, Readers::Programs, vec![Kind::ErrorLog]);
    let target = Target::at(&path).await.unwrap();
    let ended = write(events, form, target, (&told, &stop)).await;
    assert!(matches!(ended, Err(ExportError::Cancelled)), "{ended:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "as it was");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let nowhere = folder.path().join("no/folder.jsonl");
    let refused = export(&log.handle(), &[Kind::ErrorLog], Format::Jsonl, &nowhere).await;
    assert!(matches!(refused, Err(ExportError::Write(_))), "{refused:?}");
    // a device that is full
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let asked = Asked {
        kinds: vec![(Kind::ErrorLog, Filter::default())],
        upto: log.head(),
    };
    let (told, stop) = (|_| {}, CancellationToken::new());
    let form = (Format::Jsonl, Readers::Programs, vec![Kind::ErrorLog]);
    let target = Target::Stream(Box::new(full));
    let failed = write(
        Events::new(log.handle(), asked),
        form,
        target,
        (&told, &stop),
    )
    .await;
    assert!(matches!(failed, Err(ExportError::Write(_))), "{failed:?}");
    log.close().await;
}

async fn columns_are_those_of_one_kind(database: Database) {
    let log = database.open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.csv");
    let kinds = [Kind::ErrorLog, Kind::JobOutcome];
    for format in [Format::Csv, Format::Parquet] {
        let refused = export(&log.handle(), &kinds, format, &path).await;
        assert!(matches!(refused, Err(ExportError::Kinds { kinds: 2, .. })));
        assert!(!path.exists());
        // of no events there is a file with the columns
        export(&log.handle(), &[Kind::ErrorLog], format, &path)
            .await
            .unwrap();
        fs::remove_file(&path).unwrap();
    }
    log.close().await;
}
