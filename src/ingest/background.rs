//! Takes what this server says of itself (its requests, its errors) without ever making the one who
//! says it wait: what does not fit into the queue is dropped and counted.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Ingest, Patience};
use crate::event::NewEvent;

/// Events at most that are appended at once.
const BATCH_MAX: usize = 500;

/// What comes sooner after the last append is gathered: each commit costs all readers the pages that they
/// keep, and a busy server would make one of every few requests. (Measured with 32 clients on SQLite: a sixth
/// more pages a second.)
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// Counters of the queue.
#[derive(Clone, Debug, Default)]
pub struct BackgroundMetrics {
    dropped: Counter,
}

impl BackgroundMetrics {
    /// Shows the counters.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Events of this server about itself that did not fit into their queue";
        registry.register("background_events_dropped", help, self.dropped.clone());
    }

    /// How many events were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

/// The entrance of the queue.
#[derive(Clone, Debug)]
pub struct Background {
    events: mpsc::Sender<NewEvent>,
    metrics: BackgroundMetrics,
}

impl Background {
    /// The two ends of a queue of so many events.
    #[must_use]
    pub fn new(events_max: usize) -> (Self, mpsc::Receiver<NewEvent>) {
        let (events, queue) = mpsc::channel(events_max);
        (
            Self {
                events,
                metrics: BackgroundMetrics::default(),
            },
            queue,
        )
    }

    /// Takes an event, or drops and counts it.
    pub fn offer(&self, event: NewEvent) {
        if self.events.try_send(event).is_err() {
            self.metrics.dropped.inc();
        }
    }

    /// Its counters.
    #[must_use]
    pub const fn metrics(&self) -> &BackgroundMetrics {
        &self.metrics
    }

    /// Appends what comes until it is told to stop, and then what is left.
    pub async fn run(
        ingest: Ingest,
        mut queue: mpsc::Receiver<NewEvent>,
        metrics: BackgroundMetrics,
        stop: CancellationToken,
    ) {
        loop {
            let mut events = Vec::new();
            tokio::select! {
                biased;
                count = queue.recv_many(&mut events, BATCH_MAX) => if count == 0 { break },
                () = stop.cancelled() => {
                    queue.close();
                    continue;
                }
            }
            let began = Instant::now();
            let count = events.len();
            let given = events
                .into_iter()
                .map(|event| (Some(event.fact.kind), Ok(event)))
                .collect();
            if let Err(error) = ingest.record(given, None, Patience::Unlimited).await {
                metrics
                    .dropped
                    .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(
                    error,
                    count,
                    "cannot record what this server says of itself"
                );
            }
            if queue.len() < BATCH_MAX {
                tokio::select! {
                    () = sleep_until(began + GATHERED_FOR) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}
