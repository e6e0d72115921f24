//! What is asked of the log's writer, and what it answers.

use thiserror::Error;

use super::error::StoreError;
use crate::event::{Instant, NewEvent, Position};
use crate::kinds::{Code, Refusal};

/// Events that are appended together: all in one commit or none.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The events, at most [`EVENTS_MAX`](super::EVENTS_MAX).
    pub events: Vec<NewEvent>,
    /// Registrations of what the events name, appended before them: at most
    /// [`REGISTRATIONS_MAX`](super::REGISTRATIONS_MAX). Their outcomes are told to nobody.
    pub registrations: Vec<NewEvent>,
    /// What must not have changed meanwhile: all of these.
    pub expect: Vec<Expect>,
    /// What is told of the others, and appended after them if one of them is.
    pub told: Option<Box<NewEvent>>,
}

impl Request {
    /// All that may be appended.
    pub(crate) fn all(&self) -> impl Iterator<Item = &NewEvent> {
        let registrations = self.registrations.iter();
        registrations
            .chain(&self.events)
            .chain(self.told.as_deref())
    }

    /// Bytes of memory that the request takes while it waits.
    pub(crate) fn weight_bytes(&self) -> Result<usize, AppendError> {
        let events = self.events.len();
        if events > super::EVENTS_MAX || self.registrations.len() > super::REGISTRATIONS_MAX {
            return Err(AppendError::TooLarge {
                events,
                max: super::EVENTS_MAX,
            });
        }
        let weights = self.all().map(|event| event.fact.weight_bytes());
        Ok(weights.sum())
    }
}

/// A thing that must not have changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Name of the thing, such as `job/…`.
    pub entity: String,
    /// How often it has changed so far; 0 for one that is new.
    pub version: i64,
    /// What the request does to it.
    pub effect: Effect,
}

/// What a request does to the thing that it was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes it, whatever its events are: of two who have read the same version one wins.
    Changes,
    /// It changes it by its events, if they do: any number who have read the same version win, until
    /// somebody changes it.
    Reads,
}

impl Expect {
    /// That a thing which the request changes has been changed by nobody else.
    #[must_use]
    pub const fn changing(entity: String, version: i64) -> Self {
        Self {
            entity,
            version,
            effect: Effect::Changes,
        }
    }

    /// That a thing which was read is as it was.
    #[must_use]
    pub const fn reading(entity: String, version: i64) -> Self {
        Self {
            entity,
            version,
            effect: Effect::Reads,
        }
    }
}

/// The answer to one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was appended, at this position.
    Recorded(Position),
    /// It had been appended before, at this position.
    Duplicate(Position),
    /// Its key was recorded before, at this position, with another body.
    Conflict(Position),
    /// It was refused.
    Rejected(Refusal),
}

impl Outcome {
    /// The word of the wire.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Recorded(_) => "RECORDED",
            Self::Duplicate(_) => "DUPLICATE",
            Self::Conflict(_) => "CONFLICT",
            Self::Rejected(_) => "REJECTED",
        }
    }

    /// The place in the log of the event, or of the first with its key.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        match self {
            Self::Recorded(position) | Self::Duplicate(position) | Self::Conflict(position) => {
                Some(*position)
            }
            Self::Rejected(_) => None,
        }
    }

    /// Why it was not recorded, for programs.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Recorded(_) | Self::Duplicate(_) => None,
            Self::Conflict(_) => Some(Code::Conflict),
            Self::Rejected(refusal) => Some(refusal.code),
        }
    }

    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Rejected(refusal) => refusal.field.as_deref(),
            Self::Recorded(_) | Self::Duplicate(_) | Self::Conflict(_) => None,
        }
    }

    /// Why it was not recorded, for people.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Recorded(_) | Self::Duplicate(_) => None,
            Self::Conflict(_) => Some("the same key was recorded before with another body"),
            Self::Rejected(refusal) => Some(&refusal.message),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, Default)]
pub struct Appended {
    /// One outcome for each event, in their order.
    pub outcomes: Vec<Outcome>,
    /// When it was appended.
    pub recorded_at: Instant,
}

/// Why nothing of a request was appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The queue is full.
    #[error("the queue of the log is full")]
    Overloaded,
    /// The request has too many events.
    #[error("a request has at most {max} events, this one has {events}")]
    TooLarge {
        /// Events of the request.
        events: usize,
        /// Events at most.
        max: usize,
    },
    /// What was expected not to have changed has.
    #[error("{entity} has changed: its version is {version}")]
    Stale {
        /// Name of the thing.
        entity: String,
        /// Its version.
        version: i64,
    },
    /// The log failed. Whether the events were appended is not known when it failed in committing.
    #[error("cannot append")]
    Store(#[source] std::sync::Arc<StoreError>),
}
