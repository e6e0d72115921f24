//! Pages that many ask for at once.

use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::data::{self, DEVICES};
use crate::door::Door;
use crate::figures::{Bar, float, heading, judged, median, shown};
use crate::latencies::Latencies;
use crate::server::{Place, Server};

/// Clients that each wait for the answer before they ask again.
const CLIENTS: usize = 32;
/// Metrics of each device.
const METRICS: usize = 1_000;

const HISTORY: &str = "query($device: ID!) { deviceMetrics(first: 100, filter: { deviceId: { eq: $device } }) { nodes { \
    occurredAt cpuPercent memoryPercent diskPercent networkLatencyMs transactionCount transactionVolume uptimeSeconds } } }";
const NESTED: &str = "{ devices(first: 20) { nodes { deviceId name deviceType site { siteId name } \
    deviceMetrics(first: 10) { nodes { occurredAt cpuPercent memoryPercent } } } } }";

/// How many were answered in a second, and how long one took.
#[derive(Debug, Default)]
struct Speeds {
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Milliseconds of processors that the server took for one.
    processor_ms: Vec<f64>,
}

/// Measures both pages beside an answer of as many bytes.
pub(crate) async fn measure(database: &str, place: &Place, quick: bool) -> anyhow::Result<()> {
    let (server, bare) = (Server::start(place)?, Server::bare()?);
    let metrics = if quick { METRICS / 10 } else { METRICS };
    data::seed(&server, metrics.max(100)).await?;
    // what follows the log has come to its end
    sleep(Duration::from_secs(2)).await;
    let of_device =
        |number| json!({ "query": HISTORY, "variables": { "device": data::device(number) } });
    let history: Vec<_> = (0..DEVICES)
        .map(|number| of_device(number).to_string())
        .collect();
    let nested = vec![json!({ "query": NESTED }).to_string()];
    let pages = [
        ("100 rows of 8 fields of a device", history, 4_000.0),
        (
            "20 devices, their site and last 10 metrics",
            nested,
            3_000.0,
        ),
    ];
    for (name, bodies, least) in pages {
        let bytes = answered(&server, &bodies, name).await?;
        let (path, bodies) = (format!("/bytes/{bytes}"), Arc::new(bodies));
        let (mut ours, mut yardstick) = (Speeds::default(), Speeds::default());
        let (rounds, within) = if quick { (1, 1) } else { (3, 5) };
        for _ in 0..rounds {
            let within = Duration::from_secs(within);
            run(&server, "/graphql", &bodies, within, &mut ours).await?;
            run(&bare, &path, &bodies, within, &mut yardstick).await?;
        }
        heading(&format!(
            "{database}, {name}, {CLIENTS} clients, {bytes} bytes"
        ));
        let (rate, of_bare) = (median(&ours.per_second), median(&yardstick.per_second));
        judged("answers", rate, "a second", Bar::AtLeast(least));
        shown("p50", median(&ours.p50_ms), "ms");
        judged("p99", median(&ours.p99_ms), "ms", Bar::AtMost(25.0));
        shown(
            "processors of the server, each",
            median(&ours.processor_ms),
            "ms",
        );
        shown("bare axum with as many bytes", of_bare, "a second");
        shown("bare axum, p50", median(&yardstick.p50_ms), "ms");
        shown("bare axum, p99", median(&yardstick.p99_ms), "ms");
        shown(
            "bare axum, processors, each",
            median(&yardstick.processor_ms),
            "ms",
        );
        shown("answers / bare axum", rate / of_bare, "");
    }
    Ok(())
}

/// Bytes of the answer, which is good.
async fn answered(server: &Server, bodies: &[String], name: &str) -> anyhow::Result<usize> {
    let mut door = Door::connect(server.address, "/graphql", server.key.as_deref()).await?;
    let mut bytes = 0;
    for body in bodies {
        let answer = door.post(body.as_bytes()).await?;
        let rows = answer.text().contains("occurredAt");
        anyhow::ensure!(answer.is_good() && rows, "{name}: {}", answer.text());
        bytes = answer.body.len();
    }
    Ok(bytes)
}

async fn run(
    server: &Server,
    path: &str,
    bodies: &Arc<Vec<String>>,
    within: Duration,
    speeds: &mut Speeds,
) -> anyhow::Result<()> {
    let latencies = Arc::new(Latencies::new());
    let mut clients = JoinSet::new();
    let (used, started) = (server.processor_seconds()?, Stopwatch::now());
    for client in 0..CLIENTS {
        let door = Door::connect(server.address, path, server.key.as_deref()).await?;
        let (bodies, latencies) = (Arc::clone(bodies), Arc::clone(&latencies));
        clients.spawn(ask(door, bodies, client, (started, within), latencies));
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let answers = float(usize::try_from(latencies.count())?);
    speeds
        .per_second
        .push(answers / started.elapsed().as_secs_f64());
    speeds.p50_ms.push(latencies.percentile(50));
    speeds.p99_ms.push(latencies.percentile(99));
    let used = server.processor_seconds()? - used;
    speeds.processor_ms.push(used * 1_000.0 / answers);
    Ok(())
}

async fn ask(
    mut door: Door,
    bodies: Arc<Vec<String>>,
    first: usize,
    (started, within): (Stopwatch, Duration),
    latencies: Arc<Latencies>,
) -> anyhow::Result<()> {
    for body in bodies.iter().cycle().skip(first) {
        let asked = Stopwatch::now();
        if asked.duration_since(started) > within {
            break;
        }
        let answer = door.post(body.as_bytes()).await?;
        anyhow::ensure!(answer.status == 200, "{}", answer.text());
        latencies.add(data::since(asked));
    }
    Ok(())
}
