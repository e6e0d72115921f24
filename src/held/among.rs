//! What the pure methods are asked with: a device that was read, among its fleet.

use super::{DeviceRead, FleetRead, Lean};
use crate::insights::anomaly::{References, Subject};
use crate::insights::input::{Measure, Sample};
use crate::insights::risk::answer::Context;

impl Lean {
    /// What is known around it.
    #[must_use]
    pub fn around<'a>(&'a self, fleet: &'a FleetRead) -> Context<'a> {
        Context {
            device: &self.device,
            zone: self.zone,
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
