//! How long many things took, counted by tenths of a millisecond by whoever has seen one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tenths of a millisecond at most; what took longer is counted as this.
const TENTHS_MAX: usize = 100_000;

/// Times that were taken.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<AtomicU64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self((0..=TENTHS_MAX).map(|_| AtomicU64::new(0)).collect())
    }

    /// Counts one.
    pub(crate) fn add(&self, microseconds: u64) {
        let tenths = usize::try_from(microseconds / 100).unwrap_or(TENTHS_MAX);
        if let Some(count) = self.0.get(tenths.min(TENTHS_MAX)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.0
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Milliseconds below which so many hundredths of them lie.
    pub(crate) fn percentile(&self, hundredths: u64) -> f64 {
        let wanted = self.count() * hundredths / 100;
        let mut seen = 0;
        for (tenths, count) in (0_u32..).zip(&self.0) {
            seen += count.load(Ordering::Relaxed);
            if seen > wanted || seen > 0 && seen == wanted {
                return f64::from(tenths + 1) / 10.0;
            }
        }
        0.0
    }

    /// Counts those of another too, and lets it begin anew.
    pub(crate) fn take(&self, other: &Self) {
        for (count, other) in self.0.iter().zip(&other.0) {
            count.fetch_add(other.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
