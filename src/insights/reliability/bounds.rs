//! Quantiles and bounds.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::erf::erf_inv;
use statrs::function::gamma::{gamma_lr, ln_gamma};

/// So many steps of Newton's method at most.
const STEPS: usize = 12;
/// So many halvings where it does not serve.
const HALVINGS: usize = 60;
/// From this shape on the approximation is as good as what it begins with is for others, and the series would take as
/// many terms as the shape's root.
const LARGE: f64 = 1e5;
/// Below this logarithm the series is its first term to ten digits.
const FIRST_TERM: f64 = -23.0;

/// The quantile of a gamma distribution; infinity where it is none.
#[must_use]
pub fn gamma_quantile(shape: f64, rate: f64, at: f64) -> f64 {
    if shape.is_nan() || shape <= 0.0 {
        return f64::INFINITY;
    }
    if shape > LARGE {
        return approximate(shape, at) / rate;
    }
    newton(shape, at).unwrap_or_else(|| bisect(shape, at)) / rate
}

/// The approximation of Wilson and Hilferty (1931), which is the better the larger the shape.
fn approximate(shape: f64, at: f64) -> f64 {
    let normal = std::f64::consts::SQRT_2 * erf_inv(2.0 * at - 1.0);
    let cube_root = 1.0 - 1.0 / (9.0 * shape) + normal / (3.0 * shape.sqrt());
    shape * cube_root.max(0.1).powi(3)
}

/// Halves a bracket of the logarithm. Below, the distribution function is at most the first term
/// of its series; above, Markov's inequality holds, and for a small shape an exponential.
fn bisect(shape: f64, at: f64) -> f64 {
    let mut low = (at.ln() + ln_gamma(shape + 1.0)) / shape;
    let mut high = (shape.max(1.0) / (1.0 - at)).ln();
    // Where the first term is all there is.
    if low < FIRST_TERM {
        return low.exp();
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if gamma_lr(shape, middle.exp()) < at {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}

/// Newton's method from the approximation, where that is good.
fn newton(shape: f64, at: f64) -> Option<f64> {
    if shape < 1.0 {
        return None;
    }
    let mut x = approximate(shape, at);
    let scale = ln_gamma(shape);
    for _ in 0..STEPS {
        let density = ((shape - 1.0) * x.ln() - x - scale).exp();
        let step = (gamma_lr(shape, x) - at) / density;
        x = (x - step).max(x / 4.0).min(4.0 * x);
        if step.abs() < 1e-10 * x {
            return Some(x);
        }
    }
    None
}

/// The bounds that hold the middle `level` of a gamma distribution.
#[must_use]
pub fn gamma(shape: f64, rate: f64, level: f64) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    (
        gamma_quantile(shape, rate, tail),
        gamma_quantile(shape, rate, 1.0 - tail),
    )
}

/// Exact bounds of the mean of a Poisson count (Garwood 1936): half of quantiles of chi-square with
/// 2 n and 2 n + 2 degrees of freedom, which are those of gamma with shapes n and n + 1.
#[must_use]
pub fn poisson(count: f64, level: f64) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    let low = if count > 0.0 {
        gamma_quantile(count, 1.0, tail)
    } else {
        0.0
    };
    (low, gamma_quantile(count + 1.0, 1.0, 1.0 - tail))
}

/// How many standard errors the middle `level` of Student's t reaches to either side.
#[must_use]
pub fn student(freedom: f64, level: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom.max(1.0))
        .map_or(f64::INFINITY, |t| t.inverse_cdf(f64::midpoint(1.0, level)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_large_shape_are_those_of_the_distribution_too() {
        for at in [0.001, 0.05, 0.5, 0.95, 0.999] {
            let (exact, near) = (newton(LARGE, at).unwrap(), approximate(LARGE, at));
            assert!((near / exact - 1.0).abs() < 1e-7, "{at}: {near} {exact}");
            // the series would take many millions of terms here
            let huge = gamma_quantile(1.6e13, 4e12, at);
            assert!((huge - 4.0).abs() < 1e-5, "{at}: {huge}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_distribution() {
        for shape in [0.2, 0.5, 1.0, 1.3, 4.0, 58.0, 900.0, 20_000.0] {
            for at in [0.001, 0.025, 0.3, 0.5, 0.9, 0.975, 0.9999] {
                let x = gamma_quantile(shape, 2.0, at) * 2.0;
                // Below 1e-15 `gamma_lr` takes x for 0.
                if x < 1e-14 {
                    let first = (shape * x.ln() - ln_gamma(shape + 1.0)).exp();
                    assert!((first - at).abs() < 1e-9, "{shape} {at} {x}");
                    continue;
                }
                assert!((gamma_lr(shape, x) - at).abs() < 1e-6, "{shape} {at} {x}");
            }
        }
        assert!(gamma_quantile(0.01, 1.0, 0.001).abs() < f64::EPSILON);
        assert!(gamma_quantile(f64::NAN, 1.0, 0.5).is_infinite());
    }

    #[test]
    fn poisson_bounds_are_those_in_tables() {
        // Garwood's table: 0 gives 3.689, 1 gives 0.0253–5.572, 10 gives 4.795–18.390.
        for (count, low, high) in [
            (0.0, 0.0, 3.689),
            (1.0, 0.0253, 5.572),
            (10.0, 4.795, 18.390),
        ] {
            let (from, to) = poisson(count, 0.95);
            assert!(
                (from - low).abs() < 1e-3 && (to - high).abs() < 1e-3,
                "{count} {from} {to}"
            );
        }
    }

    #[test]
    fn student_is_wider_than_normal() {
        assert!((student(3.0, 0.95) - 3.182).abs() < 1e-3);
        assert!((student(1e6, 0.95) - 1.960).abs() < 1e-3);
    }
}
