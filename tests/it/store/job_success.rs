//! How jobs ended is summed up alike whenever outcomes come, and stays when they are deleted for good.

use homepot_analytics::event::NewEvent;
use homepot_analytics::kinds::Kind;
use homepot_analytics::projections::{self, RebuildError, Runner};
use homepot_analytics::store::{Deleting, Outcome};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;

use super::retention::findings;
use crate::support::{Database, TestLog, at, contract, event, uuid};

contract![
    late_and_repeated_outcomes_change_nothing_but_their_own_days,
    a_device_that_moves_leaves_its_jobs_where_it_stood,
    what_was_summed_up_of_deleted_outcomes_stays,
];

/// How a job ended on a device, under an id of its own.
fn outcome(number: u128, (device, status): (&str, &str), when: &str) -> NewEvent {
    let body = json!({"eventId": uuid(number), "jobId": format!("job-{number}"), "jobType": "RESTART",
        "deviceId": device, "status": status, "occurredAt": when});
    event(&json!({ "jobOutcome": body }))
}

/// Outcomes of many days, with some that say nothing of how a job ends on a device.
fn outcomes() -> Vec<NewEvent> {
    let mut outcomes = Vec::new();
    for number in 0..40_u128 {
        let device = ["d1", "d2", "d3"][usize::try_from(number % 3).unwrap()];
        let status = ["COMPLETED", "FAILED", "COMPLETED", "TIMEOUT", "CANCELLED"];
        let status = status[usize::try_from(number % 5).unwrap()];
        let day = 1 + number % 28;
        let when = format!(
            "2026-{:02}-{day:02}T{:02}:30:00Z",
            9 + number % 2,
            number % 24
        );
        outcomes.push(outcome(number + 1, (device, status), &when));
    }
    let whole = json!({"eventId": uuid(99), "jobId": "whole", "jobType": "RESTART", "siteId": "s1",
        "status": "COMPLETED", "occurredAt": "2026-10-01T00:00:00Z"});
    outcomes.push(event(&json!({ "jobOutcome": whole })));
    outcomes
}

async fn fold(log: &TestLog) {
    let runner = Runner::new(log.handle(), projections::following());
    let head = log.committed_head().await.unwrap();
    runner.follow(Some(head)).await.unwrap();
}

/// The rows of sites whose key is as a condition has it, of days or of months.
async fn rows(database: &Database, condition: &str) -> Vec<String> {
    let shown = [
        "(SELECT entity_id FROM entity_keys WHERE entity_key = site_key)",
        "span",
        "start_at",
        "block",
        "succeeded",
        "failed",
        "first_at",
        "last_at",
    ];
    let texts = shown.map(|column| format!("coalesce(CAST({column} AS TEXT), '-')"));
    let texts = texts.join(" || ' ' || ");
    let sql = format!("SELECT {texts} FROM job_tallies WHERE {condition}");
    let rows = database.query(&sql).await;
    let mut rows: Vec<String> = rows
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    rows.sort();
    rows
}

async fn sum(database: &Database, what: &str, condition: &str) -> i64 {
    let sql = format!("SELECT CAST(sum({what}) AS BIGINT) FROM job_tallies WHERE {condition}");
    database.number(&sql).await
}

async fn late_and_repeated_outcomes_change_nothing_but_their_own_days(database: Database) {
    let mut states = Vec::new();
    for name in ["sorted", "shuffled"] {
        let own = database.empty(name).await;
        let log = own.open().await.with_fleet().await;
        let mut arriving = outcomes();
        if name == "shuffled" {
            arriving.extend(outcomes());
            arriving.shuffle(&mut StdRng::seed_from_u64(7));
        }
        for request in arriving.chunks(7) {
            log.record(request.to_vec()).await;
            fold(&log).await;
        }
        states.push(rows(&own, "TRUE").await);
        // 8 of the 40 were cancelled; of the whole fleet each counts once on its day, and once in its month
        for span in [0, 1] {
            let fleet = format!("site_key = 0 AND span = {span}");
            assert_eq!(sum(&own, "succeeded + failed", &fleet).await, 32);
            assert_eq!(sum(&own, "succeeded", &fleet).await, 16);
            let sites = format!("site_key <> 0 AND span = {span}");
            assert_eq!(sum(&own, "succeeded + failed", &sites).await, 32);
        }
        projections::rebuild(&log.handle(), "job_success", |_, _| {})
            .await
            .unwrap();
        assert_eq!(&rows(&own, "TRUE").await, states.last().unwrap());
        assert_eq!(findings(&log).await, Vec::<String>::new());
        log.close().await;
    }
    assert_eq!(states[0], states[1]);
}

async fn a_device_that_moves_leaves_its_jobs_where_it_stood(database: Database) {
    let log = database.open().await.with_fleet().await;
    let moved = json!({"deviceRegistration": {"deviceId": "d1", "siteId": "s2", "deviceType": "POS_TERMINAL",
        "occurredAt": "2026-11-20T00:00:00Z"}});
    let fleet = json!({"deviceRegistration": {"deviceId": "d1", "siteId": "s1", "deviceType": "POS_TERMINAL",
        "occurredAt": "2026-01-01T00:00:00Z"}});
    // in one request: what was said before an outcome counts, however they are cut
    log.record(vec![
        event(&fleet),
        outcome(1, ("d1", "COMPLETED"), "2026-11-19T09:00:00Z"),
        event(&moved),
        outcome(2, ("d1", "FAILED"), "2026-11-21T09:00:00Z"),
        outcome(3, ("d1", "COMPLETED"), "2026-11-19T10:00:00Z"),
    ])
    .await;
    fold(&log).await;
    let at_site = async |site: &str, what: &str| {
        let key = format!("(SELECT entity_key FROM entity_keys WHERE entity_id = '{site}')");
        sum(&database, what, &format!("span = 0 AND site_key = {key}")).await
    };
    assert_eq!(at_site("s1", "succeeded").await, 2);
    assert_eq!(at_site("s1", "failed").await, 0);
    assert_eq!(at_site("s2", "failed").await, 1);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    log.close().await;
}

async fn what_was_summed_up_of_deleted_outcomes_stays(database: Database) {
    let log = database.open().await.with_fleet().await;
    let recorded = log
        .record(vec![
            outcome(1, ("d1", "COMPLETED"), "2026-01-05T09:00:00Z"),
            outcome(2, ("d1", "FAILED"), "2026-11-05T09:00:00Z"),
            outcome(3, ("d3", "COMPLETED"), "2026-11-22T09:00:00Z"),
        ])
        .await;
    assert!(
        recorded
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Recorded(_)))
    );
    fold(&log).await;
    let (kind, before) = (Kind::JobOutcome, at("2026-02-01T00:00:00Z"));
    let archived = log.archive(kind, before, log.head()).await.unwrap();
    assert_eq!(archived.unwrap().events, 1);
    let deleting = Deleting::all_before(kind, before);
    assert_eq!(log.drop_segment(&deleting).await.unwrap(), Some(1));
    let fleet = "site_key = 0 AND span = 0";
    assert_eq!(sum(&database, "succeeded + failed", fleet).await, 3);
    assert_eq!(findings(&log).await, Vec::<String>::new());
    // what comes late is added to what is left of its day
    let late = outcome(4, ("d2", "COMPLETED"), "2026-01-05T10:00:00Z");
    log.record(vec![late]).await;
    fold(&log).await;
    assert_eq!(sum(&database, "succeeded", fleet).await, 3);
    // what the log still has is checked, and the rest is left alone: nothing is folded anew without it
    database
        .execute("UPDATE job_tallies SET failed = failed + 1 WHERE start_at > 1790000000000000")
        .await;
    assert!(!findings(&log).await.is_empty());
    let folded = rows(&database, "TRUE").await;
    let rebuilt = projections::rebuild(&log.handle(), "job_success", |_, _| {}).await;
    assert!(matches!(rebuilt, Err(RebuildError::Deleted)), "{rebuilt:?}");
    assert_eq!(rows(&database, "TRUE").await, folded);
    log.close().await;
}
