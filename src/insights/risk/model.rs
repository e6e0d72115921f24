//! Failure risk: a discrete-time hazard for the next 24 and 72 hours.
//!
//! Ridge logistic regression with a prior mean, its interval by Laplace's method, and log-odds that are an exact sum
//! of parts. Until ten failures have been seen there is only the rate of the fleet (gamma-Poisson). Training is a
//! function of examples; an example is used only if its horizon has passed.

use std::collections::BTreeMap;

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::number::float;
use serde::{Deserialize, Serialize};

use crate::insights::reliability::bounds::gamma_quantile;
use crate::insights::risk::columns::{Key, Part, columns, hinge, row};
use crate::insights::risk::fleet::{Fleet, horizon_days};
use crate::insights::risk::newton::{Fit, Observation, dot, fit, logistic};
use crate::insights::risk::signs::Signs;

/// Failures needed for more than the rate of the fleet.
pub const FAILURES_NEEDED: u32 = 10;
/// Failures from which on what was learned outweighs the prior.
pub const FAILURES_ENOUGH: u32 = 20;
/// The level of intervals.
pub const LEVEL: f64 = 0.9;
/// The standard normal quantile of that level, two-sided.
const QUANTILE: f64 = 1.644_853_6;
/// Of hours without any sign, one in so many is learned from, with that weight.
const THIN: u32 = 8;
/// The version of the columns, and of what is a failure: a stored model of another version is trained anew.
pub const VERSION: i64 = 2;

/// How far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Horizon {
    /// 24 hours.
    Day,
    /// 72 hours.
    ThreeDays,
}

impl Horizon {
    /// All of them, the nearest first.
    pub const ALL: [Self; 2] = [Self::Day, Self::ThreeDays];

    /// Its length in hours.
    #[must_use]
    pub const fn hours(self) -> u32 {
        match self {
            Self::Day => 24,
            Self::ThreeDays => 72,
        }
    }

    /// Its length in microseconds.
    #[must_use]
    pub const fn length(self) -> i64 {
        match self {
            Self::Day => DAY,
            Self::ThreeDays => 3 * DAY,
        }
    }
}

/// The signs of a device at one time, and what came of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The hash of the device.
    pub device: u32,
    /// When.
    pub at: Instant,
    /// The signs.
    pub signs: Signs,
    /// The first failure after it that is known, if any.
    pub next_failure: Option<Instant>,
}

impl Example {
    /// Whether it failed within the horizon; nothing while that is not known at `known_to`.
    #[must_use]
    pub fn label(&self, horizon: Horizon, known_to: Instant) -> Option<bool> {
        let end = Instant(self.at.0 + horizon.length());
        (end <= known_to).then(|| self.next_failure.is_some_and(|failure| failure <= end))
    }
}

/// How much a training takes examples and priors to weigh.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How many independent observations one device gives in one horizon. (Its hours are almost copies.)
    pub per_horizon: f64,
    /// By how much the written priors are strengthened.
    pub strength: f64,
    /// Failures needed for more than the rate of the fleet.
    pub failures_needed: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_horizon: 1.0,
            strength: 1.0,
            failures_needed: FAILURES_NEEDED,
        }
    }
}

/// What is known after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// `VERSION` when it was trained.
    pub version: i64,
    /// Until when it knows.
    pub trained_to: Instant,
    /// The failures that it has seen.
    pub failures: u32,
    /// The rate of the fleet: failures and device days.
    pub rate: (f64, f64),
    /// For which horizons the rate is answered, because what was learned tells no better what comes.
    pub refused: Vec<Horizon>,
    keys: Vec<Key>,
    day: Option<Fit>,
    three_days: Option<Fit>,
}

/// The chance of a failure and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Risk {
    /// The chance.
    pub chance: f64,
    /// The low end of its interval.
    pub low: f64,
    /// The high end.
    pub high: f64,
    /// The log-odds.
    pub odds: f64,
    /// Parts of the log-odds; they sum up to it.
    pub parts: Vec<(Part, f64)>,
}

/// Trains on what was known at `known_to`.
#[must_use]
pub fn train(examples: &[Example], fleet: &Fleet, known_to: Instant, settings: Settings) -> Model {
    let known: Vec<&Example> = examples
        .iter()
        .filter(|example| example.at <= known_to)
        .collect();
    let failures = crate::insights::number::whole(fleet.failures);
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    let mut model = Model {
        version: VERSION,
        trained_to: known_to,
        failures,
        rate: fleet.failure_rate(),
        refused: Vec::new(),
        keys: columns(known.iter().map(|example| &example.signs)),
        day: None,
        three_days: None,
    };
    if failures >= settings.failures_needed {
        // An example of which the horizon has not passed has no label yet, so it teaches nothing.
        model.day = model.fit(&known, Horizon::Day, settings);
        model.three_days = model.fit(&known, Horizon::ThreeDays, settings);
    }
    model
}

impl Model {
    fn fit(&self, examples: &[&Example], horizon: Horizon, settings: Settings) -> Option<Fit> {
        let per_device = rows_per_horizon(examples, horizon);
        let share = (settings.per_horizon / per_device).min(1.0);
        let observations: Vec<Observation> = examples
            .iter()
            .filter_map(|example| Some((example, example.label(horizon, self.trained_to)?)))
            .filter_map(|(example, happened)| {
                Some((example, happened, thinned(example, happened)?))
            })
            .map(|(example, happened, times)| Observation {
                row: row(&self.keys, &example.signs),
                happened,
                weight: times * share,
            })
            .collect();
        let base = odds(self.base_chance(horizon));
        let priors: Vec<_> = self
            .keys
            .iter()
            .map(|key| key.prior(base))
            .map(|prior| crate::insights::risk::newton::Prior {
                precision: prior.precision * settings.strength,
                ..prior
            })
            .collect();
        (!observations.is_empty()).then(|| fit(&observations, &priors))
    }

    fn base_chance(&self, horizon: Horizon) -> f64 {
        let (failures, days) = self.rate;
        -(-failures / days * horizon_days(horizon.length())).exp_m1()
    }

    /// Whether it knows more than the rate of the fleet.
    #[must_use]
    pub fn is_fitted(&self) -> bool {
        Horizon::ALL
            .iter()
            .any(|horizon| self.is_fitted_to(*horizon))
    }

    /// Whether it does of a horizon.
    #[must_use]
    pub fn is_fitted_to(&self, horizon: Horizon) -> bool {
        self.fitted(horizon).is_some()
    }

    /// What was learned of a horizon, if it is answered with.
    fn fitted(&self, horizon: Horizon) -> Option<&Fit> {
        let fitted = match horizon {
            Horizon::Day => &self.day,
            Horizon::ThreeDays => &self.three_days,
        };
        let fitted = fitted.as_ref();
        fitted.filter(|_| !self.refused.contains(&horizon))
    }

    /// The same with the rate of the fleet alone.
    #[must_use]
    pub fn rate_alone(&self) -> Self {
        Self {
            refused: Horizon::ALL.to_vec(),
            ..self.clone()
        }
    }

    /// The chance of a device with these signs, as it is in its risk: without an interval and parts, which cost more.
    #[must_use]
    pub fn chance(&self, signs: &Signs, horizon: Horizon) -> f64 {
        self.fitted(horizon).map_or_else(
            || self.base_chance(horizon),
            |fit| logistic(dot(&row(&self.keys, signs), &fit.beta)),
        )
    }

    /// The risk of a device with these signs.
    #[must_use]
    pub fn risk(&self, signs: &Signs, horizon: Horizon) -> Risk {
        let Some(fit) = self.fitted(horizon) else {
            return self.rate_only(horizon);
        };
        let row = row(&self.keys, signs);
        let log_odds = dot(&row, &fit.beta);
        let spread = QUANTILE * fit.variance(&row).sqrt();
        let mut parts: Vec<(Part, f64)> = Vec::new();
        for (column, value) in &row {
            let Some((key, beta)) = self.keys.get(*column).zip(fit.beta.get(*column)) else {
                continue;
            };
            match parts.iter_mut().find(|(part, _)| *part == key.part()) {
                Some((_, sum)) => *sum += value * beta,
                None => parts.push((key.part(), value * beta)),
            }
        }
        Risk {
            chance: logistic(log_odds),
            low: logistic(log_odds - spread),
            high: logistic(log_odds + spread),
            odds: log_odds,
            parts,
        }
    }

    fn rate_only(&self, horizon: Horizon) -> Risk {
        let (failures, device_days) = self.rate;
        let length = horizon_days(horizon.length());
        let bound = |level: f64| -(-gamma_quantile(failures, device_days, level) * length).exp_m1();
        let chance = self.base_chance(horizon);
        Risk {
            chance,
            low: bound((1.0 - LEVEL) / 2.0).min(chance),
            high: bound(f64::midpoint(1.0, LEVEL)).max(chance),
            odds: odds(chance),
            parts: vec![(Part::Base, odds(chance))],
        }
    }
}

/// The log-odds of a chance.
#[must_use]
pub fn odds(chance: f64) -> f64 {
    (chance / (1.0 - chance)).ln()
}

/// How many examples one device has in one horizon.
pub(crate) fn rows_per_horizon(examples: &[&Example], horizon: Horizon) -> f64 {
    let mut devices: BTreeMap<u32, (Instant, Instant, f64)> = BTreeMap::new();
    for example in examples {
        let first = (example.at, example.at, 0.0);
        let (_, last, count) = devices.entry(example.device).or_insert(first);
        *last = example.at;
        *count += 1.0;
    }
    let hours: f64 = devices
        .values()
        .map(|(first, last, _)| float(last.0 - first.0) / float(HOUR))
        .sum();
    let count: f64 = devices.values().map(|(_, _, count)| count - 1.0).sum();
    (count / hours.max(1.0) * float(horizon.length()) / float(HOUR)).max(1.0)
}

/// How many examples this one stands for; nothing where another one stands for it.
fn thinned(example: &Example, happened: bool) -> Option<f64> {
    let signs = &example.signs;
    let is_calm =
        signs.errors.is_empty() && signs.drifts.iter().all(|(_, day, _)| hinge(*day) == 0.0);
    if happened || !is_calm {
        return Some(1.0);
    }
    let hour = u32::try_from(example.at.0.div_euclid(HOUR).rem_euclid(1 << 31)).unwrap_or(0);
    let place = hour.wrapping_mul(0x9e37_79b1) >> 16;
    (place % THIN == 0).then(|| f64::from(THIN))
}
