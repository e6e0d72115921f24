//! Outcomes of jobs that were archived or deleted: they are listed as before, and jobs go on.

use std::path::PathBuf;

use homepot_analytics::projections;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database, segments, texts};
use super::jobs::{created, end_and_await_the_checkpoint, outcome, progress};
use super::retention::{of, run, set};

const DAY_MS: i64 = 24 * 3_600_000;

/// The outcome of a job on a device almost three years ago.
fn old(job: &str, device: &str, status: &str) -> Value {
    let mut event = outcome(job, device, status);
    event["jobOutcome"]["occurredAt"] = json!("2024-01-05T10:00:00Z");
    event
}

/// Archives and deletes what is old, and tells of how many outcomes.
async fn kept(app: &TestApp) -> [Value; 2] {
    app.settle().await;
    let done = run(app, false).await;
    assert_eq!(done["userErrors"], json!([]));
    let done = of(&done, "jobOutcome");
    ["archivedEvents", "deletedEvents"].map(|count| done[count].clone())
}

pub(super) async fn is_sound(app: &TestApp) {
    let store = app.app().ingest.store();
    let verified = store.verify(&projections::all(), &|_| {}).await.unwrap();
    assert_eq!(verified.findings, []);
}

/// What is asked of the outcomes of a job.
fn questions(job: &str) -> Vec<String> {
    let of_job = format!("filter: {{ jobId: {{ eq: \"{job}\" }} }}");
    let series = |range: &str, resolution: &str| {
        format!(
            "{{ series(measures: [JOB_OUTCOMES, JOB_DURATION_MS], {range}, groupBy: [JOB_STATUS], \
             fill: NONE, buckets: {{ resolution: {resolution}, timeZone: \"UTC\" }}) {{ \
             groups {{ key {{ value }} measure buckets {{ start count max }} }} }} }}"
        )
    };
    vec![
        format!(
            "{{ jobOutcomes({of_job}) {{ totalCount nodes {{ position scope status durationMs \
             device {{ deviceId }} }} }} }}"
        ),
        format!(
            "{{ jobOutcomes({of_job}, order: OLDEST_FIRST, first: 1) {{ \
             nodes {{ position }} pageInfo {{ hasNextPage endCursor }} }} }}"
        ),
        format!(
            "{{ job(jobId: \"{job}\") {{ state devicesSucceeded devicesFailed \
             targets {{ status device {{ deviceId }} }} }} }}"
        ),
        "{ device(deviceId: \"till-1\") { jobOutcomes(first: 5) { totalCount nodes { position } } } }"
            .to_owned(),
        "{ sites { nodes { siteId jobOutcomes(first: 5) { totalCount nodes { position } } } } }"
            .to_owned(),
        series("from: \"2024-01-01T00:00:00Z\", to: \"2024-02-01T00:00:00Z\"", "DAY"),
        series("from: \"2024-01-05T09:55:00Z\", to: \"2024-01-05T10:07:00Z\"", "MINUTE"),
    ]
}

#[tokio::test]
async fn outcomes_are_listed_and_repeated_as_before_they_were_archived() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        let (mut first, mut second) = (
            old(&job, "till-1", "COMPLETED"),
            old(&job, "till-2", "FAILED"),
        );
        first["jobOutcome"]["eventId"] = json!("0198c0de-0000-7000-8000-000000000001");
        second["jobOutcome"]["eventId"] = json!("0198c0de-0000-7000-8000-000000000002");
        let events = json!([first, second]);
        let positions = app.record(events.clone()).await;
        assert_eq!(progress(app, &job).await.last().unwrap(), "FAILED 1+1");
        app.settle().await;
        let questions = questions(&job);
        let mut before = Vec::new();
        for question in &questions {
            before.push(app.data(question).await);
        }
        assert_eq!(before[0]["jobOutcomes"]["totalCount"], "3");
        assert_eq!(kept(app).await, ["2", "0"]);
        for (question, before) in questions.iter().zip(before) {
            assert_eq!(app.data(question).await, before, "{question}");
        }
        let repeated = app.outcomes(events).await;
        assert_eq!(texts(&repeated, "status"), ["DUPLICATE"; 2]);
        let known: Vec<String> = positions.iter().map(i64::to_string).collect();
        assert_eq!(texts(&repeated, "position"), known);
        is_sound(app).await;
    })
    .await;
}

/// What an outcome says is known as long as there is one; that a device is real is known of the device.
#[tokio::test]
async fn a_job_ends_whose_outcomes_were_archived_or_deleted() {
    on_each_database(async |app| {
        app.fleet().await;
        for (deleted, duration) in [("0", 100_000_000), ("2", 60_000)] {
            let job = created(app).await;
            let mut slow = old(&job, "till-1", "COMPLETED");
            slow["jobOutcome"]["durationMs"] = json!(100_000_000);
            app.record(json!([slow])).await;
            if deleted != "0" {
                let input = json!({ "kind": "jobOutcome", "archiveAfterDays": null, "deleteAfterDays": 100 });
                assert_eq!(set(app, input).await["userErrors"], json!([]));
            }
            assert_eq!(kept(app).await, ["1", deleted]);
            let mut simulated = outcome(&job, "till-2", "COMPLETED");
            simulated["jobOutcome"]["provenance"] = json!("SIMULATED");
            app.record(json!([simulated])).await;
            assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
            let whole = app
                .data(&format!(
                    "{{ jobOutcomes(filter: {{ jobId: {{ eq: \"{job}\" }}, scope: {{ eq: JOB }} }}) {{ \
                     nodes {{ provenance durationMs devicesSucceeded }} }} }}"
                ))
                .await;
            let expected = json!([{ "devicesSucceeded": 2, "durationMs": duration, "provenance": "REAL" }]);
            assert_eq!(whole["jobOutcomes"]["nodes"], expected);
        }
        is_sound(app).await;
    })
    .await;
}

#[tokio::test]
async fn a_job_is_not_told_of_again_after_a_restore_when_that_was_deleted() {
    on_each_database(async |app| {
        app.fleet().await;
        end_and_await_the_checkpoint(app).await;
        let input =
            json!({ "kind": "jobOutcome", "archiveAfterDays": null, "deleteAfterDays": 10 });
        assert_eq!(set(app, input).await["userErrors"], json!([]));
        app.clock.advance_ms(30 * DAY_MS);
        assert_eq!(kept(app).await, ["3", "3"]);
        app.stop().await;
        let db = app.database().await;
        let sql = "UPDATE checkpoints SET epoch = epoch - 1 WHERE projection = 'jobs_reconciled'";
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
        app.start_again().await;
        // that is marked behind all that there was to be told
        end_and_await_the_checkpoint(app).await;
        let told = "{ jobOutcomes(filter: { scope: { eq: JOB } }) { totalCount } }";
        assert_eq!(app.data(told).await["jobOutcomes"]["totalCount"], "1");
        let jobs = app
            .data("{ jobs { nodes { state devicesSucceeded } } }")
            .await;
        let ended = json!({ "state": "COMPLETED", "devicesSucceeded": 2 });
        assert_eq!(jobs["jobs"]["nodes"], json!([ended, ended]));
        is_sound(app).await;
    })
    .await;
}

/// Where what was archived lies.
pub(super) fn folder(app: &TestApp) -> PathBuf {
    let file = app.url().trim_start_matches("sqlite://");
    segments(app.url()).unwrap_or_else(|| PathBuf::from(format!("{file}.segments")))
}

#[tokio::test]
async fn a_job_whose_outcomes_cannot_be_read_holds_no_other_up() {
    on_each_database(async |app| {
        app.fleet().await;
        let stuck = created(app).await;
        app.record(json!([old(&stuck, "till-1", "COMPLETED")]))
            .await;
        assert_eq!(kept(app).await, ["1", "0"]);
        let (folder, elsewhere) = (folder(app), folder(app).with_extension("elsewhere"));
        std::fs::rename(&folder, &elsewhere).unwrap();
        app.record(json!([outcome(&stuck, "till-2", "COMPLETED")]))
            .await;
        let job = created(app).await;
        app.record(json!([
            outcome(&job, "till-1", "COMPLETED"),
            outcome(&job, "till-2", "COMPLETED")
        ]))
        .await;
        assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
        std::fs::rename(&elsewhere, &folder).unwrap();
        app.clock.advance_ms(60_000);
        assert_eq!(progress(app, &stuck).await.last().unwrap(), "COMPLETED 2+0");
    })
    .await;
}
