//! Groups of errors are the same whatever the order in which errors come, rebuilt, by a version that begins anew, and
//! after what was personal in them was erased.

use homepot_analytics::event::NewEvent;
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::Outcome;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;

use super::erasures::{erase, of_person};
use super::retention::findings;
use crate::support::{Database, TestLog, at, contract, event};

contract![
    groups_are_the_same_in_whatever_order_errors_come_within_a_day,
    rebuilt_they_are_as_folded_along,
    another_version_folds_them_anew,
    what_was_erased_is_in_no_group,
];

/// Errors of a day of some devices, by forms of which some are found to be one only when many have come.
fn errors() -> Vec<NewEvent> {
    let inks = ["red", "blue", "green", "black", "yellow"];
    let mut errors = Vec::new();
    for ordinal in 0..120_i64 {
        let number = usize::try_from(ordinal).unwrap();
        let message = match ordinal % 4 {
            0 => format!("cartridge is {} and empty", inks[number % inks.len()]),
            1 => format!("job {ordinal} failed on host 10.0.0.{}", ordinal % 9),
            2 => "paper is out".to_owned(),
            _ => format!("timeout after {} ms", ordinal * 7),
        };
        let occurred_at = at("2026-11-22T08:00:00Z").plus_ms(ordinal * 600_000);
        let provenance = if ordinal % 5 == 0 {
            "SIMULATED"
        } else {
            "REAL"
        };
        let device = ["d1", "d2", "d3"][number % 3];
        errors.push(event(
            &json!({"errorLog": {"category": "DEVICE", "severity": "ERROR",
            "errorMessage": message, "deviceId": (ordinal % 7 > 0).then_some(device),
            "provenance": provenance, "occurredAt": occurred_at.to_string()}}),
        ));
    }
    errors
}

async fn record(log: &TestLog, errors: Vec<NewEvent>, at_once: usize) {
    for errors in errors.chunks(at_once) {
        let outcomes = log.record(errors.to_vec()).await;
        let is_recorded = |outcome: &Outcome| matches!(outcome, Outcome::Recorded(_));
        assert!(outcomes.iter().all(is_recorded), "{outcomes:?}");
        fold(log).await;
    }
}

async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    let head = log.committed_head().await.unwrap();
    runner.follow(Some(head)).await.unwrap();
}

/// All that is kept, as text, but for where it was recorded.
async fn kept(database: &Database) -> Vec<String> {
    let cells = if database.is_sqlite() {
        "hex(cells)"
    } else {
        "CAST(cells AS TEXT)"
    };
    let mut kept = Vec::new();
    for (table, columns) in [
        (
            "error_group_states",
            "provenance || ' ' || from_at || ' ' || until_at",
        ),
        (
            "error_group_forms",
            &*format!("provenance || ' ' || {cells}"),
        ),
        (
            "error_groups",
            &*format!("provenance || ' ' || label || ' ' || {cells}"),
        ),
        (
            "error_group_hours",
            "provenance || ' ' || label || ' ' || device_key || ' ' || hour || ' ' || events || ' ' || \
             first_at || ' ' || last_at || ' ' || severity",
        ),
        (
            "error_group_news",
            "provenance || ' ' || label || ' ' || device_key || ' ' || since",
        ),
    ] {
        let rows = database
            .query(&format!("SELECT {columns} FROM {table}"))
            .await;
        assert!(!rows.is_empty(), "{table}");
        let rows = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
        kept.extend(rows.map(|row: String| format!("{table}: {row}")));
    }
    kept.sort();
    kept
}

async fn groups_are_the_same_in_whatever_order_errors_come_within_a_day(database: Database) {
    let mut all = Vec::new();
    for (name, seed, at_once) in [
        ("sorted", None, 120),
        ("one", Some(1), 7),
        ("other", Some(2), 50),
    ] {
        let own = database.empty(name).await;
        let log = own.open().await.with_fleet().await;
        let mut errors = errors();
        if let Some(seed) = seed {
            errors.shuffle(&mut StdRng::seed_from_u64(seed));
        }
        record(&log, errors, at_once).await;
        all.push(kept(&own).await);
        assert_eq!(findings(&log).await, Vec::<String>::new());
        log.close().await;
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

async fn rebuilt_they_are_as_folded_along(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, errors(), 11).await;
    let folded = kept(&database).await;
    let rebuilt = projections::rebuild(&log.handle(), "error_groups", |_, _| {}).await;
    rebuilt.unwrap();
    assert_eq!(kept(&database).await, folded);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn another_version_folds_them_anew(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, errors(), 40).await;
    let folded = kept(&database).await;
    let older = "UPDATE error_group_states SET version = version - 1; \
        DELETE FROM error_group_hours WHERE hour > 0";
    database.execute(older).await;
    fold(&log).await;
    assert_eq!(kept(&database).await, folded);
    log.close().await;
}

async fn what_was_erased_is_in_no_group(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, errors(), 200).await;
    let before = kept(&database).await;
    record(&log, of_person("verysecret", 1_000), 10).await;
    let secret = if database.is_sqlite() {
        "SELECT count(*) FROM error_group_forms WHERE instr(cells, CAST('verysecret' AS BLOB)) > 0"
    } else {
        "SELECT count(*) FROM error_group_forms WHERE position('verysecret'::bytea IN cells) > 0"
    };
    assert_eq!(database.number(secret).await, 1);
    erase(&log, "verysecret").await;
    fold(&log).await;
    assert_eq!(database.number(secret).await, 0);
    assert_ne!(kept(&database).await, before);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    // nothing was erased of nobody
    erase(&log, "somebody else").await;
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}
