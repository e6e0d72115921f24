//! What a fleet tells about a device of which little is known: rates of failures and errors, and levels.

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::input::{Device, Measure};
use serde::{Deserialize, Serialize};

use crate::insights::risk::features::{State, hash};
use crate::insights::risk::track::{Norm, Summary};
use crate::insights::risk::turns::Turns;

/// Failures that the rate of a device or a model is shrunk with, at the rate of the fleet.
const SHRINK_FAILURES: f64 = 2.0;
/// Failures that the profile of the day is shrunk with.
const SHRINK_HOURS: f64 = 6.0;
/// The rate before anything is known: one failure in 60 device days, as sure as half a failure.
const PRIOR_FAILURES: f64 = 0.5;
const PRIOR_DAYS: f64 = 30.0;
/// The same for errors: two a day, as sure as one device day, so that one day of a fleet says more. Devices differ in
/// it a hundredfold, and what is thought of one that nothing is known of must not condemn it.
const PRIOR_ERRORS: f64 = 2.0;
const PRIOR_ERROR_DAYS: f64 = 1.0;
/// Devices that make a norm.
const LEAST_DEVICES: usize = 4;
/// Models of devices kept.
const MODELS_KEPT: usize = 32;

/// A fleet, summed up at one time from the states of its devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// Devices.
    pub devices: usize,
    /// Failures of all devices.
    pub failures: f64,
    /// Device days in which they came.
    pub days: f64,
    /// Failures and device days by the hash of the model.
    pub models: Vec<(u32, f64, f64)>,
    /// Weighted errors, the older the less they count, and the days over which they came.
    pub errors: f64,
    /// The device days of `errors`.
    pub error_days: f64,
    /// Failures by the hour of the day.
    pub failure_hours: Vec<(u8, f64)>,
    /// Levels by measure.
    pub norms: Vec<(Measure, Norm)>,
    /// What became of the healths of the last weeks.
    pub turns: Turns,
    /// The median age of devices in years.
    pub age_years: Option<f64>,
}

impl Fleet {
    /// Sums up the states of all devices as they were at `as_of`.
    #[must_use]
    pub fn of<'a>(
        devices: impl IntoIterator<Item = (&'a Device, &'a State)>,
        as_of: Instant,
    ) -> Self {
        let mut summing = Summing::new(as_of);
        for (device, state) in devices {
            summing.add(device, state);
        }
        summing.end()
    }

    fn add(&mut self, device: &Device, state: &State, as_of: Instant) {
        if state.first.is_none() {
            return;
        }
        let exposure = state.watched_days(as_of);
        let failures = f64::from(state.failures);
        self.devices += 1;
        self.failures += failures;
        self.days += exposure;
        let (errors, error_days) = state.all_errors(as_of);
        self.errors += errors;
        self.error_days += error_days;
        self.turns.add(&state.healths);
        for (hour, count) in &state.failure_hours {
            match self
                .failure_hours
                .iter_mut()
                .find(|(known, _)| known == hour)
            {
                Some((_, sum)) => *sum += f64::from(*count),
                None => self.failure_hours.push((*hour, f64::from(*count))),
            }
        }
        let Some(model) = device.model.as_deref().map(hash) else {
            return;
        };
        let is_room = self.models.len() < MODELS_KEPT;
        match self.models.iter_mut().find(|(known, _, _)| *known == model) {
            Some(entry) => {
                entry.1 += failures;
                entry.2 += exposure;
            }
            None if is_room => self.models.push((model, failures, exposure)),
            None => {}
        }
    }

    /// Failures a device day: shape and rate of the gamma posterior (gamma-Poisson).
    #[must_use]
    pub fn failure_rate(&self) -> (f64, f64) {
        (self.failures + PRIOR_FAILURES, self.days + PRIOR_DAYS)
    }

    /// Weighted errors on a usual device day.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        (self.errors + PRIOR_ERRORS) / self.error_trust()
    }

    /// Device days that the rate of errors rests on, with what is thought beforehand.
    #[must_use]
    pub fn error_trust(&self) -> f64 {
        self.error_days + PRIOR_ERROR_DAYS
    }

    /// The rate of a device against the fleet's, as a logarithm, shrunk.
    #[must_use]
    pub fn device_ratio(&self, state: &State, as_of: Instant) -> f64 {
        self.ratio(f64::from(state.failures), state.watched_days(as_of))
    }

    /// The rate of a model of devices against the fleet's, as a logarithm, shrunk.
    #[must_use]
    pub fn model_ratio(&self, device: &Device) -> f64 {
        let model = device.model.as_deref().map(hash);
        let found = self
            .models
            .iter()
            .find(|(known, _, _)| Some(*known) == model);
        found.map_or(0.0, |(_, failures, exposure)| {
            self.ratio(*failures, *exposure)
        })
    }

    fn ratio(&self, failures: f64, exposure: f64) -> f64 {
        let (shape, rate) = self.failure_rate();
        let expected = exposure * shape / rate;
        ((failures + SHRINK_FAILURES) / (expected + SHRINK_FAILURES)).ln()
    }

    /// How much likelier a failure is at this hour of the day than at any, as a logarithm, shrunk to none.
    #[must_use]
    pub fn hour_ratio(&self, hour: u8) -> f64 {
        let here = self
            .failure_hours
            .iter()
            .find(|(known, _)| *known == hour)
            .map_or(0.0, |(_, count)| *count);
        ((here * 24.0 + SHRINK_HOURS) / (self.failures + SHRINK_HOURS)).ln()
    }

    /// The level of a measure.
    #[must_use]
    pub fn norm(&self, measure: Measure) -> Option<&Norm> {
        self.norms
            .iter()
            .find(|(known, _)| *known == measure)
            .map(|(_, norm)| norm)
    }
}

/// A fleet in the making: its devices are added one by one, and of their states no more is kept than is summed up.
#[derive(Clone, Debug)]
pub struct Summing {
    as_of: Instant,
    fleet: Fleet,
    ages: Vec<f64>,
    levels: Vec<(Measure, Vec<Summary>)>,
}

impl Summing {
    /// One without a device, as of an instant.
    #[must_use]
    pub fn new(as_of: Instant) -> Self {
        Self {
            as_of,
            fleet: Fleet::default(),
            ages: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// One device more, with its state as it was then.
    pub fn add(&mut self, device: &Device, state: &State) {
        self.fleet.add(device, state, self.as_of);
        self.ages.extend(device.age_years);
        for track in &state.tracks {
            let Some(summary) = track.summary() else {
                continue;
            };
            let of_measure = |(measure, _): &&mut (Measure, _)| *measure == track.measure;
            match self.levels.iter_mut().find(of_measure) {
                Some((_, all)) => all.push(summary),
                None => self.levels.push((track.measure, vec![summary])),
            }
        }
    }

    /// The fleet.
    #[must_use]
    pub fn end(mut self) -> Fleet {
        let norms = self.levels.into_iter();
        let norms = norms.filter_map(|(measure, all)| Some((measure, norm(&all)?)));
        Fleet {
            age_years: median(&mut self.ages),
            norms: norms.collect(),
            ..self.fleet
        }
    }
}

/// The whole days in a horizon.
#[must_use]
pub fn horizon_days(horizon: i64) -> f64 {
    crate::insights::number::float(horizon) / crate::insights::number::float(DAY)
}

/// The median level, and the variance between devices that is not explained by their own uncertainty.
fn norm(all: &[Summary]) -> Option<Norm> {
    if all.len() < LEAST_DEVICES {
        return None;
    }
    let middle = |of: &dyn Fn(&Summary) -> Option<f64>| {
        median(&mut all.iter().filter_map(of).collect::<Vec<_>>())
    };
    let level = middle(&|one| Some(one.level))?;
    let spread = middle(&|one| Some((one.level - level).abs()))? * 1.4826;
    let within = middle(&|one| Some(one.within))?;
    let unsure = middle(&|one| Some(one.unsure))?;
    let day_ratio = middle(&|one| one.day_ratio).unwrap_or(1.0);
    Some(Norm {
        level,
        between: (spread * spread - unsure).max(0.1 * spread * spread),
        within,
        day_ratio,
    })
}

/// The median.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values
        .get(middle.checked_sub(1)?)
        .map(|lower| f64::midpoint(*lower, upper))
}
