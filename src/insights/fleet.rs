//! What all devices of a fleet come to at a midnight: sums over what is kept of each of them.
//!
//! Devices are added one by one, so that never the states of all of them are held at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::anomaly::{Pools, State};
use super::device::{self, DeviceState};
use super::input::{Device, Measure};
use super::reliability;
use super::reliability::insight::add;
use super::reliability::intervals::Failures;
use super::risk;
use super::risk::model;
use crate::event::Instant;

/// Of which form sums, examples and models are: they rest on what is kept of devices. What is of another form counts as
/// absent, and is made anew beside it.
pub const VERSION: i64 = device::VERSION * 10_000 + model::VERSION * 100 + FORM;
/// The form of the sums themselves.
const FORM: i64 = 2;
/// For how many hours ahead failures are summed up: a day, three, a week, 30 days, 90, a year. The first is what is
/// answered if no horizon is asked for.
const HORIZONS: [f64; 6] = [720.0, 24.0, 72.0, 168.0, 2_160.0, 8_760.0];
/// Sites at most of which the devices are pooled; those of others rest on the pools of the fleet.
const SITES_MAX: usize = 1_000;

/// A fleet, summed up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetState {
    /// Of its failures, errors and levels.
    pub risk: risk::fleet::Fleet,
    /// Of its outages, its failures and its times offline, and how they are repaired.
    pub outages: Outages,
    /// Of what is usual of each measure.
    pub pools: Pools,
    /// The same of each site, by its key. It is written apart.
    #[serde(skip)]
    pub site_pools: BTreeMap<i64, Pools>,
}

/// The reliability of a fleet, for each thing that may count as a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outages {
    any: reliability::fleet::Fleet,
    error: reliability::fleet::Fleet,
    offline: reliability::fleet::Fleet,
}

impl Default for Outages {
    fn default() -> Self {
        let of = || reliability::fleet::Fleet::of_horizons(&HORIZONS);
        Self {
            any: of(),
            error: of(),
            offline: of(),
        }
    }
}

impl Outages {
    /// The sums of what counts as a failure.
    #[must_use]
    pub const fn of(&self, failures: Failures) -> &reliability::fleet::Fleet {
        match failures {
            Failures::Any => &self.any,
            Failures::Error => &self.error,
            Failures::Offline => &self.offline,
        }
    }

    fn add(&mut self, site: &str, state: &reliability::intervals::State, as_of: Instant) {
        let of_each = [
            (Failures::Any, &mut self.any),
            (Failures::Error, &mut self.error),
            (Failures::Offline, &mut self.offline),
        ];
        for (failures, fleet) in of_each {
            add(fleet, state, site, failures, as_of);
        }
    }
}

impl FleetState {
    /// The fleet as bytes, and its sites as others.
    ///
    /// # Errors
    /// When it cannot be written, which does not happen.
    pub fn encode(&self) -> Result<[Vec<u8>; 2], postcard::Error> {
        let sums = postcard::to_stdvec(self)?;
        Ok([sums, postcard::to_stdvec(&self.site_pools)?])
    }

    /// The fleet of bytes of this version, with its sites if they are kept.
    ///
    /// # Errors
    /// When they are of something else.
    pub fn decode(sums: &[u8], site_pools: Option<&[u8]>) -> Result<Self, postcard::Error> {
        let fleet: Self = postcard::from_bytes(sums)?;
        let site_pools = site_pools.map(postcard::from_bytes).transpose()?;
        Ok(Self {
            site_pools: site_pools.unwrap_or_default(),
            ..fleet
        })
    }
}

/// A fleet in the making.
#[derive(Clone, Debug)]
pub struct Summing {
    as_of: Instant,
    risk: risk::fleet::Summing,
    rest: FleetState,
}

impl Summing {
    /// One without a device, as of an instant.
    #[must_use]
    pub fn new(as_of: Instant) -> Self {
        Self {
            as_of,
            risk: risk::fleet::Summing::new(as_of),
            rest: FleetState::default(),
        }
    }

    /// One device more, which stands at a site, with what is kept of it of all hours that were over then. Of one of
    /// which nothing is kept there is nothing to add. What is summed up is the same in any order but for rounding.
    pub fn add(&mut self, (device, site_key): (&Device, i64), state: &DeviceState) {
        if !is_kept(state) {
            return;
        }
        self.risk.add(device, &state.risk);
        let outages = &mut self.rest.outages;
        outages.add(&device.site, &state.reliability, self.as_of);
        for (measure, state) in &state.anomalies {
            pool(&mut self.rest.pools, *measure, state);
        }
        let sites = &mut self.rest.site_pools;
        if sites.len() < SITES_MAX || sites.contains_key(&site_key) {
            let pools = sites.entry(site_key).or_default();
            for (measure, state) in &state.anomalies {
                pool(pools, *measure, state);
            }
        }
    }

    /// The fleet.
    #[must_use]
    pub fn end(self) -> FleetState {
        let mut fleet = self.rest;
        fleet.risk = self.risk.end();
        fleet.pools.retain(|_, pool| !pool.is_empty());
        for pools in fleet.site_pools.values_mut() {
            pools.retain(|_, pool| !pool.is_empty());
        }
        fleet.site_pools.retain(|_, pools| !pools.is_empty());
        fleet
    }
}

/// Whether anything is kept of a device.
#[must_use]
pub fn is_kept(state: &DeviceState) -> bool {
    state.upto > Instant::default()
}

fn pool(pools: &mut Pools, measure: Measure, state: &State) {
    pools.entry(measure).or_default().add(state);
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::insights::device::{DeviceHour, Place};
    use crate::insights::input::{DAY, HOUR, Hour, State as Reported, StateSeen};
    use crate::insights::jobs::schedule::Schedule;

    /// A device that was heard of for so many hours from a day on, and failed in the last of them.
    fn kept(number: i64, hours: i64) -> (Device, DeviceState) {
        let (mut state, schedule) = (DeviceState::default(), Schedule::new(Tz::UTC));
        let place = Place {
            zone: Tz::UTC,
            schedule: &schedule,
        };
        for hour in 0..hours {
            let start = Instant(20_000 * DAY + hour * HOUR);
            let value = 30.0 + f64::from(u32::try_from(hour * (number + 3) % 17).unwrap());
            let measured = Hour {
                start,
                count: 1,
                sum: value,
                sum_squares: value * value,
                min: value,
                max: value,
                increase: 0.0,
            };
            let failed = StateSeen {
                at: Instant(start.0 + HOUR / 2),
                to: Reported::Error,
            };
            let is_last = hour + 1 == hours;
            let hour = DeviceHour {
                start,
                measures: vec![(Measure::CpuPercent, measured)],
                states: if is_last { vec![failed] } else { Vec::new() },
                ..DeviceHour::default()
            };
            state.fold(&hour, place);
        }
        let device = Device {
            id: format!("d{number}"),
            site: format!("s{}", number % 2),
            model: None,
            age_years: None,
        };
        (device, state)
    }

    fn summed(devices: &[(Device, DeviceState)]) -> FleetState {
        let mut summing = Summing::new(Instant(20_000 * DAY + 400 * HOUR));
        for (number, (device, state)) in (0..).zip(devices) {
            summing.add((device, number % 2), state);
        }
        summing.end()
    }

    #[test]
    fn a_fleet_is_the_sum_of_its_devices_and_is_read_again_as_it_was() {
        let devices: Vec<_> = (0..6).map(|number| kept(number, 300)).collect();
        let fleet = summed(&devices);
        assert_eq!(fleet.risk.devices, 6);
        assert!((fleet.risk.failures - 6.0).abs() < f64::EPSILON);
        let count = |failures| fleet.outages.of(failures).totals().0;
        assert!((count(Failures::Error) - 6.0).abs() < f64::EPSILON);
        assert!(count(Failures::Offline).abs() < f64::EPSILON);
        assert_eq!(fleet.site_pools.keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(fleet.pools.len(), 1);
        let [sums, site_pools] = fleet.encode().unwrap();
        let read = |site_pools: Option<&[u8]>| FleetState::decode(&sums, site_pools).unwrap();
        assert_eq!(read(Some(&site_pools)), fleet);
        assert_eq!(read(None).risk, fleet.risk);
    }

    #[test]
    fn of_which_nothing_is_kept_nothing_is_added() {
        let (device, _) = kept(1, 1);
        let none = summed(&[(device, DeviceState::default())]);
        assert_eq!(none, FleetState::default());
    }
}
