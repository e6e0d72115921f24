//! The agent as a client of a server: it hears of what its device is commanded.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use homepot_analytics::agent::{Agent, AgentArgs};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::app::{TestApp, on_each_database};
use super::device_commands::{ended, made};
use crate::faulty_server::quick;

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
