//! Archives device metrics of a fleet: how fast, how small they become, how long those wait who record
//! meanwhile, and what reading them again costs.
//!
//! `cargo bench --bench archive -- [--events N] [--devices N]`. The yardstick of the size is what the same
//! events take in their table, in the same run.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "other benchmarks use the rest")]
mod figures;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod log;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod metrics;

use std::time::{Duration, Instant as Stopwatch};

use anyhow::Context;
use clap::Parser;
use homepot_analytics::clock::Clock;
use homepot_analytics::event::Position;
use homepot_analytics::kinds::{Filter, Kind, Operand, Operator};
use homepot_analytics::store::{Columns, EntityType, Order, PageQuery, Request, Store};

use figures::{Bar, float, heading, judged, milliseconds, percentile, shown};
use log::{Log, url_of};
use metrics::Fleet;

/// Events of a request.
const BATCH: usize = 1_000;
/// Pages that are read of what was archived.
const PAGES: usize = 50;

#[derive(Debug, Parser)]
struct Arguments {
    /// Device metrics in the log.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Devices that report them.
    #[arg(long, default_value_t = 100)]
    devices: i64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("archive.db");
    let mut log = Log::open(&url_of(&file)).await?;
    let mut fleet = Fleet::new(arguments.devices, log::start_of(&log.store).await?);
    log.register(&fleet).await?;
    for _ in 0..arguments.events.div_ceil(BATCH) {
        log.store.append_patiently(request(&mut fleet)?).await?;
    }
    log.caught_up().await?;
    heading(&format!(
        "{} metrics of {} devices",
        arguments.events, arguments.devices
    ));
    let table = std::fs::metadata(&file)?.len();
    let before = slices(&log.store).await?;
    archived(&log.store, &mut fleet).await?;
    let status = log.store.archived(Kind::DeviceMetrics).await?;
    let bytes = figure(status.bytes) / figure(status.events);
    judged("a metric in a segment", bytes, "B", Bar::AtMost(15.0));
    let file_bytes = float(usize::try_from(table)?) / float(arguments.events);
    shown("the file of the log, before", file_bytes, "B a metric");
    let after = slices(&log.store).await?;
    shown("reading all in order, from the table", before, "events/s");
    shown("reading all in order, from segments", after, "events/s");
    pages(&log.store).await?;
    log.close().await;
    Ok(())
}

fn request(fleet: &mut Fleet) -> anyhow::Result<Request> {
    Ok(Request {
        events: fleet.batch(BATCH)?,
        expect: Vec::new(),
        registrations: Vec::new(),
        told: None,
    })
}

/// Counts here are far below 2⁵³.
fn figure(count: i64) -> f64 {
    float(usize::try_from(count).unwrap_or_default())
}

/// Archives all, while others record.
async fn archived(store: &Store, fleet: &mut Fleet) -> anyhow::Result<()> {
    let (now, upto) = (Clock::system().now(), store.head());
    let (mut events, mut steps, mut took) = (0, Vec::new(), Duration::ZERO);
    let mut waits = Vec::new();
    loop {
        let began = Stopwatch::now();
        let mut archiving = Box::pin(store.archive(Kind::DeviceMetrics, now, upto));
        let archived = loop {
            tokio::select! {
                archived = &mut archiving => break archived?,
                waited = record(store, fleet) => waits.push(waited?),
            }
        };
        let Some(archived) = archived else { break };
        steps.push(milliseconds(began.elapsed()));
        took += began.elapsed();
        events += archived.events;
    }
    let rate = figure(events) / took.as_secs_f64();
    judged(
        "archive, beside appends",
        rate,
        "events/s",
        Bar::AtLeast(200_000.0),
    );
    shown("a segment, median", percentile(&steps, 50), "ms");
    shown(
        "an append of 1 meanwhile, p99",
        percentile(&waits, 99),
        "ms",
    );
    let longest = waits.iter().copied().fold(0.0, f64::max);
    judged(
        "an append of 1 meanwhile, longest",
        longest,
        "ms",
        Bar::AtMost(1_000.0),
    );
    Ok(())
}

/// Records one event every so often; how long that took.
async fn record(store: &Store, fleet: &mut Fleet) -> anyhow::Result<f64> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let request = Request {
        events: vec![fleet.report()?],
        expect: Vec::new(),
        registrations: Vec::new(),
        told: None,
    };
    let began = Stopwatch::now();
    store.append_patiently(request).await?;
    Ok(milliseconds(began.elapsed()))
}

/// Events a second that are read in the order of the log.
async fn slices(store: &Store) -> anyhow::Result<f64> {
    let (began, mut position, mut events) = (Stopwatch::now(), Position::START, 0);
    while position < store.head() {
        let slice = store.after(position, 2_000).await?;
        position = slice.upto;
        events += slice.events.len();
    }
    Ok(float(events) / began.elapsed().as_secs_f64())
}

/// Pages of a device, and of all, out of segments.
async fn pages(store: &Store) -> anyhow::Result<()> {
    let device = store.key(EntityType::Device, &Fleet::device_id(7)).await?;
    let device = device.context("the fleet has an eighth device")?;
    let of_device = Filter::Is(Operand::Device, Operator::In(vec![device.into()]));
    for (name, filter) in [
        ("the oldest 100 of a device, median", of_device),
        ("the oldest 100 of all, median", Filter::default()),
    ] {
        let query = PageQuery {
            filter,
            order: Order::OldestFirst,
            limit: 100,
            ..PageQuery::all_of(Kind::DeviceMetrics, Columns::ALL)
        };
        let mut took = Vec::with_capacity(PAGES);
        for _ in 0..PAGES {
            let began = Stopwatch::now();
            store.page(&query, &store.allowance()).await?;
            took.push(milliseconds(began.elapsed()));
        }
        shown(name, percentile(&took, 50), "ms");
        let first = took.first().copied().unwrap_or_default();
        shown("the first time", first, "ms");
    }
    Ok(())
}
