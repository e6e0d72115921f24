//! The agent as a client of a server: it hears of what its device is commanded.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use homepot_analytics::agent::{Agent, AgentArgs};
use homepot_analytics::config::LimitArgs;
use homepot_analytics::identity::Role;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::access::{ask, grant, key};
use super::app::{TestApp, on_each_database};
use super::device_commands::{ended, made};
use super::socket::Socket;
use crate::faulty_server::quick;

const MAKE: &str =
    "mutation { createJob(input: { jobType: HEALTH_CHECK, payload: { checks: [\"spool\"] },
    deviceIds: [\"till-1\"] }) { job { jobId } } }";
const PROGRESS: &str =
    "subscription($id: ID!) { jobProgress(jobId: $id) { job { state devicesSucceeded } } }";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: AgentArgs,
}

/// The agent of a till, which asks for commands once, and then only when it hears that there are some.
fn agent(app: &TestApp, spool: &Path) -> Agent {
    let (server, spool) = (app.address(""), spool.to_str().unwrap());
    let flags = ["agent", "--server", &server, "--spool", spool];
    let till = ["--device", "till-1", "--site", "harbour"];
    let interval = ["--interval", "3600"];
    let flags = flags.into_iter().chain(till).chain(interval);
    Agent {
        args: Cli::parse_from(flags).args,
        sender: quick(),
        asks_every: Duration::from_hours(1),
        clock: app.clock.clone(),
        rng: StdRng::seed_from_u64(1),
    }
}

#[tokio::test]
async fn an_agent_hears_of_a_command_when_it_is_given() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut socket = app.socket().await;
        let samples = "subscription($after: String) { deviceMetrics(after: $after) { cursor } }";
        let after = json!({ "after": app.head().await });
        let samples = socket.subscribe(samples, after).await;
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let running = tokio::spawn(agent(app, folder.path()).run(stop.clone()));
        // by then it has asked, in vain
        socket.data(&samples).await;
        let check = json!({ "jobType": "HEALTH_CHECK", "payload": { "checks": ["spool"] },
            "deviceIds": ["till-1"] });
        for _ in 0..2 {
            let job = made(app, check.clone()).await;
            assert_eq!(ended(app, &job).await, "COMPLETED 1+0");
        }
        stop.cancel();
        running.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_agent_for_which_there_is_no_place_to_listen_asks() {
    on_each_database(async |app| {
        app.fleet().await;
        let limits = LimitArgs {
            sockets_max: 10,
            // the clock stands, and with it what may be spent in a second
            cost_per_second_max: 0,
            ..LimitArgs::default()
        };
        app.close_with(limits).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let address = app.app().address;
        let mut others = Vec::new();
        for _ in 0..9 {
            others.push(Socket::open_as(address, &device).await);
        }
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let mut agent = agent(app, folder.path());
        agent.args.server.key = Some(device);
        agent.asks_every = Duration::from_millis(50);
        let running = tokio::spawn(agent.run(stop.clone()));
        let (_, made) = ask(app, &admin, json!({ "query": MAKE })).await;
        let id = &made["data"]["createJob"]["job"]["jobId"];
        assert!(id.is_string(), "{made:#}");
        let mut socket = Socket::open_as(address, &admin).await;
        let progress = socket.subscribe(PROGRESS, json!({ "id": id })).await;
        loop {
            let mut data = socket.data(&progress).await;
            let job = data["jobProgress"]["job"].take();
            if job["state"] == "COMPLETED" {
                assert_eq!(job["devicesSucceeded"], 1, "{job}");
                break;
            }
        }
        drop(others);
        stop.cancel();
        running.await.unwrap().unwrap();
    })
    .await;
}
