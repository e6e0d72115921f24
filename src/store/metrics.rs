//! What the log tells of itself to those who watch over it.

use std::time::Instant;

use futures_util::stream::{BoxStream, StreamExt, poll_fn};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use sea_orm::DatabaseConnection;

use super::commit::Committed;
use crate::event::Position;

tokio::task_local! {
    /// Set where a request is answered.
    static ANSWERING: ();
}

/// Answers a request: what is read meanwhile is told as read for it.
pub async fn answering<T>(answer: impl Future<Output = T>) -> T {
    ANSWERING.scope((), answer).await
}

/// The same of answers.
#[must_use]
pub fn answering_each<T: 'static>(mut answers: BoxStream<'static, T>) -> BoxStream<'static, T> {
    let answers =
        poll_fn(move |context| ANSWERING.sync_scope((), || answers.poll_next_unpin(context)));
    answers.boxed()
}

/// Times of reads, by whom they were made for.
type Reads = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// Counters of the log.
#[derive(Debug)]
pub struct Metrics {
    append_seconds: Histogram,
    batch_events: Histogram,
    read_seconds: Reads,
    events: Counter,
    duplicates: Counter,
    overloaded: Counter,
    failed: Counter,
    queue_events: Gauge,
    head: Gauge,
    looks: Counter,
    archive_readable: Gauge,
}

/// A quarter of a millisecond to eight seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            append_seconds: seconds(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            read_seconds: Reads::new_with_constructor(seconds),
            events: Counter::default(),
            duplicates: Counter::default(),
            overloaded: Counter::default(),
            failed: Counter::default(),
            queue_events: Gauge::default(),
            head: Gauge::default(),
            looks: Counter::default(),
            archive_readable: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Shows the counters.
    pub fn register(&self, registry: &mut Registry) {
        let seconds = "Time to commit a batch of events";
        registry.register_with_unit(
            "append",
            seconds,
            Unit::Seconds,
            self.append_seconds.clone(),
        );
        let reads = "Time of a statement that reads, and so their number: by the document of a request, or by \
            the server for all else";
        registry.register_with_unit("read", reads, Unit::Seconds, self.read_seconds.clone());
        registry.register(
            "append_batch_events",
            "Events in a batch",
            self.batch_events.clone(),
        );
        registry.register("events_recorded", "Events appended", self.events.clone());
        registry.register(
            "events_duplicate",
            "Repeats dropped",
            self.duplicates.clone(),
        );
        let overloaded = "Requests refused because the queue was full";
        registry.register("append_overloaded", overloaded, self.overloaded.clone());
        let failed = "Requests that were not appended because the log failed";
        registry.register("append_failed", failed, self.failed.clone());
        let queue = "Events that wait to be appended";
        registry.register("append_queue_events", queue, self.queue_events.clone());
        registry.register("log_head_position", "Head of the log", self.head.clone());
        let looks = "Looks at the database for what other processes have appended";
        registry.register("log_head_looks", looks, self.looks.clone());
        let archive = "Whether what was archived can be read here, or nothing was: 1, and 0 if not";
        registry.register("archive_readable", archive, self.archive_readable.clone());
    }

    pub(crate) fn batch_ends(&self, began: Instant) {
        self.append_seconds.observe(began.elapsed().as_secs_f64());
    }

    pub(crate) fn committed(&self, committed: &Committed) {
        let events = committed.events.len();
        self.batch_events
            .observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
        self.events
            .inc_by(u64::try_from(events).unwrap_or(u64::MAX));
        self.duplicates
            .inc_by(u64::try_from(committed.duplicates).unwrap_or(u64::MAX));
    }

    /// The newest position that followers are told of, whoever committed it.
    pub(crate) fn head(&self, head: Position) {
        self.head.set(head.0);
    }

    /// Counts what is read on a handle and its later clones.
    pub(crate) fn count_reads(&self, db: &mut DatabaseConnection) {
        let [request, server] =
            ["request", "server"].map(|by| self.read_seconds.get_or_create_owned(&[("by", by)]));
        db.set_metric_callback(move |info| {
            let is_answering = ANSWERING.try_with(|()| ()).is_ok();
            let reads = if is_answering { &request } else { &server };
            reads.observe(info.elapsed.as_secs_f64());
        });
    }

    pub(crate) fn looked(&self) {
        self.looks.inc();
    }

    /// How often the database was looked at for what other processes have appended; each look
    /// brings in all that was committed before it began.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks.get()
    }

    pub(crate) fn overloaded(&self) {
        self.overloaded.inc();
    }

    pub(crate) fn failed(&self, requests: usize) {
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        self.failed.inc_by(requests);
    }

    /// Whether what was archived can be read; told when somebody asks.
    pub(crate) fn archive(&self, is_readable: bool) {
        self.archive_readable.set(i64::from(is_readable));
    }

    /// Events that wait now; told when somebody asks, since they come and go all the time.
    pub(crate) fn queue(&self, events: usize) {
        self.queue_events
            .set(i64::try_from(events).unwrap_or(i64::MAX));
    }
}
