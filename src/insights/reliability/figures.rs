//! Time between failures, time to repair, availability and flapping, each with an interval.

use crate::insights::reliability::bounds;
use crate::insights::reliability::counts::Counts;
use crate::insights::reliability::fleet::{Prior, Rate};
use crate::insights::reliability::intervals::Repairs;

/// The level of the intervals of MTBF, MTTR and availability.
pub const LEVEL: f64 = 0.95;
/// Flapping: at least so many failures within a day …
const FLAPS: u32 = 3;
/// … of which the probability is below this.
const FLAP_PROBABILITY: f64 = 0.001;

/// A value between bounds; `value` is absent when there is only a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The best single value.
    pub value: Option<f64>,
    /// The lower bound.
    pub low: f64,
    /// The upper bound, absent when nothing bounds it.
    pub high: Option<f64>,
}

/// Hours between failures from a count alone: exact bounds of a Poisson mean (Garwood 1936).
/// Without a failure there is a lower bound only.
#[must_use]
pub fn mtbf_of_count(count: f64, hours: f64) -> Estimate {
    let (low, high) = bounds::poisson(count, LEVEL);
    let is_seen = count > 0.0;
    Estimate {
        value: is_seen.then(|| hours / count),
        low: hours / high,
        high: is_seen.then(|| hours / low),
    }
}

/// Hours between the failures of one device: its own, drawn to those of its site and fleet.
/// A device without a failure has at least the bound of its own time.
#[must_use]
pub fn mtbf(rate: &Rate, count: f64, hours: f64) -> (f64, f64, f64) {
    let (slow, fast) = bounds::gamma(rate.shape, rate.hours, LEVEL);
    let (value, low, high) = (
        1.0 / rate.mean(),
        1.0 / fast,
        1.0 / slow.max(f64::MIN_POSITIVE),
    );
    if count > 0.0 {
        return (value, low, high);
    }
    let bound = mtbf_of_count(count, hours).low;
    (value.max(bound), low.max(bound), high.max(bound))
}

/// The time to repair: logarithms are normal, with a mean drawn to the fleet's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repair {
    /// The mean of the logarithm of hours.
    pub mean: f64,
    /// The variance of the logarithms.
    pub variance: f64,
    /// The variance of `mean`.
    pub uncertainty: f64,
    /// Degrees of freedom of the variance.
    pub freedom: f64,
    /// From how many repairs of the device.
    pub count: f64,
}

impl Repair {
    /// Of one device.
    #[must_use]
    pub fn new(own: &Repairs, prior: &Prior) -> Self {
        let freedom = (own.count - 1.0).max(0.0);
        // So many repairs of its own weigh as much as the fleet's mean.
        let weight = 1.0 / prior.repair_ratio;
        let variance = (weight * prior.repair_variance + own.deviations()) / (weight + freedom);
        let total = own.count + weight;
        // The fleet's own mean is not known exactly either.
        let fleet = prior.repair_variance / prior.repair_count.max(0.25);
        let share = weight / total;
        Self {
            mean: (own.sum + weight * prior.repair_mean) / total,
            variance,
            uncertainty: variance / total + share * share * fleet,
            freedom: weight + freedom,
            count: own.count,
        }
    }

    /// The mean time to repair in hours, with its interval (Student's t on the logarithms, and the
    /// variance of the variance, after Cox).
    #[must_use]
    pub fn mttr(&self) -> (f64, f64, f64) {
        let log = self.mean + self.variance / 2.0;
        let reach = bounds::student(self.freedom, LEVEL) * self.log_deviation();
        (log.exp(), (log - reach).exp(), (log + reach).exp())
    }

    /// The standard error of the logarithm of the mean time to repair.
    #[must_use]
    pub fn log_deviation(&self) -> f64 {
        let of_variance = self.variance * self.variance / (2.0 * (self.freedom + 1.0));
        (self.uncertainty + of_variance).sqrt()
    }

    /// Mean and mean square of a time to repair in hours.
    #[must_use]
    pub fn moments(&self) -> (f64, f64) {
        let mean = (self.mean + self.variance / 2.0).exp();
        (mean, mean * mean * self.variance.exp())
    }
}

/// The long-run part of time not down, of a device that fails and is repaired by turns: MTTR over
/// MTBF is the part of time down. The interval is by the delta method on the log-odds.
#[must_use]
pub fn availability(rate: &Rate, repair: &Repair) -> (f64, f64, f64) {
    let (mttr, _, _) = repair.mttr();
    let down = (rate.mean() * mttr).clamp(1e-9, 0.999);
    let log_odds = ((1.0 - down) / down).ln();
    let deviation = (1.0 / rate.shape + repair.log_deviation().powi(2)).sqrt() / (1.0 - down);
    let reach = bounds::student(repair.freedom.max(2.0 * rate.shape), LEVEL) * deviation;
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    (
        1.0 - down,
        logistic(log_odds - reach),
        logistic(log_odds + reach),
    )
}

/// Failures of the last day against what the device's own rate would give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flapping {
    /// How many in the last 24 hours of watched time.
    pub observed: u32,
    /// How many were to be expected.
    pub expected: f64,
    /// The probability of so many or more.
    pub probability: f64,
    /// Whether that is flapping.
    pub is_flapping: bool,
}

/// Judges the last day. `before` is the rate without that day.
#[must_use]
pub fn flapping(before: &Rate, dispersion: f64, observed: u32) -> Flapping {
    let expected = 24.0 * before.mean();
    let variance = expected * dispersion.max(1.0) + expected * expected / before.shape;
    let probability = Counts::new(expected, variance).at_least(f64::from(observed));
    let is_flapping = observed >= FLAPS && probability < FLAP_PROBABILITY;
    Flapping {
        observed,
        expected,
        probability,
        is_flapping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::reliability::fleet::Fleet;

    fn prior() -> Prior {
        let mut fleet = Fleet::new(24.0);
        for _ in 0..20 {
            fleet.add_count("a", 5.0, 1_000.0);
        }
        fleet.prior()
    }

    #[test]
    fn the_cold_start_gives_its_figures() {
        // 12 devices in 6.2 days with 58 outages.
        let fleet = mtbf_of_count(58.0, 12.0 * 6.2 * 24.0);
        let shown = |hours: f64| format!("{hours:.1}");
        assert_eq!(fleet.value.map(shown).as_deref(), Some("30.8"));
        assert_eq!(
            (shown(fleet.low), fleet.high.map(shown)),
            ("23.8".into(), Some("40.5".into()))
        );
        let none = mtbf_of_count(0.0, 6.2 * 24.0);
        assert_eq!((none.value, none.high), (None, None));
        assert!((none.low - 40.34).abs() < 0.01);
    }

    #[test]
    fn a_device_without_a_failure_has_a_finite_mtbf_above_its_own_bound() {
        let rate = prior().posterior("a", 0.0, 6.2 * 24.0);
        let (value, low, high) = mtbf(&rate, 0.0, 6.2 * 24.0);
        assert!(low >= 40.3 && low <= value && value <= high && high.is_finite());
    }

    #[test]
    fn more_failures_never_raise_the_mtbf_nor_the_availability() {
        let prior = prior();
        let repair = Repair::new(&Repairs::default(), &prior);
        let (mut before, mut up) = (f64::INFINITY, 1.0);
        for count in 1..40 {
            let rate = prior.posterior("a", f64::from(count), 1_000.0);
            let (value, low, high) = mtbf(&rate, f64::from(count), 1_000.0);
            let (share, from, to) = availability(&rate, &repair);
            assert!(value < before && low < value && value < high);
            assert!(share < up && from <= share && share <= to && (0.0..=1.0).contains(&from));
            (before, up) = (value, share);
        }
    }

    #[test]
    fn repairs_that_are_all_alike_give_their_length() {
        let mut repairs = Repairs::default();
        for _ in 0..40 {
            repairs.add(4 * crate::insights::input::HOUR);
        }
        let mut fleet = Fleet::new(24.0);
        fleet.add(
            "a",
            &crate::insights::reliability::intervals::Process {
                hours: 1_000.0,
                at: vec![1.0],
            },
            &repairs,
        );
        let (mttr, low, high) = Repair::new(&repairs, &fleet.prior()).mttr();
        assert!(
            (mttr - 4.0).abs() < 0.1 && low < 4.0 && high > 4.0 && high < 5.0,
            "{low} {high}"
        );
    }

    #[test]
    fn flapping_is_against_the_own_rate() {
        let prior = prior();
        let calm = prior.posterior("a", 1.0, 2_000.0);
        assert!(flapping(&calm, 1.0, 4).is_flapping);
        assert!(!flapping(&calm, 1.0, 2).is_flapping);
        let busy = prior.posterior("a", 400.0, 2_000.0);
        assert!(!flapping(&busy, 1.0, 6).is_flapping);
    }
}
