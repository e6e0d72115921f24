//! Profiles of many devices in one: of a site, or of the fleet.

use std::collections::BTreeMap;

use crate::insights::input::Measure;
use crate::insights::number;
use serde::{Deserialize, Serialize};

use crate::insights::anomaly::State;
use crate::insights::anomaly::profile::WEEK;

/// So many device weeks of a pool weigh as much as the wider pool.
const K_POOL: f64 = 4.0;

/// Mean departures by hour of the week, in units of each device's own scale, so that devices of
/// different levels go together. Pools of devices merge by sum; the order does not matter but for
/// rounding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    sums: Vec<f32>,
    seen: Vec<f32>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            sums: vec![0.0; WEEK],
            seen: vec![0.0; WEEK],
        }
    }
}

impl Pool {
    /// Takes what is known of one device. A device that is still warming up adds nothing.
    pub fn add(&mut self, device: &State) {
        let scale = device.total_scale();
        if !device.is_warm() || scale <= 0.0 {
            return;
        }
        let cells = (0..WEEK).map(|hour| device.profile().cell(hour));
        for ((sum, seen), cell) in self.sums.iter_mut().zip(&mut self.seen).zip(cells) {
            *sum += number::single(cell.seen * cell.value / scale);
            *seen += number::single(cell.seen);
        }
    }

    /// Takes all devices of another pool.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        for (seen, more) in self.seen.iter_mut().zip(&other.seen) {
            *seen += more;
        }
    }

    /// Whether no device has added anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.iter().all(|seen| *seen <= 0.0)
    }

    /// The mean of a cell, shrunk to what is known otherwise.
    fn shrunk(&self, hour: usize, otherwise: f64) -> f64 {
        let sum = self.sums.get(hour).copied().map_or(0.0, f64::from);
        let seen = self.seen.get(hour).copied().map_or(0.0, f64::from);
        (sum + K_POOL * otherwise) / (seen + K_POOL)
    }
}

/// Pools of some devices by measure.
pub type Pools = BTreeMap<Measure, Pool>;

/// The pools that a device belongs to, where there are any.
#[derive(Clone, Copy, Debug, Default)]
pub struct References<'a> {
    /// Of the devices of its site.
    pub site: Option<&'a Pool>,
    /// Of all devices.
    pub fleet: Option<&'a Pool>,
}

impl References<'_> {
    /// What to expect of a device not seen yet: the site, shrunk to the fleet, shrunk to nothing.
    pub(crate) fn departure(&self, hour: usize) -> f64 {
        let fleet = self.fleet.map_or(0.0, |fleet| fleet.shrunk(hour, 0.0));
        self.site.map_or(fleet, |site| site.shrunk(hour, fleet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::anomaly::state::tests::{daily, fed};

    #[test]
    fn a_site_passes_its_rhythm_on() {
        let mut site = Pool::default();
        site.add(&fed(14, daily));
        let references = References {
            site: Some(&site),
            fleet: None,
        };
        assert!(
            references.departure(12) > 0.3,
            "{}",
            references.departure(12)
        );
        assert!(
            references.departure(2) < -0.2,
            "{}",
            references.departure(2)
        );
    }

    #[test]
    fn pools_merge_as_if_all_devices_had_been_in_one() {
        let (one, two) = (fed(14, daily), fed(9, |hour| 5.0 * daily(hour)));
        let (mut all, mut other, mut merged) = (Pool::default(), Pool::default(), Pool::default());
        all.add(&one);
        all.add(&two);
        merged.add(&one);
        other.add(&two);
        merged.merge(&other);
        assert_eq!(all, merged);
    }

    #[test]
    fn without_pools_nothing_is_expected() {
        assert!(References::default().departure(5).abs() < f64::EPSILON);
    }
}
