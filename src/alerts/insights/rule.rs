//! What rules of insights watch for, within which bounds. Nothing here does I/O.

use serde::{Deserialize, Serialize};

use crate::insights::input::Measure;
use crate::insights::risk::model::Horizon;
use crate::kinds::{Code, Refusal};

/// Chance over which a risk has to fall to be over, as a part of the threshold: what wavers about it is one alert.
const RISK_OVER: f64 = 0.8;
/// Points over the threshold that health has to come to for an alert to be over.
const HEALTH_OVER: f64 = 3.0;

/// What an insight says of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Insight {
    /// It is likely to fail.
    FailureRisk(AtRisk),
    /// It is not well.
    Health(Unwell),
    /// Something about it is unusual.
    Anomaly(Unusual),
}

/// A device that is likely to fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AtRisk {
    /// How many hours ahead: 24 or 72.
    pub horizon_hours: u32,
    /// The chance from which on it counts, from 0 to 1.
    pub chance: f64,
    /// Whether all of the interval has to be beyond.
    pub certain: bool,
}

/// A device that is not well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unwell {
    /// The health below which it counts, from 0 to 100.
    pub below: f64,
    /// Whether all of the interval has to be beyond.
    pub certain: bool,
}

/// Something unusual about a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unusual {
    /// Of which measures; of all when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// The score that an incident has to come to, from 0 to 1.
    pub score: f64,
}

impl Insight {
    /// The word of `AlertCondition`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::FailureRisk(_) => "FAILURE_RISK",
            Self::Health(_) => "HEALTH",
            Self::Anomaly(_) => "ANOMALY",
        }
    }

    pub(in crate::alerts) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::FailureRisk(risk) if risk.horizon().is_none() => {
                let message = "the horizon is neither 24 nor 72 hours";
                Err(Refusal::of("horizon", Code::OutOfRange, message))
            }
            Self::FailureRisk(risk) => positive("chance", risk.chance, 1.0),
            Self::Health(health) => positive("below", health.below, 100.0),
            Self::Anomaly(unusual) if !(0.0..=1.0).contains(&unusual.score) => {
                let message = "score is not between 0 and 1";
                Err(Refusal::of("score", Code::OutOfRange, message))
            }
            Self::Anomaly(unusual) if unusual.measures.len() > Measure::ALL.len() => {
                let message = format!("measures are more than {}", Measure::ALL.len());
                Err(Refusal::of("measures", Code::OutOfRange, message))
            }
            Self::Anomaly(unusual) if unusual.measures.contains(&Measure::UptimeSeconds) => {
                let message = "UPTIME_SECONDS is never unusual: it only grows until a restart";
                Err(Refusal::of("measures", Code::Invalid, message))
            }
            Self::Anomaly(_) => Ok(()),
        }
    }
}

fn positive(field: &'static str, given: f64, max: f64) -> Result<(), Refusal> {
    if given > 0.0 && given <= max {
        return Ok(());
    }
    let message = format!("{field} is not above 0 and at most {max}");
    Err(Refusal::of(field, Code::OutOfRange, message))
}

impl AtRisk {
    /// How far ahead, if that is offered.
    #[must_use]
    pub fn horizon(&self) -> Option<Horizon> {
        let mut all = [Horizon::Day, Horizon::ThreeDays].into_iter();
        all.find(|horizon| horizon.hours() == self.horizon_hours)
    }

    /// The chance below which it is over.
    #[must_use]
    pub fn over(&self) -> f64 {
        self.chance * RISK_OVER
    }
}

impl Unwell {
    /// The health from which on it is over.
    #[must_use]
    pub fn over(&self) -> f64 {
        (self.below + HEALTH_OVER).min(100.0)
    }
}

impl Unusual {
    /// Whether it is for a measure.
    #[must_use]
    pub fn is_of(&self, measure: Measure) -> bool {
        self.measures.is_empty() || self.measures.contains(&measure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_always_grows_is_not_watched_for_being_unusual() {
        let of = |measures: &[Measure]| {
            let unusual = Unusual {
                measures: measures.to_vec(),
                score: 0.5,
            };
            Insight::Anomaly(unusual).check().is_ok()
        };
        assert!(of(&[]) && of(&[Measure::CpuPercent]));
        assert!(!of(&[Measure::CpuPercent, Measure::UptimeSeconds]));
    }
}
