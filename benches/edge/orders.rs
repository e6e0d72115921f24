//! A job over ten thousand devices, each on a socket of its own: how many commands a second are
//! delivered, acknowledged and completed over the public API, and what memory the server takes.

use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::door::Door;
use crate::figures::{Bar, float, heading, judged, shown};
use crate::server::{Memory, Place, Server};
use crate::socket::Socket;

/// Sockets that are opened at once.
const OPENED_AT_ONCE: usize = 64;
/// Connections beside those of the sockets.
const SPARE: usize = 100;
/// How long the job may take.
const ENDS_WITHIN: Duration = Duration::from_mins(5);
/// Bytes of a megabyte.
const MB: f64 = 1_000_000.0;

const COMMANDS: &str =
    "subscription($id: ID!) { deviceCommands(deviceId: $id) { command { commandId } } }";
const ACKNOWLEDGE: &str = "mutation($id: ID!) { acknowledgeCommand(input: { commandId: $id }) { \
    userErrors { code } } }";
const COMPLETE: &str = "mutation($id: ID!) { completeCommand(input: { commandId: $id, \
    status: COMPLETED }) { userErrors { code } } }";
const CREATE: &str = "mutation { createJob(input: { jobType: RESTART, siteIds: [\"orders\"] }) { \
    job { jobId } userErrors { message } } }";
const STATE: &str =
    "{ jobs(first: 1) { nodes { state devicesSucceeded devicesFailed devicesTargeted } } }";

/// Measures a job over devices that all wait for it.
pub(crate) async fn measure(place: &Place, (what, quick): (&str, bool)) -> anyhow::Result<()> {
    let devices = if quick { 1_000 } else { 10_000 };
    let (sockets, connections) = (devices.to_string(), (devices + SPARE).to_string());
    let room = ["--sockets-max", &sockets, "--connections-max", &connections];
    let server = Server::start_with(place, &room)?;
    let mut door = Door::connect(server.address, "/graphql", server.key.as_deref()).await?;
    register(&mut door, devices).await?;
    heading(&format!("A job over {devices} devices, {what}"));
    shown("memory before", server.memory(Memory::Now)? / MB, "MB");
    let waiting = Arc::new(Barrier::new(devices + 1));
    let mut obeying = connect(&server, devices, &waiting).await?;
    waiting.wait().await;
    sleep(Duration::from_secs(2)).await;
    shown(
        "memory with their sockets",
        server.memory(Memory::Now)? / MB,
        "MB",
    );
    let (began, processor) = (Stopwatch::now(), server.processor_seconds()?);
    let made = ask(&mut door, CREATE, json!({})).await?;
    let refused = &made["createJob"]["userErrors"];
    anyhow::ensure!(*refused == json!([]), "{refused}");
    let done = async {
        while let Some(obeyed) = obeying.join_next().await {
            obeyed??;
        }
        anyhow::Ok(())
    };
    timeout(ENDS_WITHIN, done)
        .await
        .context("the job does not end")??;
    let completed = began.elapsed();
    let ended = async {
        loop {
            let mut data = ask(&mut door, STATE, json!({})).await?;
            let job = data["jobs"]["nodes"][0].take();
            if job["state"] != "RUNNING" && job["state"] != "QUEUED" {
                return anyhow::Ok(job);
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let job: Value = timeout(ENDS_WITHIN, ended)
        .await
        .context("the job does not end")??;
    anyhow::ensure!(job["devicesSucceeded"] == json!(devices), "{job}");
    let ended_after = began.elapsed().saturating_sub(completed);
    let used = server.processor_seconds()? - processor;
    let per_second = float(devices) / completed.as_secs_f64();
    judged(
        "commands completed",
        per_second,
        "/s",
        Bar::AtLeast(1_000.0),
    );
    shown(
        "from the last to the end of the job",
        ended_after.as_secs_f64() * 1_000.0,
        "ms",
    );
    shown(
        "processor for each command",
        used / float(devices) * 1_000_000.0,
        "µs",
    );
    let most = server.memory(Memory::Most)? / MB;
    judged("most memory", most, "MB", Bar::AtMost(350.0));
    Ok(())
}

/// Has each device wait for what it is told.
async fn connect(
    server: &Server,
    devices: usize,
    waiting: &Arc<Barrier>,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut obeying = JoinSet::new();
    let numbers: Vec<usize> = (0..devices).collect();
    for numbers in numbers.chunks(OPENED_AT_ONCE) {
        let opened = numbers.iter().map(|number| open(server, *number));
        for socket in futures_util::future::try_join_all(opened).await? {
            obeying.spawn(obey(socket, Arc::clone(waiting)));
        }
    }
    Ok(obeying)
}

async fn register(door: &mut Door, devices: usize) -> anyhow::Result<()> {
    let document = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { code message } } }";
    let mut events = vec![json!({ "siteRegistration": { "siteId": "orders", "name": "Orders" } })];
    events.extend((0..devices).map(|number| {
        json!({ "deviceRegistration": { "deviceId": name(number), "siteId": "orders",
            "deviceType": "POS_TERMINAL" } })
    }));
    for events in events.chunks(1_000) {
        let input = json!({ "input": { "events": events } });
        let answer = ask(door, document, input).await?;
        let outcomes = answer["recordEvents"]["outcomes"].as_array();
        let refused = outcomes
            .into_iter()
            .flatten()
            .find(|one| !one["code"].is_null());
        anyhow::ensure!(refused.is_none(), "{refused:?}");
    }
    Ok(())
}

/// The data of an answer.
async fn ask(door: &mut Door, document: &str, variables: Value) -> anyhow::Result<Value> {
    let body = json!({ "query": document, "variables": variables }).to_string();
    let mut answer: Value = serde_json::from_slice(door.good(body.as_bytes()).await?)?;
    Ok(answer["data"].take())
}

fn name(number: usize) -> String {
    format!("orders-{number:05}")
}

async fn open(server: &Server, number: usize) -> anyhow::Result<Socket> {
    Socket::follow(server, (COMMANDS, json!({ "id": name(number) }))).await
}

/// Takes one command, acknowledges it, and completes it, on the socket on which it came.
async fn obey(mut socket: Socket, waiting: Arc<Barrier>) -> anyhow::Result<()> {
    waiting.wait().await;
    let item: Value = serde_json::from_str(socket.text().await?)?;
    let id = &item["payload"]["data"]["deviceCommands"]["command"]["commandId"];
    anyhow::ensure!(id.is_string(), "{item}");
    for (ordinal, document) in ["2", "3"].into_iter().zip([ACKNOWLEDGE, COMPLETE]) {
        socket.ask(ordinal, (document, json!({ "id": id }))).await?;
        loop {
            let answer: Value = serde_json::from_str(socket.text().await?)?;
            if answer["id"] != ordinal {
                continue;
            }
            if answer["type"] == "complete" {
                break;
            }
            let data = answer["payload"]["data"]
                .as_object()
                .and_then(|data| data.values().next());
            let good = data.is_some_and(|told| told["userErrors"] == json!([]));
            anyhow::ensure!(good, "{answer}");
        }
    }
    Ok(())
}
