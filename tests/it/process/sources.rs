//! The agent and the simulation as processes of their own, against a server that comes and goes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::api::Api;
use super::database::Database;
use super::program::{Program, command, free_port};

const METRICS: &str = "{ deviceMetrics(first: 1000, order: FIRST_RECORDED_FIRST) { \
    totalCount nodes { deviceId provenance occurredAt memoryPercent uptimeSeconds } } }";

fn count(data: &Value) -> usize {
    data["deviceMetrics"]["nodes"].as_array().unwrap().len()
}

fn start_agent(database: &Database, server: &str) -> Program {
    let spool = database.folder().join("spool");
    let spool = spool.to_str().unwrap();
    let arguments = [
        "agent",
        "--server",
        server,
        "--spool",
        spool,
        "--device",
        "this-machine",
        "--site",
        "workshop",
        "--interval",
        "1",
    ];
    Program::spawn(database.folder(), command(arguments))
}

fn stop(agent: Program) {
    agent.terminate();
    let ended = agent.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_reports_this_machine_and_loses_nothing_while_the_server_is_away() {
    let database = Database::sqlite();
    // one port for both servers, since the agent knows one address
    let listen = format!("127.0.0.1:{}", free_port());
    let serve = ["serve", "--no-authentication", "--listen", &listen];
    let mut server = database.start(&serve);
    let address = server.address().unwrap();
    let api = Api::new();
    let agent = start_agent(&database, &address);
    let before = count(&api.until(&address, METRICS, |data| count(data) >= 2).await);
    server.kill();
    // the agent samples each second meanwhile: its spool tells when it has some
    let spooled = || folder_bytes(&database.folder().join("spool"));
    let (begun, until) = (
        spooled(),
        std::time::Instant::now() + super::program::DEADLINE,
    );
    while spooled() < begun + 300 {
        assert!(std::time::Instant::now() < until, "nothing is spooled");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut server = database.start(&serve);
    let address = server.address().unwrap();
    let data = api
        .until(&address, METRICS, |data| count(data) >= before + 3)
        .await;
    stop(agent);
    let nodes = data["deviceMetrics"]["nodes"].as_array().unwrap();
    for node in nodes {
        assert_eq!(node["deviceId"], "this-machine");
        assert_eq!(node["provenance"], "REAL");
        assert!(node["memoryPercent"].as_f64().unwrap() > 0.0);
    }
    let seconds: Vec<i64> = nodes
        .iter()
        .map(|node| node["occurredAt"].as_str().unwrap())
        .map(|at| homepot_analytics::event::Instant::parse(at).unwrap().0 / 1_000_000)
        .collect();
    let instants: BTreeSet<&str> = nodes
        .iter()
        .map(|n| n["occurredAt"].as_str().unwrap())
        .collect();
    assert_eq!(instants.len(), nodes.len(), "a sample is there twice");
    // no gap where the server was away: a sample a second, give or take one
    assert!(
        seconds.windows(2).all(|pair| pair[1] - pair[0] <= 2),
        "{seconds:?}"
    );
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().map_or(0, |file| file.len()))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulation_fills_an_hour_over_the_public_api() {
    let database = Database::sqlite();
    let (_server, address) = database.serve();
    let arguments = [
        "simulate",
        "--server",
        &address,
        "--back-hours",
        "1",
        "--speed",
        "100000",
        "--seed",
        "7",
    ];
    let simulation = Program::spawn(database.folder(), command(arguments));
    let api = Api::new();
    let query = "{ deviceMetrics { totalCount } devices { nodes { deviceId currentState \
        latestMetrics { occurredAt } } } sites { nodes { siteId } } \
        collectionStatus { sources { source simulatedRecords refused { code } } } }";
    // 12 devices report every 30 s for an hour, less what trouble swallows
    let enough = |data: &Value| {
        data["deviceMetrics"]["totalCount"]
            .as_str()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 1_150
    };
    let data = api.until(&address, query, enough).await;
    stop(simulation);
    assert_eq!(data["devices"]["nodes"].as_array().unwrap().len(), 12);
    assert_eq!(data["sites"]["nodes"].as_array().unwrap().len(), 3);
    for source in data["collectionStatus"]["sources"].as_array().unwrap() {
        assert_eq!(source["refused"], json!([]), "{source}");
    }
    let log = api.log(&address, None, "provenance").await;
    let simulated = log
        .iter()
        .filter(|event| event["provenance"] == "SIMULATED")
        .count();
    assert!(simulated > 1_150, "{simulated}");
}
