//! What was exported comes back: its own log has all of it already, and an empty one becomes the same.

use entity::{api_request_logs as request, configuration_history as change};
use homepot_analytics::event::{NewEvent, Position, Provenance};
use homepot_analytics::export::Format;
use homepot_analytics::ingest::{Import, Ingest, Tally};
use homepot_analytics::kinds::{Draft, Kind};
use homepot_analytics::retention;
use homepot_analytics::store::Outcome;
use serde_json::{Value, json};

use super::histories::go_back;
use super::{export, recorded};
use crate::support::{Database, TestLog, at, contract, error, event, uuid};

contract![
    an_export_that_comes_back_is_all_duplicates,
    an_empty_log_that_takes_an_export_in_becomes_the_same,
    what_a_log_has_lost_is_taken_in_again,
];

/// Somebody who is erased.
const PERSON: &str = "ann@shop.example";

/// All that can be exported, as lines.
async fn exported(log: &TestLog) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    let kinds: Vec<Kind> = Kind::all().filter(|kind| kind.spec().recordable).collect();
    let written = export(&log.handle(), &kinds, Format::Jsonl, &path).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = u64::try_from(text.lines().count()).unwrap();
    assert_eq!(written.unwrap().events, lines);
    text
}

async fn import(log: &TestLog, text: &str) -> Tally {
    let ingest = Ingest::new(log.handle());
    let mut refused = Vec::new();
    let import = Import {
        ingest: &ingest,
        name: "again",
        refused: &mut refused,
        progress: &|_| {},
    };
    let source = std::io::Cursor::new(text.to_owned());
    let tally = import.run(source).await.unwrap();
    assert_eq!(String::from_utf8(refused).unwrap(), "");
    tally
}

/// Takes that a log has all of an export.
async fn is_known(log: &TestLog, text: &str) {
    let head = log.head();
    let tally = import(log, text).await;
    let lines = u64::try_from(text.lines().count()).unwrap();
    let all = Tally {
        lines,
        duplicates: lines,
        ..Tally::default()
    };
    assert_eq!((tally, log.head()), (all, head));
}

/// A request as this server records it: of two alike neither has an id.
fn answered(user: Option<&str>) -> NewEvent {
    let when = at("2026-01-31T23:59:55Z");
    let draft = Draft::new(Kind::ApiRequest, when, Provenance::Real)
        .set(request::Column::Endpoint, "/graphql")
        .set(request::Column::Method, "POST")
        .set(request::Column::StatusCode, 200)
        .set(request::Column::ResponseTimeMs, 0.1 + 0.2)
        .set(request::Column::UserId, user)
        .set(request::Column::UserAgent, "probe");
    draft.finish().unwrap()
}

/// A change as this server records it when a device has applied what it was told.
fn applied(number: u128, (old, new): (Option<Value>, Value)) -> NewEvent {
    let when = at("2026-02-01T00:00:00Z");
    let draft = Draft::new(Kind::ConfigurationChange, when, Provenance::Real)
        .event_id(uuid(number))
        .set(change::Column::EntityType, "DEVICE")
        .set(change::Column::EntityId, "d1")
        .set(change::Column::ParameterName, "volume")
        .set(change::Column::OldValue, old)
        .set(change::Column::NewValue, new)
        .set(change::Column::ChangedBy, PERSON)
        .set(change::Column::JobId, "j")
        .set(change::Column::CommandId, "j.1.d1");
    draft.finish().unwrap()
}

/// States of a device: late ones, and some whose sources were mistaken in what was before.
fn states() -> Vec<NewEvent> {
    let of = |(second, state, before): (i64, &str, Option<&str>)| {
        let when = at("2026-02-01T00:00:00Z").plus_ms(second * 1_000);
        event(
            &json!({ "deviceStateChange": { "deviceId": "d2", "newState": state,
            "previousState": before, "occurredAt": when.to_string(), "changedBy": PERSON } }),
        )
    };
    let states = [
        (30, "ONLINE", None),
        (50, "ERROR", Some("MAINTENANCE")),
        (10, "OFFLINE", None),
        (40, "UNKNOWN", Some("UNKNOWN")),
        (40, "ONLINE", Some("ONLINE")),
    ];
    states.into_iter().map(of).collect()
}

/// A log with events of every kind, half of them without ids, and with what the server itself records; somebody
/// was erased from some of them.
async fn filled(database: &Database) -> TestLog {
    let log = recorded(database, 9).await;
    let sealed = json!({ "$sealed": { "key": "k", "of": "DEVICE/d1", "data": "d" } });
    let outcome = json!({ "jobId": "j", "jobType": "RESTART", "status": "COMPLETED", "deviceId": "d1",
        "occurredAt": "2026-02-01T00:00:00Z", "initiatedBy": PERSON });
    let mut events = vec![
        answered(Some(PERSON)),
        answered(None),
        answered(None),
        applied(1, (None, json!(9))),
        applied(2, (Some(json!(9)), Value::Null)),
        applied(3, (Some(Value::Null), sealed)),
        event(&json!({ "jobOutcome": outcome })),
        event(
            &json!({ "errorLog": { "category": "API", "severity": "ERROR", "userId": PERSON,
            "errorMessage": "not known", "extra": { "name": PERSON } } }),
        ),
        event(&json!({ "userActivity": { "activityType": "PAGE_VIEW", "userId": PERSON } })),
    ];
    events.extend(states());
    let outcomes = log.record(events).await;
    let taken = |outcome: &Outcome| matches!(outcome, Outcome::Recorded(_));
    assert!(outcomes.iter().all(taken), "{outcomes:?}");
    retention::erase_person(&log, PERSON, "test").await.unwrap();
    retention::erase_waiting(&log).await.unwrap();
    log
}

async fn an_export_that_comes_back_is_all_duplicates(database: Database) {
    let log = filled(&database).await;
    let text = exported(&log).await;
    assert!(text.contains("\"erased\"") && text.contains("\"***\""));
    assert!(!text.contains(PERSON) && !text.contains("$sealed"));
    is_known(&log, &text).await;
    assert!(exported(&log).await == text);
    // also when a part of it is in segments
    let mut archived = 0;
    for kind in Kind::all().filter(|kind| kind.spec().keeping.archives()) {
        let before = at("2026-01-31T23:59:58Z");
        while let Some(done) = log.archive(kind, before, log.head()).await.unwrap() {
            archived += done.events;
        }
    }
    assert!(archived > 0);
    is_known(&log, &text).await;
    assert!(exported(&log).await == text);
    log.close().await;
    // and to a log that is opened anew
    let log = database.open().await;
    is_known(&log, &text).await;
    log.close().await;
}

async fn an_empty_log_that_takes_an_export_in_becomes_the_same(database: Database) {
    let log = filled(&database).await;
    let text = exported(&log).await;
    let other = database.empty("other").await;
    let copy = other.open().await;
    let tally = import(&copy, &text).await;
    assert_eq!((tally.recorded, tally.refused()), (tally.lines, 0));
    let again = exported(&copy).await;
    for (line, first) in again.lines().zip(text.lines()) {
        assert_eq!(line, first);
    }
    assert_eq!(again.lines().count(), text.lines().count());
    // each has what the other has
    is_known(&copy, &text).await;
    is_known(&log, &again).await;
    copy.close().await;
    log.close().await;
}

/// What was recorded since has the positions of what was lost, and is something else.
async fn what_a_log_has_lost_is_taken_in_again(database: Database) {
    let log = database.open().await;
    log.record(vec![error("kept")]).await;
    log.record(vec![error("lost"), error("lost too")]).await;
    let text = exported(&log).await;
    log.close().await;
    go_back(&database, Position(1)).await;
    let log = database.open().await;
    log.clock.advance_ms(60_000);
    log.record(vec![error("another")]).await;
    let tally = import(&log, &text).await;
    assert_eq!((tally.recorded, tally.duplicates), (2, 1));
    is_known(&log, &text).await;
    log.close().await;
}
