//! A log as the server has it: opened with its folds, followed by its projections.

use std::path::Path;

use homepot_analytics::app;
use homepot_analytics::clock::Clock;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::{Instant, Position};
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::{Location, Request, Store, Tasks};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Fleet;

/// How long ago fleets begin to report.
const DAYS_AGO: i64 = 40;

/// An open log and its tasks.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) store: Store,
    tasks: Tasks,
    runner: TaskTracker,
    folded: watch::Receiver<Position>,
    stop: CancellationToken,
}

/// Where a file is.
pub(crate) fn url_of(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// When a fleet of a benchmark begins: at a full day, so that a file can be gone on with.
pub(crate) fn start() -> Instant {
    let day = 24 * 3_600 * 1_000_000;
    let now = Clock::system().now().0;
    Instant((now / day - DAYS_AGO) * day)
}

/// When the fleet of a log began; of an empty one, when a new one begins.
pub(crate) async fn start_of(store: &Store) -> anyhow::Result<Instant> {
    if store.head() == Position::START {
        return Ok(start());
    }
    let slice = store.after(Position::START, 1).await?;
    let first = slice.events.first();
    Ok(first.map_or_else(start, |event| event.fact.occurred_at))
}

impl Log {
    /// Opens a log, or makes one.
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        let location = Location {
            url: url.to_owned(),
            readers_max: 4,
            reads_within: None,
            create: true,
            ..Location::default()
        };
        let (store, tasks) = app::open(location, &LimitArgs::default(), Clock::system()).await?;
        let (runner, stop) = (TaskTracker::new(), CancellationToken::new());
        let projections = Runner::new(store.clone(), projections::following());
        let folded = projections.folded();
        runner.spawn(projections.run(stop.clone()));
        Ok(Self {
            store,
            tasks,
            runner,
            folded,
            stop,
        })
    }

    /// Registers the devices of a fleet.
    pub(crate) async fn register(&self, fleet: &Fleet) -> anyhow::Result<()> {
        for events in fleet.registrations()?.chunks(1_000) {
            let request = Request {
                events: events.to_vec(),
                expect: Vec::new(),
                registrations: Vec::new(),
                told: None,
            };
            self.store.append_patiently(request).await?;
        }
        Ok(())
    }

    /// Waits until the projections have folded everything.
    pub(crate) async fn caught_up(&mut self) -> anyhow::Result<()> {
        let head = self.store.head();
        self.folded.wait_for(|folded| *folded >= head).await?;
        Ok(())
    }

    /// Up to where the projections have folded it.
    pub(crate) fn folded(&self) -> watch::Receiver<Position> {
        self.folded.clone()
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.runner.close();
        self.runner.wait().await;
        self.tasks.stop().await;
    }
}
