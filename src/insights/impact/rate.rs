//! The ratio of two rates of things that are rare or often zero.
//!
//! Gamma–Poisson: given the totals, each rate has a gamma distribution; their ratio then follows a
//! scaled F distribution. Days vary more than Poisson allows: all totals are divided by the
//! overdispersion that the days show, and by what their correlation costs.

use crate::insights::number::float;
use statrs::distribution::{ContinuousCDF, FisherSnedecor};

/// Jeffreys' prior adds half an event to each side.
const PRIOR_EVENTS: f64 = 0.5;
/// As many days without overdispersion are assumed beforehand.
const PRIOR_DAYS: f64 = 4.0;

/// A ratio of rates, after to before.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    distribution: FisherSnedecor,
    scale: f64,
}

/// Values by day on one side, each with what it is expected to be worth (1, or what controls say).
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The value of each day.
    pub values: &'a [f64],
}

impl Side<'_> {
    fn total(&self) -> f64 {
        self.values.iter().sum()
    }

    fn mean(&self) -> f64 {
        self.total() / float(self.values.len().max(1))
    }

    /// Pearson's residuals against the side's own mean.
    fn residuals(&self) -> Vec<f64> {
        let mean = self.mean();
        let scale = if mean > 0.0 { mean.sqrt() } else { 1.0 };
        self.values
            .iter()
            .map(|value| (value - mean) / scale)
            .collect()
    }
}

/// The variance of daily values in units of their mean, widened for their correlation.
/// `unit` is what one event is worth: below that no dispersion is believed. `None` for values that
/// count nothing.
#[must_use]
pub fn overdispersion(before: Side<'_>, after: Side<'_>, unit: Option<f64>) -> f64 {
    let sides = [before.residuals(), after.residuals()];
    let days = float(before.values.len() + after.values.len());
    let squares: f64 = sides
        .iter()
        .flatten()
        .map(|residual| residual * residual)
        .sum();
    let products: f64 = sides
        .iter()
        .flat_map(|side| side.iter().zip(side.iter().skip(1)))
        .map(|(a, b)| a * b)
        .sum();
    // The correlation is shrunk by a prior worth ten days without any.
    let correlation =
        (products / squares.max(f64::MIN_POSITIVE) * days / (days + 10.0)).clamp(0.0, 0.8);
    let freedom = (days - 2.0).max(1.0);
    let dispersion = unit.map_or(squares / freedom, |unit| {
        ((squares + PRIOR_DAYS * unit) / (freedom + PRIOR_DAYS)).max(unit)
    });
    dispersion.max(f64::MIN_POSITIVE) * (1.0 + correlation) / (1.0 - correlation)
}

impl Ratio {
    /// Of daily values before and after; `extra` is the variance of the logarithm of what it is
    /// compared with (that of the controls), `expected` the ratio that those had.
    #[must_use]
    pub fn new(
        before: Side<'_>,
        after: Side<'_>,
        unit: Option<f64>,
        (expected, extra): (f64, f64),
    ) -> Option<Self> {
        if before.values.is_empty() || after.values.is_empty() || expected <= 0.0 {
            return None;
        }
        let dispersion = overdispersion(before, after, unit);
        let shape = |side: Side<'_>| {
            let own = side.total() / dispersion + PRIOR_EVENTS;
            1.0 / (1.0 / own + 0.5 * extra)
        };
        let rate =
            |side: Side<'_>| (side.total() + PRIOR_EVENTS * dispersion) / float(side.values.len());
        let distribution = FisherSnedecor::new(2.0 * shape(after), 2.0 * shape(before)).ok()?;
        Some(Self {
            distribution,
            scale: rate(after) / rate(before) / expected,
        })
    }

    /// The ratio below which the truth lies with a probability.
    #[must_use]
    pub fn quantile(&self, probability: f64) -> f64 {
        self.scale * self.distribution.inverse_cdf(probability)
    }

    /// Twice the smaller probability of being above or below one.
    #[must_use]
    pub fn two_sided(&self) -> f64 {
        let below = self.distribution.cdf(1.0 / self.scale);
        (2.0 * below.min(1.0 - below)).clamp(0.0, 1.0)
    }
}

/// The ratio of the rates of some controls, pooled, and the variance of its logarithm.
#[must_use]
pub fn pooled(before: Side<'_>, after: Side<'_>, unit: Option<f64>) -> (f64, f64) {
    let dispersion = overdispersion(before, after, unit);
    let events = |side: Side<'_>| side.total() / dispersion + PRIOR_EVENTS;
    let rate = |side: Side<'_>| events(side) / float(side.values.len().max(1));
    (
        rate(after) / rate(before),
        1.0 / events(after) + 1.0 / events(before),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_events_at_all_say_nothing_and_are_no_nan() {
        let zeros = [0.0; 10];
        let side = Side { values: &zeros };
        let ratio = Ratio::new(side, side, Some(1.0), (1.0, 0.0)).unwrap();
        assert!(ratio.quantile(0.025) < 0.1 && ratio.quantile(0.975) > 10.0);
        assert!(ratio.two_sided() > 0.9);
    }

    #[test]
    fn a_threefold_rate_is_found() {
        let before: Vec<f64> = (0..28).map(|i| float(i % 3) + 1.0).collect();
        let after: Vec<f64> = (0..14).map(|i| 3.0 * (float(i % 3) + 1.0)).collect();
        let (before, after) = (Side { values: &before }, Side { values: &after });
        let ratio = Ratio::new(before, after, Some(1.0), (1.0, 0.0)).unwrap();
        assert!(ratio.quantile(0.025) > 1.5 && ratio.quantile(0.975) < 6.0);
        assert!(ratio.two_sided() < 0.01);
    }

    #[test]
    fn noisier_controls_widen_the_interval() {
        let values = [2.0; 14];
        let side = Side { values: &values };
        let narrow = Ratio::new(side, side, Some(1.0), (1.0, 0.0)).unwrap();
        let wide = Ratio::new(side, side, Some(1.0), (1.0, 0.2)).unwrap();
        assert!(wide.quantile(0.975) > narrow.quantile(0.975));
    }
}
