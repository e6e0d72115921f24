//! One, two and three servers over one PostgreSQL: how many events they record and pages they answer together,
//! and how many with a replica to read from.
//!
//! `cargo bench --bench nodes -- --postgres URL [--replica URL]`, of a database that is empty or was made by this.
//! Clients, servers and databases share the processors of the machine, so a figure that does not grow with the
//! servers says that there is no more of those.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod door;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod figures;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod program;
mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant as Stopwatch};

use clap::Parser;
use homepot_analytics::clock::Clock;
use serde_json::json;
use tokio::task::JoinSet;

use door::Door;
use figures::{float, heading, milliseconds, percentile, shown};
use metrics::Fleet;
use program::Server;
use wire::{post_all, recording};

const DEVICES: i64 = 1_000;
const NODES_MAX: usize = 3;
/// How long ago they began to report, in milliseconds.
const SINCE_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// Events of a request, requests of a client, and clients.
const BATCH: usize = 1_000;
const REQUESTS: usize = 40;
const RECORDERS: usize = 6;
/// Who read, and for how long.
const READERS: usize = 16;
const READ_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
struct Arguments {
    /// The database.
    #[arg(long)]
    postgres: String,
    /// A replica of it.
    #[arg(long)]
    replica: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let url = &arguments.postgres;
    let mut fleet = Fleet::new(DEVICES, Clock::system().now().plus_ms(-SINCE_MS));
    let mut servers = Vec::new();
    for nodes in 1..=NODES_MAX {
        servers.push(Server::start(url)?.0);
        if nodes == 1 {
            register(servers[0].address, &fleet).await?;
        }
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        heading(&format!("Servers: {nodes}"));
        let (speed, times) = record(&addresses, &mut fleet).await?;
        shown("recorded, batches of 1,000", speed, "events/s");
        shown("a batch, p99", percentile(&times, 99), "ms");
        pages(&addresses).await?;
    }
    drop(servers);
    if let Some(replica) = &arguments.replica {
        heading("Servers: 1, with a replica");
        let (server, _) = Server::start_with(url, &["--database-read", replica])?;
        pages(&[server.address]).await?;
    }
    Ok(())
}

async fn register(address: SocketAddr, fleet: &Fleet) -> anyhow::Result<()> {
    let mut client = Door::connect(address, "/graphql", None).await?;
    for events in fleet.registrations()?.chunks(BATCH) {
        client.good(recording(events.to_vec()).as_bytes()).await?;
    }
    Ok(())
}

/// Events a second, and the time of each request.
async fn record(addresses: &[SocketAddr], fleet: &mut Fleet) -> anyhow::Result<(f64, Vec<f64>)> {
    let mut of_clients = vec![Vec::new(); RECORDERS];
    for _ in 0..REQUESTS {
        for bodies in &mut of_clients {
            bodies.push(recording(fleet.batch(BATCH)?));
        }
    }
    let began = Stopwatch::now();
    let mut tasks = JoinSet::new();
    for (bodies, address) in of_clients.into_iter().zip(addresses.iter().cycle()) {
        let address = *address;
        tasks.spawn(async move {
            let client = Door::connect(address, "/graphql", None).await?;
            post_all(client, bodies).await
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let events = float(RECORDERS * REQUESTS * BATCH);
    Ok((events / began.elapsed().as_secs_f64(), times))
}

/// Asks for pages of 100 rows of devices.
async fn pages(addresses: &[SocketAddr]) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (device, address) in (0..READERS).zip(addresses.iter().cycle()) {
        tasks.spawn(read(*address, device));
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let rate = float(times.len()) / READ_FOR.as_secs_f64();
    shown("pages of 100 rows of a device", rate, "requests/s");
    shown("a page, p99", percentile(&times, 99), "ms");
    Ok(())
}

async fn read(address: SocketAddr, device: usize) -> anyhow::Result<Vec<f64>> {
    let mut client = Door::connect(address, "/graphql", None).await?;
    let device = Fleet::device_id(i64::try_from(device)?);
    let query = "query($device: ID!) { deviceMetrics(filter: { deviceId: { in: [$device] } } first: 100) { \
        nodes { occurredAt cpuPercent memoryPercent diskPercent networkLatencyMs transactionCount \
        errorRatePercent uptimeSeconds } } }";
    let body = json!({ "query": query, "variables": { "device": device } }).to_string();
    let (began, mut times) = (Stopwatch::now(), Vec::new());
    while began.elapsed() < READ_FOR {
        let asked = Stopwatch::now();
        client.good(body.as_bytes()).await?;
        times.push(milliseconds(asked.elapsed()));
    }
    Ok(times)
}
