//! Carries erasures out as they are asked for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::erasures::{erase_all, waiting};
use super::{ERASURES, RetentionError, RetentionMetrics};
use crate::store::{Failing, Looked, Store};
use crate::ticks;

/// How often it is looked what waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: ERASURES,
    effect: "what is personal could not be erased, it is gone on with",
    waits: Duration::from_secs(10),
};

/// Erases what is personal of those who are to be forgotten.
#[derive(Debug)]
pub struct Eraser {
    store: Store,
    metrics: RetentionMetrics,
}

impl Eraser {
    /// One that erases from a log.
    #[must_use]
    pub const fn new(store: Store, metrics: RetentionMetrics) -> Self {
        Self { store, metrics }
    }

    /// Runs until it is told to stop. What is broken off is gone on with by whoever runs next.
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = ticks::every(LOOK_EVERY);
        let mut looked = Looked::default();
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let erased = tokio::select! {
                () = stop.cancelled() => break,
                erased = self.erase(&mut looked) => erased,
            };
            match erased {
                Ok(()) => {}
                Err(RetentionError::Busy) => tracing::debug!("another process archives"),
                Err(error) => FAILING.failed(&self.store, &error, &stop).await,
            }
        }
        // another knows by now
        self.metrics.waits(None);
    }

    async fn erase(&self, looked: &mut Looked) -> Result<(), RetentionError> {
        let waiting = waiting(&self.store, None).await?;
        self.metrics.waits(waiting.first());
        erase_all(&self.store, waiting, looked).await
    }
}
