//! How long to wait before the next try: exponential, with full jitter, never sooner than asked.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// Bounds of the wait between two tries.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Longest wait after the first failure. Doubled with each further one.
    pub first: Duration,
    /// Longest wait of all, unless the server asks for a longer one.
    pub most: Duration,
    /// Longest wait that a server may ask for; what is above is cut.
    pub asked_most: Duration,
}

impl Default for Backoff {
    /// 0.5 s, doubled up to 60 s; a server may ask for 10 minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_mins(1),
            asked_most: Duration::from_mins(10),
        }
    }
}

impl Backoff {
    /// The wait after a number of failures in a row (1 for the first).
    ///
    /// Drawn evenly from zero to the bound ("full jitter"), so that a fleet that lost its server at
    /// one moment does not return at one moment; a wait that the server asked for is added.
    #[must_use]
    pub fn wait(&self, failures: u32, asked: Option<Duration>, rng: &mut StdRng) -> Duration {
        let asked = asked.unwrap_or_default().min(self.asked_most);
        let most = u64::try_from(self.bound(failures).as_nanos()).unwrap_or(u64::MAX);
        asked.saturating_add(Duration::from_nanos(rng.random_range(0..=most)))
    }

    /// Upper end of the wait after a number of failures in a row.
    fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn waits(failures: u32, asked: Option<Duration>) -> Vec<Duration> {
        let mut rng = StdRng::seed_from_u64(7);
        let backoff = Backoff::default();
        (0..1_000)
            .map(|_| backoff.wait(failures, asked, &mut rng))
            .collect()
    }

    #[test]
    fn waits_fill_the_whole_range_up_to_the_bound() {
        for (failures, bound_ms) in [(1, 500), (2, 1_000), (4, 4_000), (8, 60_000)] {
            let waits = waits(failures, None);
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*least < Duration::from_millis(bound_ms / 50), "{least:?}");
            assert!(
                *most > Duration::from_millis(bound_ms - bound_ms / 50),
                "{most:?}"
            );
            assert!(*most <= Duration::from_millis(bound_ms), "{most:?}");
        }
    }

    #[test]
    fn bound_does_not_overflow_after_many_failures() {
        assert!(
            waits(u32::MAX, None)
                .iter()
                .all(|wait| *wait <= Duration::from_mins(1))
        );
        assert!(
            waits(0, None)
                .iter()
                .all(|wait| *wait <= Duration::from_millis(500))
        );
    }

    #[test]
    fn wait_is_never_shorter_than_the_server_asked() {
        let asked = Duration::from_secs(90);
        assert!(waits(1, Some(asked)).iter().all(|wait| *wait >= asked));
    }

    #[test]
    fn wait_that_is_asked_has_a_maximum() {
        let day = Duration::from_hours(24);
        let most = Duration::from_mins(10) + Duration::from_millis(500);
        assert!(waits(1, Some(day)).iter().all(|wait| *wait <= most));
    }
}
