//! The registry by command: sites and devices are registered, changed, moved, retired, and put into a state.
//!
//! Each command ends in an event that says all of the thing as it is from then on: what is not given stays
//! as it is. It holds from now on, also when what held before is from a source whose clock is ahead. Two
//! who change one thing at once do so one after the other, or one is told that it has changed.

mod enrol;
mod held;
mod retire;
mod state;

use serde_json::{Map, Value as Json};
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Instant, NewEvent, Position};
use crate::ingest::Ingest;
use crate::kinds::{self, Kind, Refusal, check};
use crate::projections::registry::entity_of;
use crate::store::{AppendError, Expect, Outcome, Store, StoreError};
use held::{Held, held};

pub(crate) use enrol::uses_of;
pub use enrol::{EnrolError, Enrolled, Enrolling, enrol};
pub use retire::{Retired, retire};
pub use state::{StateChange, set_state};

/// How often a decision is made anew when somebody else has decided meanwhile.
const DECISIONS_MAX: usize = 8;

/// Why a command on the registry was not done.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// A site or device of this id is registered.
    #[error("{id} is registered already")]
    Registered {
        /// The field that names it.
        field: &'static str,
        /// Its id.
        id: String,
    },
    /// There is no such site or device.
    #[error("{id} is not registered")]
    Unknown {
        /// The field that names it.
        field: &'static str,
        /// Its id.
        id: String,
    },
    /// The device is retired, and stays so until it is given another lifecycle.
    #[error("the device is retired; updateDevice gives it another lifecycle")]
    Retired,
    /// Others changed it each time that it was read.
    #[error("it was changed by others at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("it has changed: its version is {version}")]
    Stale {
        /// Position of the registration that holds now; 0 for none.
        version: i64,
    },
    /// The key was used before for another command.
    #[error("the idempotency key was used before for another command")]
    OtherRepeat,
    /// One of the values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the registry")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the registration")]
    Append(#[from] AppendError),
}

/// A site or a device, by the kind of its registrations and its id.
#[derive(Clone, Copy, Debug)]
pub struct Thing<'a> {
    kind: Kind,
    id: &'a str,
}

impl<'a> Thing<'a> {
    /// A site.
    #[must_use]
    pub const fn site(id: &'a str) -> Self {
        let kind = Kind::SiteRegistration;
        Self { kind, id }
    }

    /// A device.
    #[must_use]
    pub const fn device(id: &'a str) -> Self {
        let kind = Kind::DeviceRegistration;
        Self { kind, id }
    }

    fn is_site(self) -> bool {
        self.kind == Kind::SiteRegistration
    }

    /// Name of the field that has its id.
    fn id_field(self) -> &'static str {
        if self.is_site() { "siteId" } else { "deviceId" }
    }

    fn unknown(self) -> RegistryError {
        RegistryError::Unknown {
            field: self.id_field(),
            id: self.id.to_owned(),
        }
    }

    fn entity(self) -> String {
        entity_of(self.kind, self.id)
    }
}

/// How a command is known again, and on what it was decided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Id of its event, under which a repeat is known.
    pub event_id: Option<Uuid>,
    /// Position of the registration that holds, as the caller has read it; 0 for none.
    pub expected: Option<i64>,
}

/// What is given of a thing: its fields by their names on the wire. What is null is to be absent.
pub type Given = Map<String, Json>;

/// Registers a site or device that is not there yet.
///
/// # Errors
/// When there is one of that id, a value is out of bounds, or it cannot be recorded.
pub async fn register(
    ingest: &Ingest,
    thing: Thing<'_>,
    (given, asked): (&Given, Asked),
) -> Result<(), RegistryError> {
    let change = |held: Option<&Held>| match held {
        Some(_) => Err(RegistryError::Registered {
            field: thing.id_field(),
            id: thing.id.to_owned(),
        }),
        None => Ok(given.clone()),
    };
    decide(ingest, thing, (given, asked), change).await
}

/// Changes what is given of a site or device; the rest stays as it is.
///
/// # Errors
/// When there is no such thing, a value is out of bounds, or it cannot be recorded.
pub async fn update(
    ingest: &Ingest,
    thing: Thing<'_>,
    (given, asked): (&Given, Asked),
) -> Result<(), RegistryError> {
    let change = |held: Option<&Held>| {
        let mut fields = held.ok_or_else(|| thing.unknown())?.fields.clone();
        fields.extend(given.clone());
        Ok(fields)
    };
    decide(ingest, thing, (given, asked), change).await
}

/// Records what a thing is from now on, as it follows from what it is; decided anew when it has changed
/// meanwhile.
async fn decide(
    ingest: &Ingest,
    thing: Thing<'_>,
    (given, asked): (&Given, Asked),
    change: impl Fn(Option<&Held>) -> Result<Given, RegistryError>,
) -> Result<(), RegistryError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        if is_repeated(store, thing, (given, asked)).await? {
            return Ok(());
        }
        // the version first: what is read after it is at least as new
        let expect = Expect::changing(thing.entity(), store.version(&thing.entity()).await?);
        let held = held(store, thing).await?;
        is_as_read(held.as_ref(), asked)?;
        let now = ingest.clock().now();
        let event = event(thing, change(held.as_ref())?, (held.as_ref(), now), asked)?;
        let appended = match ingest.command(vec![event], Some(expect)).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        return done(appended.outcomes.into_iter().next());
    }
    Err(RegistryError::Contended)
}

fn done(outcome: Option<Outcome>) -> Result<(), RegistryError> {
    match outcome {
        Some(Outcome::Recorded(_) | Outcome::Duplicate(_)) => Ok(()),
        Some(Outcome::Conflict(_)) => Err(RegistryError::OtherRepeat),
        Some(Outcome::Rejected(refusal)) => Err(RegistryError::Refused(refusal)),
        None => Err(RegistryError::Store(StoreError::Closed)),
    }
}

fn is_as_read(held: Option<&Held>, asked: Asked) -> Result<(), RegistryError> {
    let version = held.map_or(0, |held| held.position);
    match asked.expected {
        Some(expected) if expected != version => Err(RegistryError::Stale { version }),
        _ => Ok(()),
    }
}

/// The registration of a thing, newer than the one that holds.
fn event(
    thing: Thing<'_>,
    mut fields: Given,
    (held, now): (Option<&Held>, Instant),
    asked: Asked,
) -> Result<NewEvent, RegistryError> {
    fields.insert(thing.id_field().to_owned(), Json::from(thing.id));
    let since = held.map_or(0, |held| held.since + 1);
    let event = kinds::parse(thing.kind, &Json::Object(fields), now.max(Instant(since)));
    let mut event = event.map_err(RegistryError::Refused)?;
    check(&mut event.fact).map_err(RegistryError::Refused)?;
    event.fact.event_id = asked.event_id;
    Ok(event)
}

/// Whether the command was done before: a repeat finds another thing than the first did, so that it is
/// known by what it gives.
async fn is_repeated(
    store: &Store,
    thing: Thing<'_>,
    (given, asked): (&Given, Asked),
) -> Result<bool, RegistryError> {
    let Some(first) = first_of(store, asked.event_id).await? else {
        return Ok(false);
    };
    let mut fields = given.clone();
    fields.insert(thing.id_field().to_owned(), Json::from(thing.id));
    let asked = kinds::parse(thing.kind, &Json::Object(fields), Instant(0));
    let asked = asked.map_err(RegistryError::Refused)?.fact;
    let first = store.event(first).await?.map(|event| event.fact);
    let is_same = first.is_some_and(|first| {
        let pairs = || first.cells.iter().zip(&asked.cells);
        first.kind == thing.kind
            && pairs().all(|(first, asked)| {
                asked.is_null()
                    || first == asked
                    || (first.text().is_some() && first.text() == asked.text())
            })
    });
    if is_same {
        Ok(true)
    } else {
        Err(RegistryError::OtherRepeat)
    }
}

/// Position of the event of an id, if there is one.
async fn first_of(store: &Store, event_id: Option<Uuid>) -> Result<Option<Position>, StoreError> {
    let Some(event_id) = event_id else {
        return Ok(None);
    };
    let positions = store.positions(&[event_id]).await?;
    Ok(positions.get(&event_id).copied())
}
