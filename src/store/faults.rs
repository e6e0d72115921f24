//! What went wrong in the log and in what follows it, held until somebody has recorded it.
//!
//! Whoever fails tells it here and goes on at once. Faults are held by who told them, one for each,
//! so that one that comes back every second takes no more room than one that came once.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Store;
use crate::event::Instant;
use crate::telemetry::chain;

/// From one record of a source's faults to the next, at least.
const QUIET_MS: i64 = 60_000;
/// Sources at most; they are parts of this program, of which there are few.
const SOURCES_MAX: usize = 100;

/// Faults of one source that are not recorded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who failed.
    pub source: &'static str,
    /// What it said the last time.
    pub message: String,
    /// How often it failed.
    pub times: u64,
    /// The first time.
    pub first_at: Instant,
    /// The last time.
    pub last_at: Instant,
}

/// What goes on by itself after it has failed: what it calls itself, what comes of the failure, and how long
/// it waits.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    /// Its name where faults are told.
    pub source: &'static str,
    /// What does not happen meanwhile, for people.
    pub effect: &'static str,
    /// How long it waits before it goes on.
    pub waits: Duration,
}

impl Failing {
    /// Tells of a failure, and waits before it goes on, or until it is told to stop.
    pub fn failed<'a>(
        self,
        store: &Store,
        error: &dyn Error,
        stop: &'a CancellationToken,
    ) -> impl Future<Output = ()> + use<'a> {
        // whoever is to stop may fail, since the work is another's by now
        if !stop.is_cancelled() {
            let error = chain(error).to_string();
            tracing::warn!(error, "{}", self.effect);
            let now = store.clock().now();
            store.faults().tell(self.source, now, error);
        }
        async move {
            stop.run_until_cancelled(sleep(self.waits)).await;
        }
    }
}

#[derive(Debug, Default)]
struct Held {
    fault: Option<Fault>,
    recorded_at: Option<Instant>,
}

/// The faults that are not recorded yet.
#[derive(Debug, Default)]
pub struct Faults {
    held: Mutex<BTreeMap<&'static str, Held>>,
    /// How often each source has failed.
    times: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Faults {
    /// Shows how often each source has failed.
    pub fn register(&self, registry: &mut Registry) {
        let times = "Failures of parts of this server that go on by themselves";
        registry.register("faults", times, self.times.clone());
    }

    /// Tells that there is a source, so that the first of its failures is seen as one more.
    pub fn introduce(&self, source: &'static str) {
        drop(self.times.get_or_create(&[("source", source)]));
    }

    /// Tells that something failed. It never waits.
    pub fn tell(&self, source: &'static str, at: Instant, message: String) {
        let mut held = self.lock();
        if held.len() >= SOURCES_MAX && !held.contains_key(source) {
            return;
        }
        self.times.get_or_create(&[("source", source)]).inc();
        let fault = &mut held.entry(source).or_default().fault;
        let (times, first_at) = fault.take().map_or((0, at), |f| (f.times, f.first_at));
        *fault = Some(Fault {
            source,
            message,
            times: times + 1,
            first_at,
            last_at: at,
        });
    }

    /// The faults that are to be recorded now: of each source, those since the last record, unless
    /// that was a moment ago.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<Fault> {
        let quiet = |held: &&Held| {
            held.recorded_at
                .is_none_or(|at| at.0.abs_diff(now.0) >= QUIET_MS.unsigned_abs() * 1_000)
        };
        let held = self.lock();
        let due = held.values().filter(quiet);
        due.filter_map(|held| held.fault.clone()).collect()
    }

    /// Tells that a fault was recorded; what has failed since is held on.
    pub fn recorded(&self, recorded: &Fault, now: Instant) {
        let mut all = self.lock();
        let Some(held) = all.get_mut(recorded.source) else {
            return;
        };
        held.recorded_at = Some(now);
        held.fault = held.fault.take().and_then(|fault| {
            let times = fault.times.saturating_sub(recorded.times);
            (times > 0).then_some(Fault {
                times,
                first_at: fault.last_at,
                ..fault
            })
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(faults: &Faults, ms: i64) {
        faults.tell("a part", Instant(0).plus_ms(ms), format!("failed at {ms}"));
    }

    #[test]
    fn a_source_that_fails_again_and_again_is_recorded_once_a_minute() {
        let (faults, at) = (Faults::default(), |ms| Instant(0).plus_ms(ms));
        told(&faults, 0);
        told(&faults, 1_000);
        let due = faults.due(at(1_500));
        assert_eq!((due[0].times, due[0].first_at), (2, at(0)));
        told(&faults, 2_000);
        faults.recorded(&due[0], at(2_000));
        assert_eq!(faults.due(at(61_999)), []);
        told(&faults, 3_000);
        let due = faults.due(at(62_000));
        assert_eq!((due[0].times, due[0].last_at), (2, at(3_000)));
        faults.recorded(&due[0], at(62_000));
        assert_eq!(faults.due(at(999_999)), []);
    }

    #[test]
    fn failures_are_counted_from_none() {
        let (faults, mut registry) = (Faults::default(), Registry::default());
        faults.register(&mut registry);
        faults.introduce("a part");
        let counted = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let told_of = |times| format!("faults_total{{source=\"a part\"}} {times}\n");
        assert!(counted().contains(&told_of(0)), "{}", counted());
        told(&faults, 0);
        told(&faults, 1_000);
        assert!(counted().contains(&told_of(2)), "{}", counted());
    }

    #[test]
    fn a_clock_that_was_set_back_silences_no_source() {
        let faults = Faults::default();
        told(&faults, 900_000);
        let due = faults.due(Instant(0).plus_ms(900_000));
        faults.recorded(&due[0], Instant(0).plus_ms(900_000));
        told(&faults, 1_000);
        assert_eq!(faults.due(Instant(0).plus_ms(1_000)).len(), 1);
    }
}
