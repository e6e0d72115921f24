//! What insights cost: to fold what is kept of devices, to ask for one device, and to ask which of 10,000 are at risk;
//! each of a history and of one ten times as long.
//!
//! `cargo bench --bench insights -- [--days DAYS] [--devices DEVICES] [--only few|many] [--postgres URL]`. The short history
//! has so many days, the long one ten times as many. On PostgreSQL four databases are made beside the one of the address,
//! and dropped.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod door;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod figures;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod log;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;
mod program;

use std::time::{Duration, Instant as Stopwatch};

use anyhow::Context;
use clap::Parser;
use entity::{device_state_history as states, error_logs as errors};
use homepot_analytics::clock::Clock;
use homepot_analytics::event::{Instant, NewEvent, Provenance};
use homepot_analytics::kinds::{Draft, Kind};
use homepot_analytics::projections;
use homepot_analytics::store::Request;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection, query_scalar,
};

use door::Door;
use figures::{Bar, float, heading, judged, median, milliseconds, shown};
use log::{Log, url_of};
use metrics::Fleet;
use program::Server;

/// Events of a request.
const BATCH: usize = 1_000;
/// How often each question is asked.
const TIMES: usize = 25;
/// How often what is kept is folded anew, of each history in turn.
const FOLDS: usize = 3;
/// How often it is looked whether a server is ready.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many devices are not folded.
const DUE: &str = "SELECT count(*) FROM insight_due";
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// The history of few devices that report often, and of many that report seldom.
const FEW: Shape = Shape {
    devices: 100,
    interval_ms: 30_000,
};
const MANY: Shape = Shape {
    devices: 10_000,
    interval_ms: 6 * HOUR_MS,
};
/// What is asked of one device.
const QUESTIONS: [(&str, &str); 6] = [
    (
        "deviceHealth",
        "deviceHealth(deviceId: $d) { value status reasons { sentence } }",
    ),
    (
        "failureRisk",
        "failureRisk(deviceId: $d) { value status reasons { sentence } }",
    ),
    (
        "anomalies",
        "anomalies(filter: { deviceIds: [$d] }) { nodes { value state } }",
    ),
    ("reliability", "reliability(deviceId: $d) { value status }"),
    ("dataQuality", "dataQuality(deviceId: $d) { value status }"),
    (
        "healthForecast",
        "healthForecast(deviceId: $d) { value day }",
    ),
];

/// A fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// Few devices that report often.
    Few,
    /// Many that report seldom.
    Many,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// Days of the short history.
    #[arg(long, default_value_t = 3)]
    days: i64,
    /// How many the few devices are that report often.
    #[arg(long, default_value_t = FEW.devices)]
    devices: i64,
    /// Only one of the two fleets.
    #[arg(long)]
    only: Option<Which>,
    /// A database of PostgreSQL, in place of SQLite.
    #[arg(long)]
    postgres: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    devices: i64,
    interval_ms: i64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut place = Place::new(arguments.postgres.as_deref())?;
    let days = [arguments.days, arguments.days * 10];
    if arguments.only != Some(Which::Many) {
        let few = Shape {
            devices: arguments.devices,
            ..FEW
        };
        let few = place.made(few, days).await?;
        folds(&few).await?;
        devices(&few, (days, arguments.devices.max(1))).await?;
    }
    if arguments.only != Some(Which::Few) {
        let many = place.made(MANY, days).await?;
        fleets(&many).await?;
    }
    place.clear().await
}

/// A history in a database.
#[derive(Debug)]
struct History {
    url: String,
    days: i64,
    events: usize,
}

/// Where the databases are.
#[derive(Debug)]
struct Place {
    folder: tempfile::TempDir,
    postgres: Option<String>,
    databases: Vec<String>,
}

impl Place {
    fn new(postgres: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            postgres: postgres.map(str::to_owned),
            databases: Vec::new(),
        })
    }

    async fn run(&self, sql: String) -> anyhow::Result<()> {
        let url = self.postgres.as_deref().context("there is no PostgreSQL")?;
        let mut db = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut db).await?;
        Ok(())
    }

    async fn url(&mut self, name: &str) -> anyhow::Result<String> {
        let Some(postgres) = &self.postgres else {
            return Ok(url_of(&self.folder.path().join(format!("{name}.db"))));
        };
        let database = format!("bench_insights_{}_{name}", std::process::id());
        let (server, _) = postgres
            .rsplit_once('/')
            .context("the address has no database")?;
        let url = format!("{server}/{database}");
        self.run(format!("CREATE DATABASE {database}")).await?;
        self.databases.push(database);
        Ok(url)
    }

    /// Makes the histories of a shape.
    async fn made(&mut self, shape: Shape, days: [i64; 2]) -> anyhow::Result<[History; 2]> {
        let [short, long] = days;
        heading(&format!(
            "{} devices, every {} s, {short} and {long} days",
            shape.devices,
            shape.interval_ms / 1_000
        ));
        let name = |days: i64| format!("d{}_{days}", shape.devices);
        let (to_short, to_long) = (self.url(&name(short)).await?, self.url(&name(long)).await?);
        Ok([
            made(to_short, shape, short).await?,
            made(to_long, shape, long).await?,
        ])
    }

    async fn clear(self) -> anyhow::Result<()> {
        for database in &self.databases {
            self.run(format!("DROP DATABASE {database} WITH (FORCE)"))
                .await?;
        }
        Ok(())
    }
}

/// Makes a history that ends now.
async fn made(url: String, shape: Shape, days: i64) -> anyhow::Result<History> {
    let mut log = Log::open(&url).await?;
    let now = Clock::system().now();
    let from = now.plus_ms(-days * DAY_MS);
    let mut fleet = Fleet::new(shape.devices, from)
        .at_sites((shape.devices / 10).max(1))
        .every_ms(shape.interval_ms);
    log.register(&fleet).await?;
    let rounds = days * DAY_MS / shape.interval_ms;
    let mut left = usize::try_from(rounds * shape.devices)?;
    let began = Stopwatch::now();
    let mut events = left;
    let trouble = trouble(shape, (from, days))?;
    events += trouble.len();
    let mut trouble = trouble.into_iter().peekable();
    while left > 0 {
        let mut batch = fleet.batch(left.min(BATCH))?;
        left -= batch.len();
        let until = batch.last().map(|event| event.fact.occurred_at);
        while trouble
            .peek()
            .is_some_and(|event| Some(event.fact.occurred_at) <= until)
        {
            batch.extend(trouble.next());
        }
        append(&log, batch).await?;
    }
    append(&log, trouble.collect()).await?;
    log.caught_up().await?;
    let speed = float(events) / began.elapsed().as_secs_f64();
    shown(
        &format!("appended and folded, {days} days"),
        speed,
        "events/s",
    );
    log.close().await;
    Ok(History { url, days, events })
}

async fn append(log: &Log, events: Vec<NewEvent>) -> anyhow::Result<()> {
    for events in events.chunks(BATCH) {
        let request = Request {
            events: events.to_vec(),
            expect: Vec::new(),
            registrations: Vec::new(),
            told: None,
        };
        log.store.append_patiently(request).await?;
    }
    Ok(())
}

/// Errors of each device every six hours, and a failure every five days, in order of time.
fn trouble(shape: Shape, (from, days): (Instant, i64)) -> anyhow::Result<Vec<NewEvent>> {
    let mut events = Vec::new();
    for device in 0..shape.devices {
        let id = Fleet::device_id(device);
        let first = from.plus_ms(device * 7_919_000 % (6 * HOUR_MS));
        for hours in (0..days * 24 - 6).step_by(6) {
            let at = first.plus_ms(hours * HOUR_MS);
            let error = Draft::new(Kind::ErrorLog, at, Provenance::Simulated)
                .set(errors::Column::Category, "DEVICE")
                .set(errors::Column::Severity, "ERROR")
                .set(errors::Column::ErrorMessage, "the printer does not answer")
                .set(errors::Column::DeviceKey, id.as_str());
            events.push(finished(error)?);
            if (hours + device * 6) % 120 == 0 {
                for (after, state) in [(60_000, "ERROR"), (1_800_000, "ONLINE")] {
                    let at = at.plus_ms(after);
                    let stated = Draft::new(Kind::DeviceStateChange, at, Provenance::Simulated)
                        .set(states::Column::DeviceKey, id.as_str())
                        .set(states::Column::NewState, state);
                    events.push(finished(stated)?);
                }
            }
        }
    }
    events.sort_by_key(|event| event.fact.occurred_at);
    Ok(events)
}

fn finished(draft: Draft) -> anyhow::Result<NewEvent> {
    let finished = draft.finish();
    finished.map_err(|refusal| anyhow::anyhow!("a bad event was made: {refusal:?}"))
}

/// Folds what is kept of devices anew, of either history in turn.
async fn folds(histories: &[History; 2]) -> anyhow::Result<()> {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..FOLDS {
        for (history, took) in histories.iter().zip(&mut took) {
            let log = Log::open(&history.url).await?;
            let began = Stopwatch::now();
            projections::rebuild(&log.store, "insights", |_, _| ()).await?;
            let micros = milliseconds(began.elapsed()) * 1_000.0;
            took.push(micros / float(history.events));
            log.close().await;
            let due = number(&history.url, DUE).await?;
            anyhow::ensure!(due == 0, "{due} devices are not folded");
        }
    }
    let [short, long] = [median(&took[0]), median(&took[1])];
    shown("fold, short history", short, "µs an event");
    judged("fold, long history", long, "µs an event", Bar::AtMost(20.0));
    ten_times("fold", short, long);
    for history in histories {
        let sql = "SELECT CAST(max(length(risk) + length(rest)) AS BIGINT) FROM device_insights";
        let bytes = number(&history.url, sql).await?;
        let name = format!("state of a device at most, {} days", history.days);
        let kilobytes = float(usize::try_from(bytes)?) / 1_000.0;
        judged(&name, kilobytes, "kB", Bar::AtMost(16.0));
    }
    Ok(())
}

fn ten_times(name: &str, short: f64, long: f64) {
    let more = (long / short - 1.0) * 100.0;
    let name = format!("{name}, of ten times the history");
    judged(&name, more, "% more", Bar::AtMost(10.0));
}

async fn number(url: &str, sql: &'static str) -> anyhow::Result<i64> {
    if url.starts_with("sqlite:") {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse()?;
        let mut db: SqliteConnection = options.connect().await?;
        return Ok(query_scalar(sql).fetch_one(&mut db).await?);
    }
    let mut db = PgConnection::connect(url).await?;
    Ok(query_scalar(sql).fetch_one(&mut db).await?)
}

/// Servers over both histories, with a client each.
async fn served(histories: &[History; 2]) -> anyhow::Result<([Server; 2], [Door; 2])> {
    let [short, long] = histories;
    let servers = [Server::start(&short.url)?.0, Server::start(&long.url)?.0];
    let began = Stopwatch::now();
    for (server, history) in servers.iter().zip(histories) {
        summed_up(server).await?;
        all_folded(history).await?;
    }
    shown(
        "both folded, summed up and learned from",
        began.elapsed().as_secs_f64(),
        "s after the start",
    );
    let [short, long] = &servers;
    let clients = [
        Door::connect(short.address, "/graphql", None).await?,
        Door::connect(long.address, "/graphql", None).await?,
    ];
    Ok((servers, clients))
}

/// Waits until a server has folded what happened before today and summed up its fleet, which it does once a day, and at
/// its first start.
async fn summed_up(server: &Server) -> anyhow::Result<()> {
    let mut client = Door::connect(server.address, "/graphql", None).await?;
    let body = json!({ "query": "{ modelReport(provenance: SIMULATED) { summedUpAt } }" });
    let now = Clock::system().now();
    let midnight = Instant(now.0 - now.0.rem_euclid(DAY_MS * 1_000));
    loop {
        let answer: Value =
            serde_json::from_slice(client.good(body.to_string().as_bytes()).await?)?;
        let summed_up_at = answer.pointer("/data/modelReport/summedUpAt");
        if summed_up_at.and_then(Value::as_str) == Some(&midnight.to_string()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the server over a history has folded what happened today as well.
async fn all_folded(history: &History) -> anyhow::Result<()> {
    while number(&history.url, DUE).await? > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Asks the same of both in turn; what each takes.
async fn asked(clients: &mut [Door; 2], body: impl Fn(usize) -> Value) -> anyhow::Result<[f64; 2]> {
    let mut took = [Vec::new(), Vec::new()];
    for time in 0..TIMES {
        let body = body(time).to_string();
        for (client, took) in clients.iter_mut().zip(&mut took) {
            let began = Stopwatch::now();
            client.good(body.as_bytes()).await?;
            took.push(milliseconds(began.elapsed()));
        }
    }
    let [short, long] = &took;
    Ok([median(short), median(long)])
}

async fn devices(histories: &[History; 2], (days, devices): ([i64; 2], i64)) -> anyhow::Result<()> {
    let [short, long] = days;
    heading(&format!(
        "One device over HTTP, of {short} and of {long} days"
    ));
    let (_servers, mut clients) = served(histories).await?;
    for (name, field) in QUESTIONS {
        let query = format!("query($d: ID!) {{ {field} }}");
        // another device each time, of which nothing is in memory, where there are so many
        let [short, long] = asked(&mut clients, |time| {
            let device = i64::try_from(time).unwrap_or_default() % devices;
            let device = Fleet::device_id(device);
            json!({ "query": query, "variables": { "d": device } })
        })
        .await?;
        judged(name, long, "ms", Bar::AtMost(5.0));
        ten_times(name, short, long);
    }
    Ok(())
}

async fn fleets(histories: &[History; 2]) -> anyhow::Result<()> {
    let (servers, mut clients) = served(histories).await?;
    let query =
        "{ devicesAtRisk(threshold: 0.01) { totalCount nodes { value device { deviceId } } } }";
    let [short, long] = asked(&mut clients, |_| json!({ "query": query })).await?;
    let [_, of_long] = &servers;
    shown("memory, long history", of_long.memory_mb()?, "MB");
    shown("devicesAtRisk, short history", short, "ms");
    judged(
        "devicesAtRisk, long history",
        long,
        "ms",
        Bar::AtMost(200.0),
    );
    ten_times("devicesAtRisk", short, long);
    Ok(())
}
