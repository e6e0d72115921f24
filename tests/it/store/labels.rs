//! Labels that clients make up: what of them is told apart follows from what was recorded alone.

use homepot_analytics::event::NewEvent;
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::restore;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{Database, TestLog, at, contract, event};

contract![
    what_is_told_apart_is_the_same_whenever_it_came,
    days_of_which_more_was_told_apart_are_summed_up_anew,
    labels_that_anybody_could_reckon_hide_no_others,
    what_is_told_apart_is_decided_by_a_secret_that_stays,
    what_was_told_apart_by_what_anybody_could_reckon_is_summed_up_anew,
];

/// More than are told apart of a device within an hour, and of another within a quarter of one.
const CODES: i64 = 1_030;

const LEVELS: [&str; 3] = [
    "device_rollups_15m",
    "device_rollups_1h",
    "device_rollups_1d",
];

async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    runner.follow(Some(log.head())).await.unwrap();
}

/// Errors of which each has a code of its own, and some are repeated.
fn errors() -> Vec<NewEvent> {
    let error = |nth: i64| {
        let (device, apart_ms) = if nth % 2 == 0 {
            ("d1", 3_000)
        } else {
            ("d2", 700)
        };
        let code = nth / 2 % CODES;
        let at = at("2026-11-22T10:00:00Z").plus_ms(code * apart_ms);
        let severity = if code % 3 == 0 { "ERROR" } else { "WARNING" };
        event(
            &json!({"errorLog": {"category": "DEVICE", "severity": severity, "errorMessage": "x",
            "errorCode": format!("C{code}"), "deviceId": device, "occurredAt": at.to_string()}}),
        )
    };
    (0..2 * CODES + 200).map(error).collect()
}

/// Tells that a device stood elsewhere before it was known to be there.
fn late() -> NewEvent {
    event(
        &json!({"deviceRegistration": {"deviceId": "d1", "siteId": "s2",
        "deviceType": "POS_TERMINAL", "occurredAt": "2026-11-01T00:00:00Z"}}),
    )
}

/// Has labels be ranked by what the test knows.
async fn know(database: &Database, secret: &str) {
    let known = format!("UPDATE log_head SET label_secret = '{secret}'");
    database.execute(&known).await;
}

async fn secret(database: &Database) -> String {
    let rows = database.query("SELECT label_secret FROM log_head").await;
    rows[0].try_get_by_index(0).unwrap()
}

/// All rows of errors.
async fn state(database: &Database) -> Vec<String> {
    let cells = if database.is_sqlite() {
        "hex(cells)"
    } else {
        "CAST(cells AS TEXT)"
    };
    let mut state = Vec::new();
    for table in LEVELS {
        let sql = format!(
            "SELECT device_key || ' ' || bucket_at || ' ' || site_key || labels || {cells} FROM {table}"
        );
        let rows = database.query(&sql).await;
        let rows = rows
            .iter()
            .map(|row| row.try_get_by_index::<String>(0).unwrap());
        let mut rows: Vec<String> = rows.map(|row| format!("{table} {row}")).collect();
        rows.sort();
        state.extend(rows);
    }
    state
}

/// Rows at most of any device within any bucket of a level.
async fn most(database: &Database, level: &str) -> i64 {
    let sql = format!(
        "SELECT max(r.rows) FROM (SELECT count(*) AS rows FROM {level} \
         GROUP BY kind, device_key, provenance, bucket_at, site_key) AS r"
    );
    database.number(&sql).await
}

async fn what_is_told_apart_is_the_same_whenever_it_came(database: Database) {
    let mut states = Vec::new();
    for (name, batch) in [("sorted", 1_000), ("shuffled", 170)] {
        let own = database.empty(name).await;
        let log = own.open().await.with_fleet().await;
        know(&own, "that of both").await;
        let mut events = errors();
        if name == "shuffled" {
            events.shuffle(&mut StdRng::seed_from_u64(7));
        } else {
            log.record(vec![late()]).await;
        }
        for batch in events.chunks(batch) {
            log.record(batch.to_vec()).await;
            fold(&log).await;
        }
        if name == "shuffled" {
            log.record(vec![late()]).await;
            fold(&log).await;
        }
        for level in LEVELS {
            // of each severity the others
            assert_eq!(most(&own, level).await, 1_002, "{name} {level}");
        }
        let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
        assert_eq!(verified.findings, [], "{name}");
        log.close().await;
        states.push(state(&own).await);
    }
    assert_eq!(states[0], states[1]);
}

async fn days_of_which_more_was_told_apart_are_summed_up_anew(database: Database) {
    let log = database.open().await.with_fleet().await;
    for batch in errors().chunks(1_000) {
        log.record(batch.to_vec()).await;
    }
    fold(&log).await;
    log.close().await;
    let bounded = state(&database).await;
    // as an older version left it, which told all apart
    for level in LEVELS {
        let more = format!(
            "INSERT INTO {level} (kind, device_key, provenance, bucket_at, site_key, currency, labels, cells) \
             SELECT kind, device_key, provenance, bucket_at, site_key, currency, \
             replace(labels, '\"C', '\"older C'), cells FROM {level} WHERE labels LIKE '%\"C%'"
        );
        database.execute(&more).await;
    }
    let forgotten = "DELETE FROM seaql_migrations WHERE version = 'm0025_rollup_labels'";
    database.execute(forgotten).await;
    assert_ne!(state(&database).await, bounded);
    let log = database.open().await;
    fold(&log).await;
    assert_eq!(state(&database).await, bounded);
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

/// Errors of no device, of some codes.
fn of_no_device(codes: &[String]) -> Vec<NewEvent> {
    let error = |code: &String| {
        event(
            &json!({"errorLog": {"category": "DEVICE", "severity": "ERROR", "errorMessage": "x",
            "errorCode": code, "occurredAt": "2026-11-22T10:00:00Z"}}),
        )
    };
    codes.iter().map(error).collect()
}

async fn labels_that_anybody_could_reckon_hide_no_others(database: Database) {
    let log = database.open().await.with_fleet().await;
    know(&database, "kept by the log").await;
    // as many as are told apart, of the least digests of twenty times as many
    let mut made_up: Vec<String> = (0..20_000).map(|nth| format!("M{nth}")).collect();
    made_up.sort_by_cached_key(|code| <[u8; 32]>::from(Sha256::digest(code)));
    made_up.truncate(1_000);
    let honest: Vec<String> = (0..30).map(|nth| format!("C{nth}")).collect();
    for codes in [honest, made_up] {
        log.record(of_no_device(&codes)).await;
    }
    fold(&log).await;
    for level in LEVELS {
        assert_eq!(most(&database, level).await, 1_001, "{level}");
        let told =
            format!("SELECT count(*) FROM {level} WHERE device_key = 0 AND labels LIKE '%\"C%'");
        // by their digests it would be one
        assert_eq!(database.number(&told).await, 27, "{level}");
    }
    log.close().await;
}

async fn what_is_told_apart_is_decided_by_a_secret_that_stays(database: Database) {
    let log = database.open().await.with_fleet().await;
    for batch in errors().chunks(1_000) {
        log.record(batch.to_vec()).await;
    }
    fold(&log).await;
    let (kept, bounded) = (secret(&database).await, state(&database).await);
    assert!(kept.len() >= 43, "{kept}");
    let other = database.empty("other").await;
    other.open().await.close().await;
    assert_ne!(secret(&other).await, kept);
    projections::rebuild(&log.handle(), "rollups", |_, _| {})
        .await
        .unwrap();
    assert_eq!(state(&database).await, bounded);
    let file = database.dir().join("backup.gz");
    log.backup(&file, &|_| {}).await.unwrap();
    log.close().await;
    let log = database.open().await;
    assert_eq!(secret(&database).await, kept);
    log.close().await;
    // also where there was a log with a secret of its own
    restore(&file, &other.location(), &|_| {}).await.unwrap();
    assert_eq!(secret(&other).await, kept);
    let log = other.open().await;
    log.record(errors()[..10].to_vec()).await;
    fold(&log).await;
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn what_was_told_apart_by_what_anybody_could_reckon_is_summed_up_anew(database: Database) {
    let log = database.open().await.with_fleet().await;
    know(&database, "known to anybody").await;
    for batch in errors().chunks(1_000) {
        log.record(batch.to_vec()).await;
    }
    let codes: Vec<String> = (0..1_030).map(|nth| format!("C{nth}")).collect();
    for codes in codes.chunks(500) {
        log.record(of_no_device(codes)).await;
    }
    fold(&log).await;
    log.close().await;
    let reckoned = state(&database).await;
    // as an older version left it
    let older = "ALTER TABLE log_head DROP COLUMN label_secret; \
        DELETE FROM seaql_migrations WHERE version = 'm0027_label_secret'";
    database.execute(older).await;
    let log = database.open().await;
    assert_eq!(secret(&database).await.len(), 64);
    fold(&log).await;
    assert_ne!(state(&database).await, reckoned);
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}
