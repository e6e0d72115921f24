//! How fast events become durable through the store, beside the bare driver in the same run on the
//! same disk.
//!
//! `cargo bench --bench append -- [--quick]`; with `HOMEPOT_BENCH_POSTGRES` set to the address of a
//! server whose user may create databases, PostgreSQL too. Both sides take turns, and the medians of
//! their rounds are compared: on a busy machine only the ratios count.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
mod figures;
mod load;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod log;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant as Stopwatch;

use clap::Parser;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, query};
use tokio::task::JoinSet;

use bare::{BarePostgres, BareSqlite, Rows};
use figures::{Bar, float, heading, judged, median, milliseconds, percentile, shown};
use load::{Commit, Group, Load, Speed};
use log::{Log, url_of};
use metrics::Fleet;

/// Devices that report.
const DEVICES: i64 = 1_000;

#[derive(Debug, Parser)]
struct Arguments {
    /// A tenth of the events and one round.
    #[arg(long)]
    quick: bool,
    /// Where the databases are made and removed again.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
    /// A server of PostgreSQL.
    #[arg(long, env = "HOMEPOT_BENCH_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,
    /// PostgreSQL alone.
    #[arg(long, requires = "postgres")]
    skip_sqlite: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    fn load(&self, appenders: usize, requests: usize, events: usize) -> Load {
        let requests = if self.quick { requests / 10 } else { requests };
        Load {
            appenders,
            requests: requests.max(1),
            events,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = tempfile::tempdir_in(&arguments.folder)?;
    println!("device metrics of ten measures, {DEVICES} devices, projections on, medians");
    if let (true, Some(server)) = (arguments.skip_sqlite, &arguments.postgres) {
        return postgres(&arguments, server).await;
    }
    single(&arguments, folder.path()).await?;
    for (appenders, requests) in [(64, 300), (256, 120)] {
        let load = arguments.load(appenders, requests, 1);
        let name = format!("SQLite, {appenders} appenders of single events");
        let bar = (appenders == 64).then_some(Bar::AtLeast(0.8));
        compare(&arguments, folder.path(), &name, load, bar).await?;
    }
    let load = arguments.load(4, 25, 1_000);
    compare(
        &arguments,
        folder.path(),
        "SQLite, batches of 1,000",
        load,
        None,
    )
    .await?;
    bytes(&arguments, folder.path()).await?;
    if let Some(server) = &arguments.postgres {
        return postgres(&arguments, server).await;
    }
    println!("\nPostgreSQL: set HOMEPOT_BENCH_POSTGRES to measure it");
    Ok(())
}

/// Median time of a write and its sync to the disk.
fn sync_ms(folder: &Path) -> anyhow::Result<f64> {
    let mut file = std::fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Stopwatch::now();
        file.write_all(&[1; 4_096])?;
        file.sync_data()?;
        times.push(milliseconds(started.elapsed()));
    }
    Ok(percentile(&times, 50))
}

/// One appender of single events: each waits for the disk.
async fn single(arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    let load = arguments.load(1, 1_000, 1);
    let (mut syncs, mut stored, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        syncs.push(sync_ms(folder)?);
        stored.push(through_store(folder, load).await?.p50_ms);
        bare.push(through_driver(folder, load, Rows::OneByOne).await?.p50_ms);
    }
    let (sync, stored, bare) = (median(&syncs), median(&stored), median(&bare));
    heading("SQLite, one appender of single events");
    shown("write and fdatasync, p50", sync, "ms");
    shown("bare driver, p50", bare, "ms");
    shown("store, p50", stored, "ms");
    judged("store / fdatasync", stored / sync, "", Bar::AtMost(2.0));
    Ok(())
}

async fn compare(
    arguments: &Arguments,
    folder: &Path,
    name: &str,
    load: Load,
    bar: Option<Bar>,
) -> anyhow::Result<()> {
    let (mut stored, mut one_by_one, mut together) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        stored.push(through_store(folder, load).await?.events_per_second);
        let bare = through_driver(folder, load, Rows::OneByOne).await?;
        one_by_one.push(bare.events_per_second);
        let bare = through_driver(folder, load, Rows::Together).await?;
        together.push(bare.events_per_second);
    }
    let (stored, one_by_one) = (median(&stored), median(&one_by_one));
    let together = median(&together);
    heading(name);
    shown("bare driver, a statement a row", one_by_one, "events/s");
    shown("bare driver, rows together", together, "events/s");
    shown("store", stored, "events/s");
    ratio(
        "store / bare driver, a statement a row",
        stored / one_by_one,
        bar,
    );
    ratio(
        "store / bare driver, rows together",
        stored / together,
        None,
    );
    Ok(())
}

fn ratio(name: &str, value: f64, bar: Option<Bar>) {
    match bar {
        Some(bar) => judged(name, value, "", bar),
        None => shown(name, value, ""),
    }
}

async fn through_store(folder: &Path, load: Load) -> anyhow::Result<Speed> {
    let folder = tempfile::tempdir_in(folder)?;
    let log = Log::open(&url_of(&folder.path().join("store.db"))).await?;
    let mut fleet = Fleet::new(DEVICES, log::start());
    log.register(&fleet).await?;
    let speed = load.run(&log.store, &mut fleet).await;
    log.close().await;
    speed
}

async fn through_driver(folder: &Path, load: Load, rows: Rows) -> anyhow::Result<Speed> {
    let folder = tempfile::tempdir_in(folder)?;
    let file = folder.path().join("bare.db");
    let mut fleet = Fleet::new(DEVICES, log::start());
    let log = Log::open(&url_of(&file)).await?;
    log.register(&fleet).await?;
    log.close().await;
    grouped(BareSqlite::open(&file, rows).await?, load, &mut fleet).await
}

async fn grouped(bare: impl Commit, load: Load, fleet: &mut Fleet) -> anyhow::Result<Speed> {
    let (group, committing) = Group::new(bare);
    let mut tasks = JoinSet::new();
    tasks.spawn(committing);
    let speed = load.run(&group, fleet).await;
    drop(group);
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    speed
}

/// Bytes of a metric in the file, with all indexes.
async fn bytes(arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    let load = arguments.load(1, 200, 1_000);
    let file = folder.join("bytes.db");
    let mut fleet = Fleet::new(DEVICES, log::start());
    let log = Log::open(&url_of(&file)).await?;
    log.register(&fleet).await?;
    log.close().await;
    let empty = file_bytes(&file).await?;
    let log = Log::open(&url_of(&file)).await?;
    load.run(&log.store, &mut fleet).await?;
    log.close().await;
    let each = (file_bytes(&file).await? - empty) / float(load.total());
    heading("SQLite, size");
    judged("file, all indexes", each, "bytes/event", Bar::AtMost(140.0));
    Ok(())
}

async fn file_bytes(file: &Path) -> anyhow::Result<f64> {
    let mut connection = SqliteConnection::connect(&url_of(file)).await?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    query(checkpoint).execute(&mut connection).await?;
    let size =
        "SELECT CAST(page_count * page_size AS REAL) FROM pragma_page_count, pragma_page_size";
    Ok(query(size).fetch_one(&mut connection).await?.get(0))
}

async fn postgres(arguments: &Arguments, server: &str) -> anyhow::Result<()> {
    let load = arguments.load(4, 25, 1_000);
    let (mut stored, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        let (of_store, of_bare) = on_postgres(server, load).await?;
        stored.push(of_store);
        bare.push(of_bare);
    }
    let (stored, bare) = (median(&stored), median(&bare));
    heading("PostgreSQL, batches of 1,000");
    shown(
        "bare driver, UNNEST, head row, duplicates",
        bare,
        "events/s",
    );
    shown("store", stored, "events/s");
    judged("store / bare driver", stored / bare, "", Bar::AtLeast(0.6));
    Ok(())
}

/// Events a second through the store and by the driver alone, each in a database of its own.
async fn on_postgres(server: &str, load: Load) -> anyhow::Result<(f64, f64)> {
    let mut admin = PgConnection::connect(server).await?;
    let mut speeds = [0.0; 2];
    for (speed, side) in speeds.iter_mut().zip(["store", "bare"]) {
        let name = format!("homepot_bench_{side}_{}", std::process::id());
        let sql = format!("CREATE DATABASE {name}");
        query(AssertSqlSafe(sql)).execute(&mut admin).await?;
        let measured = on_database(server, &name, load, side == "bare").await;
        let sql = format!("DROP DATABASE {name} WITH (FORCE)");
        query(AssertSqlSafe(sql)).execute(&mut admin).await?;
        *speed = measured?.events_per_second;
    }
    let [stored, bare] = speeds;
    Ok((stored, bare))
}

async fn on_database(server: &str, name: &str, load: Load, bare: bool) -> anyhow::Result<Speed> {
    let (base, _) = server.rsplit_once('/').unwrap_or((server, ""));
    let url = format!("{base}/{name}");
    let log = Log::open(&url).await?;
    let mut fleet = Fleet::new(DEVICES, log::start());
    log.register(&fleet).await?;
    // makes the partition
    load::Append::append(&log.store, fleet.batch(1)?).await?;
    if !bare {
        let speed = load.run(&log.store, &mut fleet).await;
        log.close().await;
        return speed;
    }
    log.close().await;
    grouped(BarePostgres::open(&url).await?, load, &mut fleet).await
}
