//! The long run: what is recorded goes to a thousand sockets, of which some never read, and nobody misses or
//! repeats an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::data::{self, DEVICES};
use crate::door::Door;
use crate::figures::{Bar, heading, judged};
use crate::latencies::Latencies;
use crate::server::{Memory, Place, Server};
use crate::socket::Socket;

/// Sockets that read.
const READERS: usize = 900;
/// Sockets that never do.
const NEGLECTED: usize = 100;
/// Requests in a second, each with an event of each device.
const REQUESTS_PER_SECOND: u32 = 10;
/// How often it is told how things stand.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// How often who never reads says that it lives.
const LIVES_EVERY: Duration = Duration::from_secs(10);
/// How long the last event may take.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a megabyte.
const MB: f64 = 1_000_000.0;

const FOLLOW: &str = "subscription($device: ID!) { deviceMetrics(filter: { deviceId: { eq: $device } }) { \
    cursor deviceId occurredAt cpuPercent transactionCount uptimeSeconds } }";

/// What readers have seen.
#[derive(Debug)]
struct Seen {
    /// Deliveries since it was told last.
    newly: Latencies,
    /// Up to which event each has come.
    upto: Vec<AtomicU64>,
    /// Sockets of those who never read, that the server has closed.
    let_go: AtomicU64,
}

fn subscription(number: usize) -> (&'static str, serde_json::Value) {
    (FOLLOW, json!({ "device": data::device(number) }))
}

/// Runs for so long.
pub(crate) async fn measure(place: &Place, seconds: u64) -> anyhow::Result<()> {
    let server = Arc::new(Server::start(place)?);
    data::seed(&server, 1).await?;
    let began = Stopwatch::now();
    let seen = Arc::new(Seen {
        newly: Latencies::new(),
        upto: (0..READERS).map(|_| AtomicU64::new(0)).collect(),
        let_go: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for number in 0..READERS {
        let socket = Socket::follow(&server, subscription(number)).await?;
        clients.spawn(read(socket, number, began, Arc::clone(&seen)));
    }
    for number in 0..NEGLECTED {
        clients.spawn(neglect(Arc::clone(&server), number, Arc::clone(&seen)));
    }
    sleep(Duration::from_secs(1)).await;
    heading(&format!(
        "{READERS} sockets that read and {NEGLECTED} that never do, {DEVICES} devices, {} events/s, {seconds} s",
        usize::try_from(REQUESTS_PER_SECOND)? * DEVICES
    ));
    let all = Latencies::new();
    let rounds = record(&server, &seen, &all, (began, seconds, &mut clients)).await?;
    end(&server, &seen, &all, rounds, &mut clients).await
}

/// Records events of all devices as long as it is to last, and tells how things stand; how many of each device.
async fn record(
    server: &Server,
    seen: &Seen,
    all: &Latencies,
    (began, seconds, clients): (Stopwatch, u64, &mut JoinSet<anyhow::Result<()>>),
) -> anyhow::Result<u64> {
    let mut door = Door::connect(server.address, "/graphql", server.key.as_deref()).await?;
    let (mut next, mut tell, mut which) = (Instant::now(), Instant::now() + TOLD_EVERY, 0);
    let until = next + Duration::from_secs(seconds);
    while next < until {
        sleep_until(next).await;
        next += Duration::from_secs(1) / REQUESTS_PER_SECOND;
        which += 1;
        let events: Vec<_> = (0..DEVICES)
            .map(|number| data::stamped(number, which, began))
            .collect();
        data::recorded(&mut door, &events).await?;
        if let Some(ended) = clients.try_join_next() {
            ended??;
        }
        if Instant::now() >= tell {
            tell += TOLD_EVERY;
            told(server, seen, (began, which * DEVICES))?;
            all.take(&seen.newly);
        }
    }
    Ok(u64::try_from(which)?)
}

fn told(server: &Server, seen: &Seen, (began, events): (Stopwatch, usize)) -> anyhow::Result<()> {
    println!(
        "  {:>5} s  {events:>8} events  {:>9} deliveries  p50 {:>6.1} ms  p99 {:>6.1} ms  {:>6.1} MB  {:>6} let go",
        began.elapsed().as_secs(),
        seen.newly.count(),
        seen.newly.percentile(50),
        seen.newly.percentile(99),
        server.memory(Memory::Now)? / MB,
        seen.let_go.load(Ordering::Relaxed),
    );
    Ok(())
}

/// Waits for the last event, and judges.
async fn end(
    server: &Server,
    seen: &Seen,
    all: &Latencies,
    rounds: u64,
    clients: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let waited = Stopwatch::now();
    loop {
        let upto = seen.upto.iter().map(|upto| upto.load(Ordering::Relaxed));
        let least = upto.min().unwrap_or_default();
        if least == rounds {
            break;
        }
        if let Some(ended) = clients.try_join_next() {
            ended??;
        }
        anyhow::ensure!(
            waited.elapsed() < ENDS_WITHIN,
            "a reader has {least} of {rounds} events"
        );
        sleep(Duration::from_millis(50)).await;
    }
    all.take(&seen.newly);
    let deliveries = rounds * u64::try_from(READERS)?;
    anyhow::ensure!(
        all.count() == deliveries,
        "there were {} deliveries",
        all.count()
    );
    println!("  every reader has read all {rounds} events of its device, each once, in order");
    judged(
        "delivery, p99",
        all.percentile(99),
        "ms",
        Bar::AtMost(250.0),
    );
    let most = server.memory(Memory::Most)? / MB;
    judged("most memory of the server", most, "MB", Bar::AtMost(300.0));
    Ok(())
}

async fn read(
    mut socket: Socket,
    reader: usize,
    began: Stopwatch,
    seen: Arc<Seen>,
) -> anyhow::Result<()> {
    let mut last = 0;
    loop {
        let text = socket.text().await?;
        let sent = data::number(text, "transactionCount");
        let which = data::number(text, "uptimeSeconds");
        let (Some(sent), Some(which)) = (sent, which) else {
            anyhow::bail!("no item: {text}");
        };
        anyhow::ensure!(which == last + 1, "{which} came after {last}: {text}");
        last = which;
        seen.newly.add(data::since(began).saturating_sub(sent));
        if let Some(upto) = seen.upto.get(reader) {
            upto.store(which, Ordering::Relaxed);
        }
    }
}

/// Follows, says now and then that it lives, and reads nothing; comes again when it is let go.
async fn neglect(server: Arc<Server>, number: usize, seen: Arc<Seen>) -> anyhow::Result<()> {
    loop {
        let mut socket = Socket::neglect(&server, subscription(number)).await?;
        let mut lives = interval(LIVES_EVERY);
        while socket.pong().await.is_ok() {
            lives.tick().await;
        }
        seen.let_go.fetch_add(1, Ordering::Relaxed);
    }
}
