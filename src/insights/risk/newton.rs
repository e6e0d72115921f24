//! Logistic regression with a Gaussian prior, by Newton's method, and its Laplace approximation.
//!
//! Maximum a posteriori for log-odds `x·β` with `β ~ N(mean, 1/precision)`; the covariance is the inverse of the
//! Hessian there (Tierney and Kadane 1986; the fit as iteratively reweighted least squares, `McCullagh` and Nelder 1989).

use serde::{Deserialize, Serialize};

/// Steps at most; from a sensible prior mean it takes about ten.
const STEPS: usize = 40;
/// Where to stop, in log-odds.
const NEAR: f64 = 1e-7;

/// A row: the columns that are not zero.
pub type Row = Vec<(usize, f64)>;

/// One observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The columns.
    pub row: Row,
    /// Whether it happened.
    pub happened: bool,
    /// How many independent observations it stands for.
    pub weight: f64,
}

/// The prior of one coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Its mean.
    pub mean: f64,
    /// One over its variance.
    pub precision: f64,
}

/// What was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The coefficients.
    pub beta: Vec<f64>,
    /// The lower triangle of the Cholesky factor of the Hessian, row by row.
    factor: Vec<Vec<f64>>,
}

/// The logistic function.
#[must_use]
pub fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// The sum of a row's columns by coefficients.
#[must_use]
pub fn dot(row: &Row, beta: &[f64]) -> f64 {
    row.iter()
        .map(|(column, value)| value * get(beta, *column))
        .sum()
}

fn get(values: &[f64], place: usize) -> f64 {
    values.get(place).copied().unwrap_or(0.0)
}

impl Fit {
    /// The variance of the log-odds of a row.
    #[must_use]
    pub fn variance(&self, row: &Row) -> f64 {
        let mut right = vec![0.0; self.beta.len()];
        for (column, value) in row {
            if let Some(entry) = right.get_mut(*column) {
                *entry += value;
            }
        }
        forward(&self.factor, &right)
            .iter()
            .map(|value| value * value)
            .sum()
    }
}

/// Fits by Newton's method, halving steps that do not raise the posterior.
#[must_use]
pub fn fit(observations: &[Observation], priors: &[Prior]) -> Fit {
    let mut beta: Vec<f64> = priors.iter().map(|prior| prior.mean).collect();
    let mut height = posterior(observations, priors, &beta);
    let mut factor = cholesky(hessian(observations, priors, &beta));
    for _ in 0..STEPS {
        let direction = backward(
            &factor,
            &forward(&factor, &gradient(observations, priors, &beta)),
        );
        let mut length = 1.0;
        let (next, reached) = loop {
            let next: Vec<f64> = beta
                .iter()
                .zip(&direction)
                .map(|(old, step)| old + length * step)
                .collect();
            let reached = posterior(observations, priors, &next);
            if reached >= height || length < 1e-6 {
                break (next, reached);
            }
            length *= 0.5;
        };
        let moved = direction
            .iter()
            .fold(0.0_f64, |most, step| most.max((length * step).abs()));
        if reached < height {
            break;
        }
        beta = next;
        height = reached;
        factor = cholesky(hessian(observations, priors, &beta));
        if moved < NEAR {
            break;
        }
    }
    Fit { beta, factor }
}

/// The logarithm of the posterior, up to a constant.
fn posterior(observations: &[Observation], priors: &[Prior], beta: &[f64]) -> f64 {
    let prior: f64 = priors
        .iter()
        .zip(beta)
        .map(|(prior, value)| prior.precision * (value - prior.mean).powi(2))
        .sum();
    let likelihood: f64 = observations
        .iter()
        .map(|one| one.weight * log_likelihood(dot(&one.row, beta), one.happened))
        .sum();
    likelihood - 0.5 * prior
}

/// The logarithm of the probability of what happened, for log-odds.
#[must_use]
pub fn log_likelihood(odds: f64, happened: bool) -> f64 {
    let against = if happened { -odds } else { odds };
    -(against.max(0.0) + (-against.abs()).exp().ln_1p())
}

fn gradient(observations: &[Observation], priors: &[Prior], beta: &[f64]) -> Vec<f64> {
    let mut gradient: Vec<f64> = priors
        .iter()
        .zip(beta)
        .map(|(prior, value)| prior.precision * (prior.mean - value))
        .collect();
    for one in observations {
        let residual =
            one.weight * (f64::from(u8::from(one.happened)) - logistic(dot(&one.row, beta)));
        for (column, value) in &one.row {
            if let Some(entry) = gradient.get_mut(*column) {
                *entry += residual * value;
            }
        }
    }
    gradient
}

/// The lower triangle of minus the second derivative.
fn hessian(observations: &[Observation], priors: &[Prior], beta: &[f64]) -> Vec<Vec<f64>> {
    let mut hessian: Vec<Vec<f64>> = (0..priors.len()).map(|row| vec![0.0; row + 1]).collect();
    for (place, (row, prior)) in hessian.iter_mut().zip(priors).enumerate() {
        if let Some(entry) = row.get_mut(place) {
            *entry = prior.precision;
        }
    }
    for one in observations {
        let chance = logistic(dot(&one.row, beta));
        let weight = one.weight * chance * (1.0 - chance);
        for (low, value) in &one.row {
            let Some(row) = hessian.get_mut(*low) else {
                continue;
            };
            for (column, other) in one.row.iter().filter(|(column, _)| column <= low) {
                if let Some(entry) = row.get_mut(*column) {
                    *entry += weight * value * other;
                }
            }
        }
    }
    hessian
}

/// The Cholesky factor of a positive definite matrix given by its lower triangle.
fn cholesky(matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(matrix.len());
    for row in matrix {
        let mut done: Vec<f64> = Vec::with_capacity(row.len());
        for (column, value) in row.iter().enumerate() {
            let is_diagonal = column + 1 == row.len();
            let above: &[f64] = if is_diagonal {
                &done
            } else {
                factor.get(column).map_or(&[], Vec::as_slice)
            };
            let rest = value
                - done
                    .iter()
                    .zip(above)
                    .map(|(one, other)| one * other)
                    .sum::<f64>();
            let entry = if is_diagonal {
                rest.max(1e-12).sqrt()
            } else {
                rest / get(above, column)
            };
            done.push(entry);
        }
        factor.push(done);
    }
    factor
}

/// Solves `L y = right`.
fn forward(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut solved: Vec<f64> = Vec::with_capacity(right.len());
    for (row, value) in factor.iter().zip(right) {
        let known: f64 = row
            .iter()
            .zip(&solved)
            .map(|(one, other)| one * other)
            .sum();
        let diagonal = row.last().copied().unwrap_or(1.0);
        solved.push((value - known) / diagonal);
    }
    solved
}

/// Solves `Lᵀ x = right`.
fn backward(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut solved = right.to_vec();
    for (place, row) in factor.iter().enumerate().rev() {
        let value = get(&solved, place) / row.last().copied().unwrap_or(1.0);
        for (entry, part) in solved.iter_mut().zip(row) {
            *entry -= part * value;
        }
        if let Some(entry) = solved.get_mut(place) {
            *entry = value;
        }
    }
    solved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(columns: &[f64], happened: bool) -> Observation {
        Observation {
            row: columns.iter().copied().enumerate().collect(),
            happened,
            weight: 1.0,
        }
    }

    #[test]
    fn two_by_two_table_gives_the_log_odds_ratio_and_its_known_variance() {
        let mut all = Vec::new();
        for (x, happened, count) in [
            (0.0, true, 10),
            (0.0, false, 90),
            (1.0, true, 30),
            (1.0, false, 20),
        ] {
            all.extend((0..count).map(|_| observation(&[1.0, x], happened)));
        }
        let flat = Prior {
            mean: 0.0,
            precision: 1e-9,
        };
        let fit = fit(&all, &[flat, flat]);
        assert!((fit.beta[0] - (10.0_f64 / 90.0).ln()).abs() < 1e-6);
        assert!((fit.beta[1] - (30.0_f64 * 90.0 / (20.0 * 10.0)).ln()).abs() < 1e-6);
        let woolf = 1.0 / 10.0 + 1.0 / 90.0 + 1.0 / 30.0 + 1.0 / 20.0;
        assert!((fit.variance(&vec![(1, 1.0)]) - woolf).abs() < 1e-6);
    }

    #[test]
    fn without_observations_it_is_the_prior() {
        let fit = fit(
            &[],
            &[
                Prior {
                    mean: 2.0,
                    precision: 4.0,
                },
                Prior {
                    mean: -1.0,
                    precision: 1.0,
                },
            ],
        );
        assert!((fit.beta[0] - 2.0).abs() < 1e-12 && (fit.beta[1] + 1.0).abs() < 1e-12);
        assert!((fit.variance(&vec![(0, 1.0), (1, 1.0)]) - 1.25).abs() < 1e-12);
    }

    #[test]
    fn perfectly_separated_observations_stay_finite() {
        let all: Vec<_> = (0..100)
            .map(|n| observation(&[1.0, f64::from(n)], n >= 50))
            .collect();
        let prior = Prior {
            mean: 0.0,
            precision: 1.0,
        };
        let fit = fit(&all, &[prior, prior]);
        assert!(fit.beta.iter().all(|value| value.is_finite()));
        let slope: f64 = all
            .iter()
            .map(|one| f64::from(u8::from(one.happened)) - logistic(dot(&one.row, &fit.beta)))
            .zip(&all)
            .map(|(rest, one)| rest * one.row[1].1)
            .sum();
        assert!(
            (slope - fit.beta[1]).abs() < 1e-4,
            "the gradient is zero at the end"
        );
    }
}
