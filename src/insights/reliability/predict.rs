//! Failures, downtime and availability to expect within a horizon.

use crate::insights::reliability::bounds;
use crate::insights::reliability::counts::Counts;
use crate::insights::reliability::figures::Repair;
use crate::insights::reliability::fleet::{Prior, Rate};

/// The level of predictive intervals.
pub const LEVEL: f64 = 0.9;

/// What to expect within a horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Failures: the mean, and the least and most of the interval (whole numbers).
    pub failures: (f64, f64, f64),
    /// The probability of at least one.
    pub any: f64,
    /// Hours down.
    pub downtime: (f64, f64, f64),
    /// The part of time not down.
    pub availability: (f64, f64, f64),
}

/// The distribution of the number of failures: the scatter of counts at a known rate, and that
/// the rate is known only so well.
#[must_use]
pub fn counts(rate: &Rate, prior: &Prior, hours: f64) -> Counts {
    let mean = rate.mean() * hours;
    Counts::new(mean, prior.scatter * mean + mean * mean / rate.shape)
}

/// Failures, downtime and availability within the next `hours`.
#[must_use]
pub fn forecast(rate: &Rate, prior: &Prior, repair: &Repair, hours: f64) -> Forecast {
    let counts = counts(rate, prior, hours);
    let mean = rate.mean() * hours;
    let variance = prior.scatter * mean + mean * mean / rate.shape;
    let (low, high) = counts.interval(LEVEL);
    let downtime = downtime(mean, variance, counts.none(), repair, hours);
    let up = |down: f64| 1.0 - down / hours;
    Forecast {
        failures: (mean, low, high),
        any: 1.0 - counts.none(),
        downtime,
        availability: (up(downtime.0), up(downtime.2), up(downtime.1)),
    }
}

/// The sum of a random number of repair times: none with the probability of no failure, else a
/// gamma distribution with the same mean and variance.
fn downtime(mean: f64, variance: f64, none: f64, repair: &Repair, hours: f64) -> (f64, f64, f64) {
    let (one, square) = repair.moments();
    // Not knowing the mean repair time well is common to all repairs.
    let common = repair.log_deviation().powi(2).exp_m1().min(4.0);
    let total = mean * one;
    let second = mean * (square - one * one) + variance * one * one;
    let second = second + common * (second + total * total);
    let some = (1.0 - none).max(1e-9);
    let some_mean = total / some;
    let some_variance = ((second + total * total) / some - some_mean * some_mean).max(1e-12);
    // The lowest part of the level is left to "no downtime", where that is likely.
    let quantile = |at: f64| {
        if at <= none || total <= 0.0 {
            return 0.0;
        }
        let at = ((at - none) / some).clamp(0.0, 1.0);
        let shape = some_mean * some_mean / some_variance;
        bounds::gamma_quantile(shape, shape / some_mean, at)
    };
    let tail = (1.0 - LEVEL) / 2.0;
    let (low, high) = if none >= tail {
        (0.0, quantile(LEVEL.max(none)))
    } else {
        (quantile(tail), quantile(1.0 - tail))
    };
    (total.min(hours), low.min(hours), high.min(hours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::reliability::fleet::Fleet;
    use crate::insights::reliability::intervals::Repairs;

    fn all(count: f64, hours: f64, horizon: f64) -> Forecast {
        let mut fleet = Fleet::new(horizon);
        let mut repairs = Repairs::default();
        repairs.add(4 * crate::insights::input::HOUR);
        for _ in 0..20 {
            fleet.add(
                "a",
                &crate::insights::reliability::intervals::Process {
                    hours: 0.0,
                    at: Vec::new(),
                },
                &repairs,
            );
            fleet.add_count("a", 2.0, 2_000.0);
        }
        let prior = fleet.prior();
        let rate = prior.posterior("a", count, hours);
        forecast(&rate, &prior, &Repair::new(&repairs, &prior), horizon)
    }

    #[test]
    fn bounds_are_in_order_and_finite() {
        for horizon in [1.0, 24.0, 720.0, 2_904.0, 20_000.0] {
            for count in [0.0, 1.0, 7.0, 400.0] {
                let forecast = all(count, 2_000.0, horizon);
                for (value, low, high) in
                    [forecast.failures, forecast.downtime, forecast.availability]
                {
                    assert!(
                        low.is_finite() && low <= high && value.is_finite(),
                        "{forecast:?}"
                    );
                }
                assert!((0.0..=1.0).contains(&forecast.availability.1));
            }
        }
    }

    #[test]
    fn more_failures_give_more_to_expect_and_a_short_horizon_none() {
        assert!(all(9.0, 2_000.0, 720.0).failures.0 > all(1.0, 2_000.0, 720.0).failures.0);
        let short = all(1.0, 2_000.0, 1.0);
        assert_eq!((short.failures.1, short.failures.2), (0.0, 0.0));
        assert!(short.downtime.1.abs() < f64::EPSILON && short.downtime.2.abs() < f64::EPSILON);
    }
}
