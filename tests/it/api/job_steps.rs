//! The steps of jobs beside events that others record.

use futures_util::future::join_all;
use homepot_analytics::ingest::Patience;
use homepot_analytics::kinds::{Kind, parse_any};
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{TestApp, on_each_database, texts};
use super::jobs::{create, created, outcome, progress};

/// Namespace of the ids of a job's events.
const STEPS: Uuid = Uuid::from_u128(0x2f0d_61de_51c1_4e0e_9ac2_70c8_6f0c_88aa);

/// Records an event that is no step of a job under the id of one.
async fn take(app: &TestApp, job: &str, step: &str) -> i64 {
    let id = Uuid::new_v5(&STEPS, format!("{job}/{step}").as_bytes());
    let id = uuid::Builder::from_bytes(id.into_bytes()).with_version(uuid::Version::Custom);
    let id = id.into_uuid();
    let event = json!({ "errorLog": { "eventId": id, "category": "API", "severity": "INFO",
        "errorMessage": "in the way" } });
    app.record(json!([event])).await[0]
}

/// Makes a job for the two devices of a site that starts in an hour, and gives its id and the position of
/// its first step.
async fn created_for_later(app: &TestApp) -> (String, String) {
    let input = json!({ "jobType": "RESTART", "siteIds": ["harbour"],
        "start": { "at": super::app::at(60) } });
    let answer = create(app, input).await;
    let job = answer["job"]["jobId"].as_str().unwrap().to_owned();
    let document = "query($id: ID!) { job(jobId: $id) { version } }";
    let data = app.data_with(document, json!({ "id": job })).await;
    (job, data["job"]["version"].as_str().unwrap().to_owned())
}

/// Waits until so many commands were given to devices.
pub(super) async fn issued(app: &TestApp, commands: usize) {
    let mut socket = app.socket().await;
    let document = "subscription { deviceCommands { command { deviceId } } }";
    let id = socket.subscribe(document, json!({})).await;
    for _ in 0..commands {
        socket.data(&id).await;
    }
}

async fn end(app: &TestApp, job: &str) {
    app.record(json!([
        outcome(job, "till-1", "COMPLETED"),
        outcome(job, "till-2", "COMPLETED")
    ]))
    .await;
}

#[tokio::test]
async fn a_job_ends_also_when_other_events_have_the_ids_of_its_steps() {
    on_each_database(async |app| {
        app.fleet().await;
        let (job, version) = created_for_later(app).await;
        let running = format!("RUNNING/{version}/");
        for step in [&running, "ISSUED/1/till-1", "JOB_ENDED/", "JOB/"] {
            take(app, &job, step).await;
        }
        app.clock.advance_ms(3_600_000);
        issued(app, 2).await;
        end(app, &job).await;
        assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
        let data = app
            .data(
                "{ jobTransitions(order: FIRST_RECORDED_FIRST) { nodes { state } }
                jobOutcomes(filter: { scope: { eq: JOB } }) { nodes { status } } }",
            )
            .await;
        let states = texts(&data["jobTransitions"]["nodes"], "state");
        assert_eq!(states, ["SCHEDULED", "RUNNING", "COMPLETED"]);
        assert_eq!(
            data["jobOutcomes"]["nodes"],
            json!([{ "status": "COMPLETED" }])
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_is_cancelled_also_when_other_events_have_the_ids_of_its_steps() {
    on_each_database(async |app| {
        app.fleet().await;
        let (job, _) = created_for_later(app).await;
        for step in ["JOB_ENDED/", "ENDED/till-1", "JOB/"] {
            take(app, &job, step).await;
        }
        let cancel = "mutation($id: ID!) { cancelJob(input: { jobId: $id }) { job { state } userErrors { code } } }";
        let data = app.data_with(cancel, json!({ "id": job })).await;
        let answer = json!({ "job": { "state": "CANCELLED" }, "userErrors": [] });
        assert_eq!(data["cancelJob"], answer);
        let data = app.data("{ jobOutcomes { nodes { scope status } } }").await;
        let scopes = texts(&data["jobOutcomes"]["nodes"], "scope");
        assert_eq!(scopes, ["JOB", "DEVICE", "DEVICE"]);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_cannot_end_is_told_and_holds_no_other_up() {
    on_each_database(async |app| {
        app.fleet().await;
        let ((stuck, version), job) = (created_for_later(app).await, created(app).await);
        let mut step = format!("RUNNING/{version}/");
        for _ in 0..8 {
            let position = take(app, &stuck, &step).await;
            step = format!("BESIDE/{position}");
        }
        let after = app.head().await;
        app.clock.advance_ms(3_600_000);
        end(app, &job).await;
        assert_eq!(progress(app, &job).await.last().unwrap(), "COMPLETED 2+0");
        let mut socket = app.socket().await;
        let document = "subscription($a: String) { errorLogs(after: $a) { errorMessage } }";
        let id = socket.subscribe(document, json!({ "a": after })).await;
        let told = socket.data(&id).await["errorLogs"]["errorMessage"].take();
        let expected = format!(
            "the jobs: job {stuck} cannot go on: other events have the ids under \
            which its steps are recorded"
        );
        assert_eq!(told, expected.as_str());
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_devices_all_report_at_once_ends() {
    on_each_database(async |app| {
        app.fleet().await;
        let devices: Vec<String> = (0..900).map(|n| format!("many-{n}")).collect();
        let registered = |id: &String| {
            json!({ "deviceRegistration": { "deviceId": id,
            "siteId": "market", "deviceType": "POS_TERMINAL" } })
        };
        app.record(devices.iter().map(registered).collect()).await;
        let store = app.app().ingest.store();
        let mut tail = store.tail(store.head(), Some(&[Kind::JobTransition]));
        let create =
            "mutation($ids: [ID!]!) { createJob(input: { jobType: RESTART, deviceIds: $ids }) {
            job { jobId } } }";
        let data = app.data_with(create, json!({ "ids": devices })).await;
        let job = data["createJob"]["job"]["jobId"].as_str().unwrap();
        let ingest = &app.app().ingest;
        let reports = devices.iter().map(async |device| {
            let event = parse_any(&outcome(job, device, "COMPLETED"), app.clock.now());
            let given = vec![(Some(Kind::JobOutcome), event)];
            ingest
                .record(given, None, Patience::Unlimited)
                .await
                .unwrap();
        });
        join_all(reports).await;
        let mut states: Vec<Value> = Vec::new();
        while states.last() != Some(&json!("COMPLETED")) {
            for event in tail.next().await.unwrap() {
                let state = event.fact.cell(entity::job_transitions::Column::State);
                states.push(json!(state.text()));
            }
        }
        assert_eq!(
            states,
            [json!("QUEUED"), json!("RUNNING"), json!("COMPLETED")]
        );
    })
    .await;
}
