//! What is told of exports, to those who watch over them.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::history::exports::ExportRow;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// What a server tells of exports.
#[derive(Clone, Debug, Default)]
pub struct ExportsMetrics {
    waiting_since: Gauge,
}

impl ExportsMetrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        let waiting = "When the oldest export was asked for that is not begun, since 1970; 0 when \
            none waits, and on servers that make none";
        let gauge = self.waiting_since.clone();
        registry.register_with_unit("exports_waiting_since", waiting, Unit::Seconds, gauge);
    }

    /// The oldest export that waits, if one does.
    pub(super) fn waits(&self, oldest: Option<&ExportRow>) {
        self.waiting_since
            .set(oldest.map_or(0, |row| row.created_at / SECOND));
    }
}
