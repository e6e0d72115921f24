//! A regression of daily values whose noise is correlated from day to day.
//!
//! `y = level + effect × column + weekday + drift + noise`. The noise is a first-order autoregression;
//! weekdays and drift are random effects. How strong these three are is not known: each answer is
//! averaged over a grid of strengths, weighted by how well they explain the data (restricted
//! likelihood times prior). What comes out is a mixture of Student distributions of the effect.

use crate::insights::number::float;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// One day of a series: the day's number, its value, and its entry in the column of the effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Days since 1970-01-01, strictly increasing along a series.
    pub day: i32,
    /// What was measured, usually a logarithm.
    pub value: f64,
    /// 1 after the change and 0 before, or the time in days for a slope.
    pub column: f64,
}

/// Whether a slow drift may explain a part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The column is the drift itself.
    Excluded,
    /// A drift of unknown strength competes with the effect.
    Possible,
}

/// Noise: correlation of the part that lasts from day to day, the share of the variance that lasts,
/// and the prior weight. The rest of the variance is new each day. The weights grow less with the
/// correlation, and half of them say that little lasts.
const NOISE: [(f64, f64, f64); 13] = [
    (0.0, 1.0, 0.28),
    (0.3, 0.5, 0.06),
    (0.3, 1.0, 0.06),
    (0.5, 0.3, 0.06),
    (0.5, 0.6, 0.06),
    (0.5, 1.0, 0.06),
    (0.7, 0.3, 0.06),
    (0.7, 0.6, 0.06),
    (0.7, 1.0, 0.06),
    (0.9, 0.1, 0.06),
    (0.9, 0.3, 0.06),
    (0.9, 0.6, 0.06),
    (0.9, 1.0, 0.06),
];
/// Variances of the weekdays in units of the variance of the noise, with prior weights.
const WEEKDAYS: [(f64, f64); 4] = [(1e-4, 0.4), (0.3, 0.2), (2.0, 0.2), (20.0, 0.2)];
/// Variances of the drift over two weeks in units of the variance of the noise, with prior weights.
const DRIFT: [(f64, f64); 3] = [(1e-6, 0.7), (1.0, 0.15), (100.0, 0.15)];
/// The time over which a drift is measured.
const DRIFT_DAYS: f64 = 14.0;
/// Parts of the mixture that weigh less are left out.
const LEAST_WEIGHT: f64 = 2e-3;
/// How near a quantile comes to its probability.
const ACCURACY: f64 = 1e-4;
/// Level and effect.
const FIXED: usize = 2;
/// Noise below this share of the values' size is rounding.
const ROUNDING: f64 = 1e-6;

#[derive(Clone, Copy, Debug)]
struct Part {
    weight: f64,
    mean: f64,
    scale: f64,
}

/// What is known of an effect: a mixture of Student distributions.
#[derive(Clone, Debug)]
pub struct Posterior {
    parts: Vec<Part>,
    student: StudentsT,
}

impl Posterior {
    /// Fits the regression. `None` with fewer than four days, or with no day on one side.
    #[must_use]
    pub fn fit(points: &[Point], drift: Drift) -> Option<Self> {
        if points.len() < FIXED + 2 {
            return None;
        }
        let freedom = float(points.len() - FIXED);
        let columns = columns(points);
        let drifts = match drift {
            Drift::Excluded => DRIFT.get(..1)?,
            Drift::Possible => DRIFT.get(..)?,
        };
        let mut parts = Vec::with_capacity(NOISE.len() * WEEKDAYS.len() * drifts.len());
        for (correlation, lasting, noise_prior) in NOISE {
            let (whitened, log_determinant) = whiten(points, &columns, correlation, lasting);
            let gram = gram(&whitened);
            for (weekdays, weekdays_prior) in WEEKDAYS {
                for &(drift, drift_prior) in drifts {
                    let prior = noise_prior * weekdays_prior * drift_prior;
                    let solved = solve(&gram, weekdays, drift, freedom)?;
                    parts.push(Part {
                        weight: prior.ln() + solved.log_likelihood - 0.5 * log_determinant,
                        mean: solved.mean,
                        scale: solved.scale,
                    });
                }
            }
        }
        let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
        Some(Self {
            parts: normalised(parts),
            student,
        })
    }

    /// The expected effect.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.parts.iter().map(|part| part.weight * part.mean).sum()
    }

    /// The probability that the effect is below a value.
    #[must_use]
    pub fn below(&self, value: f64) -> f64 {
        self.parts
            .iter()
            .map(|part| part.weight * self.student.cdf((value - part.mean) / part.scale))
            .sum()
    }

    /// The value below which the effect lies with a probability.
    #[must_use]
    pub fn quantile(&self, probability: f64) -> f64 {
        let step = self.student.inverse_cdf(probability);
        let ends = self.parts.iter().map(|part| part.mean + step * part.scale);
        let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| {
            (low.min(end), high.max(end))
        });
        root(low, high, |value| self.below(value) - probability)
    }

    /// Twice the smaller probability of the two signs: a two-sided p-value.
    #[must_use]
    pub fn two_sided(&self) -> f64 {
        let below = self.below(0.0);
        (2.0 * below.min(1.0 - below)).clamp(0.0, 1.0)
    }
}

/// Where an increasing function crosses zero between two bounds (Illinois variant of regula falsi).
fn root(mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    let tolerance = 1e-4 * (high - low);
    let (mut at_low, mut at_high) = (function(low), function(high));
    if at_low >= 0.0 {
        return low;
    }
    if at_high <= 0.0 {
        return high;
    }
    for _ in 0..40 {
        let middle = (low * at_high - high * at_low) / (at_high - at_low);
        let value = function(middle);
        if value.abs() < ACCURACY || high - low < tolerance {
            return middle;
        }
        if value < 0.0 {
            low = middle;
            at_low = value;
            at_high *= 0.5;
        } else {
            high = middle;
            at_high = value;
            at_low *= 0.5;
        }
    }
    f64::midpoint(low, high)
}

/// The columns: seven weekdays, the drift, the level, the effect, and the values themselves.
/// The effect stands last but one, so that the last rows of the Cholesky factor hold the answer.
fn columns(points: &[Point]) -> Vec<Vec<f64>> {
    let count = float(points.len());
    let centre = points.iter().map(|point| f64::from(point.day)).sum::<f64>() / count;
    let level = points.iter().map(|point| point.value).sum::<f64>() / count;
    let mut columns: Vec<Vec<f64>> = (0..7)
        .map(|weekday| {
            let is_it = |point: &Point| f64::from(u8::from(point.day.rem_euclid(7) == weekday));
            points.iter().map(is_it).collect()
        })
        .collect();
    columns.push(
        points
            .iter()
            .map(|p| (f64::from(p.day) - centre) / DRIFT_DAYS)
            .collect(),
    );
    columns.push(vec![1.0; points.len()]);
    columns.push(points.iter().map(|point| point.column).collect());
    columns.push(points.iter().map(|point| point.value - level).collect());
    columns
}

/// Takes the correlation of the days out of all columns: what a Kalman filter for a first-order
/// autoregression seen with noise could not foresee, in standard deviations. Over a gap of g days the
/// correlation is ρ^g. Also gives the logarithm of the determinant of the correlation matrix.
fn whiten(
    points: &[Point],
    columns: &[Vec<f64>],
    correlation: f64,
    lasting: f64,
) -> (Vec<Vec<f64>>, f64) {
    let mut uncertainty = lasting;
    let mut before = None;
    let steps: Vec<Step> = points
        .iter()
        .map(|point| {
            let carried = before.map_or(0.0, |(day, gain)| {
                let carried = correlation.powi(point.day - day);
                uncertainty = carried * carried * uncertainty * (1.0 - gain)
                    + lasting * (1.0 - carried * carried);
                carried
            });
            let variance = uncertainty + 1.0 - lasting;
            let gain = uncertainty / variance;
            before = Some((point.day, gain));
            Step {
                carried,
                gain,
                deviation: variance.sqrt(),
            }
        })
        .collect();
    let log_determinant = 2.0 * steps.iter().map(|step| step.deviation.ln()).sum::<f64>();
    let whitened = columns
        .iter()
        .map(|column| {
            let mut filtered = 0.0;
            let surprise = |(value, step): (&f64, &Step)| {
                let foreseen = step.carried * filtered;
                filtered = foreseen + step.gain * (value - foreseen);
                (value - foreseen) / step.deviation
            };
            column.iter().zip(&steps).map(surprise).collect()
        })
        .collect();
    (whitened, log_determinant)
}

/// One day of the filter: what is carried over from the day before, how far the day's value moves
/// the state, and the standard deviation of the value given the days before.
struct Step {
    carried: f64,
    gain: f64,
    deviation: f64,
}

/// The lower triangle of the products of all columns with each other.
fn gram(columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            columns
                .iter()
                .take(index + 1)
                .map(|c| product(column, c))
                .collect()
        })
        .collect()
}

struct Solved {
    mean: f64,
    scale: f64,
    log_likelihood: f64,
}

/// Solves the mixed-model equations (Henderson 1975) for one strength of weekdays and drift.
/// In the Cholesky factor of the bordered matrix the last pivot is the residual, the one before it
/// the information on the effect.
fn solve(gram: &[Vec<f64>], weekdays: f64, drift: f64, freedom: f64) -> Option<Solved> {
    let variances = std::iter::repeat_n(weekdays, 7).chain([drift]);
    let penalties = variances
        .clone()
        .map(f64::recip)
        .chain(std::iter::repeat(0.0));
    let size = gram.last()?.last()?.max(f64::MIN_POSITIVE);
    let factor = cholesky(gram, penalties, size)?;
    let (residual, effect_row) = {
        let (diagonal, rest) = factor.last()?.split_last()?;
        (diagonal * diagonal, *rest.last()?)
    };
    let pivots = || {
        factor
            .iter()
            .rev()
            .skip(1)
            .filter_map(|row| row.last().copied())
    };
    let information = pivots().next()?;
    let log_determinant = 2.0 * pivots().map(f64::ln).sum::<f64>();
    let log_variances: f64 = variances.map(f64::ln).sum();
    Some(Solved {
        mean: effect_row / information,
        scale: (residual / freedom).sqrt() / information,
        log_likelihood: -0.5 * (log_determinant + log_variances) - 0.5 * freedom * residual.ln(),
    })
}

/// The Cholesky factor, row by row, of a lower triangle with penalties added to its diagonal.
/// The last pivot is kept above rounding, so that constant values give a tiny scale, not none.
fn cholesky(
    triangle: &[Vec<f64>],
    penalties: impl Iterator<Item = f64>,
    size: f64,
) -> Option<Vec<Vec<f64>>> {
    let last = triangle.len().checked_sub(1)?;
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(triangle.len());
    for ((index, row), penalty) in triangle.iter().enumerate().zip(penalties) {
        let (diagonal, rest) = row.split_last()?;
        let mut new: Vec<f64> = Vec::with_capacity(row.len());
        for (value, other) in rest.iter().zip(&factor) {
            let known: f64 = new.iter().zip(other).map(|(a, b)| a * b).sum();
            new.push((value - known) / other.last()?);
        }
        let mut pivot = diagonal + penalty - new.iter().map(|value| value * value).sum::<f64>();
        if index == last {
            pivot = pivot.max(size * ROUNDING * ROUNDING).max(1e-18);
        }
        if !(pivot > 1e-12 || index == last) {
            return None;
        }
        new.push(pivot.sqrt());
        factor.push(new);
    }
    Some(factor)
}

/// Weights from logarithms to shares of one, without the parts that weigh next to nothing.
fn normalised(mut parts: Vec<Part>) -> Vec<Part> {
    let most = parts
        .iter()
        .map(|part| part.weight)
        .fold(f64::NEG_INFINITY, f64::max);
    for part in &mut parts {
        part.weight = (part.weight - most).exp();
    }
    let sum: f64 = parts.iter().map(|part| part.weight).sum();
    parts.retain(|part| part.weight >= LEAST_WEIGHT * sum);
    let sum: f64 = parts.iter().map(|part| part.weight).sum();
    for part in &mut parts {
        part.weight /= sum;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64], change: usize) -> Vec<Point> {
        let column = |index| if index >= change { 1.0 } else { 0.0 };
        let day = |index| i32::try_from(index).unwrap();
        let numbered = values.iter().enumerate();
        numbered
            .map(|(i, &value)| Point {
                day: day(i),
                value,
                column: column(i),
            })
            .collect()
    }

    #[test]
    fn a_step_is_found() {
        let noise = |i: usize| 0.02 * (float(i * 7919 % 101) / 50.0 - 1.0);
        let values: Vec<f64> = (0..42)
            .map(|i| noise(i) + if i >= 28 { 0.3 } else { 0.0 })
            .collect();
        let posterior = Posterior::fit(&points(&values, 28), Drift::Possible).unwrap();
        assert!(
            (posterior.mean() - 0.3).abs() < 0.03,
            "{}",
            posterior.mean()
        );
        assert!(posterior.two_sided() < 0.001);
        assert!(posterior.quantile(0.025) < 0.3 && posterior.quantile(0.975) > 0.3);
    }

    #[test]
    fn a_steady_drift_is_no_step() {
        let noise = |i: usize| 0.005 * (float(i * 7919 % 101) / 50.0 - 1.0);
        let values: Vec<f64> = (0..42).map(|i| noise(i) + 0.01 * float(i)).collect();
        let posterior = Posterior::fit(&points(&values, 28), Drift::Possible).unwrap();
        assert!(posterior.two_sided() > 0.05, "{}", posterior.two_sided());
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        let values: Vec<f64> = (0..20).map(|i| float(i * 31 % 17)).collect();
        let posterior = Posterior::fit(&points(&values, 10), Drift::Possible).unwrap();
        for probability in [0.025, 0.2, 0.5, 0.975] {
            let value = posterior.quantile(probability);
            assert!((posterior.below(value) - probability).abs() < 1e-3);
        }
    }

    #[test]
    fn constant_values_give_a_tiny_interval_and_no_nan() {
        let posterior = Posterior::fit(&points(&[1.0; 20], 10), Drift::Possible).unwrap();
        assert!(posterior.mean().abs() < 1e-9);
        assert!(posterior.quantile(0.975) < 1e-6 && posterior.quantile(0.025) > -1e-6);
        assert!(posterior.two_sided() > 0.9);
    }

    #[test]
    fn too_few_days_or_one_side_give_nothing() {
        assert!(Posterior::fit(&[], Drift::Possible).is_none());
        assert!(Posterior::fit(&points(&[1.0, 2.0, 3.0], 2), Drift::Possible).is_none());
        assert!(Posterior::fit(&points(&[1.0, 2.0, 3.0, 4.0], 4), Drift::Possible).is_none());
    }
}
