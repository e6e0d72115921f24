//! Events of every kind are what they were when they come back from a file of Parquet.

use std::sync::Arc;

use bytes::Bytes;
use homepot_analytics::columnar::{File, Form, Layout, Table, write};
use homepot_analytics::event::{Cell, Event, Fact, Instant, Position, Reference};
use homepot_analytics::kinds::Kind;
use proptest::prelude::*;

use crate::support::samples;

/// As the log would have them: with places, and keys for ids.
fn placed(kind: Kind, count: u32, seed: u64) -> Vec<Event> {
    let event = |(position, fact): (i64, Fact)| Event {
        position: Position(position),
        recorded_at: Instant(fact.occurred_at.0 + position % 7),
        fact,
    };
    let facts = samples(kind, count, seed).into_iter().map(|new| new.fact);
    let keyed = facts.map(|mut fact| {
        for cell in &mut fact.cells {
            if let Cell::Reference(Reference { key, id }) = cell {
                *key = i64::from(id.as_bytes()[1]);
            }
        }
        fact
    });
    (1..).zip(keyed).map(event).collect()
}

fn table_of(events: &[Event], form: Form) -> Table {
    let kind = events[0].fact.kind;
    let mut table = Table::new(Arc::new(Layout::of(kind, form)));
    for event in events {
        table.push(event);
    }
    table
}

/// What a file has, in the order in which it has it.
fn read(file: Vec<u8>, kind: Kind, form: Form) -> Vec<Event> {
    let layout = Arc::new(Layout::of(kind, form));
    let file = File::open(Bytes::from(file), layout).unwrap();
    let mut events = Vec::new();
    for group in 0..file.groups() {
        let table = file.table(group).unwrap();
        events.extend((0..table.len()).map(|row| table.event(row).unwrap()));
    }
    events
}

/// Of a reference a file bears the key, or the id.
fn as_kept(mut event: Event, form: Form) -> Event {
    for cell in &mut event.fact.cells {
        if let Cell::Reference(reference) = cell {
            match form {
                Form::Archive => reference.id = Arc::from(""),
                Form::Export => reference.key = 0,
            }
        }
    }
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn events_of_all_kinds_come_back_as_they_were(seed in any::<u64>(), count in 1_u32..60) {
        for kind in Kind::all() {
            for form in [Form::Archive, Form::Export] {
                let events = placed(kind, count, seed);
                let table = table_of(&events, form);
                let order = table.sorted();
                let mut file = Vec::new();
                let written = write(&table, &order, &mut file).unwrap();
                prop_assert_eq!(written.events, events.len());
                prop_assert_eq!(written.bytes, file.len());
                let expected: Vec<Event> = order
                    .iter()
                    .map(|row| as_kept(events[*row].clone(), form))
                    .collect();
                prop_assert_eq!(read(file, kind, form), expected);
            }
        }
    }
}

#[test]
fn an_archive_is_in_order_of_device_and_time() {
    let events = placed(Kind::DeviceMetrics, 200, 7);
    let table = table_of(&events, Form::Archive);
    let mut file = Vec::new();
    write(&table, &table.sorted(), &mut file).unwrap();
    let device = Kind::DeviceMetrics.spec().device_index().unwrap();
    let key = |event: &Event| {
        let at = event.fact.occurred_at;
        (event.fact.cells[device].int(), at, event.position)
    };
    let read = read(file, Kind::DeviceMetrics, Form::Archive);
    assert!(read.is_sorted_by_key(key));
}

#[test]
fn many_rows_are_in_groups_whose_ranges_are_known() {
    let one = placed(Kind::DeviceMetrics, 1, 1).remove(0);
    let events: Vec<Event> = (1..=50_000)
        .map(|position| Event {
            position: Position(position),
            ..one.clone()
        })
        .collect();
    let table = table_of(&events, Form::Archive);
    let mut file = Vec::new();
    write(&table, &table.sorted(), &mut file).unwrap();
    let layout = Arc::new(Layout::of(Kind::DeviceMetrics, Form::Archive));
    let file = File::open(Bytes::from(file), layout).unwrap();
    let mut next = 1;
    for group in 0..file.groups() {
        let rows = i64::try_from(file.rows(group)).unwrap();
        let range = file.range(group, Layout::POSITION);
        assert_eq!(range, Some((next, next + rows - 1)));
        next += rows;
    }
    assert!(file.groups() > 2);
    assert_eq!(next, 50_001);
}

#[test]
fn what_is_no_file_of_the_kind_is_refused() {
    let events = placed(Kind::ErrorLog, 20, 3);
    let table = table_of(&events, Form::Archive);
    let mut file = Vec::new();
    write(&table, &table.sorted(), &mut file).unwrap();
    let layout = Arc::new(Layout::of(Kind::ErrorLog, Form::Archive));
    let cut = Bytes::from(file[..file.len() / 2].to_vec());
    assert!(File::open(cut, Arc::clone(&layout)).is_err());
    let exported = Arc::new(Layout::of(Kind::ErrorLog, Form::Export));
    assert!(File::open(Bytes::from(file), exported).is_err());
}
