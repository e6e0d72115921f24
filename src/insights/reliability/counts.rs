//! The distribution of a number of failures to come, by its mean and its variance.
//!
//! With more variance than Poisson it is negative binomial (gamma-Poisson). With less it is the
//! number of events of a stationary renewal process with gamma gaps (Winkelmann 1995; Cox 1962),
//! whose mean is exact at every width of the window. With equal variance both are Poisson.

use crate::insights::number::{float, whole};
use statrs::function::gamma::{gamma_lr, ln_gamma};

/// Below so small a surplus or lack of variance the distribution is Poisson.
const POISSON: f64 = 1e-6;
/// No process is taken to be more regular than this index of dispersion.
const REGULAR: f64 = 0.03;
/// Probabilities below this part of the greatest are left out.
const NEGLIGIBLE: f64 = 1e-9;
/// Beyond this mean the probabilities are not summed one by one.
const MANY: f64 = 3_000.0;

/// A distribution of counts: probabilities from a first count on.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    first: f64,
    probabilities: Vec<f64>,
    mean: f64,
    variance: f64,
}

impl Counts {
    /// The distribution with this mean and this variance.
    #[must_use]
    pub fn new(mean: f64, variance: f64) -> Self {
        let mean = if mean.is_finite() { mean.max(0.0) } else { 0.0 };
        let variance = if variance.is_finite() {
            variance.max(0.0)
        } else {
            mean
        };
        let mut counts = Self {
            first: 0.0,
            probabilities: Vec::new(),
            mean,
            variance,
        };
        if mean > MANY {
            return counts;
        }
        if mean <= 0.0 {
            counts.probabilities.push(1.0);
        } else if variance < mean * (1.0 - POISSON) && mean > REGULAR {
            counts.probabilities = renewal(mean, variance / mean);
        } else {
            (counts.first, counts.probabilities) = negative_binomial(mean, variance / mean - 1.0);
        }
        counts
    }

    /// The probability of none at all.
    #[must_use]
    pub fn none(&self) -> f64 {
        if self.first > 0.0 {
            0.0
        } else {
            self.probabilities.first().copied().unwrap_or(0.0)
        }
    }

    /// The probability of at least `count`.
    #[must_use]
    pub fn at_least(&self, count: f64) -> f64 {
        let below = self.probabilities.iter().enumerate();
        let below = below.take_while(|(index, _)| self.first + float(*index) < count);
        (1.0 - below.map(|(_, probability)| probability).sum::<f64>()).clamp(0.0, 1.0)
    }

    /// The fewest neighbouring counts that together have at least this probability.
    #[must_use]
    pub fn interval(&self, level: f64) -> (f64, f64) {
        if self.probabilities.is_empty() {
            return self.wide_interval(level);
        }
        let all: f64 = self.probabilities.iter().sum();
        let mut best: Option<(usize, usize, f64)> = None;
        let (mut high, mut mass) = (0, 0.0);
        for (low, first) in self.probabilities.iter().enumerate() {
            while mass < level * all && high < self.probabilities.len() {
                mass += self.probabilities.get(high).copied().unwrap_or(0.0);
                high += 1;
            }
            if mass < level * all {
                break;
            }
            let is_better = best.is_none_or(|(from, to, held)| {
                high - low < to - from || (high - low == to - from && mass > held)
            });
            if is_better {
                best = Some((low, high, mass));
            }
            mass -= first;
        }
        let (low, high, _) = best.unwrap_or((0, self.probabilities.len(), 1.0));
        (self.first + float(low), self.first + float(high) - 1.0)
    }

    /// Of very many: the quantiles of the gamma distribution with the same moments.
    fn wide_interval(&self, level: f64) -> (f64, f64) {
        let shape = self.mean * self.mean / self.variance.max(self.mean * REGULAR);
        let (low, high) =
            crate::insights::reliability::bounds::gamma(shape, shape / self.mean, level);
        (low.floor(), high.ceil())
    }
}

/// Probabilities from the mode outwards. `excess` is variance / mean - 1; 0 gives Poisson.
fn negative_binomial(mean: f64, excess: f64) -> (f64, Vec<f64>) {
    let excess = excess.max(POISSON);
    let size = mean / excess;
    let odds = excess / (1.0 + excess);
    let mode = (odds * (size - 1.0) / (1.0 - odds)).max(0.0).floor();
    let step = |count: f64| odds * (count + size) / (count + 1.0);
    let log = ln_gamma(mode + size) - ln_gamma(size) - ln_gamma(mode + 1.0);
    let top = (log - size * excess.ln_1p() + mode * odds.ln()).exp();
    let mut below = Vec::new();
    let (mut count, mut probability) = (mode, top);
    while count > 0.0 && probability > top * NEGLIGIBLE {
        count -= 1.0;
        probability /= step(count);
        below.push(probability);
    }
    let first = count;
    below.reverse();
    below.push(top);
    let (mut count, mut probability) = (mode, top);
    while probability > top * NEGLIGIBLE {
        probability *= step(count);
        count += 1.0;
        below.push(probability);
    }
    (first, below)
}

/// The asymptotic index of dispersion of a renewal process whose index is `index` at this mean:
/// index(mean) = i + (1 - i²) / (6 mean), solved for i (Cox 1962).
#[must_use]
pub fn asymptotic(mean: f64, index: f64) -> f64 {
    let curve = 1.0 / (6.0 * mean);
    let root = 1.0 - 4.0 * curve * (index - curve);
    let lower = if root > 0.0 {
        (1.0 - root.sqrt()) / (2.0 * curve)
    } else {
        1.0
    };
    lower.clamp(REGULAR, 1.0)
}

/// Probabilities of 0, 1, 2 … events of a stationary renewal process with gamma gaps.
fn renewal(mean: f64, index: f64) -> Vec<f64> {
    let shape = 1.0 / asymptotic(mean, index);
    let time = shape * mean;
    // The mean of what of the window is left after the n-th event: E (t - S_n)+, in gaps.
    let left = |events: f64| {
        if events == 0.0 {
            return mean;
        }
        let sum = events * shape;
        mean * gamma_lr(sum, time) - events * gamma_lr(sum + 1.0, time)
    };
    let mut probabilities = Vec::new();
    let mut at_least = 1.0;
    let (mut events, mut before) = (0.0, left(0.0));
    loop {
        let after = left(events + 1.0).max(0.0);
        let next = (before - after).clamp(0.0, at_least);
        probabilities.push(at_least - next);
        if next < NEGLIGIBLE || probabilities.len() > 8_000 {
            return probabilities;
        }
        (at_least, before) = (next, after);
        events += 1.0;
    }
}

/// The whole number nearest to a count.
#[must_use]
pub fn nearest(count: f64) -> i64 {
    whole(count + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(counts: &Counts) -> (f64, f64) {
        let at = |index: usize| counts.first + float(index);
        let p = &counts.probabilities;
        let total: f64 = p.iter().sum();
        assert!((total - 1.0).abs() < 1e-6, "{total}");
        let mean: f64 = p.iter().enumerate().map(|(i, p)| at(i) * p).sum();
        (
            mean,
            p.iter()
                .enumerate()
                .map(|(i, p)| (at(i) - mean).powi(2) * p)
                .sum(),
        )
    }

    #[test]
    fn the_moments_are_those_asked_for() {
        for mean in [0.2, 1.0, 2.5, 9.0, 94.0, 800.0] {
            for index in [1.0, 1.7, 4.0] {
                let (m, v) = moments(&Counts::new(mean, mean * index));
                assert!((m / mean - 1.0).abs() < 1e-4, "{mean} {index} {m}");
                assert!((v / mean / index - 1.0).abs() < 1e-3, "{mean} {index} {v}");
            }
        }
        for (mean, index) in [(2.5, 0.7), (2.5, 0.5), (9.0, 0.3), (94.0, 0.2)] {
            let (m, v) = moments(&Counts::new(mean, mean * index));
            assert!((m / mean - 1.0).abs() < 1e-6, "{mean} {m}");
            assert!(
                (v / mean / index - 1.0).abs() < 0.05,
                "{mean} {index} {}",
                v / mean
            );
        }
    }

    #[test]
    fn the_interval_holds_its_level_and_is_the_shortest() {
        assert_eq!(Counts::new(0.0, 0.0).interval(0.9), (0.0, 0.0));
        // Poisson of 1: 0 to 2 have 0.92.
        assert_eq!(Counts::new(1.0, 1.0).interval(0.9), (0.0, 2.0));
        // Poisson of 3: 0 to 5 have 0.916, 1 to 6 have 0.917.
        assert_eq!(Counts::new(3.0, 3.0).interval(0.9), (1.0, 6.0));
        let (low, high) = Counts::new(1e5, 1e5).interval(0.9);
        assert!(
            (low - 99_480.0).abs() < 5.0 && (high - 100_521.0).abs() < 5.0,
            "{low} {high}"
        );
    }

    #[test]
    fn more_variance_never_narrows_the_interval() {
        let mut width = 0.0;
        for index in [0.3, 0.5, 0.8, 1.0, 1.5, 3.0, 6.0] {
            let (low, high) = Counts::new(12.0, 12.0 * index).interval(0.9);
            assert!(high - low >= width);
            width = high - low;
        }
    }

    #[test]
    fn nonsense_gives_no_nan() {
        for (mean, variance) in [
            (f64::NAN, 1.0),
            (-3.0, 2.0),
            (1.0, f64::NAN),
            (1e-9, 0.0),
            (0.01, 5.0),
        ] {
            let (low, high) = Counts::new(mean, variance).interval(0.9);
            assert!(low.is_finite() && high.is_finite() && low <= high);
        }
    }
}
