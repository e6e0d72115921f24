//! Pages and filters: what the tables answer is what the same filter lets pass in memory.

use std::sync::Arc;

use homepot_analytics::event::{Cell, Event, Instant};
use homepot_analytics::kinds::{Envelope, Filter, Kind, Operand, Operator, Spec, Type};
use homepot_analytics::store::{Columns, EntityType, Order, PageQuery, Place, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::support::{Database, TestLog, contract, samples, value};

contract![
    what_is_read_is_what_was_appended,
    page_by_page_equals_all_at_once_and_the_filter_in_memory,
    pages_of_several_devices_and_sites_are_what_passes_in_memory,
    large_fields_are_read_only_where_they_are_asked_for,
    a_page_is_read_no_further_than_its_allowance_goes,
    events_are_found_by_their_places,
];

const ORDERS: [Order; 4] = [
    Order::NewestFirst,
    Order::OldestFirst,
    Order::LastRecordedFirst,
    Order::FirstRecordedFirst,
];

/// A log with events of every kind, and what it holds of each.
pub(super) async fn filled(database: &Database) -> (TestLog, Vec<Event>) {
    let log = database.open().await.with_fleet().await;
    for (seed, kind) in (1..).zip(Kind::all()) {
        for events in samples(kind, 40, seed).chunks(7) {
            log.record(events.to_vec()).await;
        }
    }
    let mut events = Vec::new();
    for kind in Kind::all() {
        events.extend(log.page(&all_of(kind), &log.allowance()).await.unwrap());
    }
    (log, events)
}

pub(super) fn all_of(kind: Kind) -> PageQuery {
    PageQuery {
        limit: 10_000,
        ..PageQuery::all_of(kind, Columns::ALL)
    }
}

async fn what_is_read_is_what_was_appended(database: Database) {
    let (log, events) = filled(&database).await;
    for (seed, kind) in (1..).zip(Kind::all()) {
        let derived = kind
            .spec()
            .derived
            .as_ref()
            .map(|d| kind.spec().index_of(d.field).unwrap());
        let known = log.names();
        let given = samples(kind, 40, seed).into_iter().map(|mut new| {
            for (field, cell) in kind.spec().fields.iter().zip(&mut new.fact.cells) {
                if let Cell::Reference(reference) = cell {
                    let entity = if field.ty.is_site() {
                        EntityType::Site
                    } else {
                        EntityType::Device
                    };
                    reference.key = known.key(entity, &reference.id).unwrap();
                }
            }
            new.fact
        });
        let without = |mut fact: homepot_analytics::event::Fact| {
            if let Some(index) = derived {
                fact.cells[index] = Cell::Null;
            }
            fact
        };
        let given: Vec<_> = given.map(without).collect();
        let read = events.iter().filter(|e| e.fact.kind == kind);
        let mut read: Vec<_> = read.map(|e| without(e.fact.clone())).collect();
        // the fleet stands before them
        read.drain(..read.len() - given.len());
        assert_eq!(read, given);
    }
    log.close().await;
}

/// A filter whose conditions are yet to be fitted to a kind.
#[derive(Clone, Debug)]
enum Shape {
    Is(usize, u8, u64),
    All(Vec<Shape>),
    Any(Vec<Shape>),
    Not(Box<Shape>),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = (0..40_usize, 0..8_u8, any::<u64>()).prop_map(|(o, op, v)| Shape::Is(o, op, v));
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            several().prop_map(Shape::All),
            several().prop_map(Shape::Any),
            inner.clone().prop_map(|shape| Shape::Not(Box::new(shape))),
        ]
    })
}

fn fitted(shape: &Shape, spec: &'static Spec, store: &Store) -> Filter {
    let all = |shapes: &[Shape]| shapes.iter().map(|s| fitted(s, spec, store)).collect();
    match shape {
        Shape::All(shapes) => Filter::And(all(shapes)),
        Shape::Any(shapes) => Filter::Or(all(shapes)),
        Shape::Not(shape) => Filter::Not(Box::new(fitted(shape, spec, store))),
        Shape::Is(operand, operator, seed) => condition(*operand, *operator, *seed, spec, store),
    }
}

fn condition(
    operand: usize,
    operator: u8,
    seed: u64,
    spec: &'static Spec,
    store: &Store,
) -> Filter {
    let mut random = StdRng::seed_from_u64(seed);
    let fields = (0..spec.fields.len()).filter(|index| spec.fields[*index].filtered);
    let fields: Vec<usize> = fields.collect();
    let operand = match operand % (fields.len() + 5) {
        0 => Operand::Envelope(Envelope::OccurredAt),
        1 => Operand::Envelope(Envelope::Provenance),
        2 => Operand::Envelope(Envelope::Position),
        3 => Operand::Device,
        4 => Operand::Site,
        index => Operand::Field(fields[index - 5]),
    };
    let ty = match operand {
        Operand::Device => Type::Device,
        Operand::Site => Type::Site,
        Operand::Envelope(Envelope::Provenance) => Type::Int { min: -1, max: 4 },
        Operand::Envelope(Envelope::Position) => Type::Int { min: 0, max: 400 },
        Operand::Envelope(_) => {
            // about the middle of the samples
            let at = 1_769_903_990_000_001;
            Type::Long {
                min: at,
                max: at + 30_000_000,
            }
        }
        Operand::Field(index) => spec.fields[index].ty,
    };
    let mut cell = || {
        let mut cell = value(ty, &mut random);
        if let Cell::Reference(reference) = &mut cell {
            let entity = if ty.is_site() {
                EntityType::Site
            } else {
                EntityType::Device
            };
            reference.key = store.names().key(entity, &reference.id).unwrap();
        }
        cell
    };
    let is_text = matches!(cell(), Cell::Text(_));
    let operator = match operator {
        0 => Operator::IsNull,
        1 => Operator::In((0..seed % 4).map(|_| cell()).collect()),
        _ if ty.is_reference() => Operator::In(vec![cell()]),
        2 => Operator::Less(cell()),
        3 => Operator::AtMost(cell()),
        4 => Operator::Greater(cell()),
        5 => Operator::AtLeast(cell()),
        6 if is_text => Operator::StartsWith(Arc::from(cell().text().unwrap())),
        7 if is_text => Operator::Contains(Arc::from(cell().text().unwrap())),
        _ => Operator::In(vec![cell()]),
    };
    Filter::Is(operand, operator)
}

async fn page_by_page_equals_all_at_once_and_the_filter_in_memory(database: Database) {
    let (log, events) = filled(&database).await;
    pages_are_what_passes(&log, &events, 300);
    log.close().await;
}

/// Pages of any kind, filter, order and size are what passes in memory.
pub(super) fn pages_are_what_passes(log: &TestLog, events: &[Event], cases: u32) {
    let queries = (0..Kind::ALL.len(), shapes(), 0..4_usize, 1..15_usize);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let held = runner.run(&queries, |(kind, shape, order, limit)| {
        let query = PageQuery {
            filter: fitted(&shape, Kind::ALL[kind].spec(), log),
            order: ORDERS[order],
            limit,
            ..all_of(Kind::ALL[kind])
        };
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(holds(log, events, query))
        })
    });
    held.unwrap();
}

/// What a page is to have, found in memory.
fn passing<'e>(log: &TestLog, events: &'e [Event], query: &PageQuery) -> Vec<&'e Event> {
    let site_of = |device, at| log.names().site_of_device_at(device, at);
    let passes = |e: &&Event| e.fact.kind == query.kind && query.filter.passes(e, &site_of);
    let mut passing: Vec<&Event> = events.iter().filter(passes).collect();
    passing.sort_by(|l, r| query.order.compare(&Place::of(l), &Place::of(r)));
    passing
}

async fn holds(log: &TestLog, events: &[Event], mut query: PageQuery) -> Result<(), TestCaseError> {
    let expected = passing(log, events, &query);
    let count = log.count(&query).await.unwrap();
    prop_assert_eq!(count, i64::try_from(expected.len()).unwrap());
    let mut read = Vec::new();
    loop {
        let page = log.page(&query, &log.allowance()).await.unwrap();
        prop_assert!(page.len() <= query.limit);
        let Some(last) = page.last() else { break };
        query.after = Some(Place::of(last));
        read.extend(page);
    }
    prop_assert_eq!(read.iter().collect::<Vec<_>>(), expected.clone());
    if let [first, .., last] = expected[..] {
        query.after = Some(Place::of(first));
        query.before = Some(Place::of(last));
        query.limit = 10_000;
        let between = log.page(&query, &log.allowance()).await.unwrap();
        prop_assert_eq!(
            between.iter().collect::<Vec<_>>(),
            &expected[1..expected.len() - 1]
        );
    }
    Ok(())
}

async fn pages_of_several_devices_and_sites_are_what_passes_in_memory(database: Database) {
    let (log, events) = filled(&database).await;
    pages_of_parents_are_what_passes(&log, &events).await;
    log.close().await;
}

/// The same page of each of several devices and sites is what passes in memory.
pub(super) async fn pages_of_parents_are_what_passes(log: &TestLog, events: &[Event]) {
    let key = |entity, id| log.names().key(entity, id).unwrap();
    let devices = ["d1", "d2", "d3"].map(|id| key(EntityType::Device, id));
    let sites = ["s1", "s2"].map(|id| key(EntityType::Site, id));
    let parents = [
        (Operand::Device, devices.as_slice()),
        (Operand::Site, sites.as_slice()),
    ];
    for (kind, (operand, keys)) in Kind::all().flat_map(|kind| parents.map(|p| (kind, p))) {
        for (order, limit) in ORDERS
            .into_iter()
            .flat_map(|order| [(order, 3), (order, 100), (order, 60_000)])
        {
            let query = PageQuery {
                order,
                limit,
                ..all_of(kind)
            };
            let pages = log.pages(&query, (operand, keys), &log.allowance()).await;
            let (pages, counts) = (pages.unwrap(), log.counts(&query, (operand, keys)).await);
            let counts = counts.unwrap();
            let of_all = keys.iter().copied().map(Cell::Int).collect();
            let over_all = PageQuery {
                filter: Filter::Is(operand, Operator::In(of_all)),
                ..query.clone()
            };
            let mut expected = passing(log, events, &over_all);
            expected.truncate(limit);
            let page = log.page(&over_all, &log.allowance()).await.unwrap();
            assert!(page.iter().eq(expected), "{kind:?} {operand:?} {order:?}");
            for key in keys {
                let of_parent = Filter::Is(operand, Operator::In(vec![Cell::Int(*key)]));
                let filtered = PageQuery {
                    filter: of_parent,
                    ..query.clone()
                };
                let mut expected = passing(log, events, &filtered);
                let count = i64::try_from(expected.len()).unwrap();
                assert_eq!(counts.get(key), Some(&count));
                expected.truncate(limit);
                let page = pages.get(key).map(Vec::as_slice).unwrap_or_default();
                assert!(page.iter().eq(expected), "{kind:?} {operand:?} {order:?}");
            }
        }
    }
}

async fn large_fields_are_read_only_where_they_are_asked_for(database: Database) {
    let (log, events) = filled(&database).await;
    let spec = Kind::ErrorLog.spec();
    let index = |name| spec.index_of(name).unwrap();
    let query = PageQuery {
        columns: Columns::SMALL.with(index("stackTrace")),
        ..all_of(Kind::ErrorLog)
    };
    let page = log.page(&query, &log.allowance()).await.unwrap();
    let mut expected: Vec<Event> = passing(&log, &events, &query)
        .into_iter()
        .cloned()
        .collect();
    for event in &mut expected {
        event.fact.cells[index("context")] = Cell::Null;
        event.fact.cells[index("errorMessage")] = Cell::Null;
        event.fact.extra = Cell::Null;
    }
    assert_eq!(page, expected);
    let few = PageQuery {
        columns: Columns::NONE.with(index("severity")),
        ..query
    };
    for (event, whole) in log
        .page(&few, &log.allowance())
        .await
        .unwrap()
        .iter()
        .zip(&expected)
    {
        assert_eq!(Place::of(event), Place::of(whole));
        for (at, cell) in event.fact.cells.iter().enumerate() {
            let is_asked = at == index("severity");
            let expected = if is_asked {
                &whole.fact.cells[at]
            } else {
                &Cell::Null
            };
            assert_eq!(cell, expected);
        }
        assert_eq!(
            (event.fact.event_id, event.recorded_at),
            (None, Instant::default())
        );
    }
    log.close().await;
}

async fn a_page_is_read_no_further_than_its_allowance_goes(database: Database) {
    let (log, _) = filled(&database).await;
    let query = all_of(Kind::DeviceMetrics);
    let allowance = log.allowance();
    let page = log.page(&query, &allowance).await.unwrap();
    let weight: usize = page.iter().map(|event| event.fact.weight_bytes()).sum();
    let rest = (64 << 20) - weight - weight / 2;
    allowance.take(rest).unwrap();
    let refused = log.page(&query, &allowance).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    // the connection that was left in the middle of its rows serves the next
    assert_eq!(log.page(&query, &log.allowance()).await.unwrap(), page);
    log.close().await;
}

async fn events_are_found_by_their_places(database: Database) {
    let (log, events) = filled(&database).await;
    for kind in Kind::all() {
        let of_kind: Vec<_> = events.iter().filter(|e| e.fact.kind == kind).collect();
        let places: Vec<Place> = of_kind.iter().step_by(3).map(|e| Place::of(e)).collect();
        let mut found = log
            .at((kind, Columns::ALL), &places, &log.allowance())
            .await
            .unwrap();
        found.sort_by_key(|event| event.position);
        assert!(found.iter().eq(of_kind.into_iter().step_by(3)));
    }
    log.close().await;
}
