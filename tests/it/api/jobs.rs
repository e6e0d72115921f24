//! Jobs on a fleet that the test plays.

use homepot_analytics::clock::Clock;
use homepot_analytics::event::Provenance;
use homepot_analytics::ingest::Patience;
use homepot_analytics::jobs::machine::Ended;
use homepot_analytics::jobs::{Answer, Executor, Played, Run};
use homepot_analytics::kinds::{Kind, parse_any};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::app::{TestApp, on_each_database, texts};

const CREATE: &str = "mutation($input: CreateJobInput!) { createJob(input: $input) {
    job { jobId jobType state payload createdBy devicesTargeted devicesPending targets { device { deviceId } status } }
    userErrors { code field message } } }";
const CANCEL: &str = "mutation($input: CancelJobInput!) { cancelJob(input: $input) {
    job { state devicesFailed devicesSucceeded targets { status } } userErrors { code field } } }";
const PROGRESS: &str =
    "subscription($id: ID!) { jobProgress(jobId: $id) { cursor job { state devicesSucceeded
    devicesFailed devicesPending } } }";

/// Devices that do what the test tells them, when it tells them, and take their time for it.
struct Told {
    told: mpsc::UnboundedReceiver<&'static str>,
    clock: Clock,
}

impl Run for Told {
    fn run(&mut self, _device_id: &str, _job_type: &str, _job_id: &str) -> Played {
        let Ok(status) = self.told.try_recv() else {
            return Played::NotPlayed;
        };
        self.clock.advance_ms(1_500);
        let answer = Answer {
            ended: Ended::of_word(status).unwrap(),
            duration_ms: Some(1_500),
            error_code: (status == "FAILED").then(|| "E42".to_owned()),
            error_message: None,
            result: None,
            provenance: Provenance::Simulated,
        };
        Played::Takes(answer, 1_500)
    }
}

/// Plays the devices of all jobs with these results, in their order.
fn play(app: &TestApp, results: &[&'static str]) {
    let (tell, told) = mpsc::unbounded_channel();
    for result in results {
        tell.send(*result).unwrap();
    }
    let server = app.app();
    let executor = Executor::new(server.ingest.clone(), server.deliveries.clone());
    let clock = app.clock.clone();
    let played = Told { told, clock };
    server.spawn("the played fleet", executor.run(played, server.stopping()));
}

pub(super) async fn create(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(CREATE, json!({ "input": input })).await;
    data["createJob"].take()
}

/// Makes a job for the two devices of a site, and gives its id.
pub(super) async fn created(app: &TestApp) -> String {
    let answer = create(app, json!({ "jobType": "RESTART", "siteIds": ["harbour"] })).await;
    answer["job"]["jobId"].as_str().unwrap().to_owned()
}

/// The steps of a job as they are streamed, to its end.
pub(super) async fn progress(app: &TestApp, job: &str) -> Vec<String> {
    let mut socket = app.socket().await;
    let id = socket.subscribe(PROGRESS, json!({ "id": job })).await;
    let mut steps = Vec::new();
    while let Some(step) = socket.next(&id).await {
        let job = &step["data"]["jobProgress"]["job"];
        let of = |name: &str| job[name].to_string();
        steps.push(format!(
            "{} {}+{}",
            job["state"].as_str().unwrap(),
            of("devicesSucceeded"),
            of("devicesFailed")
        ));
    }
    steps
}

#[tokio::test]
async fn a_job_is_for_devices_and_for_all_devices_of_sites() {
    on_each_database(async |app| {
        app.fleet().await;
        let input = json!({ "jobType": "FIRMWARE_UPDATE", "payload": { "version": "2.1" },
            "deviceIds": ["till-3", "till-1"], "siteIds": ["harbour"] });
        let mut answer = create(app, input).await;
        answer["job"]["jobId"] = json!(answer["job"]["jobId"].is_string());
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer, @r#"{"job":{"createdBy":"local","devicesPending":3,"devicesTargeted":3,"jobId":true,"jobType":"FIRMWARE_UPDATE","payload":{"version":"2.1"},"state":"QUEUED","targets":[{"device":{"deviceId":"till-1"},"status":null},{"device":{"deviceId":"till-2"},"status":null},{"device":{"deviceId":"till-3"},"status":null}]},"userErrors":[]}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_cannot_be_made_is_told_as_a_user_error() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "siteRegistration": { "siteId": "empty", "name": "Empty" } }]))
            .await;
        for (input, code, field) in [
            (
                json!({ "jobType": "RESTART", "deviceIds": ["nobody"] }),
                "NOT_FOUND",
                "deviceIds",
            ),
            (
                json!({ "jobType": "RESTART", "siteIds": ["nowhere"] }),
                "NOT_FOUND",
                "siteIds",
            ),
            (json!({ "jobType": "RESTART" }), "NO_TARGET", "deviceIds"),
            (
                json!({ "jobType": "RESTART", "siteIds": ["empty"] }),
                "NO_TARGET",
                "deviceIds",
            ),
            (
                json!({ "jobType": "CUSTOM", "name": "x".repeat(256), "deviceIds": ["till-1"] }),
                "INVALID",
                "name",
            ),
        ] {
            let answer = create(app, input).await;
            assert_eq!(answer["job"], Value::Null, "{answer}");
            assert_eq!(texts(&answer["userErrors"], "code"), [code], "{answer}");
            assert_eq!(texts(&answer["userErrors"], "field"), [field], "{answer}");
        }
        let data = app
            .data("{ jobTransitions { totalCount } jobs { totalCount nodes { jobId } } }")
            .await;
        assert_eq!(
            data,
            json!({ "jobTransitions": { "totalCount": "0" }, "jobs": { "totalCount": "0", "nodes": [] } })
        );
    })
    .await;
}

#[tokio::test]
async fn a_repeat_with_the_same_idempotency_key_makes_no_second_job() {
    on_each_database(async |app| {
        app.fleet().await;
        let input = json!({ "jobType": "RESTART", "deviceIds": ["till-1"], "idempotencyKey": "j-1",
                "start": { "at": super::app::at(60) } });
        let first = create(app, input.clone()).await;
        app.clock.advance_ms(1_000);
        assert_eq!(create(app, input.clone()).await, first);
        let mut other = input;
        other["jobType"] = json!("HEALTH_CHECK");
        let refused = create(app, other).await;
        assert_eq!(refused["job"], Value::Null);
        assert_eq!(texts(&refused["userErrors"], "code"), ["CONFLICT"]);
        let data = app.data("{ jobs { nodes { jobId } } }").await;
        let made = json!([{ "jobId": first["job"]["jobId"] }]);
        assert_eq!(data["jobs"]["nodes"], made);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_the_same_when_its_site_has_another_device_by_then() {
    on_each_database(async |app| {
        app.fleet().await;
        let input = json!({ "jobType": "RESTART", "siteIds": ["harbour"], "idempotencyKey": "j-2",
                "start": { "at": super::app::at(60) } });
        let first = create(app, input.clone()).await;
        let device =
            json!({ "deviceId": "till-9", "siteId": "harbour", "deviceType": "POS_TERMINAL" });
        app.record(json!([{ "deviceRegistration": device }])).await;
        assert_eq!(create(app, input).await, first);
    })
    .await;
}

#[tokio::test]
async fn a_job_completes_when_all_devices_have_and_its_progress_ends_with_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        play(app, &["COMPLETED", "COMPLETED"]);
        let steps = progress(app, &job).await;
        assert_eq!(steps.last().unwrap(), "COMPLETED 2+0");
        let data = app
            .data("{ jobOutcomes(order: FIRST_RECORDED_FIRST) { nodes { scope status deviceId durationMs provenance
                devicesTargeted devicesSucceeded devicesFailed } } jobTransitions(order: FIRST_RECORDED_FIRST) { nodes { state } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"jobOutcomes":{"nodes":[{"deviceId":"till-1","devicesFailed":null,"devicesSucceeded":null,"devicesTargeted":null,"durationMs":1500,"provenance":"SIMULATED","scope":"DEVICE","status":"COMPLETED"},{"deviceId":"till-2","devicesFailed":null,"devicesSucceeded":null,"devicesTargeted":null,"durationMs":1500,"provenance":"SIMULATED","scope":"DEVICE","status":"COMPLETED"},{"deviceId":null,"devicesFailed":0,"devicesSucceeded":2,"devicesTargeted":2,"durationMs":3000,"provenance":"SIMULATED","scope":"JOB","status":"COMPLETED"}]},"jobTransitions":{"nodes":[{"state":"QUEUED"},{"state":"RUNNING"},{"state":"COMPLETED"}]}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_fails_when_one_of_its_devices_does() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        play(app, &["FAILED", "COMPLETED"]);
        assert_eq!(progress(app, &job).await.last().unwrap(), "FAILED 1+1");
        let data = app.data("{ jobOutcomes(filter: { status: { eq: FAILED } }) { nodes { scope errorCode } } }").await;
        let rows = json!([{ "scope": "JOB", "errorCode": null }, { "scope": "DEVICE", "errorCode": "E42" }]);
        assert_eq!(data["jobOutcomes"]["nodes"], rows);
    })
    .await;
}

#[tokio::test]
async fn progress_begins_with_the_job_as_it_stands() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(PROGRESS, json!({ "id": job })).await;
        let first = socket.data(&id).await;
        assert_eq!(first["jobProgress"]["job"]["devicesPending"], 2);
        play(app, &["COMPLETED"]);
        let mut step = json!({ "devicesPending": 2 });
        while step["devicesPending"] == 2 {
            step = socket.data(&id).await["jobProgress"]["job"].take();
        }
        assert_eq!(step["devicesPending"], 1);
        assert_eq!(step["state"], "RUNNING");
        app.data_with(CANCEL, json!({ "input": { "jobId": job } }))
            .await;
        while step["state"] == "RUNNING" {
            step = socket.data(&id).await["jobProgress"]["job"].take();
        }
        assert_eq!(step["state"], "CANCELLED");
        assert_eq!(socket.next(&id).await, None);
    })
    .await;
}

#[tokio::test]
async fn progress_of_a_job_that_is_not_there_is_not_found() {
    on_each_database(async |app| {
        let mut socket = app.socket().await;
        let id = socket.subscribe(PROGRESS, json!({ "id": "none" })).await;
        let failed = socket.next(&id).await.unwrap();
        assert_eq!(failed["errors"][0]["extensions"]["code"], "NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn cancelling_ends_the_devices_that_had_not_ended() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        let input = json!({ "input": { "jobId": job, "reason": "wrong shop" } });
        let data = app.data_with(CANCEL, input.clone()).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data["cancelJob"], @r#"{"job":{"devicesFailed":2,"devicesSucceeded":0,"state":"CANCELLED","targets":[{"status":"CANCELLED"},{"status":"CANCELLED"}]},"userErrors":[]}"#);
        }
        let events = app
            .data("{ jobOutcomes(filter: { status: { eq: CANCELLED } }) { totalCount nodes { scope devicesFailed } } jobTransitions(first: 1) { totalCount nodes { state reason } } }")
            .await;
        assert_eq!(events["jobOutcomes"]["totalCount"], "3");
        assert_eq!(events["jobTransitions"]["nodes"][0], json!({ "state": "CANCELLED", "reason": "wrong shop" }));
        assert_eq!(app.data_with(CANCEL, input).await, data);
        let again = app.data("{ jobOutcomes { totalCount } jobTransitions { totalCount } }").await;
        assert_eq!(again["jobOutcomes"]["totalCount"], "3");
        assert_eq!(again["jobTransitions"]["totalCount"], events["jobTransitions"]["totalCount"]);
        let unknown = app.data_with(CANCEL, json!({ "input": { "jobId": "none" } })).await;
        assert_eq!(unknown["cancelJob"]["userErrors"], json!([{ "code": "NOT_FOUND", "field": "jobId" }]));
    })
    .await;
}

#[tokio::test]
async fn a_job_outlives_a_restart() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        app.restart().await;
        play(app, &["COMPLETED", "COMPLETED"]);
        assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
    })
    .await;
}

/// How a job ended on a device, as the device reports it.
pub(super) fn outcome(job: &str, device: &str, status: &str) -> Value {
    json!({ "jobOutcome": { "jobId": job, "jobType": "RESTART", "deviceId": device, "status": status,
        "durationMs": 60_000 } })
}

const OF_JOB: &str = "query($id: ID!) { job(jobId: $id) { state devicesSucceeded devicesFailed
    targets { status } } jobOutcomes(filter: { scope: { eq: JOB } }) {
    nodes { status durationMs devicesTargeted devicesSucceeded devicesFailed } } }";

#[tokio::test]
async fn a_job_ends_when_its_devices_report_their_outcomes() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        app.record(json!([outcome(&job, "till-1", "COMPLETED")])).await;
        app.record(json!([outcome(&job, "till-2", "TIMEOUT")])).await;
        assert_eq!(progress(app, &job).await.last().unwrap(), "FAILED 1+1");
        let data = app.data_with(OF_JOB, json!({ "id": job })).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"job":{"devicesFailed":1,"devicesSucceeded":1,"state":"FAILED","targets":[{"status":"COMPLETED"},{"status":"TIMEOUT"}]},"jobOutcomes":{"nodes":[{"devicesFailed":1,"devicesSucceeded":1,"devicesTargeted":2,"durationMs":60000,"status":"FAILED"}]}}"#);
        }
        let data = app.data("{ jobTransitions(order: FIRST_RECORDED_FIRST) { nodes { state changedBy } } }").await;
        assert_eq!(texts(&data["jobTransitions"]["nodes"], "state"), ["QUEUED", "RUNNING", "FAILED"]);
    })
    .await;
}

#[tokio::test]
async fn a_job_ends_after_a_crash_between_the_last_outcome_and_its_end() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        app.restart_after(async |ingest| {
            let now = ingest.clock().now();
            for device in ["till-1", "till-2"] {
                let event = parse_any(&outcome(&job, device, "COMPLETED"), now);
                let given = vec![(Some(Kind::JobOutcome), event)];
                ingest.record(given, None, Patience::None).await.unwrap();
            }
        })
        .await;
        assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
    })
    .await;
}

#[tokio::test]
async fn a_job_ends_on_a_device_once_and_never_after_it_has_ended_as_a_whole() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        app.record(json!([
            outcome(&job, "till-1", "COMPLETED"),
            outcome(&job, "till-1", "FAILED"),
            outcome(&job, "till-3", "FAILED")
        ]))
        .await;
        app.data_with(CANCEL, json!({ "input": { "jobId": job } })).await;
        app.record(json!([
            outcome(&job, "till-2", "COMPLETED"),
            outcome(&job, "till-1", "ERROR")
        ]))
        .await;
        let data = app.data_with(OF_JOB, json!({ "id": job })).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"job":{"devicesFailed":1,"devicesSucceeded":1,"state":"CANCELLED","targets":[{"status":"COMPLETED"},{"status":"CANCELLED"}]},"jobOutcomes":{"nodes":[{"devicesFailed":1,"devicesSucceeded":1,"devicesTargeted":2,"durationMs":60000,"status":"CANCELLED"}]}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_its_devices_have_ended_cannot_be_cancelled() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = created(app).await;
        app.record(json!([
            outcome(&job, "till-1", "COMPLETED"),
            outcome(&job, "till-2", "COMPLETED")
        ]))
        .await;
        let data = app
            .data_with(CANCEL, json!({ "input": { "jobId": job } }))
            .await;
        assert_eq!(data["cancelJob"]["job"]["state"], "COMPLETED");
        assert_eq!(
            data["cancelJob"]["userErrors"],
            json!([{ "code": "WRONG_STATE", "field": "jobId" }])
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_cancelled_on_simulated_devices_is_simulated() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            { "deviceRegistration": { "deviceId": "till-1", "siteId": "harbour",
                "deviceType": "POS_TERMINAL", "provenance": "SIMULATED" } },
            { "deviceMetrics": { "deviceId": "till-2", "occurredAt": super::app::NOON,
                "provenance": "SIMULATED" } }
        ]))
        .await;
        let job = created(app).await;
        app.data_with(CANCEL, json!({ "input": { "jobId": job } }))
            .await;
        let data = app.data("{ jobOutcomes { nodes { provenance } } }").await;
        assert_eq!(
            texts(&data["jobOutcomes"]["nodes"], "provenance"),
            ["SIMULATED"; 3]
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_for_a_site_leaves_retired_devices_out() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(
            json!([{ "deviceRegistration": { "deviceId": "till-1", "siteId": "harbour",
            "deviceType": "POS_TERMINAL", "lifecycle": "RETIRED" } }]),
        )
        .await;
        let answer = create(app, json!({ "jobType": "RESTART", "siteIds": ["harbour"] })).await;
        let targets = &answer["job"]["targets"];
        assert_eq!(
            *targets,
            json!([{ "device": { "deviceId": "till-2" }, "status": null }])
        );
    })
    .await;
}

/// Makes a job, has it end, and waits until it is marked that this was done.
pub(super) async fn end_and_await_the_checkpoint(app: &TestApp) {
    let job = created(app).await;
    app.record(json!([
        outcome(&job, "till-1", "COMPLETED"),
        outcome(&job, "till-2", "COMPLETED")
    ]))
    .await;
    assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
    let db = app.database().await;
    let sql = "SELECT count(*) FROM checkpoints WHERE projection = 'jobs_reconciled'
        AND position BETWEEN (SELECT max(position) FROM job_outcomes) AND 999999";
    let marked = async {
        loop {
            let statement = Statement::from_string(db.get_database_backend(), sql);
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            if row.try_get_by_index::<i64>(0).unwrap() == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, marked).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn what_was_done_for_jobs_is_marked() {
    on_each_database(async |app| {
        app.fleet().await;
        end_and_await_the_checkpoint(app).await;
    })
    .await;
}

#[tokio::test]
async fn a_mark_from_before_the_log_was_restored_does_not_count() {
    on_each_database(async |app| {
        app.fleet().await;
        end_and_await_the_checkpoint(app).await;
        let db = app.database().await;
        let sql = "UPDATE checkpoints SET position = 1000000, epoch = epoch - 1
            WHERE projection = 'jobs_reconciled'";
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
        app.restart().await;
        end_and_await_the_checkpoint(app).await;
    })
    .await;
}
