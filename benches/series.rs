//! Series over ten million device metrics: 100 devices at 10 sites that report every 30 seconds for 35 days.
//!
//! `cargo bench --bench series -- [--events N] [--file FILE] [--postgres URL] [--duckdb PYTHON] [--only PART]`.
//! The file and the database are made by the store, once, and kept: a later run goes on with them. The parts are
//! `fold` (how fast the log is summed up while it is appended to), `size` and `read`. A Python that has `DuckDB` is
//! asked the same of the same rows, right after the server.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod door;
mod duckdb;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod figures;
mod log;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;
mod program;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Stopwatch};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use homepot_analytics::event::Instant;
use homepot_analytics::kinds::Kind;
use homepot_analytics::store::{Columns, Order, PageQuery, Request};
use serde_json::json;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection, query_scalar,
};

use door::Door;
use figures::{Bar, float, heading, judged, median, milliseconds, percentile, shown};
use log::{Log, url_of};
use metrics::Fleet;
use program::Server;

const DEVICES: i64 = 100;
const SITES: i64 = 10;
/// Events of a request.
const BATCH: usize = 1_000;
/// Events a second that are to be summed up in time, and for how many seconds.
const PACE: u32 = 20_000;
const PACE_SECONDS: u32 = 60;
/// How often each question is asked.
const TIMES: usize = 15;
const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Parser)]
struct Arguments {
    /// Device metrics in the log.
    #[arg(long, default_value_t = 10_080_000)]
    events: i64,
    /// The file, which is kept.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/series.db"))]
    file: PathBuf,
    /// A database of PostgreSQL beside it, which is kept too.
    #[arg(long)]
    postgres: Option<String>,
    /// A Python that has the package `duckdb`, which is asked as well.
    #[arg(long)]
    duckdb: Option<PathBuf>,
    /// This part alone.
    #[arg(long)]
    only: Option<Part>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Fold,
    Size,
    Read,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let is_asked = |part| arguments.only.is_none_or(|only| only == part);
    if is_asked(Part::Fold) {
        let folder = tempfile::tempdir()?;
        pace("SQLite", &url_of(&folder.path().join("paced.db"))).await?;
    }
    let mut urls = vec![("SQLite", url_of(&arguments.file))];
    urls.extend(arguments.postgres.clone().map(|url| ("PostgreSQL", url)));
    for (name, url) in urls {
        if is_asked(Part::Size) || is_asked(Part::Read) {
            make(name, &url, arguments.events).await?;
        }
        if is_asked(Part::Size) {
            size(name, &url).await?;
        }
        if is_asked(Part::Read) {
            let ours = read(name, &url).await?;
            if let Some(python) = &arguments.duckdb {
                beside(&ours, python, &arguments.file, &url)?;
            }
        }
    }
    Ok(())
}

/// Asks `DuckDB` the same of the same rows.
fn beside(ours: &[(&str, f64)], python: &Path, file: &Path, url: &str) -> anyhow::Result<()> {
    heading("DuckDB over the same rows");
    let parquet = file.with_extension("parquet");
    duckdb::export(url, &parquet)?;
    let theirs = duckdb::ask(python, &parquet, TIMES)?;
    for (name, ours) in ours {
        if let Some(theirs) = theirs.get(*name) {
            shown(name, *theirs, "ms");
            shown("of that ours takes", ours / theirs * 100.0, "%");
        }
    }
    Ok(())
}

/// Appends as many events a second as are to be summed up, and looks how far behind that is.
async fn pace(name: &str, url: &str) -> anyhow::Result<()> {
    heading(&format!(
        "Summed up while {PACE} events/s are appended for {PACE_SECONDS} s, {name}"
    ));
    let mut log = Log::open(url).await?;
    let mut fleet = Fleet::new(DEVICES, log::start()).at_sites(SITES);
    log.register(&fleet).await?;
    log.caught_up().await?;
    let store = log.store.clone();
    let folded = log.folded();
    let mut behind = Vec::new();
    let began = Stopwatch::now();
    let mut appended: Vec<(Duration, i64)> = Vec::new();
    let batch_of = u32::try_from(BATCH)?;
    for batch in 1..=(PACE / batch_of * PACE_SECONDS) {
        store.append_patiently(request(&mut fleet, BATCH)?).await?;
        appended.push((began.elapsed(), store.head().0));
        // how long ago what is summed up by now was the newest
        let reached = *folded.borrow();
        let next = appended.iter().find(|(_, head)| *head > reached.0);
        behind.push(next.map_or(0.0, |(at, _)| {
            milliseconds(began.elapsed().saturating_sub(*at))
        }));
        let due = Duration::from_secs(1) * batch / (PACE / batch_of);
        tokio::time::sleep_until((began + due).into()).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    shown(
        "appended",
        f64::from(PACE * PACE_SECONDS) / seconds,
        "events/s",
    );
    shown("behind, p50", percentile(&behind, 50), "ms");
    judged(
        "behind, p99",
        percentile(&behind, 99),
        "ms",
        Bar::AtMost(2_000.0),
    );
    let ended = Stopwatch::now();
    log.caught_up().await?;
    shown(
        "caught up after the last",
        milliseconds(ended.elapsed()),
        "ms",
    );
    log.close().await;
    Ok(())
}

fn request(fleet: &mut Fleet, events: usize) -> anyhow::Result<Request> {
    Ok(Request {
        events: fleet.batch(events)?,
        expect: Vec::new(),
        registrations: Vec::new(),
        told: None,
    })
}

/// Makes the log, or what is missing of it.
async fn make(name: &str, url: &str, events: i64) -> anyhow::Result<()> {
    heading(&format!("The log, {name}"));
    let mut log = Log::open(url).await?;
    let mut fleet = Fleet::new(DEVICES, log::start_of(&log.store).await?).at_sites(SITES);
    if log.store.head().0 == 0 {
        log.register(&fleet).await?;
    }
    log.caught_up().await?;
    // what the server noticed meanwhile, such as silent devices, counts too
    let made = log.store.head().0 - DEVICES - SITES;
    fleet.skip_to(made);
    let mut left = usize::try_from(events - made).unwrap_or_default();
    let (added, began) = (left, Stopwatch::now());
    while left > 0 {
        let size = left.min(BATCH);
        left -= size;
        log.store
            .append_patiently(request(&mut fleet, size)?)
            .await?;
    }
    log.caught_up().await?;
    if added > 0 {
        let speed = float(added) / began.elapsed().as_secs_f64();
        shown("appended and summed up", speed, "events/s");
    }
    log.close().await;
    Ok(())
}

/// Bytes of what is summed up, of those of what was recorded.
async fn size(name: &str, url: &str) -> anyhow::Result<()> {
    heading(&format!("Bytes, {name}"));
    let mut sizes = Sizes::open(url).await?;
    let raw = sizes.of("device_metrics").await?;
    let mut all = 0.0;
    for table in [
        "device_rollups_15m",
        "device_rollups_1h",
        "device_rollups_1d",
        "site_rollups_1m",
        "site_rollups_15m",
        "site_rollups_1h",
        "site_rollups_1d",
    ] {
        let bytes = sizes.of(table).await?;
        shown(table, bytes / raw * 100.0, "% of the events");
        all += bytes;
    }
    judged(
        "rollups",
        all / raw * 100.0,
        "% of the events",
        Bar::AtMost(40.0),
    );
    Ok(())
}

/// Tells how many bytes tables take with their indexes.
enum Sizes {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Sizes {
    async fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("sqlite:") {
            let options: sqlx::sqlite::SqliteConnectOptions = url.parse()?;
            return Ok(Self::Sqlite(options.connect().await?));
        }
        Ok(Self::Postgres(PgConnection::connect(url).await?))
    }

    async fn of(&mut self, table: &str) -> anyhow::Result<f64> {
        let bytes: i64 = match self {
            Self::Sqlite(db) => {
                let sql = "SELECT CAST(sum(pgsize) AS INTEGER) FROM dbstat WHERE aggregate = TRUE AND \
                    name IN (SELECT name FROM sqlite_schema WHERE tbl_name = ?)";
                query_scalar(sql).bind(table).fetch_one(db).await?
            }
            Self::Postgres(db) => {
                let sql = format!(
                    "SELECT CAST(coalesce(sum(pg_total_relation_size(relid)), \
                     pg_total_relation_size('{table}')) AS BIGINT) FROM pg_partition_tree('{table}')"
                );
                query_scalar(AssertSqlSafe(sql)).fetch_one(db).await?
            }
        };
        Ok(bytes.to_string().parse()?)
    }
}

/// A question, and within how many milliseconds it is to be answered.
struct Question {
    name: &'static str,
    bar: Option<f64>,
    /// Days before the end of the log, from and until when.
    days: (i64, i64),
    arguments: &'static str,
    fields: &'static str,
}

/// As many buckets of few rows and of ten times as many.
const SHORT: &str = "fleet, 10 buckets over 3 d: avg, max, p95";
const LONG: &str = "fleet, 10 buckets over 30 d: avg, max, p95";

const QUESTIONS: [Question; 7] = [
    Question {
        name: "site × hour, 30 d: avg, max",
        bar: None,
        days: (30, 0),
        arguments: "buckets: { resolution: HOUR } groupBy: SITE",
        fields: "avg max",
    },
    Question {
        name: "site × hour, 30 d: avg, max, p95",
        bar: Some(100.0),
        days: (30, 0),
        arguments: "buckets: { resolution: HOUR } groupBy: SITE",
        fields: "avg max percentile(of: 95)",
    },
    Question {
        name: "device × hour, 7 d: avg, max",
        bar: None,
        days: (7, 0),
        arguments: "buckets: { resolution: HOUR } filter: { deviceIds: [\"pos-00007\"] }",
        fields: "avg max",
    },
    Question {
        name: "fleet × day, 30 d: avg, max, p95",
        bar: None,
        days: (30, 0),
        arguments: "buckets: { resolution: DAY }",
        fields: "avg max percentile(of: 95)",
    },
    Question {
        name: SHORT,
        bar: None,
        days: (3, 0),
        arguments: "buckets: { resolution: HOUR every: 8 }",
        fields: "avg max percentile(of: 95)",
    },
    Question {
        name: LONG,
        bar: None,
        days: (30, 0),
        arguments: "buckets: { resolution: DAY every: 3 }",
        fields: "avg max percentile(of: 95)",
    },
    Question {
        name: "100 devices as one value, 30 d: avg, p95",
        bar: None,
        days: (30, 0),
        arguments: "buckets: { resolution: YEAR } groupBy: DEVICE",
        fields: "avg percentile(of: 95)",
    },
];

/// Asks each question; how many milliseconds it took.
async fn read(name: &str, url: &str) -> anyhow::Result<Vec<(&'static str, f64)>> {
    heading(&format!("Series over HTTP, one client, {name}"));
    let end = end_of(url).await?;
    let (server, _) = Server::start(url)?;
    let mut client = Door::connect(server.address, "/graphql", None).await?;
    let mut took = Vec::with_capacity(QUESTIONS.len());
    for question in &QUESTIONS {
        let body = question.body(end).to_string();
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let began = Stopwatch::now();
            client.good(body.as_bytes()).await?;
            times.push(milliseconds(began.elapsed()));
        }
        let middle = median(&times);
        took.push((question.name, middle));
        match question.bar {
            Some(bar) => judged(question.name, middle, "ms", Bar::AtMost(bar)),
            None => shown(question.name, middle, "ms"),
        }
    }
    let of = |name: &str| took.iter().find(|(of, _)| *of == name);
    if let Some(((_, long), (_, short))) = of(LONG).zip(of(SHORT)) {
        let more = (long / short - 1.0) * 100.0;
        judged(
            "ten times the rows, the same buckets",
            more,
            "% more",
            Bar::AtMost(20.0),
        );
    }
    shown("memory, after the queries", server.memory_mb()?, "MB");
    Ok(took)
}

impl Question {
    fn body(&self, end: Instant) -> serde_json::Value {
        let (from, until) = self.days;
        let from = end.plus_ms(-from * DAY_MS).to_string();
        let to = end.plus_ms(-until * DAY_MS).to_string();
        let (arguments, fields) = (self.arguments, self.fields);
        let query = format!(
            "query($from: DateTime!, $to: DateTime!) {{ series(measures: [CPU_PERCENT] from: $from to: $to \
             {arguments}) {{ groups {{ key {{ value }} buckets {{ start {fields} }} }} }} }}"
        );
        json!({ "query": query, "variables": { "from": from, "to": to } })
    }
}

/// The hour with which the last metrics of a log end.
async fn end_of(url: &str) -> anyhow::Result<Instant> {
    let log = Log::open(url).await?;
    let newest = PageQuery {
        order: Order::NewestFirst,
        limit: 1,
        ..PageQuery::all_of(Kind::DeviceMetrics, Columns::ALL)
    };
    let found = log.store.page(&newest, &log.store.allowance()).await?;
    let last = found.first().context("the log has no metrics")?;
    let hour = 3_600_000_000;
    let end = Instant((last.fact.occurred_at.0 / hour + 1) * hour);
    log.close().await;
    Ok(end)
}
