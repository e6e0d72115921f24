//! What follows from an event or from time that passes: that the cause of an alert begins, or is over.

use std::sync::Arc;

use super::rule::Rule;
use crate::event::{Instant, Provenance};

/// What an alert is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cause {
    /// A device, by its key.
    Device(i64),
    /// A site, by its key.
    Site(i64),
    /// A job, by its id.
    Job(String),
    /// All of the fleet.
    Fleet,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// A cause of an alert has begun, and an alert is to be opened unless one is.
    Begins(Begin),
    /// It is over, and its alert is to be closed if one is open.
    Ends(End),
}

impl Verdict {
    /// What it is said of.
    pub(super) const fn cause(&self) -> &Cause {
        match self {
            Self::Begins(begin) => &begin.cause,
            Self::Ends(end) => &end.cause,
        }
    }
}

/// A cause that has begun.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Begin {
    /// The rule that it has met.
    pub(super) rule: Arc<Rule>,
    /// What it is.
    pub(super) cause: Cause,
    /// Since when.
    pub(super) since: Instant,
    /// When it had lasted long enough.
    pub(super) at: Instant,
    /// What was measured, and beyond what it was to be.
    pub(super) measured: Option<(f64, f64)>,
    /// What is said of it to people.
    pub(super) reason: String,
    /// Where it comes from.
    pub(super) provenance: Provenance,
    /// The site that a job is for, if it is for one only.
    pub(super) site: Option<i64>,
}

/// A cause that is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    /// The rule that it had met.
    pub(super) rule_id: String,
    /// What it was.
    pub(super) cause: Cause,
    /// Until when it lasted.
    pub(super) at: Instant,
    /// What is said of it to people.
    pub(super) reason: String,
}
