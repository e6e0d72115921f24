//! A device that was read, among its fleet: what the pure methods are asked with, and their answers.

use super::{DeviceRead, FleetRead, Lean};
use crate::event::Instant;
use crate::insights::anomaly::{References, Subject};
use crate::insights::input::{Measure, Sample};
use crate::insights::risk::answer::{self, Context};
use crate::insights::risk::model::Horizon;
use crate::insights::risk::{forecast, health};
use crate::insights::shape::Insight;

impl Lean {
    /// How healthy it is.
    #[must_use]
    pub fn health(&self, fleet: &FleetRead, as_of: Instant) -> Insight {
        let open = self.open.open_facts();
        health::read(&self.risk, &self.around(fleet), &open, as_of)
    }

    /// How healthy it will be on each of so many days to come.
    #[must_use]
    pub fn health_ahead(&self, fleet: &FleetRead, (as_of, days): (Instant, u8)) -> Vec<Insight> {
        let open = self.open.open_facts();
        forecast::ahead(&self.risk, &self.around(fleet), &open, as_of, 1..=days)
    }

    /// How likely it is to fail.
    #[must_use]
    pub fn failure_risk(&self, fleet: &FleetRead, (as_of, ahead): (Instant, Horizon)) -> Insight {
        let open = self.open.open_facts();
        answer::read(&self.risk, &self.around(fleet), &open, as_of, ahead)
    }

    /// The same as no more than the chance, which is quicker.
    #[must_use]
    pub fn chance(&self, fleet: &FleetRead, (as_of, ahead): (Instant, Horizon)) -> Option<f64> {
        let open = self.open.open_facts();
        answer::chance(&self.risk, &self.around(fleet), &open, as_of, ahead)
    }

    /// What is known around it.
    fn around<'a>(&'a self, fleet: &'a FleetRead) -> Context<'a> {
        Context {
            device: &self.device,
            zone: self.zone,
            schedule: &self.schedule,
            fleet: &fleet.risk,
            model: &fleet.model,
        }
    }
}

impl DeviceRead {
    /// A measure of it, with what is usual of that elsewhere.
    #[must_use]
    pub fn subject<'a>(&self, fleet: &'a FleetRead, measure: Measure) -> Subject<'a> {
        let of_site = fleet.site_pools.get(&self.site_key);
        Subject {
            measure,
            zone: self.zone,
            references: References {
                site: of_site.and_then(|pools| pools.get(&measure)),
                fleet: fleet.pools.get(&measure),
            },
        }
    }

    /// What was measured of a measure in the hour that is not over.
    #[must_use]
    pub fn samples_of(&self, measure: Measure) -> &[Sample] {
        self.samples.get(&measure).map_or(&[], Vec::as_slice)
    }
}
