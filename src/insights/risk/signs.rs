//! The signs of a coming failure, read from the state of a device at one time.
//!
//! They know no model: which groups and measures count, and how much, is the model's.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::input::{Device, Measure};
use serde::{Deserialize, Serialize};

use crate::insights::risk::entries::OTHERS;
use crate::insights::risk::features::{State, days, hour_of_day};
use crate::insights::risk::fleet::Fleet;

/// What is read of a device at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signs {
    /// Errors by group: in the last 24 hours, and in the 24 hours before them.
    pub errors: Vec<(u32, f64, f64)>,
    /// Errors of severity ERROR or CRITICAL in the last 24 hours.
    pub severe: f64,
    /// The most groups that came within one hour of the last 24.
    pub kinds_at_once: f64,
    /// How much likelier failures are at the hour of the day of an error of the last 24 hours, as a logarithm.
    pub error_hour: f64,
    /// The drift of each measure: of the last 24 hours and of those before, in spreads of daily means.
    pub drifts: Vec<(Measure, f64, f64)>,
    /// How often it went down in the last 24 hours.
    pub flaps: f64,
    /// Days since it restarted.
    pub restart_days: Option<f64>,
    /// Days since any parameter changed that is no component.
    pub config_days: Option<f64>,
    /// Days since any component was replaced.
    pub replaced_days: Option<f64>,
    /// Days since the component was replaced that was replaced longest ago.
    pub oldest_days: Option<f64>,
    /// The logarithm of the rate of the device against the fleet's.
    pub device_ratio: f64,
    /// The same of its model.
    pub model_ratio: f64,
    /// Age in years above the fleet's median.
    pub age_years: f64,
}

/// Reads the signs. What came before the last failure is spent: it told of that one.
#[must_use]
pub fn signs(state: &State, device: &Device, fleet: &Fleet, as_of: Instant) -> Signs {
    let mut signs = Signs {
        device_ratio: fleet.device_ratio(state, as_of),
        model_ratio: fleet.model_ratio(device),
        age_years: device
            .age_years
            .zip(fleet.age_years)
            .map_or(0.0, |(own, usual)| own - usual),
        restart_days: since(state.last_restart, as_of),
        ..Signs::default()
    };
    read_errors(&mut signs, state, fleet, as_of);
    read_changes(&mut signs, state, as_of);
    for track in &state.tracks {
        let drift = track.drift(as_of, state.last_failure, fleet.norm(track.measure));
        signs
            .drifts
            .extend(drift.map(|drift| (track.measure, drift.day, drift.before)));
    }
    let day = Instant(as_of.0 - DAY);
    signs.flaps = f64::from(state.down(day, as_of).times);
    signs
}

fn since(at: Option<Instant>, as_of: Instant) -> Option<f64> {
    at.map(|at| days(at, as_of).max(0.0))
}

fn read_errors(signs: &mut Signs, state: &State, fleet: &Fleet, as_of: Instant) {
    let spent = state.last_failure.unwrap_or(Instant(i64::MIN));
    let day = Instant(as_of.0 - DAY);
    let mut hours: Vec<(i64, u32)> = Vec::new();
    for seen in state.errors_between(Instant(as_of.0 - 2 * DAY).max(spent), as_of) {
        let count = f64::from(seen.count);
        let is_new = seen.at > day;
        let place = signs
            .errors
            .iter()
            .position(|(group, _, _)| *group == seen.group);
        let (new, old) = if is_new { (count, 0.0) } else { (0.0, count) };
        match place.and_then(|place| signs.errors.get_mut(place)) {
            Some(entry) => {
                entry.1 += new;
                entry.2 += old;
            }
            None => signs.errors.push((seen.group, new, old)),
        }
        if is_new {
            let hour = seen.at.0.div_euclid(HOUR);
            hours.push((hour, seen.group));
            if seen.group == OTHERS {
                // they are of two groups at least, of so many errors that two came within an hour
                hours.push((hour, OTHERS + 1));
            }
            if seen.severity >= crate::insights::input::Severity::Error {
                signs.severe += count;
            }
        }
    }
    let ratios = hours
        .iter()
        .map(|(hour, _)| fleet.hour_ratio(hour_of_day(Instant(hour * HOUR))));
    signs.error_hour = ratios.reduce(f64::max).unwrap_or(0.0);
    hours.sort_unstable();
    hours.dedup();
    let most = hours
        .chunk_by(|one, next| one.0 == next.0)
        .map(<[_]>::len)
        .max()
        .unwrap_or(0);
    signs.kinds_at_once = crate::insights::number::float(most);
}

fn read_changes(signs: &mut Signs, state: &State, as_of: Instant) {
    let ages = |is_component: bool| {
        let changes = state
            .parameters
            .iter()
            .filter(move |change| change.is_component == is_component);
        changes.map(|change| days(change.at, as_of).max(0.0))
    };
    signs.config_days = ages(false).reduce(f64::min);
    signs.replaced_days = ages(true).reduce(f64::min);
    signs.oldest_days = ages(true).reduce(f64::max);
}
