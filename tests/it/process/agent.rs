//! The agent as a process beside a server: it does what its device is commanded.

use serde_json::{Value, json};

use super::api::Api;
use super::database::Database;
use super::program::Program;

const CREATE: &str = "mutation C($input: CreateJobInput!) { createJob(input: $input) { job { jobId } \
    userErrors { message } } }";
const ENDED: &str = "{ commandTransitions(first: 20, order: FIRST_RECORDED_FIRST, filter: { state: { \
    in: [COMPLETED, FAILED, ERROR] } }) { nodes { jobType state errorCode result durationMs } } }";

fn agent(database: &Database, server: &str) -> Program {
    let log = database.folder().join("till.log").display().to_string();
    with_logs(database, server, &log)
}

/// An agent that may tell of some files, parted by commas.
fn with_logs(database: &Database, server: &str, logs: &str) -> Program {
    let spool = database.folder().join("spool").display().to_string();
    let arguments = [
        "agent",
        "--server",
        server,
        "--device",
        "till",
        "--site",
        "shop",
        "--interval",
        "1",
        "--spool",
        &spool,
        "--log-file",
        logs,
    ];
    Program::start(database.folder(), &arguments)
}

async fn ended(api: &Api, server: &str, count: usize) -> Vec<Value> {
    let nodes = |data: &Value| {
        data["commandTransitions"]["nodes"]
            .as_array()
            .unwrap()
            .clone()
    };
    let data = api
        .until(server, ENDED, |data| nodes(data).len() >= count)
        .await;
    nodes(&data)
}

async fn command(api: &Api, server: &str, job_type: &str, payload: Value) {
    let input = json!({ "jobType": job_type, "payload": payload, "deviceIds": ["till"] });
    let made = api.data(server, CREATE, json!({ "input": input })).await;
    assert_eq!(made["createJob"]["userErrors"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_does_what_it_is_commanded_and_refuses_what_it_does_not_know() {
    let (database, api) = (Database::sqlite(), Api::new());
    std::fs::write(database.folder().join("till.log"), "one\ntwo\nthree\n").unwrap();
    let (_serving, server) = database.serve();
    let mut running = agent(&database, &server);
    let known = "{ device(deviceId: \"till\") { deviceId } }";
    api.until(&server, known, |data| !data["device"].is_null())
        .await;
    command(
        &api,
        &server,
        "HEALTH_CHECK",
        json!({ "checks": ["spool", "server"] }),
    )
    .await;
    let checked = ended(&api, &server, 1).await.remove(0);
    assert_eq!(checked["state"], "COMPLETED", "{checked}");
    assert_eq!(checked["result"]["spool"], json!({ "ok": true }));
    command(&api, &server, "LOG_COLLECTION", json!({ "lines": 2 })).await;
    let collected = ended(&api, &server, 2).await.remove(1);
    assert_eq!(
        collected["result"]["files"][0]["lines"],
        json!(["two", "three"])
    );
    command(&api, &server, "RESTART", json!({})).await;
    let refused = ended(&api, &server, 3).await.remove(2);
    assert_eq!(
        (&refused["state"], &refused["errorCode"]),
        (&json!("ERROR"), &json!("UNSUPPORTED"))
    );
    command(
        &api,
        &server,
        "UPDATE_POS_CONFIG",
        json!({ "parameters": { "collectionIntervalSeconds": 2 } }),
    )
    .await;
    assert_eq!(ended(&api, &server, 4).await[3]["state"], "COMPLETED");
    let interval = "{ device(deviceId: \"till\") { latestMetrics { collectionIntervalSeconds } } }";
    let is_two = |data: &Value| data["device"]["latestMetrics"]["collectionIntervalSeconds"] == 2;
    api.until(&server, interval, is_two).await;
    // what it was configured to outlives it
    running.kill();
    let newest =
        "{ device(deviceId: \"till\") { latestMetrics { occurredAt collectionIntervalSeconds } } }";
    let before = api.data(&server, newest, json!({})).await;
    let running = agent(&database, &server);
    let after = api.until(&server, newest, |data| data != &before).await;
    assert_eq!(
        after["device"]["latestMetrics"]["collectionIntervalSeconds"],
        2
    );
    assert_eq!(
        ended(&api, &server, 4).await.len(),
        4,
        "nothing is done twice"
    );
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_does_not_take_is_told_as_an_error_and_holds_nothing_up() {
    let (database, api) = (Database::sqlite(), Api::new());
    // names that are written in JSON with six bytes a character: an answer with all of them is too long
    let name = |number: usize| format!("{}{number}", "\u{1}".repeat(240));
    let logs: Vec<String> = (0..50)
        .map(|number| database.folder().join(name(number)).display().to_string())
        .collect();
    std::fs::write(&logs[0], "one\n").unwrap();
    let (_serving, server) = database.serve();
    let _running = with_logs(&database, &server, &logs.join(","));
    let known = "{ device(deviceId: \"till\") { deviceId } }";
    api.until(&server, known, |data| !data["device"].is_null())
        .await;
    command(&api, &server, "LOG_COLLECTION", json!({})).await;
    command(
        &api,
        &server,
        "HEALTH_CHECK",
        json!({ "checks": ["spool"] }),
    )
    .await;
    let told = ended(&api, &server, 2).await;
    let told: Vec<[&Value; 3]> = told
        .iter()
        .map(|end| [&end["jobType"], &end["state"], &end["errorCode"]])
        .collect();
    let collected = ["LOG_COLLECTION", "ERROR", "NOT_TAKEN"].map(Value::from);
    let checked = ["HEALTH_CHECK".into(), "COMPLETED".into(), Value::Null];
    assert!(told.contains(&collected.each_ref()), "{told:?}");
    assert!(told.contains(&checked.each_ref()), "{told:?}");
}
