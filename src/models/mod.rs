//! What the devices of a fleet come to, and what is learned from them: each night, after midnight UTC, one server sums up
//! what is kept of all devices, takes examples of the day before, and trains the model of failures if there is more
//! to learn from. It is done at a start too, when it was not done for the last midnight.
//!
//! What it writes is kept as of a midnight: whoever asks as of an instant is answered by what was known then
//! ([`Held::fleet`]). It is nothing but a function of the log, and is made anew when that has changed below it: when many
//! failures came late, or a history was imported. A model that is worse than the one in force does not take its
//! place ([`succession`](crate::insights::risk::succession)).
//!
//! Each provenance has a fleet of its own. Of a large fleet examples are taken of some devices (`sample`), so that what
//! is learned from has a bound.

mod examples;
mod failures;
mod metrics;
mod night;
mod pruning;
mod sample;
mod settled;
mod training;
mod written;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::failures::{failures, is_enough};
use self::night::Night;
use self::settled::Settling;
use crate::event::{Instant, Provenance};
use crate::held::fleet::summed_at;
use crate::held::models::{Which, model};
use crate::held::{Held, ModelRead};
use crate::insights::input::{DAY, SECOND};
use crate::store::{Failing, Store, StoreError};
use crate::ticks;

pub use metrics::ModelsMetrics;

/// How often it is looked whether a night is to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long after midnight a day is summed up: what comes of it later is late.
const AFTER_MIDNIGHT: i64 = 6 * 60 * SECOND;
/// How often it is looked during a day whether enough failures became known for a first model.
const AGAIN_AFTER: i64 = 600 * SECOND;
/// What it calls itself where faults are told.
pub(crate) const SOURCE: &str = "the models";
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: SOURCE,
    effect: "the fleet could not be summed up nor learned from, will try again",
    waits: Duration::from_mins(1),
};

/// The night of a provenance that was done.
#[derive(Clone, Copy, Debug)]
struct Done {
    midnight: Instant,
    /// When it is looked at again.
    again_at: Option<Instant>,
}

impl Done {
    fn holds(&self, midnight: Instant, now: Instant) -> bool {
        self.midnight == midnight && self.again_at.is_none_or(|again| again > now)
    }
}

/// Sums fleets up each night, and learns from them.
#[derive(Debug)]
pub struct Learner {
    store: Store,
    held: Held,
    metrics: ModelsMetrics,
}

impl Learner {
    /// One that writes to a log.
    #[must_use]
    pub fn new(store: Store, metrics: ModelsMetrics) -> Self {
        // what is read once each night does not take the place of what others read again and again
        let held = Held::new(store.clone());
        Self {
            store,
            held,
            metrics,
        }
    }

    /// Runs until it is told to stop. What is broken off is gone on with by whoever runs next.
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = ticks::every(LOOK_EVERY);
        let (mut done, mut settling) = (BTreeMap::new(), Settling::default());
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look(&mut done, &mut settling) => looked,
            };
            if let Err(error) = looked {
                FAILING.failed(&self.store, &error, &stop).await;
            }
        }
    }

    /// Does the nights that are to be done now.
    ///
    /// # Errors
    /// When the log cannot be read or written: what is not done is done the next time.
    #[must_use]
    pub fn catch_up(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (mut done, mut settling) = (BTreeMap::new(), Settling::default());
            self.look(&mut done, &mut settling).await
        })
    }

    async fn look(
        &self,
        done: &mut BTreeMap<Provenance, Done>,
        settling: &mut Settling,
    ) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let midnight = Instant((now.0 - AFTER_MIDNIGHT).div_euclid(DAY) * DAY);
        for provenance in Provenance::ALL {
            let holds = |done: &Done| done.holds(midnight, now);
            if done.get(&provenance).is_some_and(holds) {
                continue;
            }
            if self.is_due(provenance, midnight).await? {
                if !settling.is_settled(&self.store, midnight).await? {
                    continue;
                }
                if sample::is_any(&self.store, provenance).await? {
                    let night = Night {
                        store: &self.store,
                        held: &self.held,
                        provenance,
                        midnight,
                    };
                    night.run().await?;
                }
            }
            let noted = self.note((provenance, midnight), now).await?;
            done.insert(provenance, noted);
        }
        Ok(())
    }

    /// Whether the night is not done, or was when too little was known to learn from, and more is now.
    async fn is_due(&self, provenance: Provenance, midnight: Instant) -> Result<bool, StoreError> {
        let summed = summed_at(&self.store, provenance, midnight).await?;
        if summed.is_none_or(|(day, _)| day < midnight.0) {
            return Ok(true);
        }
        let newest = self.newest(provenance, midnight).await?;
        if newest.as_ref().is_some_and(is_fitted) {
            return Ok(false);
        }
        let learned = newest.map_or(0, |newest| newest.report.learned.failures);
        let devices = sample::devices(&self.store, provenance).await?;
        let keys = sample::sampled(&devices).into_iter().collect();
        let known = failures(&self.store, &keys, (provenance, midnight)).await?;
        Ok(is_enough(learned, known.count()))
    }

    /// Tells of a night that is done. It is looked at again on the same day if nothing was learned yet: much may be
    /// recorded of the time before it.
    async fn note(
        &self,
        (provenance, midnight): (Provenance, Instant),
        now: Instant,
    ) -> Result<Done, StoreError> {
        let summed = summed_at(&self.store, provenance, midnight).await?;
        if let Some((day, _)) = summed {
            self.metrics.summed(provenance, Instant(day));
        }
        let newest = self.newest(provenance, midnight).await?;
        if let Some(newest) = &newest {
            self.metrics.trained(provenance, newest);
        }
        let is_fitted = newest.as_ref().is_some_and(is_fitted);
        let again_at = (!is_fitted).then_some(Instant(now.0 + AGAIN_AFTER));
        Ok(Done { midnight, again_at })
    }

    async fn newest(
        &self,
        provenance: Provenance,
        midnight: Instant,
    ) -> Result<Option<ModelRead>, StoreError> {
        model(&self.store, provenance, (Which::Newest, midnight)).await
    }
}

fn is_fitted(read: &ModelRead) -> bool {
    read.model.is_fitted()
}
