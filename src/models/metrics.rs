//! What is told of what is summed up and learned, to those who watch over it.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::event::{Instant, Provenance};
use crate::held::ModelRead;
use crate::insights::input::SECOND;

type Gauges = Family<[(&'static str, &'static str); 1], Gauge>;

/// What a server tells of it, by provenance.
#[derive(Clone, Debug, Default)]
pub struct ModelsMetrics {
    summed: Gauges,
    trained: Gauges,
    failures: Gauges,
}

impl ModelsMetrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        let summed = "The midnight as of which a fleet was summed up last, since 1970; not told by servers that sum \
            none up";
        let gauges = self.summed.clone();
        registry.register_with_unit("fleet_summed_up", summed, Unit::Seconds, gauges);
        let trained = "When the model of failures was trained last, since 1970; not told by servers that train none";
        let gauges = self.trained.clone();
        registry.register_with_unit("failure_model_trained", trained, Unit::Seconds, gauges);
        let failures = "Failures that the model of failures has learned from, of the fleet";
        registry.register("failure_model_failures", failures, self.failures.clone());
    }

    pub(super) fn summed(&self, provenance: Provenance, midnight: Instant) {
        let gauge = self.summed.get_or_create(&of(provenance));
        gauge.set(midnight.0 / SECOND);
    }

    pub(super) fn trained(&self, provenance: Provenance, newest: &ModelRead) {
        let gauge = self.trained.get_or_create(&of(provenance));
        gauge.set(newest.trained_at.0 / SECOND);
        let gauge = self.failures.get_or_create(&of(provenance));
        gauge.set(i64::from(newest.model.failures));
    }
}

const fn of(provenance: Provenance) -> [(&'static str, &'static str); 1] {
    [("provenance", provenance.word())]
}
