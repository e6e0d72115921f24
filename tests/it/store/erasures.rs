//! What is personal of somebody who is to be forgotten is erased, in tables and in segments, and nothing else is.

use homepot_analytics::event::{Cell, Event, Position};
use homepot_analytics::kinds::{Filter, Kind, Operand, Operator};
use homepot_analytics::retention::{self, ErasureRow, ErasureState, RetentionError};
use homepot_analytics::store::{Outcome, PageQuery};

use super::filters::{all_of, filled};
use super::retention::findings;
use super::segments::{archive, files};
use crate::support::{Database, TestLog, contract, event};

contract![
    a_person_is_erased_from_tables_and_segments,
    what_says_of_itself_that_it_was_erased_is_compared,
    an_erasure_that_was_broken_off_is_gone_on_with,
    what_is_recorded_after_an_erasure_was_asked_for_stays,
    all_who_wait_are_erased_in_one_pass,
    who_can_be_erased_by_nobody_is_refused,
    what_was_erased_is_not_on_the_disk,
];

/// What a person did, old and new.
fn of_person(person: &str, key: u128) -> Vec<homepot_analytics::event::NewEvent> {
    let mut events = Vec::new();
    for (ordinal, when) in ["2026-01-31T23:59:52Z", "2026-11-22T10:00:00Z"]
        .into_iter()
        .enumerate()
    {
        for wire in [
            serde_json::json!({"userActivity": {"userId": person, "sessionId": format!("of {person}"),
                "activityType": "SEARCH_QUERY", "searchQuery": format!("where is {person}"),
                "occurredAt": when, "extra": {"name": person}}}),
            serde_json::json!({"errorLog": {"userId": person, "category": "API", "severity": "ERROR",
                "errorMessage": format!("{person} is not known"), "occurredAt": when}}),
        ] {
            let mut new = event(&wire);
            let ordinal = u128::try_from(10 * ordinal + events.len()).unwrap();
            new.fact.event_id = Some(crate::support::uuid(key + ordinal));
            events.push(new);
        }
    }
    events
}

/// Asks for an erasure, and carries it out as a server does.
async fn erase(log: &TestLog, person: &str) -> ErasureRow {
    let asked = retention::erase_person(log, person, "test").await.unwrap();
    assert_eq!(ErasureState::of(&asked), ErasureState::Queued);
    retention::erase_waiting(log).await.unwrap();
    let done = retention::erasure(log, &asked.erasure_id).await.unwrap();
    let done = done.unwrap();
    assert_eq!(ErasureState::of(&done), ErasureState::Done);
    assert_eq!(done.person, None);
    done
}

/// The events that have something of a person.
async fn events_of(log: &TestLog, person: &str) -> i64 {
    let mut count = 0;
    for kind in Kind::all().filter(|kind| kind.spec().person.is_some()) {
        let index = kind.spec().index_of("userId").unwrap();
        let is = Operator::In(vec![Cell::from(person)]);
        let query = PageQuery {
            filter: Filter::Is(Operand::Field(index), is),
            ..all_of(kind)
        };
        count += log.count(&query).await.unwrap();
    }
    count
}

async fn an_erasure_that_was_broken_off_is_gone_on_with(database: Database) {
    let (log, _) = filled(&database).await;
    log.record(of_person("one@shop.example", 1_000)).await;
    archive(&log).await;
    let asked = retention::erase_person(&log, "one@shop.example", "test").await;
    let id = asked.unwrap().erasure_id;
    // a segment of the last kind that has any cannot be read
    let mut kinds = [Kind::UserActivity, Kind::ErrorLog];
    kinds.sort_by_key(|kind| Kind::all().position(|other| other == *kind));
    let table = kinds[1].spec().table;
    let name = format!("SELECT name FROM segments WHERE name LIKE '{table}-%' ORDER BY first_at");
    let name: String = database.query(&name).await[0].try_get_by_index(0).unwrap();
    let file = files(&database)
        .into_iter()
        .find(|file| file.ends_with(&name));
    let (file, aside) = (file.unwrap(), database.dir().join("aside"));
    log.close().await;
    std::fs::rename(&file, &aside).unwrap();
    let log = database.open().await;
    assert!(retention::erase_waiting(&log).await.is_err());
    let row = retention::erasure(&log, &id).await.unwrap().unwrap();
    assert_eq!(ErasureState::of(&row), ErasureState::Running);
    assert!(row.events > 0 && row.events < 4 && row.failure.is_some());
    log.close().await;
    std::fs::rename(&aside, &file).unwrap();
    let log = database.open().await;
    assert_eq!(events_of(&log, "one@shop.example").await, 4 - row.events);
    retention::erase_waiting(&log).await.unwrap();
    let row = retention::erasure(&log, &id).await.unwrap().unwrap();
    assert_eq!(ErasureState::of(&row), ErasureState::Done);
    assert_eq!((row.events, row.segments, row.failure), (4, 2, None));
    assert_eq!(events_of(&log, "one@shop.example").await, 0);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn what_is_recorded_after_an_erasure_was_asked_for_stays(database: Database) {
    let (log, _) = filled(&database).await;
    log.record(of_person("one", 1_000)).await;
    let asked = retention::erase_person(&log, "one", "test").await.unwrap();
    log.record(of_person("one", 3_000)).await;
    archive(&log).await;
    retention::erase_waiting(&log).await.unwrap();
    let row = retention::erasure(&log, &asked.erasure_id).await.unwrap();
    assert_eq!(row.unwrap().events, 4);
    assert_eq!(events_of(&log, "one").await, 4);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn a_person_is_erased_from_tables_and_segments(database: Database) {
    let (log, _) = filled(&database).await;
    let (one, other) = (
        of_person("one@shop.example", 1_000),
        of_person("other", 2_000),
    );
    let first = log.record(one.clone()).await;
    log.record(other.clone()).await;
    archive(&log).await;
    let before = files(&database);
    let erased = erase(&log, "one@shop.example").await;
    assert_eq!((erased.events, erased.segments), (4, 2));
    for kind in [Kind::UserActivity, Kind::ErrorLog] {
        let index = kind.spec().index_of("userId").unwrap();
        let by = |person: &str| PageQuery {
            filter: Filter::Is(
                Operand::Field(index),
                Operator::In(vec![Cell::from(person)]),
            ),
            ..all_of(kind)
        };
        assert_eq!(log.count(&by("one@shop.example")).await.unwrap(), 0);
        assert_eq!(log.count(&by("other")).await.unwrap(), 2);
        let page = log.page(&all_of(kind), &log.allowance()).await.unwrap();
        let named = |event: &Event| format!("{:?}", event.fact).contains("one@shop.example");
        assert!(!page.iter().any(named));
    }
    // nor is anything told of the person to who follows from before
    let mut tail = log.tail(Position(0), None);
    while tail.position() < log.head() {
        let told = tail.next().await.unwrap();
        let mut facts = told.iter().map(|event| format!("{:?}", event.fact));
        assert!(!facts.any(|fact| fact.contains("one@shop.example")));
    }
    // the old files are gone, and only those two
    let after = files(&database);
    let gone = before.iter().filter(|file| !after.contains(file));
    assert_eq!((gone.count(), after.len()), (2, before.len()));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    // what is repeated is a duplicate all the same
    let positions = first.iter().map(|outcome| match outcome {
        Outcome::Recorded(position) => Outcome::Duplicate(*position),
        outcome => panic!("{outcome:?}"),
    });
    let again = log.record(one).await;
    assert_eq!(again, positions.collect::<Vec<_>>());
    let none = retention::erase_person(&log, "", "test").await;
    assert!(matches!(none, Err(RetentionError::Person)));
    log.close().await;
}

async fn what_says_of_itself_that_it_was_erased_is_compared(database: Database) {
    let log = database.open().await;
    let said = |page: &str, person: Option<&str>| {
        let mut new = event(
            &serde_json::json!({"userActivity": {"activityType": "PAGE_VIEW",
            "pageUrl": page, "userId": person, "extra": {"erased": true}}}),
        );
        new.fact.event_id = Some(crate::support::uuid(1));
        new
    };
    let first = Position(1);
    log.record(vec![said("/a", Some("ann"))]).await;
    for new in [said("/a", Some("bob")), said("/b", Some("ann"))] {
        assert_eq!(log.record(vec![new]).await, [Outcome::Conflict(first)]);
    }
    // of one whose personal parts were erased all else is compared as well
    erase(&log, "ann").await;
    let same = said("/a", Some("ann"));
    assert_eq!(log.record(vec![same]).await, [Outcome::Duplicate(first)]);
    let other = said("/b", Some("ann"));
    assert_eq!(log.record(vec![other]).await, [Outcome::Conflict(first)]);
    log.close().await;
}

async fn all_who_wait_are_erased_in_one_pass(database: Database) {
    let (log, _) = filled(&database).await;
    log.record(of_person("one", 1_000)).await;
    log.record(of_person("other", 2_000)).await;
    archive(&log).await;
    let last = "SELECT max(id) FROM segments";
    let before = database.number(last).await;
    let mut asked = Vec::new();
    for (person, events) in [("one", 4), ("other", 4), ("one", 0)] {
        let row = retention::erase_person(&log, person, "test").await.unwrap();
        asked.push((row.erasure_id, events));
    }
    retention::erase_waiting(&log).await.unwrap();
    // the two segments that have something of both were written anew once
    assert_eq!(database.number(last).await, before + 2);
    for (id, events) in asked {
        let row = retention::erasure(&log, &id).await.unwrap().unwrap();
        assert_eq!(ErasureState::of(&row), ErasureState::Done);
        assert_eq!(row.events, events);
    }
    assert_eq!(
        events_of(&log, "one").await + events_of(&log, "other").await,
        0
    );
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

/// Where a file of SQLite has its segments is always known.
async fn who_can_be_erased_by_nobody_is_refused(database: Database) {
    if database.is_sqlite() {
        return;
    }
    let (log, _) = filled(&database).await;
    let blind = TestLog::open_with(&database, |opening| opening.archives = false).await;
    // nothing is archived yet
    retention::erase_person(&blind, "one", "test")
        .await
        .unwrap();
    archive(&log).await;
    let refused = retention::erase_person(&blind, "one", "test").await;
    assert!(matches!(refused, Err(RetentionError::NobodyCan)));
    assert!(matches!(
        retention::erase_waiting(&blind).await,
        Err(RetentionError::Nowhere)
    ));
    let told = "SELECT count(*) FROM person_erasures WHERE failure IS NOT NULL";
    assert_eq!(database.number(told).await, 1);
    // another server can
    let alive = "INSERT INTO nodes (node_id, name, address, version, started_at, alive_until, able) \
        VALUES ('1', 'other', '', '', 0, 9000000000000000, 'retention erasures')";
    database.execute(alive).await;
    retention::erase_person(&blind, "one", "test")
        .await
        .unwrap();
    retention::erase_waiting(&log).await.unwrap();
    blind.close().await;
    log.close().await;
}

/// On SQLite: PostgreSQL keeps what was overwritten until it is vacuumed.
async fn what_was_erased_is_not_on_the_disk(database: Database) {
    if !database.is_sqlite() {
        return;
    }
    let log = database.open().await;
    log.record(of_person("one@shop.example", 1_000)).await;
    erase(&log, "one@shop.example").await;
    log.close().await;
    for file in std::fs::read_dir(database.dir()).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            let bytes = std::fs::read(&file).unwrap();
            let person = b"one@shop.example";
            let mut places = bytes.windows(person.len());
            assert!(!places.any(|place| place == person), "{}", file.display());
        }
    }
}
