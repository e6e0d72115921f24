//! What a fleet teaches of a device's failures: the rate, how devices differ, how regular failures come.
//!
//! All sums are added device by device. `Fleet` is made for one horizon or several, because how far
//! counts scatter depends on the width of the window they are counted in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::insights::number::float;

use crate::insights::reliability::intervals::{Process, Repairs};
use crate::insights::reliability::windows::{Dispersion, Windows};

/// By how much an estimated variance widens a 90 % interval, over its degrees of freedom: the
/// square of Student's quantile over the normal one is about 1 + (z² + 1) / 2 / freedom.
const WIDENING: f64 = 1.85;
/// What is thought beforehand of the squared coefficient of variation of the rates of devices.
const SPREAD: f64 = 0.3;
/// How far that may be off.
const SPREAD_DEVIATION: f64 = 0.3;
/// Bounds of that spread: shapes of the gamma distribution from 50 to a third.
const SPREADS: (f64, f64) = (0.02, 3.0);
/// The deviation of the logarithms of repair times that is thought beforehand, and its weight.
const REPAIR_DEVIATION: f64 = 0.7;
const REPAIR_WEIGHT: f64 = 2.0;
/// What is thought beforehand of the variance of repair times between devices over that within
/// them, as if from so many repairs; and its bounds.
const REPAIR_RATIO: f64 = 0.33;
const REPAIR_RATIO_WEIGHT: f64 = 10.0;
const REPAIR_RATIOS: (f64, f64) = (0.02, 2.0);

/// Sums over devices of one site, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    devices: f64,
    count: f64,
    hours: f64,
    count_squares: f64,
    products: f64,
    hours_squares: f64,
}

impl Sums {
    fn add(&mut self, count: f64, hours: f64) {
        self.devices += 1.0;
        self.count += count;
        self.hours += hours;
        self.count_squares += count * count;
        self.products += count * hours;
        self.hours_squares += hours * hours;
    }

    /// The sum of squared deviations of the counts from a common rate.
    fn deviations(&self, rate: f64) -> f64 {
        self.count_squares - 2.0 * rate * self.products + rate * rate * self.hours_squares
    }
}

/// The mean of a normal distribution cut off below zero.
fn truncated_mean(mean: f64, deviation: f64) -> f64 {
    let at = mean / deviation;
    // Far below zero the mean tends to deviation / -at.
    if at < -6.0 {
        return -deviation / at;
    }
    let density = (-at * at / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let above = 0.5 * statrs::function::erf::erfc(-at / std::f64::consts::SQRT_2);
    mean + deviation * density / above
}

/// The sums over a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    all: Sums,
    sites: BTreeMap<String, Sums>,
    /// One for each horizon; there is one at least.
    windows: Vec<Windows>,
    repairs: Repairs,
    /// Squared deviations of repair times within devices, and their degrees of freedom.
    within: (f64, f64),
    /// Devices with repairs, and the sum of the squares of their numbers of repairs.
    repairers: (f64, f64),
}

impl Fleet {
    /// An empty fleet for a horizon in hours.
    #[must_use]
    pub fn new(horizon: f64) -> Self {
        Self::of_horizons(&[horizon])
    }

    /// An empty fleet for several horizons in hours.
    #[must_use]
    pub fn of_horizons(horizons: &[f64]) -> Self {
        Self {
            all: Sums::default(),
            sites: BTreeMap::new(),
            windows: horizons.iter().copied().map(Windows::new).collect(),
            repairs: Repairs::default(),
            within: (0.0, 0.0),
            repairers: (0.0, 0.0),
        }
    }

    /// One device more.
    pub fn add(&mut self, site: &str, process: &Process, repairs: &Repairs) {
        if process.hours > 0.0 {
            self.add_count(site, process.count(), process.hours);
            self.add_windows(process);
        }
        self.repairs.count += repairs.count;
        self.repairs.sum += repairs.sum;
        self.repairs.squares += repairs.squares;
        self.within.0 += repairs.deviations();
        self.within.1 += (repairs.count - 1.0).max(0.0);
        self.repairers.0 += repairs.count.min(1.0);
        self.repairers.1 += repairs.count * repairs.count;
    }

    /// A device of which only the number of failures is known.
    pub fn add_count(&mut self, site: &str, count: f64, hours: f64) {
        self.all.add(count, hours);
        if let Some(sums) = self.sites.get_mut(site) {
            sums.add(count, hours);
        } else {
            self.sites
                .entry(site.to_owned())
                .or_default()
                .add(count, hours);
        }
    }

    /// How counts of successive windows differ within the device, whatever its rate.
    fn add_windows(&mut self, process: &Process) {
        if process.at.is_empty() {
            return;
        }
        for windows in &mut self.windows {
            windows.add(process);
        }
    }

    /// How many failures, and in how many device hours.
    #[must_use]
    pub fn totals(&self) -> (f64, f64) {
        (self.all.count, self.all.hours)
    }

    /// What is thought of a device of this fleet before its own failures are looked at, for its first horizon.
    #[must_use]
    pub fn prior(&self) -> Prior {
        let first = self.windows.first();
        self.prior_for(first.map_or(1.0, |windows| windows.horizon))
    }

    /// The same for a horizon in hours: of those that it is made for, by the nearest.
    #[must_use]
    pub fn prior_for(&self, horizon: f64) -> Prior {
        let all = &self.all;
        let horizon = horizon.max(1.0);
        let far = |windows: &Windows| (windows.horizon / horizon).ln().abs();
        let windows = self.windows.iter();
        let nearest = windows.min_by(|one, other| far(one).total_cmp(&far(other)));
        // Half a failure more (Jeffreys), so that a fleet without one has no rate of zero.
        let rate = (all.count + 0.5) / all.hours.max(1.0);
        let by_width = nearest.map_or(Dispersion::THOUGHT, Windows::dispersion);
        let typical = self.typical_hours();
        let counted = nearest.map_or(horizon, |windows| windows.horizon);
        let widest = counted.min(typical / 2.0);
        let spread = self.spread(rate, by_width.at(typical / widest));
        let dispersion = by_width.at(horizon / widest);
        let fleet_variance =
            dispersion.max(0.5) / (all.count + 0.5) + spread / all.devices.max(1.0);
        let site_spread = self.site_spread(rate, dispersion, spread);
        Prior {
            rate,
            spread: spread + fleet_variance,
            dispersion,
            scatter: dispersion * (1.0 + WIDENING / by_width.freedom),
            sites: self.site_rates(rate, dispersion, site_spread),
            repair_mean: self.repair_mean(),
            repair_variance: self.repair_variance(),
            repair_count: self.repairs.count,
            repair_ratio: self.repair_ratio(),
            failures: all.count,
            watched: all.hours,
        }
    }

    /// The mean of watched hours by device, devices with more time counting more.
    fn typical_hours(&self) -> f64 {
        self.all.hours_squares / self.all.hours.max(1.0)
    }

    /// The squared coefficient of variation between devices, by moments: the mean of what is
    /// thought beforehand (normal, not negative), given the estimate and its variance.
    fn spread(&self, rate: f64, dispersion: f64) -> f64 {
        let all = &self.all;
        let squares = rate * rate * all.hours_squares;
        if all.devices < 2.0 || squares <= 0.0 {
            return SPREAD;
        }
        let unbiased = 1.0 - 1.0 / all.devices;
        let noise = dispersion * rate * all.hours * unbiased;
        let estimate = (all.deviations(rate) - noise) / (squares * unbiased);
        // A device's count has the variance d m + c m²; the square of it varies by twice its square.
        let one = dispersion * rate * all.hours / squares + SPREAD;
        let variance = 2.0 * one * one / all.devices;
        let thought = SPREAD_DEVIATION * SPREAD_DEVIATION;
        let share = thought / (thought + variance);
        let mean = share * estimate + (1.0 - share) * SPREAD;
        truncated_mean(mean, (share * variance).sqrt()).clamp(SPREADS.0, SPREADS.1)
    }

    /// The same between sites, beyond what devices explain; none unless the sites show it.
    fn site_spread(&self, rate: f64, dispersion: f64, spread: f64) -> f64 {
        let (mut excess, mut squares) = (0.0, 0.0);
        for site in self.sites.values() {
            let expected = rate * site.hours;
            let noise = dispersion * expected + spread * rate * rate * site.hours_squares;
            excess += (site.count - expected).powi(2) - noise;
            squares += expected * expected;
        }
        let sites = float(self.sites.len());
        if sites < 3.0 || squares <= 0.0 {
            return 0.0;
        }
        (excess / squares * (sites - 2.0) / sites).clamp(0.0, SPREADS.1)
    }

    fn site_rates(&self, rate: f64, dispersion: f64, spread: f64) -> BTreeMap<String, f64> {
        if spread <= 0.0 {
            return BTreeMap::new();
        }
        let shape = 1.0 / spread;
        let of = |sums: &Sums| {
            let (count, expected) = (sums.count / dispersion, rate * sums.hours / dispersion);
            rate * (shape + count) / (shape + expected)
        };
        self.sites
            .iter()
            .map(|(site, sums)| (site.clone(), of(sums)))
            .collect()
    }

    fn repair_mean(&self) -> f64 {
        if self.repairs.count > 0.0 {
            self.repairs.sum / self.repairs.count
        } else {
            0.0
        }
    }

    /// Drawn to what is thought beforehand until there are repairs.
    fn repair_variance(&self) -> f64 {
        let prior = REPAIR_DEVIATION * REPAIR_DEVIATION * REPAIR_WEIGHT;
        (prior + self.within.0) / (REPAIR_WEIGHT + self.within.1)
    }

    /// By the moments of a one-way layout with unequal groups.
    fn repair_ratio(&self) -> f64 {
        let count = self.repairs.count.max(1.0);
        let between = (self.repairs.deviations() - self.within.0).max(0.0);
        let excess = between / self.repair_variance() - (self.repairers.0 - 1.0).max(0.0);
        let freedom = (count - self.repairers.1 / count).max(0.0);
        let ratio = (excess + REPAIR_RATIO * REPAIR_RATIO_WEIGHT) / (freedom + REPAIR_RATIO_WEIGHT);
        ratio.clamp(REPAIR_RATIOS.0, REPAIR_RATIOS.1)
    }
}

/// What is thought of a device before its own failures are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Failures an hour.
    pub rate: f64,
    /// The squared coefficient of variation of a device's rate about it.
    pub spread: f64,
    /// The index of dispersion of counts in a window as wide as the horizon.
    pub dispersion: f64,
    /// The same for predictions: wider, because it is estimated.
    pub scatter: f64,
    /// The rate at sites, where sites differ.
    sites: BTreeMap<String, f64>,
    /// Mean and variance of the logarithms of hours to repair, and from how many repairs.
    pub repair_mean: f64,
    /// See `repair_mean`.
    pub repair_variance: f64,
    /// See `repair_mean`.
    pub repair_count: f64,
    /// The variance of the logarithms between devices over that within them.
    pub repair_ratio: f64,
    /// The fleet's failures.
    pub failures: f64,
    /// The fleet's watched device hours.
    pub watched: f64,
}

impl Prior {
    /// The gamma distribution of the rate of a device with these failures.
    #[must_use]
    pub fn posterior(&self, site: &str, count: f64, hours: f64) -> Rate {
        let rate = self.sites.get(site).copied().unwrap_or(self.rate);
        let shape = 1.0 / self.spread;
        let (own, exposure) = (count / self.scatter, hours / self.scatter);
        let prior = shape / rate;
        Rate {
            shape: shape + own,
            hours: prior + exposure,
            own: exposure / (prior + exposure),
        }
    }
}

/// A gamma distribution of failures an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Its shape.
    pub shape: f64,
    /// Its rate parameter, in hours.
    pub hours: f64,
    /// The part of it that the device's own time gives, 0 to 1.
    pub own: f64,
}

impl Rate {
    /// Failures an hour to expect.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.shape / self.hours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(hours: f64, at: impl IntoIterator<Item = f64>) -> Process {
        Process {
            hours,
            at: at.into_iter().collect(),
        }
    }

    #[test]
    fn regular_failures_have_less_scatter_than_random_ones_and_bursts_more() {
        let (mut regular, mut bursts) = (Fleet::new(480.0), Fleet::new(480.0));
        for device in 0..30 {
            let phase = f64::from(device);
            let even = (0..96).map(|index| phase + 30.0 * f64::from(index));
            regular.add("a", &process(2_880.0, even), &Repairs::default());
            let bunch =
                (0..24).map(|index| 700.0 * f64::from(index % 4) + phase + f64::from(index / 4));
            let mut bunch: Vec<f64> = bunch.collect();
            bunch.sort_by(f64::total_cmp);
            bursts.add("a", &process(2_880.0, bunch), &Repairs::default());
        }
        assert!(regular.prior().dispersion < 0.2);
        assert!(bursts.prior().dispersion > 1.5);
    }

    #[test]
    fn a_device_that_fails_more_is_thought_to_but_less_than_it_did() {
        let mut fleet = Fleet::new(240.0);
        for _ in 0..20 {
            fleet.add_count("a", 5.0, 1_000.0);
        }
        fleet.add_count("a", 20.0, 1_000.0);
        let rate = fleet.prior().posterior("a", 20.0, 1_000.0).mean();
        assert!(rate > 0.006 && rate < 0.02, "{rate}");
    }

    #[test]
    fn an_empty_fleet_and_one_without_failures_give_finite_numbers() {
        let mut fleet = Fleet::new(f64::NAN);
        for _ in 0..3 {
            let prior = fleet.prior();
            assert!(prior.rate.is_finite() && prior.rate > 0.0);
            assert!(prior.spread.is_finite() && prior.dispersion.is_finite());
            let rate = prior.posterior("a", 0.0, 0.0);
            assert!(rate.mean().is_finite() && rate.own.abs() < f64::EPSILON);
            fleet.add("a", &process(100.0, []), &Repairs::default());
        }
    }

    #[test]
    fn sites_that_differ_lend_their_own_rate() {
        let mut fleet = Fleet::new(240.0);
        for (site, count) in [("a", 2.0), ("b", 2.0), ("c", 2.0), ("d", 20.0)] {
            for _ in 0..20 {
                fleet.add_count(site, count, 1_000.0);
            }
        }
        let prior = fleet.prior();
        let of = |site| prior.posterior(site, 0.0, 0.0).mean();
        assert!(of("d") > 4.0 * of("a"));
    }
}
