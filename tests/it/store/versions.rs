//! Changes of a thing with an expected version.

use homepot_analytics::event::Position;
use homepot_analytics::store::{AppendError, Expect, Outcome, Request};

use serde_json::json;

use crate::support::{Database, contract, error, event, keyed_error, request};

contract![
    a_stale_version_appends_nothing,
    of_concurrent_changes_with_one_version_one_wins,
    a_retry_of_a_change_is_a_duplicate_and_not_stale,
    a_repeat_does_not_raise_the_version,
    an_event_raises_the_version_of_what_it_changes,
    of_several_expectations_each_must_hold_and_each_is_raised,
    any_number_win_who_only_read_what_they_decide_on,
];

fn change(version: i64, events: Vec<homepot_analytics::event::NewEvent>) -> Request {
    let entity = "job/1".to_owned();
    let expect = vec![Expect::changing(entity, version)];
    Request {
        events,
        expect,
        told: None,
        registrations: Vec::new(),
    }
}

async fn a_stale_version_appends_nothing(database: Database) {
    let log = database.open().await;
    log.append(change(0, vec![error("a")])).await.unwrap();
    let stale = log.append(change(0, vec![error("b"), error("c")])).await;
    let Err(AppendError::Stale { entity, version }) = stale else {
        panic!("{stale:?}")
    };
    assert_eq!((entity.as_str(), version), ("job/1", 1));
    assert_eq!(database.number("SELECT count(*) FROM error_logs").await, 1);
    let next = log.append(change(1, vec![error("d")])).await.unwrap();
    assert_eq!(next.outcomes, [Outcome::Recorded(Position(2))]);
    log.close().await;
}

async fn of_concurrent_changes_with_one_version_one_wins(database: Database) {
    let log = database.open().await;
    let changes = (0..20).map(|_| {
        let store = log.handle();
        tokio::spawn(async move { store.append(change(0, vec![error("a")])).await.is_ok() })
    });
    let mut won = 0;
    for done in changes.collect::<Vec<_>>() {
        won += i32::from(done.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(database.number("SELECT position FROM log_head").await, 1);
    log.close().await;
}

async fn a_retry_of_a_change_is_a_duplicate_and_not_stale(database: Database) {
    let log = database.open().await;
    log.append(change(0, vec![keyed_error(1, "a")]))
        .await
        .unwrap();
    let again = log
        .append(change(0, vec![keyed_error(1, "a")]))
        .await
        .unwrap();
    assert_eq!(again.outcomes, [Outcome::Duplicate(Position(1))]);
    log.close().await;
}

async fn a_repeat_does_not_raise_the_version(database: Database) {
    let log = database.open().await;
    log.append(change(0, vec![keyed_error(1, "a")]))
        .await
        .unwrap();
    log.append(change(1, vec![keyed_error(1, "a")]))
        .await
        .unwrap();
    let next = log.append(change(1, vec![error("b")])).await.unwrap();
    assert_eq!(next.outcomes, [Outcome::Recorded(Position(2))]);
    log.close().await;
}

/// Whoever records that a parameter has changed: a command that was decided on its value before is
/// stale then.
async fn an_event_raises_the_version_of_what_it_changes(database: Database) {
    let log = database.open().await.with_fleet().await;
    let changed = event(&json!({ "configurationChange": { "entityType": "DEVICE",
        "entityId": "d1", "parameterName": "volume", "newValue": 1, "changedBy": "d1" } }));
    let hours = event(
        &json!({ "siteSchedule": { "siteId": "s1", "dayOfWeek": "MONDAY",
        "isClosed": true } }),
    );
    for (entity, event) in [
        ("configuration/DEVICE/d1/volume", changed),
        ("schedule/s1/MONDAY", hours),
    ] {
        assert_eq!(log.version(entity).await.unwrap(), 0);
        log.append(request(vec![event])).await.unwrap();
        assert_eq!(log.version(entity).await.unwrap(), 1);
        let expect = vec![Expect::changing(entity.to_owned(), 0)];
        let events = vec![error("a")];
        let stale = log
            .append(Request {
                events,
                expect,
                told: None,
                registrations: Vec::new(),
            })
            .await;
        assert!(matches!(stale, Err(AppendError::Stale { version: 1, .. })));
    }
    log.close().await;
}

async fn of_several_expectations_each_must_hold_and_each_is_raised(database: Database) {
    let log = database.open().await;
    let of = |versions: &[(&str, i64)], text: &str| Request {
        events: vec![error(text)],
        expect: versions
            .iter()
            .map(|(entity, version)| Expect::changing((*entity).to_owned(), *version))
            .collect(),
        told: None,
        registrations: Vec::new(),
    };
    log.append(of(&[("a", 0), ("b", 0)], "1")).await.unwrap();
    let stale = log.append(of(&[("c", 0), ("b", 0)], "2")).await;
    let Err(AppendError::Stale { entity, version }) = stale else {
        panic!("{stale:?}")
    };
    assert_eq!((entity.as_str(), version), ("b", 1));
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let versions = log.versions(names).await.unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!((versions["a"], versions["b"]), (1, 1));
    assert_eq!(database.number("SELECT count(*) FROM error_logs").await, 1);
    log.close().await;
}

async fn any_number_win_who_only_read_what_they_decide_on(database: Database) {
    let log = database.open().await;
    let read = |version| Request {
        events: vec![error("a")],
        expect: vec![Expect::reading("job/1".to_owned(), version)],
        told: None,
        registrations: Vec::new(),
    };
    for _ in 0..2 {
        log.append(read(0)).await.unwrap();
    }
    log.append(change(0, vec![error("b")])).await.unwrap();
    let stale = log.append(read(0)).await;
    assert!(matches!(stale, Err(AppendError::Stale { version: 1, .. })));
    log.append(read(1)).await.unwrap();
    log.close().await;
}
