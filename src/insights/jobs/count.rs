//! What will be counted: a negative binomial, as the rate of a Poisson count is gamma distributed.

use crate::insights::shape::Interval;
use statrs::function::gamma::ln_gamma;

/// Below this an interval is exact, above it the count is taken as normal.
const EXACT_MAX: f64 = 5_000.0;

/// A count to come: its mean, and the variance of its rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Of the count, and of its rate.
    pub mean: f64,
    /// How uncertain and how unsteady its rate is.
    pub rate_variance: f64,
}

impl Count {
    fn shape(self) -> f64 {
        (self.mean * self.mean / self.rate_variance.max(1e-9 * self.mean)).clamp(1e-9, 1e9)
    }

    /// The chance of one count.
    #[must_use]
    pub fn chance(self, count: f64) -> f64 {
        let shape = self.shape();
        let rate = shape / self.mean;
        let ways = ln_gamma(shape + count) - ln_gamma(shape) - ln_gamma(count + 1.0);
        (ways - shape * (1.0 / rate).ln_1p() - count * rate.ln_1p()).exp()
    }

    /// The shortest interval of counts that holds the count with a chance of at least `level`.
    #[must_use]
    pub fn interval(self, level: f64) -> Interval {
        if self.mean <= 0.0 {
            return Interval {
                low: 0.0,
                high: 0.0,
                level,
            };
        }
        if self.mean > EXACT_MAX {
            let half = 1.644_853_6 * (self.mean + self.rate_variance).sqrt();
            return Interval {
                low: (self.mean - half).max(0.0).round(),
                high: (self.mean + half).round(),
                level,
            };
        }
        let shape = self.shape();
        let tail = 1.0 / (1.0 + shape / self.mean);
        let above = |count: f64, chance: f64| chance * (shape + count) / (count + 1.0) * tail;
        let below = |count: f64, chance: f64| {
            if count > 0.0 {
                chance * count / ((shape + count - 1.0) * tail)
            } else {
                0.0
            }
        };
        let mode = ((shape - 1.0) * self.mean / shape).max(0.0).floor();
        let at_mode = self.chance(mode);
        let (mut low, mut high, mut held) = (mode, mode, at_mode);
        let (mut under, mut over) = (below(mode, at_mode), above(mode, at_mode));
        while held < level && (under > 1e-15 || over > 1e-15) {
            if under > over {
                low -= 1.0;
                held += under;
                under = below(low, under);
            } else {
                high += 1.0;
                held += over;
                over = above(high, over);
            }
        }
        Interval { low, high, level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_add_up_to_one() {
        for (mean, rate_variance) in [(0.03, 0.01), (1.2, 0.4), (40.0, 90.0), (6.0, 0.0)] {
            let count = Count {
                mean,
                rate_variance,
            };
            let all: f64 = (0..2_000)
                .map(|count_to| count.chance(f64::from(count_to)))
                .sum();
            assert!((all - 1.0).abs() < 1e-6, "{mean}: {all}");
        }
    }

    #[test]
    fn an_interval_is_the_shortest_that_holds_enough() {
        for (mean, rate_variance) in [(0.05, 0.001), (0.9, 0.3), (6.0, 3.0), (300.0, 900.0)] {
            let count = Count {
                mean,
                rate_variance,
            };
            let interval = count.interval(0.9);
            let held = |low: f64, high: f64| {
                let mut sum = 0.0;
                let mut at = low;
                while at <= high {
                    sum += count.chance(at);
                    at += 1.0;
                }
                sum
            };
            assert!(held(interval.low, interval.high) >= 0.9);
            let width = interval.high - interval.low;
            let mut low = 0.0;
            while low < mean * 3.0 {
                assert!(held(low, low + width - 1.0) < 0.9);
                low += 1.0;
            }
        }
        let rare = Count {
            mean: 0.05,
            rate_variance: 0.001,
        };
        for count in [rare, Count::default()] {
            assert!(count.interval(0.9).high < f64::EPSILON);
        }
    }
}
