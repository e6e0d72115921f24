//! A log of ten million device metrics on SQLite: how soon a server is ready on it, how fast it
//! answers, how much memory it takes.
//!
//! `cargo bench --bench large -- [--events N] [--file FILE]`. The file is made by the store, once,
//! and kept: a later run goes on with it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod door;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod figures;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod log;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;
mod program;

use std::path::PathBuf;
use std::time::{Duration, Instant as Stopwatch};

use anyhow::Context;
use clap::Parser;
use homepot_analytics::kinds::{Filter, Kind, Operand, Operator};
use homepot_analytics::store::{Columns, EntityType, Order, PageQuery, Request, Scope};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use door::Door;
use figures::{Bar, heading, judged, milliseconds, percentile, shown};
use log::{Log, url_of};
use metrics::Fleet;
use program::Server;

/// Devices that report.
const DEVICES: i64 = 1_000;
/// Events of a request.
const BATCH: usize = 1_000;
/// Pages that are asked for.
const PAGES: i64 = 500;

const NEWEST: &str = "query($device: String!) { deviceMetrics(first: 100, filter: { deviceId: { eq: $device } }) \
    { nodes { position occurredAt cpuPercent memoryPercent diskPercent transactionCount transactionVolume uptimeSeconds } } }";
const LATEST: &str = "{ devices(first: 1000) { nodes { deviceId latestMetrics { occurredAt cpuPercent memoryPercent } } } }";

#[derive(Debug, Parser)]
struct Arguments {
    /// Device metrics in the log.
    #[arg(long, default_value_t = 10_000_000)]
    events: i64,
    /// The file, which is kept.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/large.db"))]
    file: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    make(&arguments).await?;
    inside(&arguments).await?;
    let empty = tempfile::tempdir()?;
    let (server, _) = Server::start(&url_of(&empty.path().join("empty.db")))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = server.memory_mb()?;
    drop(server);
    let (server, ready) = Server::start(&url_of(&arguments.file))?;
    heading("A server of its own");
    judged("start to ready", ready.as_secs_f64(), "s", Bar::AtMost(1.0));
    judged("memory, idle, empty log", idle, "MB", Bar::AtMost(60.0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    judged(
        "memory, idle, this log",
        server.memory_mb()?,
        "MB",
        Bar::AtMost(60.0),
    );
    over_http(&server).await?;
    judged(
        "memory, after the queries",
        server.memory_mb()?,
        "MB",
        Bar::AtMost(200.0),
    );
    Ok(())
}

/// Makes the log, or what is missing of it.
async fn make(arguments: &Arguments) -> anyhow::Result<()> {
    let mut log = Log::open(&url_of(&arguments.file)).await?;
    let mut fleet = Fleet::new(DEVICES, log::start_of(&log.store).await?);
    if log.store.head().0 == 0 {
        log.register(&fleet).await?;
    }
    // what the server noticed meanwhile, such as silent devices, counts too
    let made = log.store.head().0 - DEVICES - 1;
    fleet.skip_to(made);
    let bar = ProgressBar::new(u64::try_from(arguments.events)?);
    let style = "{wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_position(u64::try_from(made)?);
    let (started, before) = (Stopwatch::now(), made);
    let mut left = usize::try_from(arguments.events - made).unwrap_or_default();
    let mut waiting = std::collections::VecDeque::new();
    let mut appends = tokio::task::JoinSet::new();
    while left > 0 || !waiting.is_empty() {
        let size = left.min(BATCH);
        left -= size;
        if size > 0 {
            let (store, events) = (log.store.clone(), fleet.batch(size)?);
            let request = Request {
                events,
                expect: Vec::new(),
                registrations: Vec::new(),
                told: None,
            };
            waiting.push_back(size);
            appends.spawn(async move { store.append_patiently(request).await });
        }
        if left == 0 || waiting.len() > 3 {
            let done = appends.join_next().await.context("an append is lost")?;
            done??;
            bar.inc(u64::try_from(waiting.pop_front().unwrap_or_default())?);
        }
    }
    bar.finish_and_clear();
    let head = log.store.head().0;
    println!("{head} events in {}", arguments.file.display());
    let added = f64::from(i32::try_from(arguments.events - before)?);
    if added > 0.0 {
        let seconds = started.elapsed().as_secs_f64();
        shown("made", added / seconds, "events/s");
    }
    let started = Stopwatch::now();
    log.caught_up().await?;
    let seconds = started.elapsed().as_secs_f64();
    shown("projections were behind by", seconds, "s");
    log.close().await;
    Ok(())
}

/// The page query by itself, in this process.
async fn inside(arguments: &Arguments) -> anyhow::Result<()> {
    let log = Log::open(&url_of(&arguments.file)).await?;
    let mut times = Vec::new();
    for page in 0..PAGES {
        let device = Fleet::device_id(page * 7 % DEVICES);
        let key = log.store.names().key(EntityType::Device, &device);
        let key = key.context("a device is not registered")?;
        let query = PageQuery {
            kind: Kind::DeviceMetrics,
            filter: Filter::Is(Operand::Device, Operator::In(vec![key.into()])),
            order: Order::NewestFirst,
            after: None,
            before: None,
            upto: None,
            scope: Scope::All,
            columns: Columns::NONE,
            limit: 100,
        };
        let started = Stopwatch::now();
        let events = log.store.page(&query, &log.store.allowance()).await?;
        times.push(milliseconds(started.elapsed()));
        anyhow::ensure!(events.len() == 100, "a page has {} rows", events.len());
    }
    log.close().await;
    heading("Newest 100 of a device, inside the server");
    judged("p50", percentile(&times, 50), "ms", Bar::AtMost(2.0));
    shown("p99", percentile(&times, 99), "ms");
    Ok(())
}

async fn over_http(server: &Server) -> anyhow::Result<()> {
    let mut client = Door::connect(server.address, "/graphql", None).await?;
    let mut newest = Vec::new();
    for page in 0..PAGES {
        let variables = json!({ "device": Fleet::device_id(page * 7 % DEVICES) });
        newest.push(
            timed(
                &mut client,
                &json!({ "query": NEWEST, "variables": variables }),
            )
            .await?,
        );
    }
    let mut latest = Vec::new();
    for _ in 0..50 {
        latest.push(timed(&mut client, &json!({ "query": LATEST })).await?);
    }
    heading("Over HTTP, one client");
    shown("newest 100 of a device, p50", percentile(&newest, 50), "ms");
    shown("newest 100 of a device, p99", percentile(&newest, 99), "ms");
    let p50 = percentile(&latest, 50);
    judged("latest of 1,000 devices, p50", p50, "ms", Bar::AtMost(10.0));
    shown(
        "latest of 1,000 devices, p99",
        percentile(&latest, 99),
        "ms",
    );
    Ok(())
}

async fn timed(client: &mut Door, request: &serde_json::Value) -> anyhow::Result<f64> {
    let body = request.to_string();
    let started = Stopwatch::now();
    client.good(body.as_bytes()).await?;
    Ok(milliseconds(started.elapsed()))
}
