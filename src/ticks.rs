//! Ticks of what is done again and again.
//!
//! Until it is told to stop, that is `while stop.run_until_cancelled(ticks.tick()).await.is_some()`.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// A tick at once, and then one every so often. What takes longer delays those after it: none is made up for.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
