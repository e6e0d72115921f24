//! What is personal of somebody who is to be forgotten is erased, in tables and in segments, and nothing else is.

use homepot_analytics::event::{Cell, Event, NewEvent, Position};
use homepot_analytics::kinds::{Filter, Kind, Operand, Operator};
use homepot_analytics::retention::{self, ErasureRow, ErasureState, RetentionError};
use homepot_analytics::store::{Outcome, PageQuery};
use sea_orm::QueryResult;

use super::filters::{all_of, filled};
use super::retention::findings;
use super::segments::{archive, files};
use crate::support::{Database, TestLog, contract, event, samples};

contract![
    a_person_is_erased_from_tables_and_segments,
    what_says_of_itself_that_it_was_erased_is_compared,
    an_erasure_that_was_broken_off_is_gone_on_with,
    what_is_recorded_after_an_erasure_was_asked_for_stays,
    all_who_wait_are_erased_in_one_pass,
    who_can_be_erased_by_nobody_is_refused,
    what_was_erased_is_not_on_the_disk,
    who_was_erased_is_found_nowhere,
    what_is_done_while_a_person_is_erased_is_of_nobody,
    what_the_server_does_is_of_nobody,
];

/// The id of somebody who is erased.
const PERSON: &str = "one@shop.example";

/// What a person did, old and new.
pub(super) fn of_person(person: &str, key: u128) -> Vec<NewEvent> {
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
        let id = kind.spec().person.unwrap().id;
        let index = kind.spec().index_of(id).unwrap();
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
    let log = database.open().await.with_fleet().await;
    log.record(of_person(PERSON, 1_000)).await;
    for events in named(1) {
        log.record(events).await;
    }
    beside(&database).await;
    erase(&log, PERSON).await;
    log.close().await;
    for file in std::fs::read_dir(database.dir()).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            let bytes = std::fs::read(&file).unwrap();
            let mut places = bytes.windows(PERSON.len());
            let is_there = places.any(|place| place == PERSON.as_bytes());
            assert!(!is_there, "{}", file.display());
        }
    }
}

/// Events of each kind that says of whom or by whom it is, all of one person.
fn named(of_each: u32) -> impl Iterator<Item = Vec<NewEvent>> {
    (1..).zip(Kind::all()).filter_map(move |(seed, kind)| {
        let index = kind.spec().index_of(kind.spec().person?.id)?;
        let mut events = samples(kind, of_each, seed);
        for new in &mut events {
            new.fact.cells[index] = Cell::from(PERSON);
        }
        Some(events)
    })
}

/// Rows of tables that are of no event, of the same person, and one of a step of an alert that is to be sent.
async fn beside(database: &Database) {
    let id = if database.is_sqlite() {
        "x'0198c0de000070008000000000000001'"
    } else {
        "'0198c0de-0000-7000-8000-000000000001'"
    };
    let asked = serde_json::json!({"sources": [{"name": "errorLogs",
        "filter": {"userId": {"eq": PERSON}}}], "format": "jsonl"});
    let body = serde_json::json!({"event": {"alertTransition": {"changedBy": PERSON}}});
    for sql in [
        format!(
            "INSERT INTO webhooks (webhook_id, url, secret, severity, states, site_ids, is_enabled, \
             created_at, created_by, version) \
             VALUES ('w', '', '', 'INFO', '[]', '[]', 1, 0, '{PERSON}', 1)"
        ),
        format!(
            "INSERT INTO retention_policies (kind, archive_after_days, changed_at, changed_by) \
             VALUES (6, 60, 0, '{PERSON}')"
        ),
        format!(
            "INSERT INTO exports (export_id, asked, format, state, events, bytes, position, \
             restarts, account, reach, administrators, created_by, created_at, changed_at) VALUES \
             ('e', '{asked}', 'jsonl', 'FAILED', 0, 0, 1, 0, 'token/{PERSON}', '', 0, '{PERSON}', 0, 0)"
        ),
        format!(
            "INSERT INTO webhook_deliveries (delivery_id, webhook_id, position, alert_id, body, \
             state, attempts, due_at, created_at) \
             SELECT {id}, 'w', max(position), 'a', '{body}', 'DEAD', 0, 0, 0 FROM alert_transitions"
        ),
    ] {
        database.execute(&sql).await;
    }
}

/// The tables in which a text stands somewhere.
async fn tables_with(database: &Database, text: &str) -> Vec<String> {
    let tables = if database.is_sqlite() {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    } else {
        "SELECT table_name::text FROM information_schema.tables \
         WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
    };
    let mut found = Vec::new();
    for row in database.query(tables).await {
        let table: String = row.try_get_by_index(0).unwrap();
        let mut condition = format!("strpos(r::text, '{text}') > 0");
        if database.is_sqlite() {
            let columns = format!("SELECT name FROM pragma_table_info('{table}')");
            let has = |row: &QueryResult| {
                let column: String = row.try_get_by_index(0).unwrap();
                format!("coalesce(instr(CAST(\"{column}\" AS TEXT), '{text}'), 0) > 0")
            };
            let columns: Vec<String> = database.query(&columns).await.iter().map(has).collect();
            condition = columns.join(" OR ");
        }
        let rows = format!("SELECT count(*) FROM \"{table}\" r WHERE {condition}");
        if database.number(&rows).await > 0 {
            found.push(table);
        }
    }
    found
}

async fn who_was_erased_is_found_nowhere(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut recorded = Vec::new();
    for events in named(40) {
        for events in events.chunks(7) {
            let outcomes = log.record(events.to_vec()).await;
            recorded.extend(events.iter().cloned().zip(outcomes));
        }
    }
    recorded.retain(|(_, outcome)| matches!(outcome, Outcome::Recorded(_)));
    beside(&database).await;
    let there = tables_with(&database, PERSON).await;
    for table in ["alerts", "alert_rules", "jobs", "exports", "audit_log"] {
        assert!(there.iter().any(|other| other == table), "{there:?}");
    }
    archive(&log).await;
    // also where the person asks for it
    let asked = retention::erase_person(&log, PERSON, PERSON).await;
    let id = asked.unwrap().erasure_id;
    retention::erase_waiting(&log).await.unwrap();
    let done = retention::erasure(&log, &id).await.unwrap().unwrap();
    assert_eq!(ErasureState::of(&done), ErasureState::Done);
    assert_eq!(usize::try_from(done.events).unwrap(), recorded.len());
    assert_eq!(tables_with(&database, PERSON).await, Vec::<String>::new());
    for kind in Kind::all() {
        let page = log.page(&all_of(kind), &log.allowance()).await.unwrap();
        let mut facts = page.iter().map(|event| format!("{:?}", event.fact));
        assert!(!facts.any(|fact| fact.contains(PERSON)), "{kind:?}");
    }
    // what is folded is what the events fold to as they are now
    assert_eq!(findings(&log).await, Vec::<String>::new());
    let asked = database.query("SELECT asked FROM exports").await;
    let asked: String = asked[0].try_get_by_index(0).unwrap();
    assert!(asked.contains(r#""userId":{"eq":"erased"}"#), "{asked}");
    are_duplicates(&log, recorded).await;
    log.close().await;
}

/// What sources repeat of what was recorded is a duplicate.
async fn are_duplicates(log: &TestLog, recorded: Vec<(NewEvent, Outcome)>) {
    for (new, first) in recorded {
        if new.fact.event_id.is_none() || !new.fact.spec().recordable {
            continue;
        }
        let Outcome::Recorded(position) = first else {
            panic!("{first:?}")
        };
        let what = format!("{:?}", new.fact);
        let again = log.record(vec![new]).await;
        assert_eq!(again, [Outcome::Duplicate(position)], "{what}");
    }
}

/// A server that has read who made a job names them in what it records of it.
async fn what_is_done_while_a_person_is_erased_is_of_nobody(database: Database) {
    let log = database.open().await;
    let outcome = |number: u128| {
        let mut new = event(&serde_json::json!({"jobOutcome": {"jobId": "j",
            "jobType": "RESTART", "status": "COMPLETED", "initiatedBy": "one"}}));
        new.fact.event_id = Some(crate::support::uuid(number));
        new
    };
    log.record(vec![outcome(1)]).await;
    let asked = retention::erase_person(&log, "one", "test").await.unwrap();
    log.record(vec![outcome(2)]).await;
    retention::erase_waiting(&log).await.unwrap();
    let row = retention::erasure(&log, &asked.erasure_id).await.unwrap();
    assert_eq!(row.unwrap().events, 2);
    let of = "SELECT count(*) FROM job_outcomes WHERE initiated_by = ";
    assert_eq!(database.number(&format!("{of}'one'")).await, 0);
    assert_eq!(database.number(&format!("{of}'erased'")).await, 2);
    log.record(vec![outcome(3)]).await;
    assert_eq!(database.number(&format!("{of}'one'")).await, 1);
    log.close().await;
}

async fn what_the_server_does_is_of_nobody(database: Database) {
    let log = database.open().await.with_fleet().await;
    let silent = event(&serde_json::json!({"deviceStateChange":
        {"deviceId": "d1", "newState": "OFFLINE", "changedBy": "health-check"}}));
    log.record(vec![silent]).await;
    assert_eq!(erase(&log, "health-check").await.events, 0);
    let by = "SELECT count(*) FROM device_state_history WHERE changed_by = 'health-check'";
    assert_eq!(database.number(by).await, 1);
    log.close().await;
}
