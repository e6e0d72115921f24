//! How far counts of failures scatter, by the width of the windows that they are counted in.

use serde::{Deserialize, Serialize};

use crate::insights::number::{float, index};

use crate::insights::reliability::intervals::Process;

/// Windows of the full width, and of a half, a quarter and an eighth of it.
const SCALES: usize = 4;
/// What is thought beforehand of the index of dispersion: 1, as if from so many degrees of freedom.
const DISPERSION_WEIGHT: f64 = 8.0;
/// Bounds of its growth when windows double.
const GROWTH: (f64, f64) = (0.6, 1.6);
/// From about so many failures in a window on all devices have the same weight.
const MANY: f64 = 5.0;
/// Bounds of the index of dispersion.
const DISPERSION: (f64, f64) = (0.1, 20.0);

/// Sums over the windows of one width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Scale {
    /// Squared deviations from the device's own mean.
    squares: f64,
    /// What they would be for Poisson counts, and the sum of squares of that.
    expected: f64,
    expected_squares: f64,
    freedom: f64,
}

/// Sums over the windows of a horizon in hours, and of a half, a quarter and an eighth of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Windows {
    pub(super) horizon: f64,
    scales: [Scale; SCALES],
}

impl Windows {
    /// Empty ones.
    pub(super) fn new(horizon: f64) -> Self {
        Self {
            horizon: horizon.max(1.0),
            scales: [Scale::default(); SCALES],
        }
    }

    /// How counts of successive windows differ within the device, whatever its rate.
    pub(super) fn add(&mut self, process: &Process) {
        let mut width = self.horizon.min(process.hours / 2.0);
        for scale in &mut self.scales {
            let windows = index(process.hours / width + 1e-9).min(512);
            let counts = process.windows(width, windows);
            let freedom = float(windows) - 1.0;
            let mean = counts.iter().sum::<f64>() / float(windows);
            // Devices weigh by what they tell; of many failures, one more tells no more.
            let weight = MANY / (MANY + mean);
            let squares: f64 = counts.iter().map(|count| (count - mean).powi(2)).sum();
            let expected = weight * mean;
            scale.squares += weight * squares;
            scale.expected += expected * freedom;
            scale.expected_squares += expected * expected * freedom;
            scale.freedom += freedom;
            width /= 2.0;
        }
    }

    /// The index of dispersion of counts at the widest windows and its growth with each doubling of
    /// the width. From the narrowest scale to the widest, each scale's estimate is drawn to that of
    /// the one before.
    pub(super) fn dispersion(&self) -> Dispersion {
        let mut drawn = Dispersion::THOUGHT;
        for scale in self
            .scales
            .iter()
            .rev()
            .filter(|scale| scale.expected > 0.0)
        {
            let share = scale.expected * scale.expected / scale.expected_squares;
            let freedom = share.min(scale.freedom);
            let estimate = scale.squares / scale.expected;
            let sum = DISPERSION_WEIGHT * drawn.widest + freedom * estimate;
            let total = DISPERSION_WEIGHT + freedom;
            let next = sum / total;
            drawn = Dispersion {
                widest: next,
                growth: next / drawn.widest,
                freedom: total,
            };
        }
        drawn
    }
}

/// The index of dispersion of counts by the width of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dispersion {
    /// At the widest windows of which two fit into the history.
    widest: f64,
    /// By how much it grew with the last doubling of the width.
    growth: f64,
    /// The degrees of freedom of the estimate, with those thought beforehand.
    pub(super) freedom: f64,
}

impl Dispersion {
    /// What is thought beforehand.
    pub(super) const THOUGHT: Self = Self {
        widest: 1.0,
        growth: 1.0,
        freedom: DISPERSION_WEIGHT,
    };

    /// At windows so many times as wide: the growth goes on for one doubling more, and no further.
    pub(super) fn at(self, times: f64) -> f64 {
        let doublings = times.max(1.0).log2().min(1.0);
        let growth = self.growth.clamp(GROWTH.0, GROWTH.1).powf(doublings);
        (self.widest * growth).clamp(DISPERSION.0, DISPERSION.1)
    }
}
