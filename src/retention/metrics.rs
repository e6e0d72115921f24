//! What is told of what is archived, deleted and erased, to those who watch over it.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::ErasureRow;
use crate::event::Instant;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// What a server tells of it.
#[derive(Clone, Debug, Default)]
pub struct RetentionMetrics {
    completed: Gauge,
    waiting_since: Gauge,
    homeless_kinds: Gauge,
}

impl RetentionMetrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        let completed = "When this server had archived and deleted all that was old the last time, \
            since 1970; 0 when it never had";
        let gauge = self.completed.clone();
        registry.register_with_unit("retention_completed", completed, Unit::Seconds, gauge);
        let waiting = "When the oldest erasure was asked for that is not done, since 1970; 0 when \
            none waits, and on servers that do none";
        let gauge = self.waiting_since.clone();
        registry.register_with_unit("erasures_waiting_since", waiting, Unit::Seconds, gauge);
        let homeless = "Kinds of events that would be archived if this server had been told where \
            segments lie; 0 when it has";
        let gauge = self.homeless_kinds.clone();
        registry.register("retention_homeless_kinds", homeless, gauge);
    }

    pub(super) fn completed(&self, now: Instant) {
        self.completed.set(now.0 / SECOND);
    }

    /// The oldest erasure that waits, if one does.
    pub(super) fn waits(&self, oldest: Option<&ErasureRow>) {
        self.waiting_since
            .set(oldest.map_or(0, |row| row.asked_at / SECOND));
    }

    pub(super) fn homeless(&self, kinds: usize) {
        self.homeless_kinds
            .set(i64::try_from(kinds).unwrap_or(i64::MAX));
    }
}
