//! The only caller of the system's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::event::Instant;

/// Tells the time: that of the system, or one that is moved by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    by_hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The clock of the system.
    #[must_use]
    pub const fn system() -> Self {
        Self { by_hand: None }
    }

    /// A clock that stands until it is moved.
    #[must_use]
    pub fn by_hand(at: Instant) -> Self {
        Self {
            by_hand: Some(Arc::new(AtomicI64::new(at.0))),
        }
    }

    /// Moves a clock that is moved by hand; the system's stays as it is.
    pub fn advance_ms(&self, milliseconds: i64) {
        if let Some(at) = &self.by_hand {
            at.fetch_add(milliseconds.saturating_mul(1_000), Ordering::SeqCst);
        }
    }

    /// Now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the system"
    )]
    pub fn now(&self) -> Instant {
        match &self.by_hand {
            Some(at) => Instant(at.load(Ordering::SeqCst)),
            None => Instant::of(chrono::Utc::now()),
        }
    }
}
