//! Reports of states that were archived, deleted or came late: what was before each, what is a change and what is newest
//! is told as a walk over all that was ever reported tells it.

use entity::device_state_history::Column;
use homepot_analytics::event::{Event, NewEvent, Provenance};
use homepot_analytics::history::states;
use homepot_analytics::kinds::{Envelope, Filter, Kind, Operand, Operator};
use homepot_analytics::projections;
use homepot_analytics::store::{
    Columns, Deleting, EntityType, Order, Outcome, PageQuery, Place, Scope,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::retention::findings;
use crate::support::{Database, TestLog, at, contract, event};

contract![
    what_was_before_a_state_is_told_as_before_it_was_archived,
    what_follows_from_reports_stays_when_they_are_deleted,
    what_was_reported_is_rebuilt_from_segments,
    a_version_that_begins_with_events_knows_what_was_reported,
    what_an_older_version_appends_beside_a_newer_one_is_known_to_that,
    the_first_error_of_a_time_is_found_also_when_it_was_archived,
];

const KIND: Kind = Kind::DeviceStateChange;
const DEVICES: [&str; 3] = ["d1", "d2", "d3"];
const WORDS: [&str; 4] = ["ONLINE", "ONLINE", "OFFLINE", "ERROR"];
const ORDERS: [Order; 4] = [
    Order::NewestFirst,
    Order::OldestFirst,
    Order::LastRecordedFirst,
    Order::FirstRecordedFirst,
];
/// Before when reports are archived, in several segments; some are left.
const CUTS: [&str; 2] = ["2026-01-05T12:00:00Z", "2026-01-06T06:00:00Z"];

/// Reports of two days, some at one instant, many of them like the one before.
fn reports(seed: u64) -> Vec<NewEvent> {
    let mut random = StdRng::seed_from_u64(seed);
    let report = |_| {
        let hours: i64 = random.random_range(0..48);
        let occurred_at = at("2026-01-05T00:00:00Z").plus_ms(hours * 3_600_000);
        let (word, device) = (WORDS.choose(&mut random), DEVICES.choose(&mut random));
        let provenance = ["REAL", "SIMULATED"].choose(&mut random).copied();
        event(
            &json!({"deviceStateChange": {"deviceId": device.unwrap(), "newState": word.unwrap(),
            "previousState": "UNKNOWN", "provenance": provenance.unwrap(),
            "occurredAt": occurred_at.to_string()}}),
        )
    };
    (0..60).map(report).collect()
}

async fn record(log: &TestLog, reports: Vec<NewEvent>, events: &mut Vec<Event>) {
    for outcome in log.record(reports).await {
        let Outcome::Recorded(position) = outcome else {
            panic!("{outcome:?}")
        };
        events.push(log.event(position).await.unwrap().unwrap());
    }
}

async fn archive(log: &TestLog) {
    for cut in CUTS {
        let mut segments = 0;
        while let Some(archived) = log.archive(KIND, at(cut), log.head()).await.unwrap() {
            assert!(archived.events > 0);
            segments += 1;
        }
        assert!(segments > 0);
    }
}

fn text(event: &Event, column: Column) -> &str {
    event.fact.cell(column).text().unwrap_or("-")
}

fn shown(event: &Event, before: &str) -> String {
    let (device, state) = (
        text(event, Column::DeviceKey),
        text(event, Column::NewState),
    );
    format!("{} {device} {before}>{state}", event.position.0)
}

/// The state before one, of all that was ever reported.
fn before<'a>(events: &'a [Event], event: &Event) -> &'a str {
    let order = |event: &Event| (event.fact.occurred_at, event.position);
    let of_device = events.iter().filter(|other| {
        text(other, Column::DeviceKey) == text(event, Column::DeviceKey)
            && order(other) < order(event)
    });
    let last = of_device.max_by_key(|other| order(other));
    last.map_or("-", |last| text(last, Column::NewState))
}

/// What is told of those that pass.
fn walked(
    events: &[Event],
    (order, scope): (Order, Scope),
    passes: impl Fn(&Event) -> bool,
) -> Vec<(Place, String)> {
    let is_told = |event: &&Event| {
        passes(event)
            && (scope == Scope::All || text(event, Column::NewState) != before(events, event))
    };
    let told = events.iter().filter(is_told);
    let told = told.map(|event| (Place::of(event), shown(event, before(events, event))));
    let mut told: Vec<(Place, String)> = told.collect();
    told.sort_by(|left, right| order.compare(&left.0, &right.0));
    told
}

fn texts(told: &[(Place, String)]) -> Vec<&str> {
    told.iter().map(|(_, text)| text.as_str()).collect()
}

fn page_of(events: &[Event]) -> Vec<String> {
    let told = events.iter();
    told.map(|event| shown(event, text(event, Column::PreviousState)))
        .collect()
}

/// Pages and counts of all reports and of changes, of all and of what is real, are what a walk over all that was ever
/// reported tells of those that are left.
async fn is_told(log: &TestLog, events: &[Event], is_left: impl Fn(&Event) -> bool + Send + Sync) {
    for (order, scope) in ORDERS
        .map(|order| [(order, Scope::All), (order, Scope::Changes)])
        .concat()
    {
        for filter in [
            Filter::default(),
            Filter::Is(
                Operand::Envelope(Envelope::Provenance),
                Operator::In(vec![Provenance::Real.code().into()]),
            ),
        ] {
            let is_all = filter == Filter::default();
            let expected = walked(events, (order, scope), |event| {
                is_left(event) && (is_all || event.fact.provenance == Provenance::Real)
            });
            let mut query = PageQuery {
                filter,
                order,
                scope,
                limit: 7,
                ..PageQuery::all_of(KIND, Columns::ALL)
            };
            let count = log.count(&query).await.unwrap();
            assert_eq!(usize::try_from(count), Ok(expected.len()));
            let mut told = Vec::new();
            loop {
                let page = log.page(&query, &log.allowance()).await.unwrap();
                told.extend(page_of(&page));
                let Some(last) = page.last() else { break };
                query.after = Some(Place::of(last));
            }
            assert_eq!(told, texts(&expected), "{order:?} {scope:?}");
        }
    }
    of_devices_are_told(log, events, is_left).await;
}

/// So are those of each device, and since when it is in its state.
async fn of_devices_are_told(
    log: &TestLog,
    events: &[Event],
    is_left: impl Fn(&Event) -> bool + Send + Sync,
) {
    let key = |id: &str| log.names().key(EntityType::Device, id).unwrap();
    let keys = DEVICES.map(key);
    let order = (Order::NewestFirst, Scope::Changes);
    let query = PageQuery {
        order: order.0,
        scope: order.1,
        limit: 3,
        ..PageQuery::all_of(KIND, Columns::SMALL)
    };
    let of_devices = (Operand::Device, &keys[..]);
    let pages = log.pages(&query, of_devices, &log.allowance()).await;
    let (pages, counts) = (
        pages.unwrap(),
        log.counts(&query, of_devices).await.unwrap(),
    );
    let newest = states::newest(log, &keys).await.unwrap();
    let changes = states::changes(log, &keys, 3).await.unwrap();
    for (key, device) in keys.iter().zip(DEVICES) {
        let is_of = |event: &Event| text(event, Column::DeviceKey) == device;
        let expected = walked(events, order, |event| is_of(event) && is_left(event));
        assert_eq!(usize::try_from(counts[key]), Ok(expected.len()));
        let first = &expected[..expected.len().min(3)];
        let page = pages.get(key).map_or(&[][..], Vec::as_slice);
        assert_eq!(page_of(page), texts(first));
        // these are known also of what was deleted
        let ever = walked(events, order, is_of);
        let places = changes[key].iter().map(|stated| stated.place);
        assert!(places.eq(ever.iter().take(3).map(|(place, _)| *place)));
        let last = walked(events, (Order::NewestFirst, Scope::All), is_of);
        let (place, told) = &last[0];
        assert_eq!(newest[key].place, *place);
        assert!(told.ends_with(&format!(">{}", newest[key].state)));
    }
}

/// What was before each, and nothing else of it.
async fn only_before(log: &TestLog) -> Vec<Event> {
    let index = KIND.spec().index_of("previousState").unwrap();
    let query = PageQuery {
        limit: 1_000,
        ..PageQuery::all_of(KIND, Columns::NONE.with(index))
    };
    log.page(&query, &log.allowance()).await.unwrap()
}

async fn what_was_before_a_state_is_told_as_before_it_was_archived(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut events = Vec::new();
    record(&log, reports(1), &mut events).await;
    is_told(&log, &events, |_| true).await;
    let few = only_before(&log).await;
    archive(&log).await;
    let left = "SELECT count(*) FROM device_state_history";
    assert!((1..40).contains(&database.number(left).await));
    is_told(&log, &events, |_| true).await;
    assert_eq!(only_before(&log).await, few);
    // what comes late has its place among what was archived, and what was archived after it another before it
    record(&log, reports(2), &mut events).await;
    is_told(&log, &events, |_| true).await;
    archive(&log).await;
    is_told(&log, &events, |_| true).await;
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn what_follows_from_reports_stays_when_they_are_deleted(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut events = Vec::new();
    record(&log, reports(3), &mut events).await;
    archive(&log).await;
    let cut = at(CUTS[0]);
    let gone = events.iter().filter(|e| e.fact.occurred_at < cut).count();
    let mut deleted = 0;
    while let Some(events) = log
        .drop_segment(&Deleting::all_before(KIND, cut))
        .await
        .unwrap()
    {
        deleted += events;
    }
    assert_eq!(usize::try_from(deleted), Ok(gone));
    is_told(&log, &events, |event| event.fact.occurred_at >= cut).await;
    // what is not left is not looked for, and all else is
    let rebuilt = async || {
        let rebuilt = projections::rebuild(&log.handle(), "states", |_, _| {}).await;
        rebuilt.unwrap();
        is_told(&log, &events, |event| event.fact.occurred_at >= cut).await;
        assert_eq!(findings(&log).await, Vec::<String>::new());
    };
    rebuilt().await;
    let newest = events.iter().max_by_key(|e| e.fact.occurred_at).unwrap();
    let harm = format!(
        "DELETE FROM device_states WHERE position = {}",
        newest.position.0
    );
    database.execute(&harm).await;
    let found = findings(&log).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("device_states lacks 1 rows"),
        "{found:?}"
    );
    rebuilt().await;
    log.close().await;
}

async fn what_was_reported_is_rebuilt_from_segments(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut events = Vec::new();
    record(&log, reports(4), &mut events).await;
    archive(&log).await;
    database.execute("DELETE FROM device_states").await;
    let found = findings(&log).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let rebuilt = projections::rebuild(&log.handle(), "states", |_, _| {}).await;
    rebuilt.unwrap();
    is_told(&log, &events, |_| true).await;
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn a_version_that_begins_with_events_knows_what_was_reported(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut events = Vec::new();
    record(&log, reports(5), &mut events).await;
    log.close().await;
    // as an older version left it
    let older = "DROP TABLE device_states; \
        DELETE FROM seaql_migrations WHERE version = 'm0029_device_states'";
    database.execute(older).await;
    let log = database.open().await;
    assert_eq!(findings(&log).await, Vec::<String>::new());
    archive(&log).await;
    is_told(&log, &events, |_| true).await;
    log.close().await;
}

async fn what_an_older_version_appends_beside_a_newer_one_is_known_to_that(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut events = Vec::new();
    record(&log, reports(6), &mut events).await;
    // it knows nothing of this table
    let older = "DELETE FROM device_states WHERE position > \
        (SELECT min(position) + 20 FROM device_states)";
    database.execute(older).await;
    assert_eq!(findings(&log).await.len(), 1);
    record(&log, reports(7), &mut events).await;
    is_told(&log, &events, |_| true).await;
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn the_first_error_of_a_time_is_found_also_when_it_was_archived(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut events = Vec::new();
    record(&log, reports(7), &mut events).await;
    archive(&log).await;
    let (begin, day) = (at("2026-01-05T00:00:00Z"), 24 * 3_600_000);
    for (device, hours) in DEVICES
        .iter()
        .flat_map(|id| (0..=48).map(move |n| (*id, n)))
    {
        let to = begin.plus_ms(hours * 3_600_000);
        let from = to.plus_ms(-day);
        for provenance in [Provenance::Real, Provenance::Simulated] {
            let is_error = |event: &&Event| {
                text(event, Column::DeviceKey) == device
                    && text(event, Column::NewState) == "ERROR"
                    && event.fact.provenance == provenance
            };
            let errors = events.iter().filter(is_error);
            let errors = errors.map(|event| event.fact.occurred_at);
            let expected = errors.filter(|at| (from..=to).contains(at)).min();
            let key = log.names().key(EntityType::Device, device).unwrap();
            let found = states::first_error(&log, (key, provenance), (from, to)).await;
            assert_eq!(found.unwrap(), expected, "{device} {hours} {provenance:?}");
        }
    }
    log.close().await;
}
