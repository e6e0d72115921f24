//! What insights said of a device in a round, as far as rules ask.

use crate::event::{Instant, Provenance};
use crate::insights::input::Measure;
use crate::insights::risk::model::Horizon;

/// A device that was judged.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alerts) struct Judged {
    /// The device.
    pub(in crate::alerts) device: i64,
    /// As of when.
    pub(in crate::alerts) as_of: Instant,
    /// Where what it was judged by comes from.
    pub(in crate::alerts) provenance: Provenance,
    /// How likely it is to fail within 24 and within 72 hours; of what was not judged nothing.
    pub(in crate::alerts) risks: [Option<Said>; 2],
    /// How well it is; nothing when that was not judged.
    pub(in crate::alerts) health: Option<Said>,
    /// What is unusual about it and not over; nothing when that was not judged.
    pub(in crate::alerts) incidents: Option<Vec<Incident>>,
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alerts) enum Said {
    /// Nothing is known.
    Nothing,
    /// It is so small that no rule asks for more.
    Little,
    /// A value.
    Value(Valued),
}

/// A value, and how sure it is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alerts) struct Valued {
    /// The value.
    pub(in crate::alerts) value: f64,
    /// Between which bounds it is.
    pub(in crate::alerts) interval: (f64, f64),
    /// Whether it is said of this device, and not of all that are like it.
    pub(in crate::alerts) is_its_own: bool,
    /// The weightiest reason for it.
    pub(in crate::alerts) reason: Option<String>,
}

/// Something unusual that is not over.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alerts) struct Incident {
    /// Of which measure.
    pub(in crate::alerts) measure: Measure,
    /// The highest score in it.
    pub(in crate::alerts) score: f64,
    /// The weightiest reason for it.
    pub(in crate::alerts) reason: Option<String>,
}

impl Judged {
    /// One of which nothing was judged yet.
    pub(in crate::alerts) const fn new(
        (device, provenance): (i64, Provenance),
        as_of: Instant,
    ) -> Self {
        Self {
            device,
            as_of,
            provenance,
            risks: [None, None],
            health: None,
            incidents: None,
        }
    }

    /// How likely it is to fail.
    pub(in crate::alerts) const fn risk(&self, horizon: Horizon) -> Option<&Said> {
        let [day, three_days] = &self.risks;
        match horizon {
            Horizon::Day => day.as_ref(),
            Horizon::ThreeDays => three_days.as_ref(),
        }
    }
}
