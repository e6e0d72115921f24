//! What the devices of a fleet come to, and what is learned from them: each night, after midnight UTC, one server sums up
//! what is kept of all devices, takes examples of the day before, and trains the model of failures if there is more
//! to learn from. It is done at a start too, when it was not done for the last midnight, and again during the day when
//! much became known of the time before it: when a history was imported, or made for a demo.
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
mod known;
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

use self::known::Known;
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
/// How often it is looked during a day whether much more became known of the time before it.
const AGAIN_AFTER: i64 = 600 * SECOND;
/// The same while nothing is summed up or learned, or more is coming in.
const SOON_AFTER: i64 = 30 * SECOND;
/// What it calls itself where faults are told.
pub(crate) const SOURCE: &str = "the models";
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: SOURCE,
    effect: "the fleet could not be summed up nor learned from, will try again",
    waits: Duration::from_mins(1),
};

/// The night of a provenance that was looked at.
#[derive(Clone, Copy, Debug)]
struct Done {
    midnight: Instant,
    /// When it is looked at again.
    again_at: Instant,
    /// When it was done last, if this server did it.
    ran_at: Option<Instant>,
    /// What was known when it was done, and when it was looked at last.
    known: Option<(Known, Known)>,
}

impl Done {
    /// Whether it is done again where so much is known now: not while more comes in from one look to the next, but not
    /// too late either.
    fn is_due(&self, now: (Known, Instant)) -> bool {
        let Some((done, seen)) = self.known else {
            return false;
        };
        let (known, at) = now;
        let is_long_ago = |ran_at: Instant| at.0 - ran_at.0 >= AGAIN_AFTER;
        let is_quiet = !seen.is_outgrown(known) || self.ran_at.is_some_and(is_long_ago);
        done.is_outgrown(known) && is_quiet
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
        let mut is_any_done = false;
        for provenance in Provenance::ALL {
            let last = done.get(&provenance).copied();
            let last = last.filter(|last| last.midnight == midnight);
            if last.is_some_and(|last| last.again_at > now) {
                continue;
            }
            let mut next = last.unwrap_or(Done {
                midnight,
                again_at: now,
                ran_at: None,
                known: None,
            });
            if self.is_due(provenance, (&mut next, now)).await? {
                if !settling.is_settled(&self.store, midnight).await? {
                    // what is known already is not counted again each second
                    if next.known.is_some() {
                        next.again_at = Instant(now.0 + SOON_AFTER);
                        done.insert(provenance, next);
                    }
                    continue;
                }
                self.night(provenance, (&mut next, now)).await?;
                is_any_done = true;
            }
            next.again_at = self.note(provenance, (&next, now)).await?;
            done.insert(provenance, next);
        }
        if is_any_done {
            settling.renew();
        }
        Ok(())
    }

    /// Does a night, if there is anything of its fleet.
    async fn night(
        &self,
        provenance: Provenance,
        (done, now): (&mut Done, Instant),
    ) -> Result<(), StoreError> {
        if !sample::is_any(&self.store, provenance).await? {
            return Ok(());
        }
        let midnight = done.midnight;
        let known = Known::now(&self.store, (provenance, midnight)).await?;
        let night = Night {
            store: &self.store,
            held: &self.held,
            provenance,
            midnight,
        };
        night.run().await?;
        done.known = Some((known, known));
        done.ran_at = Some(now);
        Ok(())
    }

    /// Whether the night is not done, or was when much less was known.
    async fn is_due(
        &self,
        provenance: Provenance,
        (done, now): (&mut Done, Instant),
    ) -> Result<bool, StoreError> {
        let of = (provenance, done.midnight);
        let summed = summed_at(&self.store, provenance, done.midnight).await?;
        if summed.is_none_or(|(day, _)| day < done.midnight.0) {
            return Ok(true);
        }
        let known = Known::now(&self.store, of).await?;
        let (when_done, _) = match done.known {
            Some(known) => known,
            // another server did it, or this one before it was started
            None => (Known::when_summed(&self.store, of).await?, known),
        };
        let seen = done.known.map_or(known, |(_, seen)| seen);
        done.known = Some((when_done, seen));
        let is_due = done.is_due((known, now));
        done.known = Some((when_done, known));
        Ok(is_due)
    }

    /// Tells of a night that was looked at, and when it is looked at again: soon if nothing was learned yet, or more is
    /// known than when it was done.
    async fn note(
        &self,
        provenance: Provenance,
        (done, now): (&Done, Instant),
    ) -> Result<Instant, StoreError> {
        let summed = summed_at(&self.store, provenance, done.midnight).await?;
        if let Some((day, _)) = summed {
            self.metrics.summed(provenance, Instant(day));
        }
        let newest = self.newest(provenance, done.midnight).await?;
        if let Some(newest) = &newest {
            self.metrics.trained(provenance, newest);
        }
        let is_fitted = newest.as_ref().is_some_and(is_fitted);
        let is_growing = |(done, seen): (Known, Known)| done.is_outgrown(seen);
        let is_soon = !is_fitted || done.known.is_some_and(is_growing);
        let after = if is_soon { SOON_AFTER } else { AGAIN_AFTER };
        Ok(Instant(now.0 + after))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_done_again_when_much_came_and_no_more_comes() {
        let of = |days: f64| Known { days, failures: 0 };
        let done = |seen: f64| Done {
            midnight: Instant(0),
            again_at: Instant(0),
            ran_at: Some(Instant(0)),
            known: Some((of(1.0), of(seen))),
        };
        let soon = Instant(SOON_AFTER);
        assert!(!done(1.0).is_due((of(1.0), soon)));
        assert!(!done(1.0).is_due((of(50.0), soon)), "it is coming in");
        assert!(done(50.0).is_due((of(50.0), soon)));
        // what goes on for long is not waited for
        let late = Instant(AGAIN_AFTER);
        assert!(done(1.0).is_due((of(50.0), late)));
    }
}
