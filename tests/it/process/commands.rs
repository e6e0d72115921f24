//! A client that makes jobs, lets some of their devices end them, and cancels others.

use serde_json::{Value, json};

use super::api::{Api, RECORD};
use super::workload::DEVICES;

/// Jobs that it makes while a server lives.
const JOBS_MAX: usize = 15;

const CREATE: &str = "mutation Create($input: CreateJobInput!) { createJob(input: $input) { \
    job { jobId } userErrors { message } } }";
const CANCEL: &str = "mutation Cancel($input: CancelJobInput!) { cancelJob(input: $input) { \
    job { state } userErrors { message } } }";

/// Makes jobs until there are enough or the server is gone.
pub(super) async fn command_until_killed(api: Api, server: String) {
    for ordinal in 0..JOBS_MAX {
        if command(&api, &server, ordinal).await.is_none() {
            return;
        }
    }
}

/// One job; nothing when there was no answer.
async fn command(api: &Api, server: &str, ordinal: usize) -> Option<()> {
    let devices = [ordinal % DEVICES, (ordinal + 3) % DEVICES].map(|n| format!("d{n}"));
    let job = json!({ "jobType": "RESTART", "deviceIds": devices, "payload": { "delaySeconds": ordinal } });
    let made = ask(api, server, CREATE, job).await?;
    let id = &made["createJob"]["job"]["jobId"];
    assert!(id.is_string(), "{made}");
    let outcome = json!({ "jobId": id, "jobType": "RESTART", "scope": "DEVICE",
        "deviceId": devices[0], "status": "COMPLETED", "durationMs": ordinal });
    let events = json!({ "events": [{ "jobOutcome": outcome }] });
    ask(api, server, RECORD, events).await?;
    if ordinal.is_multiple_of(3) {
        ask(api, server, CANCEL, json!({ "jobId": id })).await?;
    }
    Some(())
}

async fn ask(api: &Api, server: &str, mutation: &str, input: Value) -> Option<Value> {
    let answer = api.call(server, mutation, json!({ "input": input }));
    let mut answer = answer.await.ok()?;
    assert!(answer.get("errors").is_none(), "{answer}");
    Some(answer["data"].take())
}
