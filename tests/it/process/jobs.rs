//! A rollout over a thousand devices, of which some fail and some are away, while servers are killed.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

use super::api::{Api, Subscription};
use super::database::Database;
use super::program::DEADLINE;

/// Devices of the job; every tenth is away, and of the others one in eighteen fails.
const DEVICES: usize = 1_000;
const AWAY: usize = 100;
const FAILING: usize = 50;

const COMMANDS: &str = "subscription { deviceCommands { command { commandId deviceId state } } }";
const ACKNOWLEDGE: &str = "mutation A($id: ID!) { acknowledgeCommand(input: { commandId: $id }) { \
    userErrors { code message } } }";
const COMPLETE: &str = "mutation C($id: ID!, $status: JobStatus!) { completeCommand(input: { \
    commandId: $id, status: $status, errorCode: \"E1\" }) { userErrors { code message } } }";
const PROGRESS: &str = "subscription P($id: ID!) { jobProgress(jobId: $id) { job { state } } }";
const STATE: &str = "{ jobs(first: 1) { nodes { jobId state devicesTargeted devicesSucceeded \
    devicesFailed devicesPending devicesIssued devicesWaiting devicesAcknowledged } } }";

fn is_away(number: usize) -> bool {
    number.is_multiple_of(DEVICES / AWAY)
}

fn fails(number: usize) -> bool {
    !is_away(number) && number % 20 == 7
}

fn name(number: usize) -> String {
    format!("till-{number:04}")
}

/// The devices, which remember what they have done.
#[derive(Clone)]
struct Devices {
    api: Api,
    servers: watch::Receiver<Vec<String>>,
    /// Commands that they have applied.
    applied: Arc<Mutex<BTreeSet<String>>>,
}

impl Devices {
    /// Takes commands from a server as long as it lives, and from the one that comes in its place, and
    /// answers any server.
    async fn play(self, index: usize) {
        let mut servers = self.servers.clone();
        let mut answering = FuturesUnordered::new();
        loop {
            let server = servers.borrow_and_update().get(index).cloned();
            let opened = match &server {
                Some(server) => Subscription::open(server, COMMANDS, json!({})).await,
                None => None,
            };
            if let Some(mut subscription) = opened {
                loop {
                    tokio::select! {
                        next = subscription.next() => match next {
                            Some(mut item) => {
                                let command = item["deviceCommands"]["command"].take();
                                answering.push(self.clone().obey(command));
                            }
                            None => break,
                        },
                        Some(()) = answering.next() => {}
                    }
                }
                continue;
            }
            tokio::select! {
                changed = servers.changed() => if changed.is_err() { return },
                Some(()) = answering.next() => {}
            }
        }
    }

    /// What a device does with a command: what it has done already it does not do again, but answers.
    async fn obey(self, command: Value) {
        let id = command["commandId"].as_str().unwrap().to_owned();
        let device = command["deviceId"].as_str().unwrap();
        let number: usize = device.strip_prefix("till-").unwrap().parse().unwrap();
        if is_away(number) || command["state"] == "CANCELLED" {
            return;
        }
        if !self.told(ACKNOWLEDGE, json!({ "id": id })).await {
            return;
        }
        self.applied.lock().await.insert(id.clone());
        let status = if fails(number) { "FAILED" } else { "COMPLETED" };
        self.told(COMPLETE, json!({ "id": id, "status": status }))
            .await;
    }

    /// Tells it to any server until one has answered; false when it does not count.
    async fn told(&self, document: &str, variables: Value) -> bool {
        let mut servers = self.servers.clone();
        loop {
            let (known, mut is_any_there) = (servers.borrow_and_update().clone(), false);
            for server in known {
                let Ok(answer) = self.api.call(&server, document, variables.clone()).await else {
                    continue;
                };
                is_any_there = true;
                if let Some(data) = answer["data"]
                    .as_object()
                    .filter(|_| answer.get("errors").is_none())
                {
                    let errors = data.values().next().map(|told| told["userErrors"].clone());
                    return errors == Some(json!([]));
                }
            }
            if !is_any_there && servers.changed().await.is_err() {
                return false;
            }
        }
    }
}

async fn register(api: &Api, server: &str) {
    let mut events = vec![json!({ "siteRegistration": { "siteId": "s", "name": "Site" } })];
    for number in 0..DEVICES {
        let device = name(number);
        events.push(json!({ "deviceRegistration": { "deviceId": device, "siteId": "s", "deviceType": "POS_TERMINAL" } }));
        if is_away(number) {
            events.push(
                json!({ "deviceStateChange": { "deviceId": device, "newState": "OFFLINE" } }),
            );
        }
    }
    for events in events.chunks(1_000) {
        let outcomes = api.record(server, json!(events)).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome["status"] == "RECORDED")
        );
    }
}

async fn create(api: &Api, server: &str) -> String {
    let document = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { jobId } userErrors { message } } }";
    let input = json!({ "jobType": "RESTART", "siteIds": ["s"], "rollout": { "batchSize": 50 },
        "timeToLiveSeconds": 20, "timeoutSeconds": 60 });
    let data = api.data(server, document, json!({ "input": input })).await;
    data["createJob"]["job"]["jobId"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn done(data: &Value) -> i64 {
    let job = &data["jobs"]["nodes"][0];
    job["devicesTargeted"].as_i64().unwrap() - job["devicesPending"].as_i64().unwrap()
}

fn has_ended(data: &Value) -> bool {
    let state = data["jobs"]["nodes"][0]["state"].as_str().unwrap();
    ["COMPLETED", "FAILED", "CANCELLED"].contains(&state)
}

/// Kills servers on the way, one after the other, and starts each again.
async fn run(database: Database, nodes: usize, kills: usize) {
    let api = Api::new();
    let (mut programs, mut addresses): (Vec<_>, Vec<_>) =
        (0..nodes).map(|_| database.serve()).unzip();
    let (tell, servers) = watch::channel(addresses.clone());
    let devices = Devices {
        api: api.clone(),
        servers,
        applied: Arc::default(),
    };
    register(&api, &addresses[0]).await;
    let playing: Vec<_> = (0..nodes)
        .map(|index| tokio::spawn(devices.clone().play(index)))
        .collect();
    let job = create(&api, &addresses[0]).await;
    let step = 900 / (kills + 1);
    for kill in 1..=kills {
        let upto = i64::try_from(kill * step).unwrap();
        let alive = &addresses[kill % nodes];
        api.until(alive, STATE, |data| done(data) >= upto || has_ended(data))
            .await;
        let victim = kill % nodes;
        programs[victim].kill();
        (programs[victim], addresses[victim]) = database.serve();
        tell.send_replace(addresses.clone());
    }
    let progress = Subscription::open(&addresses[0], PROGRESS, json!({ "id": job }));
    let mut progress = progress.await.unwrap();
    let to_its_end = async { while progress.next().await.is_some() {} };
    let ended = tokio::time::timeout(DEADLINE * 3, to_its_end).await;
    ended.expect("the job ends");
    let ended = api.data(&addresses[0], STATE, json!({})).await;
    assert!(has_ended(&ended), "{ended}");
    let shown = &ended["jobs"]["nodes"][0];
    let good = DEVICES - AWAY - FAILING;
    assert_eq!(shown["devicesSucceeded"], json!(good), "{shown}");
    assert_eq!(shown["devicesFailed"], json!(AWAY + FAILING), "{shown}");
    check_events(&api, &addresses[0], &job).await;
    let applied = devices.applied.lock().await;
    assert_eq!(
        applied.len(),
        DEVICES - AWAY,
        "each command is for one device"
    );
    for play in playing {
        play.abort();
    }
    drop(programs);
    database.verify();
}

/// Each device has one outcome and one command, and the job as a whole one outcome with their counts.
async fn check_events(api: &Api, server: &str, job: &str) {
    let fields = "... on JobOutcome { jobId scope status deviceId devicesSucceeded devicesFailed devicesTargeted } \
        ... on CommandTransition { commandId deviceId commandState: state attempt }";
    let log = api.log(server, None, fields).await;
    let of_job = |event: &&Value| event["jobId"] == job;
    let outcomes: Vec<&Value> = log.iter().filter(of_job).collect();
    let devices: BTreeSet<&str> = outcomes
        .iter()
        .filter_map(|one| one["deviceId"].as_str())
        .collect();
    assert_eq!((outcomes.len(), devices.len()), (DEVICES + 1, DEVICES));
    let whole: Vec<_> = outcomes
        .iter()
        .filter(|one| one["scope"] == "JOB")
        .collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0]["devicesTargeted"], json!(DEVICES));
    assert_eq!(whole[0]["devicesFailed"], json!(AWAY + FAILING));
    let mut commands: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in &log {
        if let (Some(id), Some(state)) =
            (event["commandId"].as_str(), event["commandState"].as_str())
        {
            let state = if ["ISSUED", "ACKNOWLEDGED"].contains(&state) {
                state
            } else {
                "ENDED"
            };
            *commands.entry((id, state)).or_default() += 1;
        }
    }
    assert!(
        commands.values().all(|times| *times == 1),
        "each step of a command once"
    );
    let of = |state: &str| commands.keys().filter(|(_, of)| *of == state).count();
    assert_eq!(
        [of("ISSUED"), of("ACKNOWLEDGED"), of("ENDED")],
        [DEVICES, DEVICES - AWAY, DEVICES]
    );
}

/// How often servers are killed on the way.
fn kills() -> usize {
    if crate::support::is_long() { 5 } else { 2 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_over_a_thousand_devices_ends_right_though_its_server_is_killed() {
    run(Database::sqlite(), 1, kills()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_over_a_thousand_devices_ends_right_with_two_servers_of_which_one_is_killed() {
    if let Some(database) = Database::postgres() {
        run(database, 2, kills()).await;
    }
}
