//! How long it is waited until the log can be read again: a database that is started anew, a lock, a statement that
//! took too long. What was written of an export until then is not thrown away for that.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ExportError;
use crate::telemetry::chain;

/// How long the log may be out of reach.
const WITHIN: Duration = Duration::from_mins(1);
/// After what time it is tried again at first, and at most; each time after twice the time.
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(8);

/// What is left of it.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    wait: Duration,
}

impl Patience {
    /// All of it.
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + WITHIN,
            wait: FIRST,
        }
    }

    /// Waits after a failure until it is to be tried again; false at once if it is not.
    pub(super) async fn bears(&mut self, error: &ExportError) -> bool {
        let ExportError::Store(store) = error else {
            return false;
        };
        if !store.may_pass() || Instant::now() + self.wait > self.until {
            return false;
        }
        let told = chain(error).to_string();
        tracing::warn!(
            error = told,
            "the log cannot be read on for an export, will try again"
        );
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(MOST);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_borne_for_a_minute_and_nothing_else() {
        let mut patience = Patience::begin();
        let busy = ExportError::Store(StoreError::Crowded);
        let began = Instant::now();
        let mut times = 0;
        while patience.bears(&busy).await {
            times += 1;
        }
        assert!(times > 8, "{times} times");
        assert!((WITHIN / 2..=WITHIN).contains(&began.elapsed()));
        for error in [
            ExportError::Store(StoreError::Panicked),
            ExportError::Cancelled,
        ] {
            assert!(!Patience::begin().bears(&error).await, "{error:?}");
        }
    }
}
