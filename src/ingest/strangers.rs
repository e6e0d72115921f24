//! How much is recorded of the requests of those who prove nothing: what anybody can send without end must
//! not fill the log.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::event::Instant;

/// Requests of strangers that are recorded in a second; more are counted only.
const PER_SECOND_MAX: u32 = 10;

/// What is recorded of strangers.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    /// The second that is counted and how many there were in it; `None` where everybody is known.
    counted: Option<Arc<Mutex<(i64, u32)>>>,
    unrecorded: Counter,
}

impl Strangers {
    /// Where there are strangers.
    #[must_use]
    pub fn few() -> Self {
        Self {
            counted: Some(Arc::default()),
            ..Self::default()
        }
    }

    /// Shows how many were not recorded.
    pub fn register(&self, registry: &mut Registry) {
        let help =
            "Requests of nobody who was proved that were not recorded, since there were many";
        registry.register("strangers_unrecorded", help, self.unrecorded.clone());
    }

    /// Whether one more is recorded, at an instant.
    pub(super) fn may_say_more(&self, now: Instant) -> bool {
        let Some(counted) = &self.counted else {
            return true;
        };
        let second = now.0.div_euclid(1_000_000);
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0 != second {
            *counted = (second, 0);
        }
        counted.1 = counted.1.saturating_add(1);
        let may = counted.1 <= PER_SECOND_MAX;
        if !may {
            self.unrecorded.inc();
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_strangers_in_a_second_are_recorded() {
        let strangers = Strangers::few();
        let of = |at| {
            (0..50)
                .filter(|_| strangers.may_say_more(Instant(at)))
                .count()
        };
        assert_eq!((of(0), of(999_999), of(1_000_000)), (10, 0, 10));
        assert_eq!(strangers.unrecorded.get(), 130);
        let known = Strangers::default();
        assert!((0..50).all(|_| known.may_say_more(Instant(0))));
    }
}
