//! The one shape of every insight: a reading with its evidence.

use crate::event::Instant;

/// How far a reading can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is enough to go by.
    Ok,
    /// It holds, but is still mostly what is known of others (a prior).
    Learning,
    /// There is too little: no value is given, and a reason says what is missing and until when.
    Insufficient,
    /// What it rests on is old.
    Stale,
}

/// Between which bounds the truth lies, at a level of probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// The probability, such as 0.9.
    pub level: f64,
}

impl Interval {
    /// That of a value which is known and not estimated.
    #[must_use]
    pub const fn exact(value: f64) -> Self {
        Self {
            low: value,
            high: value,
            level: 1.0,
        }
    }
}

/// What a reading rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// How many events.
    pub events: i64,
    /// When the first of them happened.
    pub from: Option<Instant>,
    /// When the last of them happened.
    pub to: Option<Instant>,
    /// Of what was expected in that time, the part that came: 0 to 1.
    pub coverage: Option<f64>,
}

/// One thing that a value comes of.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// A word of the field for what it is, such as `errors.24h`.
    pub factor: &'static str,
    /// What it adds to the value, in the unit that the insight says (log-odds, points …).
    pub contribution: f64,
    /// What was seen.
    pub observed: Option<f64>,
    /// What was to be expected.
    pub expected: Option<f64>,
    /// The unit of both.
    pub unit: Option<&'static str>,
    /// The same as one plain sentence for an operator.
    pub sentence: String,
}

impl Reason {
    /// One that has no figures, and adds nothing.
    #[must_use]
    pub const fn plain(factor: &'static str, sentence: String) -> Self {
        Self {
            factor,
            contribution: 0.0,
            observed: None,
            expected: None,
            unit: None,
            sentence,
        }
    }
}

/// Reasons by how much they add to the value, or take from it, the most first; those that do alike stay as they are.
#[must_use]
pub fn weightiest_first(mut reasons: Vec<Reason>) -> Vec<Reason> {
    reasons.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
    reasons
}

/// What can be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// A word for it.
    pub action: &'static str,
    /// The same as one plain sentence for an operator.
    pub sentence: String,
    /// The mutation of the API that does it.
    pub mutation: Option<String>,
}

/// A reading with its evidence. `value` and `interval` are `None` exactly when it is `Insufficient`.
#[derive(Clone, Debug, PartialEq)]
pub struct Insight {
    /// The value, in the unit of the insight.
    pub value: Option<f64>,
    /// Where the truth lies.
    pub interval: Option<Interval>,
    /// What it rests on.
    pub evidence: Evidence,
    /// How far it can be relied on.
    pub status: Status,
    /// What it comes of, the weightiest first.
    pub reasons: Vec<Reason>,
    /// What can be done.
    pub recommendations: Vec<Recommendation>,
    /// Of when it is: nothing that happened later was read.
    pub as_of: Instant,
}

impl Insight {
    /// One that says nothing but what is missing.
    #[must_use]
    pub fn insufficient(evidence: Evidence, missing: Reason, as_of: Instant) -> Self {
        Self {
            value: None,
            interval: None,
            evidence,
            status: Status::Insufficient,
            reasons: vec![missing],
            recommendations: Vec::new(),
            as_of,
        }
    }
}

impl Status {
    /// The word of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Learning => "LEARNING",
            Self::Insufficient => "INSUFFICIENT",
            Self::Stale => "STALE",
        }
    }
}
