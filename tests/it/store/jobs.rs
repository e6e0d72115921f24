//! Jobs that are moved while their devices report.

use std::sync::Arc;

use homepot_analytics::ingest::Ingest;
use homepot_analytics::jobs::{JobError, NewJob, Plan, cancel, create};
use serde_json::json;

use crate::support::{Database, Gate, TestLog, contract, event, request, uuid};

contract![a_job_that_its_last_device_ends_while_it_is_cancelled_is_not_cancelled];

async fn a_job_that_its_last_device_ends_while_it_is_cancelled_is_not_cancelled(
    database: Database,
) {
    let gate = Gate::default();
    let log = TestLog::open_with(&database, |opening| {
        opening.folds.push(Arc::new(gate.clone()));
    });
    let log = log.await.with_fleet().await;
    let ingest = Ingest::new(log.handle());
    let job = NewJob {
        job_id: uuid(7),
        job_type: "RESTART".to_owned(),
        payload: None,
        plan: Plan::default(),
        targets: vec!["d1".to_owned()],
        created_by: "operator".to_owned(),
        parent_job_id: None,
    };
    let job_id = job.job_id.to_string();
    create(&ingest, job).await.unwrap();
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
