//! The columns of the hazard model: which signs count, what is thought of each before there is data, and why.
//!
//! Groups of errors and measures are learned from the examples: a fleet that lacks one has no column for it.
//! What is common to all groups and measures has its own column with a prior of sensible sign; each single group,
//! measure and pair of them only deviates from that, with a prior of zero, so that few failures suffice.

use crate::insights::input::Measure;
use serde::{Deserialize, Serialize};

use crate::insights::risk::entries::OTHERS;
use crate::insights::risk::newton::{Prior, Row};
use crate::insights::risk::signs::Signs;

/// Spreads within which a day is usual.
const USUAL: f64 = 2.0;
/// Spreads above the usual at which a drift counts in full.
const FULL: f64 = 3.0;
/// Error groups with a column of their own.
const GROUPS: usize = 8;
/// Errors of one day that count: more of the same say little more.
const ERRORS_COUNTED: f64 = 3.0;
/// Days after which a change is long ago.
const LONG_DAYS: f64 = 60.0;

/// What a column is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// The usual rate.
    Base,
    /// Any error in 24 hours.
    Errors,
    /// More errors in 24 hours.
    ErrorsMore,
    /// Errors in the 24 hours before.
    ErrorsBefore,
    /// Severe ones.
    ErrorsSevere,
    /// Two groups within an hour.
    Kinds,
    /// Errors at the hour of the day of failures.
    ErrorHour,
    /// The largest drift of a day.
    Drift,
    /// The largest drift of two days running.
    DriftTwoDays,
    /// Errors while a measure drifts.
    ErrorsAndDrift,
    /// Errors while a measure drifts for the second day.
    ErrorsAndDriftTwoDays,
    /// Errors at the hour of the day of failures while a measure drifts.
    ErrorHourAndDrift,
    /// Going down.
    Flaps,
    /// Time since restart.
    Restart,
    /// Time since a change of configuration.
    Config,
    /// Time since a replacement.
    Replacement,
    /// Time since the oldest component was replaced.
    Oldest,
    /// Rate of the device.
    Device,
    /// Rate of its model.
    Model,
    /// Age.
    Age,
    /// Errors of a group.
    Group(u32),
    /// Drift of a measure upwards (true) or downwards.
    Measure(Measure, bool),
    /// Errors of a group while a measure drifts upwards or downwards.
    Pair(u32, Measure, bool),
}

/// Which of the reasons told to operators a column belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The usual rate of the fleet.
    Base,
    /// Errors.
    Errors,
    /// Resources.
    Resources,
    /// Errors while a resource drifts.
    Both,
    /// Stability and wear.
    Stability,
    /// History of the device and its like.
    History,
}

impl Key {
    /// The part that it belongs to.
    #[must_use]
    pub const fn part(self) -> Part {
        match self {
            Self::Base => Part::Base,
            Self::Errors
            | Self::ErrorsMore
            | Self::ErrorsBefore
            | Self::ErrorsSevere
            | Self::Kinds
            | Self::ErrorHour
            | Self::Group(_) => Part::Errors,
            Self::Drift | Self::DriftTwoDays | Self::Measure(..) => Part::Resources,
            Self::ErrorsAndDrift
            | Self::ErrorsAndDriftTwoDays
            | Self::ErrorHourAndDrift
            | Self::Pair(..) => Part::Both,
            Self::Flaps | Self::Restart | Self::Config | Self::Replacement | Self::Oldest => {
                Part::Stability
            }
            Self::Device | Self::Model | Self::Age => Part::History,
        }
    }

    /// The prior: mean and standard deviation in log-odds for a column that is fully on.
    const fn belief(self) -> (f64, f64) {
        match self {
            Self::Base => (0.0, 2.0),
            Self::Errors | Self::Drift | Self::DriftTwoDays => (0.5, 1.0),
            Self::ErrorsMore | Self::ErrorsSevere => (0.2, 0.5),
            Self::ErrorsBefore => (0.0, 0.5),
            Self::Kinds | Self::ErrorsAndDriftTwoDays => (0.5, 1.5),
            Self::ErrorHour | Self::ErrorHourAndDrift => (0.3, 0.5),
            Self::ErrorsAndDrift => (2.0, 2.0),
            Self::Flaps => (0.2, 0.3),
            Self::Restart | Self::Config | Self::Replacement | Self::Age => (0.0, 0.3),
            Self::Oldest => (0.1, 0.3),
            Self::Device | Self::Model => (0.5, 0.5),
            Self::Group(_) => (0.0, 1.0),
            Self::Measure(..) => (0.0, 0.7),
            Self::Pair(..) => (0.0, 1.5),
        }
    }

    /// The prior of its coefficient. `base` is the log-odds of the fleet's rate.
    #[must_use]
    pub fn prior(self, base: f64) -> Prior {
        let (mean, deviation) = self.belief();
        let mean = if self == Self::Base { base } else { mean };
        Prior {
            mean,
            precision: 1.0 / (deviation * deviation),
        }
    }
}

/// How far a drift counts: 0 within the usual, 1 from five spreads on.
#[must_use]
pub fn hinge(drift: f64) -> f64 {
    ((drift.abs() - USUAL) / FULL).clamp(0.0, 1.0)
}

/// The columns for a fleet with these signs.
#[must_use]
pub fn columns<'a>(all: impl Iterator<Item = &'a Signs>) -> Vec<Key> {
    let mut groups: Vec<(u32, f64)> = Vec::new();
    let mut measures: Vec<Measure> = Vec::new();
    for signs in all {
        // those of several groups are of none
        let of_groups = signs.errors.iter().filter(|(group, ..)| *group != OTHERS);
        for (group, new, _) in of_groups {
            match groups.iter_mut().find(|(known, _)| known == group) {
                Some((_, count)) => *count += new.min(1.0),
                None => groups.push((*group, *new)),
            }
        }
        for (measure, _, _) in &signs.drifts {
            if !measures.contains(measure) {
                measures.push(*measure);
            }
        }
    }
    groups.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    groups.truncate(GROUPS);
    measures.sort_unstable();
    let mut keys = COMMON.to_vec();
    keys.extend(groups.iter().map(|(group, _)| Key::Group(*group)));
    for measure in measures {
        for up in [true, false] {
            keys.push(Key::Measure(measure, up));
            keys.extend(
                groups
                    .iter()
                    .map(|(group, _)| Key::Pair(*group, measure, up)),
            );
        }
    }
    keys
}

const COMMON: [Key; 20] = [
    Key::Base,
    Key::Errors,
    Key::ErrorsMore,
    Key::ErrorsBefore,
    Key::ErrorsSevere,
    Key::Kinds,
    Key::ErrorHour,
    Key::Drift,
    Key::DriftTwoDays,
    Key::ErrorsAndDrift,
    Key::ErrorsAndDriftTwoDays,
    Key::ErrorHourAndDrift,
    Key::Flaps,
    Key::Restart,
    Key::Config,
    Key::Replacement,
    Key::Oldest,
    Key::Device,
    Key::Model,
    Key::Age,
];

/// The values of the columns.
#[must_use]
pub fn row(keys: &[Key], signs: &Signs) -> Row {
    let total = Total::of(signs);
    let values = keys
        .iter()
        .map(|key| value(*key, signs, &total))
        .enumerate();
    values.filter(|(_, value)| *value != 0.0).collect()
}

struct Total {
    new: f64,
    old: f64,
    drift: f64,
    two_days: f64,
}

impl Total {
    fn of(signs: &Signs) -> Self {
        let running = |day: f64, before: f64| {
            if day * before > 0.0 {
                hinge(day).min(hinge(before))
            } else {
                0.0
            }
        };
        Self {
            new: signs.errors.iter().map(|(_, new, _)| new).sum(),
            old: signs.errors.iter().map(|(_, _, old)| old).sum(),
            drift: signs
                .drifts
                .iter()
                .map(|(_, day, _)| hinge(*day))
                .fold(0.0, f64::max),
            two_days: signs
                .drifts
                .iter()
                .map(|(_, day, before)| running(*day, *before))
                .fold(0.0, f64::max),
        }
    }
}

fn value(key: Key, signs: &Signs, total: &Total) -> f64 {
    let any = total.new.min(1.0);
    let long_ago = |days: Option<f64>| {
        days.map_or(0.0, |days| {
            (1.0 + days.min(LONG_DAYS)).ln() / (1.0 + LONG_DAYS).ln() - 0.5
        })
    };
    match key {
        Key::Base => 1.0,
        Key::Errors => any,
        Key::ErrorsMore => (total.new.min(ERRORS_COUNTED) - 1.0).max(0.0),
        Key::ErrorsBefore => total.old.min(1.0),
        Key::ErrorsSevere => signs.severe.min(ERRORS_COUNTED),
        Key::Kinds => (signs.kinds_at_once - 1.0).clamp(0.0, 1.0),
        Key::ErrorHour => signs.error_hour,
        Key::Drift => total.drift,
        Key::DriftTwoDays => total.two_days,
        Key::ErrorsAndDrift => any * total.drift,
        Key::ErrorsAndDriftTwoDays => any * total.two_days,
        Key::ErrorHourAndDrift => signs.error_hour * total.drift,
        Key::Flaps => signs.flaps.min(ERRORS_COUNTED),
        Key::Restart => long_ago(signs.restart_days),
        Key::Config => long_ago(signs.config_days),
        Key::Replacement => long_ago(signs.replaced_days),
        Key::Oldest => long_ago(signs.oldest_days),
        Key::Device => signs.device_ratio,
        Key::Model => signs.model_ratio,
        Key::Age => (signs.age_years / 10.0).clamp(-1.0, 1.0),
        Key::Group(group) => came(signs, group),
        Key::Measure(measure, up) => drifted(signs, measure, up),
        Key::Pair(group, measure, up) => came(signs, group) * drifted(signs, measure, up),
    }
}

fn came(signs: &Signs, group: u32) -> f64 {
    signs
        .errors
        .iter()
        .find(|(known, _, _)| *known == group)
        .map_or(0.0, |(_, new, _)| new.min(1.0))
}

fn drifted(signs: &Signs, measure: Measure, up: bool) -> f64 {
    let found = signs.drifts.iter().find(|(known, _, _)| *known == measure);
    found
        .filter(|(_, day, _)| (*day > 0.0) == up)
        .map_or(0.0, |(_, day, _)| hinge(*day))
}
