//! Archives and deletes by itself, every hour.

use std::time::Duration;

use tokio::time::{Instant as Moment, sleep};
use tokio_util::sync::CancellationToken;

use super::{ARCHIVE, RetentionError, RetentionMetrics, run};
use crate::store::Store;
use crate::telemetry::chain;
use crate::ticks;

/// How often it is looked what is old enough.
const EVERY: Duration = Duration::from_hours(1);
/// How long it may take: the next time it is gone on.
const WITHIN: Duration = Duration::from_mins(55);
/// How long a run may take, and the pause after it, in which others erase who wait for that.
const RUN_WITHIN: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the policies of a log.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    metrics: RetentionMetrics,
}

impl Keeper {
    /// A keeper of a log.
    #[must_use]
    pub const fn new(store: Store, metrics: RetentionMetrics) -> Self {
        Self { store, metrics }
    }

    /// Runs until it is told to stop. Of several processes one does it.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = ticks::every(EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.keep() => {}
            }
        }
    }

    /// Archives and deletes until nothing is left to do.
    async fn keep(&self) {
        let until = Moment::now() + WITHIN;
        while self.leaves_something().await && Moment::now() < until {
            sleep(PAUSE).await;
        }
    }

    /// Archives and deletes for some time; whether something is left to do that may be done soon.
    async fn leaves_something(&self) -> bool {
        match run(&self.store, RUN_WITHIN).await {
            Ok(run) => {
                let worked = |done: &&super::Done| done.segments > 0 || done.deleted_events > 0;
                for done in run.kinds.iter().filter(worked) {
                    tracing::info!(
                        event.kind = done.kind.spec().wire,
                        archived_events = done.archived_events,
                        archived_bytes = done.archived_bytes,
                        deleted_events = done.deleted_events,
                        "old events were archived"
                    );
                }
                let put_together: usize = run.kinds.iter().map(|done| done.put_together).sum();
                if put_together > 0 {
                    tracing::info!(segments = put_together, "small segments were put together");
                }
                for held in run.kinds.iter().filter(|done| done.is_held) {
                    tracing::info!(
                        event.kind = held.kind.spec().wire,
                        "old events are not deleted yet: what they are summed up as is being made anew"
                    );
                }
                for awaited in run.kinds.iter().filter(|done| done.is_awaited) {
                    tracing::info!(
                        event.kind = awaited.kind.spec().wire,
                        "old events are not deleted yet: an export that was asked for is still to read them"
                    );
                }
                let held_events: i64 = run.kinds.iter().map(|done| done.held_events).sum();
                if held_events > 0 {
                    tracing::warn!(
                        held_events,
                        "old events are not deleted until the data lake has them"
                    );
                }
                if run.is_complete {
                    self.metrics.completed(self.store.clock().now());
                }
                !run.is_complete
            }
            Err(RetentionError::Busy) => {
                tracing::debug!("another process archives");
                true
            }
            Err(RetentionError::Nowhere) => {
                tracing::debug!("nothing is archived: it is not said where segments lie");
                false
            }
            Err(error) => {
                let told = chain(&error).to_string();
                tracing::warn!(
                    error = told,
                    "old events could not be archived, will try again"
                );
                let now = self.store.clock().now();
                self.store.faults().tell(ARCHIVE, now, told);
                false
            }
        }
    }
}
