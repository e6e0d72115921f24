//! Jobs that are moved while their devices report, and what is left of them when outcomes are deleted.

use std::sync::Arc;

use homepot_analytics::event::NewEvent;
use homepot_analytics::ingest::Ingest;
use homepot_analytics::jobs::{JobError, NewJob, Plan, cancel, create};
use homepot_analytics::kinds::{self, Kind};
use homepot_analytics::projections;
use homepot_analytics::store::{Deleting, Outcome};
use serde_json::json;

use super::retention::findings;
use crate::support::{Database, Gate, TestLog, at, contract, event, request, uuid};

contract![
    a_job_that_its_last_device_ends_while_it_is_cancelled_is_not_cancelled,
    a_rebuild_leaves_devices_alone_whose_outcomes_were_deleted,
    the_end_of_a_job_does_not_tell_of_who_is_erased_while_it_is_told,
];

/// Makes a job for some devices, and gives its id.
async fn made(ingest: &Ingest, devices: &[&str]) -> String {
    let job = NewJob {
        job_id: uuid(7),
        job_type: "RESTART".to_owned(),
        payload: None,
        plan: Plan::default(),
        targets: devices.iter().map(|id| (*id).to_owned()).collect(),
        created_by: "operator".to_owned(),
        parent_job_id: None,
    };
    let job_id = job.job_id.to_string();
    create(ingest, job).await.unwrap();
    job_id
}

async fn a_job_that_its_last_device_ends_while_it_is_cancelled_is_not_cancelled(
    database: Database,
) {
    let gate = Gate::default();
    let log = TestLog::open_with(&database, |opening| {
        opening.folds.push(Arc::new(gate.clone()));
    });
    let log = log.await.with_fleet().await;
    let ingest = Ingest::new(log.handle());
    let job_id = made(&ingest, &["d1"]).await;
    let page = event(&json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    let outcome = event(&json!({"jobOutcome":
        {"jobId": job_id, "jobType": "RESTART", "deviceId": "d1", "status": "COMPLETED"}}));
    // while an append is held up, the outcome waits, and behind it that the job is cancelled
    let queued = async |events: usize| {
        while log.queued_events() < events {
            tokio::task::yield_now().await;
        }
    };
    let held_up = log.append(request(vec![page]));
    let reported = async {
        gate.reached().await;
        log.append(request(vec![outcome])).await
    };
    let cancelled = async {
        queued(2).await;
        cancel(&ingest, (&job_id, None), ("operator", None)).await
    };
    let let_go = async {
        queued(3).await;
        gate.open();
    };
    let (_, reported, cancelled, ()) =
        futures_util::future::join4(held_up, reported, cancelled, let_go).await;
    reported.unwrap();
    let Err(JobError::WrongState { state, .. }) = cancelled else {
        panic!("{cancelled:?}")
    };
    assert_eq!(state, "COMPLETED");
    log.close().await;
}

/// How a job ended on a device, at an instant of the source, under an id of its own.
fn outcome(job_id: &str, (number, device, status): (u128, &str, &str), when: &str) -> NewEvent {
    let body = json!({"eventId": uuid(number), "jobId": job_id, "jobType": "RESTART",
        "deviceId": device, "status": status, "occurredAt": when});
    event(&json!({ "jobOutcome": body }))
}

/// How the devices of all jobs stand.
async fn standing(database: &Database) -> Vec<String> {
    let shown = [
        "job_id",
        "ordinal",
        "status",
        "outcome_position",
        "attempt",
        "step",
        "step_at",
        "step_position",
    ];
    let texts = shown.map(|column| format!("coalesce(CAST({column} AS TEXT), '-')"));
    let texts = texts.join(" || ' ' || ");
    let sql = format!("SELECT {texts} FROM job_targets ORDER BY job_id, ordinal");
    let rows = database.query(&sql).await;
    let text = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    text.collect()
}

/// Rebuilds the jobs, after which devices stand as they are expected to, and nothing is found.
async fn rebuilt(log: &TestLog, database: &Database, expected: &[String]) {
    let rebuilt = projections::rebuild(&log.handle(), "jobs", |_, _| {}).await;
    rebuilt.unwrap();
    assert_eq!(standing(database).await, expected);
    assert_eq!(findings(log).await, Vec::<String>::new());
}

async fn a_rebuild_leaves_devices_alone_whose_outcomes_were_deleted(database: Database) {
    let log = database.open().await.with_fleet().await;
    let ingest = Ingest::new(log.handle());
    let job = made(&ingest, &["d1", "d2", "d3"]).await;
    let old = || outcome(&job, (1, "d1", "COMPLETED"), "2026-01-05T09:00:00Z");
    let new = outcome(&job, (2, "d2", "FAILED"), "2026-11-22T09:00:00Z");
    let first = log.record(vec![old(), new]).await;
    // it does not count, and would if the first were not known
    let second = outcome(&job, (3, "d1", "TIMEOUT"), "2026-11-22T10:00:00Z");
    log.record(vec![second]).await;
    let expected = standing(&database).await;
    assert!(expected[0].contains("COMPLETED") && expected[1].contains("FAILED"));
    let (kind, before) = (Kind::JobOutcome, at("2026-02-01T00:00:00Z"));
    let archived = log.archive(kind, before, log.head()).await.unwrap();
    assert_eq!(archived.unwrap().events, 1);
    let Outcome::Recorded(position) = first[0] else {
        panic!("{first:?}")
    };
    assert_eq!(
        log.record(vec![old()]).await,
        [Outcome::Duplicate(position)]
    );
    rebuilt(&log, &database, &expected).await;
    let deleting = Deleting::all_before(kind, before);
    assert_eq!(log.drop_segment(&deleting).await.unwrap(), Some(1));
    assert_eq!(findings(&log).await, Vec::<String>::new());
    rebuilt(&log, &database, &expected).await;
    // it is forgotten, and what is told again changes nothing
    let again = log.record(vec![old()]).await;
    assert!(matches!(again[..], [Outcome::Recorded(_)]), "{again:?}");
    rebuilt(&log, &database, &expected).await;
    // devices are mended of whose outcomes nothing was deleted, and so are jobs
    let harm = "UPDATE job_targets SET status = 'ERROR' WHERE ordinal = 1; \
        DELETE FROM job_targets WHERE ordinal = 2; UPDATE jobs SET state = 'PAUSED'";
    database.execute(harm).await;
    let found = findings(&log).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("jobs lacks 1 rows"), "{found:?}");
    let targets = "job_targets lacks 2 rows that the log folds to and has 1 that it does not";
    assert!(found[1].starts_with(targets), "{found:?}");
    rebuilt(&log, &database, &expected).await;
    assert_eq!(
        database
            .number("SELECT count(*) FROM jobs WHERE state = 'QUEUED'")
            .await,
        1
    );
    log.close().await;
}

/// On PostgreSQL: on SQLite nobody else writes while an append is held up.
async fn the_end_of_a_job_does_not_tell_of_who_is_erased_while_it_is_told(database: Database) {
    if database.is_sqlite() {
        return;
    }
    let gate = Gate::default();
    let log = TestLog::open_with(&database, |opening| {
        opening.folds.push(Arc::new(gate.clone()));
    });
    let log = log.await.with_fleet().await;
    let ingest = Ingest::new(log.handle());
    let job_id = made(&ingest, &["d1"]).await;
    // it is cancelled, and whoever did that has told no more
    let step = json!({"jobId": job_id, "jobType": "RESTART", "state": "CANCELLED",
        "changedBy": "operator"});
    let step = kinds::parse(Kind::JobTransition, &step, log.clock.now()).unwrap();
    log.record(vec![step]).await;
    let told = "SELECT count(*) FROM job_outcomes";
    assert_eq!(database.number(told).await, 0);
    let page = event(&json!({"userActivity": {"activityType": "PAGE_VIEW"}}));
    let held_up = log.append(request(vec![page]));
    let telling = async {
        gate.reached().await;
        cancel(&ingest, (&job_id, None), ("operator", None)).await
    };
    let erased = async {
        // the name is read, and what is told with it waits
        while log.queued_events() < 2 {
            tokio::task::yield_now().await;
        }
        let erased = format!(
            "UPDATE jobs SET created_by = 'erased'; \
             UPDATE entity_versions SET version = version + 1 WHERE entity LIKE '%{job_id}'"
        );
        database.execute(&erased).await;
        gate.open();
    };
    let all = futures_util::future::join3(held_up, telling, erased);
    let (held_up, told_of, ()) = Box::pin(all).await;
    held_up.unwrap();
    told_of.unwrap();
    assert_eq!(database.number(told).await, 2);
    let erased = format!("{told} WHERE initiated_by = 'erased'");
    assert_eq!(database.number(&erased).await, 2);
    log.close().await;
}
