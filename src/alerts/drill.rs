//! The default rules by themselves, over a fleet that is made up: for measuring what they cost.

use std::sync::Arc;

use entity::device_metrics::Column;

use super::evaluate::Evaluator;
use super::fleet::{Device, Scope};
use super::gaps::Gaps;
use super::rule::{Rule, Watch};
use crate::event::{Cell, Event, Instant, Position, Provenance, Reference};
use crate::kinds::{Draft, Kind, Refusal};

/// Devices of a site.
const PER_SITE: i64 = 4;

/// A fleet that reports, and the default rules that watch it.
#[derive(Debug)]
pub struct Drill {
    evaluator: Evaluator,
    /// The newest report of each device.
    reports: Vec<Event>,
    position: Position,
}

impl Drill {
    /// So many devices, four at a site, each of which reports every so many seconds.
    ///
    /// # Errors
    /// When a report is not in order.
    pub fn new(devices: i64, interval_seconds: i64) -> Result<Self, Refusal> {
        let mut evaluator = Evaluator::default();
        for rule in Rule::defaults() {
            if let Watch::CollectionGap(gap) = rule.spec.watch.clone() {
                let gaps = Gaps::new(Arc::new(rule), gap, Scope::All);
                evaluator.gaps.push(gaps);
            }
        }
        let mut reports = Vec::new();
        for key in 1..=devices {
            let device = Device {
                site: devices + key / PER_SITE,
                is_active: true,
                registered: (Instant::OLDEST, Position::START),
                state: None,
                state_at: (Instant::OLDEST, Position::START),
                provenance: Provenance::Simulated,
                interval_seconds: None,
                sign: None,
            };
            evaluator.fleet.devices.insert(key, device);
            let id = Arc::from(format!("device-{key}"));
            let report = Draft::new(Kind::DeviceMetrics, Instant::OLDEST, Provenance::Simulated)
                .set(Column::DeviceKey, Cell::Reference(Reference { key, id }))
                .set(Column::CollectionIntervalSeconds, interval_seconds)
                .finish()?;
            reports.push(Event {
                position: Position::START,
                recorded_at: Instant::OLDEST,
                fact: report.fact,
            });
        }
        Ok(Self {
            evaluator,
            reports,
            position: Position::START,
        })
    }

    /// Some devices, by their ordinals, report at an instant.
    pub fn report(&mut self, ordinals: std::ops::Range<usize>, at: Instant) {
        for report in self.reports.get_mut(ordinals).into_iter().flatten() {
            self.position = self.position.next();
            report.position = self.position;
            report.recorded_at = at;
            report.fact.occurred_at = at;
            self.evaluator.hear(report, at);
        }
    }

    /// Looks whose time has run out, and answers with how many alerts are to be opened or closed.
    pub fn look(&mut self, now: Instant) -> usize {
        self.evaluator.look(now);
        std::mem::take(&mut self.evaluator.verdicts).len()
    }
}
