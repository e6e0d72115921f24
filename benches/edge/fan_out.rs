//! One message to thousands of sockets: how long after it was sent each has read it.

use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::data;
use crate::door::Door;
use crate::figures::{Bar, float, heading, judged, shown};
use crate::latencies::Latencies;
use crate::server::{Place, Server};
use crate::socket::Socket;

/// Different subscriptions, where not all are the same.
const DIFFERENT: usize = 100;
/// Sockets that are opened at once.
const OPENED_AT_ONCE: usize = 64;
/// How long what was sent may take to reach the last.
const REACHES_ALL_WITHIN: Duration = Duration::from_secs(20);

/// All metrics; each variable is another subscription.
const FOLLOW: &str = "subscription($least: Float) { deviceMetrics(filter: { cpuPercent: { gte: $least } }) { \
    cursor deviceId occurredAt cpuPercent transactionCount uptimeSeconds } }";

/// Who follows, and what is sent.
#[derive(Clone, Copy, Debug)]
struct Case {
    sockets: usize,
    per_second: usize,
    different: usize,
    p99_ms: Option<f64>,
}

/// What came of it.
#[derive(Debug)]
struct Delivered {
    p50_ms: f64,
    p99_ms: f64,
    /// Microseconds of processors that the server took for one delivery.
    processor_us: f64,
}

/// Whose sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Bare,
}

/// Measures one message to many, beside a bare broadcast of the same text.
pub(crate) async fn measure(place: &Place, quick: bool) -> anyhow::Result<()> {
    let (server, bare) = (Server::start(place)?, Server::bare()?);
    data::seed(&server, 1).await?;
    let case = |sockets, per_second, different, p99_ms| Case {
        sockets,
        per_second,
        different,
        p99_ms,
    };
    let cases = [
        case(1_000, 10, 1, Some(120.0)),
        case(1_000, 10, DIFFERENT, None),
        case(5_000, 2, 1, Some(200.0)),
        case(5_000, 2, DIFFERENT, None),
    ];
    let seconds = if quick { 2 } else { 15 };
    let mut sent = 0;
    for case in cases {
        let ours = run(&server, Side::Ours, case, seconds, &mut sent).await?;
        let yardstick = run(&bare, Side::Bare, case, seconds, &mut sent).await?;
        let Case {
            sockets,
            per_second,
            different,
            ..
        } = case;
        heading(&format!(
            "{sockets} sockets, {per_second} messages/s, {different} different subscriptions"
        ));
        shown("delivery, p50", ours.p50_ms, "ms");
        match case.p99_ms {
            Some(most) => judged("delivery, p99", ours.p99_ms, "ms", Bar::AtMost(most)),
            None => shown("delivery, p99", ours.p99_ms, "ms"),
        }
        shown("processors of the server, each", ours.processor_us, "µs");
        shown("bare broadcast, p50", yardstick.p50_ms, "ms");
        shown("bare broadcast, p99", yardstick.p99_ms, "ms");
        shown(
            "bare broadcast, processors, each",
            yardstick.processor_us,
            "µs",
        );
        shown("p99 / bare broadcast", ours.p99_ms / yardstick.p99_ms, "");
    }
    Ok(())
}

async fn run(
    server: &Server,
    side: Side,
    case: Case,
    seconds: usize,
    sent: &mut usize,
) -> anyhow::Result<Delivered> {
    let (began, latencies) = (Stopwatch::now(), Arc::new(Latencies::new()));
    let mut readers = JoinSet::new();
    let variables = |socket: usize| json!({ "least": float(socket % case.different) / 10.0 });
    for sockets in opened(server, side, case.sockets, variables).await? {
        readers.spawn(read(sockets, began, Arc::clone(&latencies)));
    }
    // subscriptions have begun; nobody is told when
    sleep(Duration::from_secs(1)).await;
    let path = if side == Side::Ours {
        "/graphql"
    } else {
        "/say"
    };
    let mut door = Door::connect(server.address, path, server.key.as_deref()).await?;
    let (used, mut next) = (server.processor_seconds()?, Instant::now());
    for _ in 0..case.per_second * seconds {
        sleep_until(next).await;
        next += Duration::from_secs(1) / u32::try_from(case.per_second)?;
        *sent += 1;
        say(&mut door, side, *sent, began).await?;
    }
    let wanted = case.sockets * case.per_second * seconds;
    let waited = Stopwatch::now();
    while latencies.count() < u64::try_from(wanted)? {
        let missing = u64::try_from(wanted)? - latencies.count();
        let in_time = waited.elapsed() < REACHES_ALL_WITHIN;
        if let (Some(ended), false) = (readers.try_join_next(), in_time) {
            ended??;
        }
        anyhow::ensure!(in_time, "{missing} of {wanted} deliveries are missing");
        sleep(Duration::from_millis(20)).await;
    }
    let used = server.processor_seconds()? - used;
    anyhow::ensure!(
        latencies.count() == u64::try_from(wanted)?,
        "something came twice"
    );
    Ok(Delivered {
        p50_ms: latencies.percentile(50),
        p99_ms: latencies.percentile(99),
        processor_us: used * 1_000_000.0 / float(wanted),
    })
}

/// Sockets that follow.
async fn opened(
    server: &Server,
    side: Side,
    count: usize,
    variables: impl Fn(usize) -> Value + Send + Sync,
) -> anyhow::Result<Vec<Socket>> {
    let mut sockets = Vec::with_capacity(count);
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(OPENED_AT_ONCE) {
        let opening = numbers.iter().map(|number| async {
            match side {
                Side::Ours => Socket::follow(server, (FOLLOW, variables(*number))).await,
                Side::Bare => Socket::bare(server).await,
            }
        });
        sockets.extend(futures_util::future::try_join_all(opening).await?);
    }
    Ok(sockets)
}

/// Sockets that follow one subscription.
pub(crate) async fn followers(server: &Server, count: usize) -> anyhow::Result<Vec<Socket>> {
    opened(server, Side::Ours, count, |_| json!({ "least": 0 })).await
}

async fn read(
    mut socket: Socket,
    began: Stopwatch,
    latencies: Arc<Latencies>,
) -> anyhow::Result<()> {
    loop {
        let sent = data::number(socket.text().await?, "transactionCount");
        if let Some(sent) = sent {
            latencies.add(data::since(began).saturating_sub(sent));
        }
    }
}

/// Sends a message; to the yardstick as our server writes it.
async fn say(door: &mut Door, side: Side, which: usize, began: Stopwatch) -> anyhow::Result<()> {
    let event = data::stamped(which, which, began);
    if side == Side::Ours {
        return data::recorded(door, &[event]).await;
    }
    let mut item = event["deviceMetrics"].clone();
    item["cursor"] = json!("ev1_AAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let payload = json!({ "data": { "deviceMetrics": item } });
    let next = json!({ "type": "next", "id": "1", "payload": payload });
    door.post(next.to_string().as_bytes()).await?;
    Ok(())
}
