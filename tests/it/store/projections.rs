//! Laws of what is folded from the log: rebuilt it is as it was folded along, it does not depend on
//! how events were cut into requests, nor on when they arrived.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use entity::{
    audit_log as audit, configuration_evidence as evidence, device_metrics as metrics,
    job_outcomes as outcome, job_transitions as transition,
};
use homepot_analytics::event::{Cell, NewEvent, Position, Provenance};
use homepot_analytics::kinds::{Draft, Kind};
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::{Fold, Outcome, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;

use crate::support::{Database, Scales, TestLog, at, contract, error, is_long, samples};

contract![
    rebuilt_is_as_folded_along,
    shuffled_arrival_folds_to_the_same,
    a_checkpoint_of_another_epoch_begins_anew,
    who_is_overtaken_keeps_nothing_and_goes_on,
    a_registry_is_rebuilt_beside_appends,
    a_rebuild_writes_only_what_differs,
    a_rebuild_mends_a_part_at_a_time_beside_another_process,
    what_is_folded_at_once_is_bounded_in_bytes,
    what_a_newer_version_brings_catches_up_apart,
];

fn folds() -> impl Iterator<Item = Arc<dyn Fold>> {
    let all = projections::all();
    all.inline.into_iter().chain(all.following)
}

/// Events of all kinds that are folded, in order of time, no two at one instant.
fn events(seed: u64) -> Vec<NewEvent> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut events = Vec::new();
    for (kind, seed) in Kind::all().zip(seed..) {
        let is_told_apart = matches!(
            kind,
            Kind::JobTransition | Kind::JobOutcome | Kind::AuditEntry
        );
        if !is_told_apart && !DECIDED.contains(&kind) {
            events.extend(samples(kind, 6, seed));
        }
    }
    events.extend(keys());
    events.shuffle(&mut random);
    for (ordinal, event) in (0..).zip(&mut events) {
        event.fact.occurred_at = at("2026-11-22T08:00:00Z").plus_ms(ordinal * 1_000);
    }
    events
}

/// Access keys are made and revoked, some twice, and some are heard of in the wrong order.
fn keys() -> impl Iterator<Item = NewEvent> {
    let deeds = ["KEY_CREATED", "KEY_REVOKED", "KEY_CREATED", "COMMAND"];
    let all = (0..12).map(move |ordinal: usize| {
        Draft::new(
            Kind::AuditEntry,
            at("2026-11-22T08:00:00Z"),
            Provenance::Real,
        )
        .set(audit::Column::Action, deeds[ordinal % 4])
        .set(audit::Column::Outcome, "DONE")
        .set(audit::Column::Actor, format!("actor {ordinal}").as_str())
        .set(
            audit::Column::KeyId,
            format!("key {}", ordinal % 5).as_str(),
        )
        .set(
            audit::Column::KeyGrant,
            Cell::from(json!({ "grant": ordinal })),
        )
    });
    all.map(|draft| draft.finish().unwrap())
}

/// Kinds whose commands decide in the order of positions.
const DECIDED: [Kind; 6] = [
    Kind::AlertRuleChange,
    Kind::AlertTransition,
    Kind::ParameterRegistration,
    Kind::ConfigurationSetting,
    Kind::ConfigurationEvidence,
    Kind::ErrorGroupChange,
];

/// A device has measured what was before a change, and is still to tell what is after it.
fn due() -> NewEvent {
    let at = at("2026-11-22T08:00:00Z");
    let before = Draft::new(Kind::ConfigurationEvidence, at, Provenance::Real)
        .set(evidence::Column::CommandId, "still due")
        .set(evidence::Column::DeviceKey, "d1")
        .set(evidence::Column::Phase, "BEFORE")
        .set(evidence::Column::Readings, 0_i64)
        .set(evidence::Column::Measures, Cell::from(json!({})));
    before.finish().unwrap()
}

/// What a device measures in an hour before all others, in theirs, and in one that is not over: what is
/// drawn may leave out what a projection is folded from.
fn measured() -> impl Iterator<Item = NewEvent> {
    let at = [
        "2026-11-22T06:30:00Z",
        "2026-11-22T08:30:00Z",
        "2026-11-23T09:58:00Z",
    ]
    .map(at);
    at.into_iter().map(|at| {
        let draft = Draft::new(Kind::DeviceMetrics, at, Provenance::Real);
        draft
            .set(metrics::Column::DeviceKey, "d1")
            .set(metrics::Column::CpuPercent, 20.0)
            .set(metrics::Column::CollectionIntervalSeconds, 30_i64)
            .set(metrics::Column::TransactionCount, 7_i64)
            .finish()
            .unwrap()
    })
}

/// The steps of a few jobs with the outcomes on their devices, as commands record them, and what else
/// commands decide.
fn jobs(seed: u64) -> Vec<NewEvent> {
    let mut random = StdRng::seed_from_u64(seed);
    let decided = DECIDED.iter().zip(seed + 1_000..);
    let decided = decided.flat_map(|(kind, seed)| samples(*kind, 24, seed));
    let mut events: Vec<NewEvent> = decided.collect();
    events.push(due());
    events.extend(measured());
    for ordinal in 0..20_i64 {
        let job = format!("job-{}", random.random_range(0..4));
        let now = at("2026-11-22T08:00:00Z").plus_ms(ordinal * 1_000);
        let word = ["QUEUED", "RUNNING", "COMPLETED", "CANCELLED"][random.random_range(0..4)];
        let device = ["d1", "d2", "d3"][random.random_range(0..3)];
        let draft = if random.random_bool(0.5) {
            Draft::new(Kind::JobTransition, now, Provenance::Real)
                .set(transition::Column::JobId, job.as_str())
                .set(transition::Column::JobType, "RESTART")
                .set(transition::Column::State, word)
                .set(
                    transition::Column::Targets,
                    Cell::from(json!(["d1", device])),
                )
        } else {
            let status = ["COMPLETED", "FAILED"][random.random_range(0..2)];
            Draft::new(Kind::JobOutcome, now, Provenance::Real)
                .set(outcome::Column::JobId, job.as_str())
                .set(outcome::Column::JobType, "RESTART")
                .set(outcome::Column::Scope, "DEVICE")
                .set(outcome::Column::Status, status)
                .set(outcome::Column::DeviceKey, device)
        };
        events.push(draft.finish().unwrap());
    }
    events
}

/// Records events in requests of any size, and lets what follows the log fold now and then.
async fn record(log: &TestLog, events: Vec<NewEvent>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let request = events.by_ref().take(random.random_range(1..12));
        let outcomes = log.record(request.collect()).await;
        let is_recorded = |outcome: &Outcome| matches!(outcome, Outcome::Recorded(_));
        assert!(outcomes.iter().all(is_recorded), "{outcomes:?}");
        if random.random_bool(0.5) {
            fold(log).await;
        }
    }
    fold(log).await;
}

async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    let head = log.committed_head().await.unwrap();
    runner.follow(Some(head)).await.unwrap();
}

async fn columns(database: &Database, table: &str) -> Vec<String> {
    let sql = if database.is_sqlite() {
        format!("SELECT name FROM pragma_table_info('{table}')")
    } else {
        format!(
            "SELECT column_name::text FROM information_schema.columns \
             WHERE table_name = '{table}' AND table_schema = current_schema()"
        )
    };
    let rows = database.query(&sql).await;
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

/// All rows of all projections, as text; without the columns with some ending.
async fn state(database: &Database, without: &str) -> Vec<String> {
    let mut state = Vec::new();
    let put_off: Vec<&str> = folds().flat_map(|fold| fold.puts_off()).copied().collect();
    for table in folds().flat_map(|fold| fold.tables()) {
        let mut shown = columns(database, table).await;
        shown.retain(|column| without.is_empty() || !column.ends_with(without));
        let texts: Vec<String> = shown
            .iter()
            .map(|column| match &**column {
                "cells" | "risk" | "rest" if database.is_sqlite() => format!("hex({column})"),
                column => format!("coalesce(CAST({column} AS TEXT), '-')"),
            })
            .collect();
        let sql = format!("SELECT {} FROM {table}", texts.join(" || '|' || "));
        let rows = database.query(&sql).await;
        let mut rows: Vec<String> = rows
            .iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect();
        assert_eq!(rows.is_empty(), put_off.contains(table), "{table}");
        rows.sort();
        state.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    state
}

/// Holds a law for some seeds, each on databases of its own.
fn holds_for_seeds(database: &Database, law: &impl AsyncFn(&Database, u64) -> TestCaseResult) {
    // each case takes a database or two, which PostgreSQL takes longer to make
    let cases = if database.is_sqlite() { 12 } else { 2 };
    let cases = if is_long() { 4 * cases } else { cases };
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let held = runner.run(&any::<u32>(), |seed| {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(law(database, u64::from(seed)))
        })
    });
    held.unwrap();
}

async fn rebuilt_is_as_folded_along(database: Database) {
    holds_for_seeds(&database, &async |database, seed| {
        let own = database.empty(&format!("rebuilt_{seed}")).await;
        let log = own.open().await.with_fleet().await;
        let mut all = events(seed);
        all.extend(jobs(seed));
        record(&log, all, seed).await;
        let folded = state(&own, "").await;
        for fold in folds() {
            let rebuilt = projections::rebuild(&log.handle(), fold.name(), |_, _| {}).await;
            rebuilt.unwrap();
            prop_assert_eq!(&state(&own, "").await, &folded, "{}", fold.name());
        }
        let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
        prop_assert_eq!(verified.findings, []);
        log.close().await;
        Ok(())
    });
}

/// Jobs are left out: their commands decide in the order of positions, so that a job has one course.
async fn shuffled_arrival_folds_to_the_same(database: Database) {
    holds_for_seeds(&database, &async |database, seed| {
        let mut states = Vec::new();
        for name in ["sorted", "shuffled"] {
            let own = database.empty(&format!("{name}_{seed}")).await;
            let log = own.open().await.with_fleet().await;
            let mut arriving = events(seed);
            if name == "shuffled" {
                arriving.shuffle(&mut StdRng::seed_from_u64(seed));
            }
            record(&log, arriving, seed).await;
            record(&log, jobs(seed), seed).await;
            log.close().await;
            states.push(state(&own, "position").await);
        }
        prop_assert_eq!(&states[0], &states[1]);
        Ok(())
    });
}

async fn a_checkpoint_of_another_epoch_begins_anew(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, events(1), 1).await;
    record(&log, jobs(1), 1).await;
    let folded = state(&database, "").await;
    let other = "UPDATE checkpoints SET epoch = epoch + 1; \
                 UPDATE collection_counters SET records = records + 1000";
    database.execute(other).await;
    fold(&log).await;
    assert_eq!(state(&database, "").await, folded);
    log.close().await;
}

async fn who_is_overtaken_keeps_nothing_and_goes_on(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, events(2), 2).await;
    record(&log, jobs(2), 2).await;
    let folded = state(&database, "").await;
    let head = log.committed_head().await.unwrap();
    let following = projections::following();
    let tables = following.iter().flat_map(|fold| fold.tables());
    let empty = tables.map(|table| format!("DELETE FROM {table}; "));
    let empty = empty.collect::<String>() + "UPDATE checkpoints SET position = 0";
    database.execute(&empty).await;
    let runner = || Runner::new(log.handle(), projections::following());
    let (one, other) = (runner(), runner());
    let until_done = async |runner: Runner| loop {
        match runner.follow(Some(head)).await {
            Err(StoreError::Overtaken { .. }) => {}
            done => return done,
        }
    };
    let both = futures_util::future::join(until_done(one), until_done(other));
    let (one, other) = both.await;
    one.unwrap();
    other.unwrap();
    assert_eq!(state(&database, "").await, folded);
    log.close().await;
}

async fn what_a_newer_version_brings_catches_up_apart(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, events(5), 5).await;
    record(&log, jobs(5), 5).await;
    let folded = state(&database, "").await;
    let older = "DELETE FROM device_silences; \
        DELETE FROM checkpoints WHERE projection = 'silences'";
    database.execute(older).await;
    let runner = Runner::new(log.handle(), projections::following()).in_step_within(1);
    // it ends when that has come to where the others were
    runner.follow_in_step().await.unwrap();
    assert_eq!(state(&database, "").await, folded);
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn a_registry_is_rebuilt_beside_appends(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, events(3), 3).await;
    let rebuilding = async {
        for _ in 0..3 {
            let rebuilt = projections::rebuild(&log.handle(), "registry", |_, _| {}).await;
            rebuilt.unwrap();
        }
    };
    let appending = async {
        for second in 0..60 {
            let mut device = crate::support::device(&format!("new-{second}"), "s1");
            device.fact.occurred_at = at("2026-11-23T08:00:00Z").plus_ms(second);
            let outcomes = log.record(vec![device]).await;
            assert!(matches!(outcomes[..], [Outcome::Recorded(_)]));
        }
    };
    futures_util::future::join(rebuilding, appending).await;
    assert!(log.head() > Position(60));
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    log.close().await;
}

async fn what_is_folded_at_once_is_bounded_in_bytes(database: Database) {
    let log = database.open().await;
    let mut heavy = error("heavy");
    let context = heavy.fact.spec().index_of("context").unwrap();
    heavy.fact.cells[context] = Cell::from(json!(vec![0; 30_000]));
    let weight = heavy.fact.weight_bytes();
    for _ in 0..12 {
        log.record(vec![heavy.clone()]).await;
    }
    let scales = Scales::default();
    let runner = Runner::new(log.handle(), vec![Arc::new(scales.clone())]);
    runner.follow(Some(log.head())).await.unwrap();
    assert_eq!(scales.events.load(Ordering::SeqCst), 12);
    let heaviest = scales.heaviest_bytes.load(Ordering::SeqCst);
    assert!(heaviest < 16 << 20 && 16 << 20 < 12 * weight, "{heaviest}");
    log.close().await;
}

/// Has the database note each row of a table that is written.
async fn note_writes(database: &Database, table: &str, key: &str) {
    database
        .execute("CREATE TABLE written (k TEXT NOT NULL)")
        .await;
    for (event, row) in [("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")] {
        let note = format!("INSERT INTO written (k) VALUES (CAST({row}.{key} AS TEXT))");
        let sql = if database.is_sqlite() {
            format!("CREATE TRIGGER note_{event} AFTER {event} ON {table} BEGIN {note}; END")
        } else {
            format!(
                "CREATE FUNCTION note_{event}() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN {note}; RETURN NULL; END $$; CREATE TRIGGER note_{event} \
                 AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION note_{event}()"
            )
        };
        database.execute(&sql).await;
    }
}

async fn a_rebuild_writes_only_what_differs(database: Database) {
    let log = database.open().await.with_fleet().await;
    record(&log, events(4), 4).await;
    record(&log, jobs(4), 4).await;
    let folded = state(&database, "").await;
    note_writes(&database, "devices", "device_id").await;
    let rebuild = async || {
        let rebuilt = projections::rebuild(&log.handle(), "registry", |_, _| {}).await;
        rebuilt.unwrap();
    };
    rebuild().await;
    let written = "SELECT count(DISTINCT k) FROM written";
    assert_eq!(database.number(written).await, 0);
    let harm = "DELETE FROM devices WHERE device_id = 'd1'; \
        UPDATE devices SET name = 'wrong' WHERE device_id = 'd2'; DELETE FROM written";
    database.execute(harm).await;
    rebuild().await;
    assert_eq!(database.number(written).await, 2);
    assert_eq!(state(&database, "").await, folded);
    log.close().await;
}

async fn a_rebuild_mends_a_part_at_a_time_beside_another_process(database: Database) {
    let log = database.open().await.with_fleet().await;
    let devices = (0..5_000).map(|ordinal| crate::support::device(&format!("x{ordinal}"), "s1"));
    let devices: Vec<NewEvent> = devices.collect();
    for request in devices.chunks(1_000) {
        log.record(request.to_vec()).await;
    }
    let other = database.open().await;
    database.execute("DELETE FROM devices").await;
    let (rebuilt, mut appended) = (tokio::sync::Notify::new(), 0);
    let rebuilding = async {
        let done = projections::rebuild(&log.handle(), "registry", |_, _| {}).await;
        rebuilt.notify_one();
        done.unwrap();
    };
    let appending = async {
        let mut ended = std::pin::pin!(rebuilt.notified());
        while futures_util::poll!(&mut ended).is_pending() {
            let id = format!("new-{appended}");
            let outcomes = other.record(vec![crate::support::device(&id, "s1")]).await;
            assert!(matches!(outcomes[..], [Outcome::Recorded(_)]));
            appended += 1;
        }
    };
    futures_util::future::join(rebuilding, appending).await;
    assert!(appended > 0);
    if !database.is_sqlite() {
        let most = "SELECT max(rows) FROM (SELECT count(*) AS rows FROM devices \
            GROUP BY CAST(xmin AS TEXT)) AS of_transactions";
        assert!(database.number(most).await <= 2_000);
    }
    let verified = log.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
    other.close().await;
    log.close().await;
}
