//! How fast events are recorded over HTTP, by the whole server in this process: its projections, its
//! health check and its request log on, on SQLite.
//!
//! `cargo bench --bench http -- [--quick]`. The clients run on the same processors; the bodies are
//! made before the time is taken.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod door;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod figures;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant as Stopwatch;

use clap::Parser;
use homepot_analytics::app::{Access, App, Start};
use homepot_analytics::clock::Clock;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::NewEvent;
use homepot_analytics::store::Location;
use tokio::task::JoinSet;

use door::Door;
use figures::{Bar, float, heading, judged, median, percentile, shown};
use metrics::Fleet;
use wire::{post_all, recording, wire};

/// Devices that report.
const DEVICES: i64 = 1_000;
/// How long ago they began, in milliseconds.
const SINCE_MS: i64 = 30 * 24 * 3_600 * 1_000;

#[derive(Debug, Parser)]
struct Arguments {
    /// A tenth of the requests and one round.
    #[arg(long)]
    quick: bool,
    /// Where the database is made and removed again.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// By which way events are sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Graphql,
    Lines,
}

/// Clients, requests of each, events of a request.
type Load = (usize, usize, usize);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = tempfile::tempdir_in(&arguments.folder)?;
    let (rounds, part) = if arguments.quick { (1, 10) } else { (5, 1) };
    let start = Start {
        access: Access::Open,
        location: Location {
            url: format!("sqlite://{}", folder.path().join("http.db").display()),
            readers_max: 8,
            reads_within: None,
            create: true,
            ..Location::default()
        },
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        name: "bench".to_owned(),
        documents: homepot_analytics::http::Documents::default(),
        preferred: homepot_analytics::analytics::provenance::Preferred::Real,
        keyring: homepot_analytics::configuration::Keyring::default(),
        tls: None,
        tokens: homepot_analytics::identity::TokenArgs::default(),
        edge: homepot_analytics::http::EdgeArgs::default(),
        webhooks: homepot_analytics::webhooks::WebhookArgs::default(),
        mailer: None,
        exports: homepot_analytics::exports::ExportsArgs::default(),
        lake: None,
        allowed_hosts: Vec::new(),
        limits: LimitArgs::default(),
        clock: Clock::system(),
    };
    let app = App::start(start).await?;
    let mut fleet = Fleet::new(DEVICES, Clock::system().now().plus_ms(-SINCE_MS));
    let registrations = fleet.registrations()?;
    for events in registrations.chunks(1_000) {
        app.ingest.command(events.to_vec(), None).await?;
    }
    println!("events over HTTP, metrics of ten measures, {DEVICES} devices, medians");
    let bars = [
        (
            "recordEvents, batches of 1,000, 4 clients",
            Way::Graphql,
            (4, 25, 1_000),
            50_000.0,
        ),
        (
            "recordEvents, one event a request, 64 clients",
            Way::Graphql,
            (64, 300, 1),
            5_000.0,
        ),
        (
            "/v1/ingest, 1,000 lines a request, 4 clients",
            Way::Lines,
            (4, 25, 1_000),
            50_000.0,
        ),
        (
            "/v1/ingest, 10,000 lines a request, 4 clients",
            Way::Lines,
            (4, 5, 10_000),
            50_000.0,
        ),
    ];
    for (name, way, (clients, requests, events), bar) in bars {
        let load = (clients, (requests / part).max(2), events);
        measure((app.address, way), &mut fleet, (name, rounds), load, bar).await?;
    }
    app.stop().await;
    Ok(())
}

async fn measure(
    server: (SocketAddr, Way),
    fleet: &mut Fleet,
    (name, rounds): (&str, usize),
    load: Load,
    bar: f64,
) -> anyhow::Result<()> {
    let (mut speeds, mut p50s, mut p99s) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (speed, times) = run(server, fleet, load).await?;
        speeds.push(speed);
        p50s.push(percentile(&times, 50));
        p99s.push(percentile(&times, 99));
    }
    heading(name);
    judged(
        "metrics recorded",
        median(&speeds),
        "events/s",
        Bar::AtLeast(bar),
    );
    shown("request, p50", median(&p50s), "ms");
    shown("request, p99", median(&p99s), "ms");
    Ok(())
}

/// Events a second, and the time of each request.
async fn run(
    (address, way): (SocketAddr, Way),
    fleet: &mut Fleet,
    (clients, requests, events): Load,
) -> anyhow::Result<(f64, Vec<f64>)> {
    let mut of_clients = vec![Vec::with_capacity(requests); clients];
    for _ in 0..requests {
        for bodies in &mut of_clients {
            bodies.push(body(way, fleet.batch(events)?));
        }
    }
    let mut tasks = JoinSet::new();
    let started = Stopwatch::now();
    for bodies in of_clients {
        tasks.spawn(async move { post_all(client((address, way)).await?, bodies).await });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok((float(clients * requests * events) / seconds, times))
}

/// A client that sends events by a way.
async fn client((address, way): (SocketAddr, Way)) -> anyhow::Result<Door> {
    match way {
        Way::Graphql => Door::connect(address, "/graphql", None).await,
        Way::Lines => {
            let mut client = Door::connect(address, "/v1/ingest", None).await?;
            client.head = client
                .head
                .replace("application/json", "application/x-ndjson");
            Ok(client)
        }
    }
}

fn body(way: Way, events: Vec<NewEvent>) -> String {
    match way {
        Way::Graphql => recording(events),
        Way::Lines => {
            let lines = events.into_iter().map(wire);
            lines
                .flat_map(|event| [event.to_string(), "\n".to_owned()])
                .collect()
        }
    }
}
