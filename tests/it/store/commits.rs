//! Commits of several requests: what they carry, what a bad one among them costs, and how they are read.

use std::sync::Arc;

use entity::job_transitions as transition;
use homepot_analytics::event::{Cell, NewEvent, Position, Provenance};
use homepot_analytics::kinds::{Draft, Kind};
use homepot_analytics::store::{AppendError, Appended, ClaimError};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{
    Database, Gate, TestLog, at, contract, device, error, event, exactly_once, recorded, request,
    site,
};

contract![
    what_one_process_has_claimed_no_other_gets,
    one_bad_request_among_many_costs_few_commits,
    a_commit_carries_no_more_jobs_than_their_devices_allow,
    a_large_commit_is_followed_from_any_place_in_it,
    a_large_commit_is_read_whole_however_little_is_asked_for,
    a_statement_that_changes_many_pages_is_not_refused,
];

/// A log whose writer stands before a gate at each user activity.
async fn open(database: &Database, gate: &Gate, ring: usize) -> TestLog {
    TestLog::open_with(database, |opening| {
        opening.folds.push(Arc::new(gate.clone()));
        opening.limits.ring_events_max = ring;
        opening.limits.queue_bytes_max = 1 << 27;
    })
    .await
}

type Answer = JoinHandle<Result<Appended, AppendError>>;

/// Has requests wait together while the writer stands before the gate, and then lets it go on.
async fn together(log: &TestLog, gate: &Gate, requests: Vec<Vec<NewEvent>>) -> Vec<Answer> {
    let activity = event(&json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    let store = log.handle();
    let first = tokio::spawn(async move { store.append(request(vec![activity])).await });
    gate.reached().await;
    let mut answers = Vec::new();
    for events in requests {
        let store = log.handle();
        let mut append = Box::pin(async move { store.append(request(events)).await });
        // a task that has done much is made to wait, whatever it polls
        tokio::task::yield_now().await;
        // polled once, so that it stands in the queue
        assert!(futures_util::poll!(&mut append).is_pending());
        answers.push(tokio::spawn(append));
    }
    gate.open();
    first.await.unwrap().unwrap();
    answers
}

async fn one_bad_request_among_many_costs_few_commits(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 1_000).await;
    let message = |ordinal| if ordinal == 100 { "poison" } else { "fine" };
    let requests = (0..256).map(|ordinal| vec![error(message(ordinal))]);
    let mut positions = Vec::new();
    for (ordinal, answer) in (0..).zip(together(&log, &gate, requests.collect()).await) {
        match answer.await.unwrap() {
            Ok(appended) => positions.extend(recorded(&appended)),
            Err(_) => assert_eq!(ordinal, 100),
        }
    }
    // in the order in which they came, after the one at the gate
    let expected: Vec<i64> = (2..=256).collect();
    assert_eq!(positions, expected);
    // one for each halving, and the one at the gate
    assert_eq!(database.number("SELECT count(*) FROM commits").await, 9);
    log.close().await;
}

/// The first step of a job for some devices.
fn job(ordinal: usize, devices: &[String]) -> NewEvent {
    let now = at("2026-11-23T10:00:00Z");
    let draft = Draft::new(Kind::JobTransition, now, Provenance::Real)
        .set(transition::Column::JobId, format!("job-{ordinal}").as_str())
        .set(transition::Column::JobType, "RESTART")
        .set(transition::Column::State, "QUEUED")
        .set(transition::Column::Targets, Cell::from(json!(devices)));
    draft.finish().unwrap()
}

async fn a_commit_carries_no_more_jobs_than_their_devices_allow(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 1_000).await;
    let devices: Vec<String> = (0..900).map(|ordinal| format!("till-{ordinal}")).collect();
    let mut registered = vec![site("s1")];
    registered.extend(devices.iter().map(|id| device(id, "s1")));
    log.record(registered).await;
    let requests = (0..100).map(|ordinal| vec![job(ordinal, &devices)]);
    for answer in together(&log, &gate, requests.collect()).await {
        recorded(&answer.await.unwrap().unwrap());
    }
    let of_commits = "SELECT max(targets) FROM (SELECT count(*) AS targets FROM job_targets t \
        JOIN jobs j ON j.job_id = t.job_id JOIN commits c ON j.position >= c.first_position \
        AND j.position <= c.last_position GROUP BY c.first_position) AS of_commits";
    let most = database.number(of_commits).await;
    assert!((45_000..=80_000).contains(&most), "{most}");
    assert_eq!(
        database.number("SELECT count(*) FROM job_targets").await,
        90_000
    );
    log.close().await;
}

/// Four requests of 900 events, which SQLite takes as one commit.
async fn large(log: &TestLog, gate: &Gate, database: &Database) -> Position {
    let requests = (0..4).map(|ordinal| vec![error(&format!("{ordinal}")); 900]);
    for answer in together(log, gate, requests.collect()).await {
        recorded(&answer.await.unwrap().unwrap());
    }
    let sizes = "SELECT max(last_position - first_position + 1) FROM commits";
    let expected = if database.is_sqlite() { 3_600 } else { 900 };
    assert_eq!(database.number(sizes).await, expected);
    Position(log.head().0 - 3_600)
}

async fn a_large_commit_is_followed_from_any_place_in_it(database: Database) {
    // no ring, one smaller than the commit, and one that holds it
    for ring in [0, 1_000, 10_000] {
        let gate = Gate::default();
        let log = open(&database, &gate, ring).await;
        let from = large(&log, &gate, &database).await;
        for passed_over in [0, 1, 899, 900, 901, 2_500, 2_600, 3_599] {
            let after = Position(from.0 + passed_over);
            let seen = log.follow(after, log.head()).await;
            exactly_once(&seen, after.0, log.head().0).unwrap();
        }
        log.close().await;
    }
}

async fn a_large_commit_is_read_whole_however_little_is_asked_for(database: Database) {
    let gate = Gate::default();
    let log = open(&database, &gate, 0).await;
    let from = large(&log, &gate, &database).await;
    let commit = if database.is_sqlite() { 3_600 } else { 900 };
    for passed_over in [0, 1, 899] {
        let after = Position(from.0 + passed_over);
        let slice = log.after(after, 1).await.unwrap();
        assert_eq!(slice.upto.0, from.0 + commit);
        let seen: Vec<i64> = slice.events.iter().map(|event| event.position.0).collect();
        exactly_once(&seen, after.0, slice.upto.0).unwrap();
    }
    log.close().await;
}

async fn what_one_process_has_claimed_no_other_gets(database: Database) {
    let (one, other) = (database.open().await, database.open().await);
    let claim = one.claim("demo").await.unwrap();
    let refused = other.claim("demo").await;
    assert!(matches!(refused, Err(ClaimError::Taken)), "{refused:?}");
    let of_another_name = other.claim("else").await.unwrap();
    drop((claim, of_another_name));
    // PostgreSQL hears of it a moment later
    if database.is_sqlite() {
        other.claim("demo").await.unwrap();
    }
    one.close().await;
    other.close().await;
}

/// SQLite keeps what a statement changes until it has ended. Beyond the size at which it was told to
/// put that into a file it wrote nothing and said that the disk was full.
async fn a_statement_that_changes_many_pages_is_not_refused(database: Database) {
    let log = database.open().await;
    let db = database.connect().await;
    let tx = db.begin().await.unwrap();
    for sql in [
        "CREATE TABLE pages (id INTEGER PRIMARY KEY, page TEXT NOT NULL CHECK (page <> ''))",
        "INSERT INTO pages (id, page) SELECT value, repeat('x', 3000) FROM numbers",
        "UPDATE pages SET page = repeat('y', 3000)",
    ] {
        let sql = if database.is_sqlite() {
            let numbers = "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n \
                WHERE value < 3000) SELECT value FROM n)";
            sql.replace("repeat('x', 3000)", "hex(zeroblob(1500))")
                .replace("repeat('y', 3000)", "hex(zeroblob(1501))")
                .replace("numbers", numbers)
        } else {
            sql.replace("numbers", "generate_series(1, 3000) AS numbers (value)")
        };
        tx.execute_unprepared(&sql).await.unwrap();
    }
    tx.commit().await.unwrap();
    db.close().await.unwrap();
    log.close().await;
}
