//! Fills a data lake by itself, every minute.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::ExportError;
use super::lake::Lake;
use super::reached;
use crate::places::Place;
use crate::store::Store;
use crate::telemetry::chain;
use crate::ticks;

/// How often a lake is brought up to date.
const EVERY: Duration = Duration::from_mins(1);

/// What is told of a data lake.
#[derive(Clone, Debug, Default)]
pub struct LakeMetrics {
    position: Gauge,
    lag: Gauge,
    failures: Counter,
}

impl LakeMetrics {
    /// Shows the counters.
    pub fn register(&self, registry: &mut Registry) {
        let position =
            "Up to which position the data lake is whole that this server fills; 0 on others";
        registry.register("lake_position", position, self.position.clone());
        let lag =
            "Events that the data lake lacked when it was last filled, or tried to be; 0 on others";
        registry.register("lake_lag_events", lag, self.lag.clone());
        let failures = "Times that the data lake could not be filled";
        registry.register("lake_failures", failures, self.failures.clone());
    }

    fn reached(&self, store: &Store, position: i64) {
        self.position.set(position);
        self.lag.set(store.head().0.saturating_sub(position));
    }

    /// Whoever fills it no more knows nothing of it.
    fn forget(&self) {
        self.position.set(0);
        self.lag.set(0);
    }
}

/// Fills a data lake.
#[derive(Debug)]
pub struct Filler {
    store: Store,
    place: Place,
    metrics: LakeMetrics,
    /// Whether it is kept that this server fills it.
    is_told: bool,
    /// Whether the place does what it must, and what another left half written was removed.
    is_ready: bool,
}

impl Filler {
    /// One that fills a lake from a log.
    #[must_use]
    pub const fn new(store: Store, place: Place, metrics: LakeMetrics) -> Self {
        Self {
            store,
            place,
            metrics,
            is_told: false,
            is_ready: false,
        }
    }

    /// Runs until it is told to stop. A round that is broken off by that is made once more by the next.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = ticks::every(EVERY);
        loop {
            let filling = async {
                ticks.tick().await;
                self.fill().await
            };
            let filled = tokio::select! {
                () = stop.cancelled() => break,
                filled = filling => filled,
            };
            if let Err(error) = filled {
                self.failed(&error);
            }
        }
        self.metrics.forget();
    }

    async fn fill(&mut self) -> Result<(), ExportError> {
        if !self.is_told {
            // what it has not got yet stays from now on, also while its place cannot be reached
            reached::begin(&self.store).await?;
            self.is_told = true;
        }
        let files = self.place.open_checked().await?;
        let lake = Lake::new(self.store.clone(), files);
        let _claim = lake.claim().await?;
        if !self.is_ready {
            lake.prepare(&self.place).await?;
            self.is_ready = true;
        }
        loop {
            self.place.has_room().await?;
            let round = lake.round().await?;
            self.metrics.reached(&self.store, round.position.0);
            reached::tell(&self.store, round.position).await?;
            if round.events == 0 {
                return Ok(());
            }
            let (events, position) = (round.events, round.position.0);
            tracing::debug!(events, position, "the data lake has come further");
        }
    }

    /// It is tried again in a minute.
    fn failed(&self, error: &ExportError) {
        let position = self.metrics.position.get();
        self.metrics.reached(&self.store, position);
        self.metrics.failures.inc();
        let told = chain(error).to_string();
        tracing::warn!(
            error = told,
            "the data lake cannot be filled, will try again in a minute"
        );
        let now = self.store.clock().now();
        self.store.faults().tell("the data lake", now, told);
    }
}
