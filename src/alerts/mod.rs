//! Alerts: rules say what is to be noticed, and what meets one is an alert until it is over.
//!
//! The [`Watcher`] follows the log with what it needs to know of devices in memory, and says when a
//! cause begins and when it is over; what insights say of devices it asks for in rounds. Every step of an alert is an event with a fixed id, on a version
//! of its cause: whoever raises it, and however often, a cause has one open alert. People acknowledge,
//! silence and resolve alerts ([`acknowledge`], [`silence`], [`resolve`]) and make rules ([`create`]).

mod begin;
mod commands;
mod drill;
mod evaluate;
mod failures;
mod fleet;
mod gaps;
mod insights;
mod judge;
mod rates;
mod reach;
mod recall;
mod record;
mod renew;
pub mod rule;
mod rules;
mod runs;
mod silence;
mod states;
mod verdict;
mod watcher;

use thiserror::Error;

use crate::kinds::Refusal;
use crate::store::{AppendError, StoreError};

pub use commands::{Move, acknowledge, resolve, silence};
pub use drill::Drill;
pub use reach::Reach;
pub use rules::{Asked, all_rules, create, delete, rule_by_id, update};
pub use watcher::Watcher;

/// How often a decision is made anew when somebody else has decided meanwhile.
const DECISIONS_MAX: usize = 8;

/// Why a command on alerts or rules was not done.
#[derive(Debug, Error)]
pub enum AlertError {
    /// There is no such alert or rule.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// It is over.
    #[error("the alert is RESOLVED, and nothing moves it any more")]
    Over,
    /// There are too many rules.
    #[error("there are {} rules, and there may be no more", rule::RULES_MAX)]
    TooMany,
    /// There are too many for one part of the fleet.
    #[error(
        "there are {} rules for what you reach, and there may be no more",
        rule::RULES_WITHIN_MAX
    )]
    TooManyWithin,
    /// A rule watches for one thing as long as it is.
    #[error("a rule that watches for something else is another rule: make a new one")]
    OtherCondition,
    /// Others moved it each time that it was read.
    #[error("it was changed by others at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("it has changed: its version is {version}")]
    Stale {
        /// Position of its last step; 0 for a rule that exists without having been made.
        version: i64,
    },
    /// The key was used before for another command.
    #[error("the idempotency key was used before for another command")]
    OtherRepeat,
    /// One of its values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the alerts")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the alert")]
    Append(#[from] AppendError),
}

impl From<Refusal> for AlertError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
