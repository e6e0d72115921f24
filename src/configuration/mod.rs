//! Configuration: what is to hold on devices, at sites and in the whole system, and what does.
//!
//! A parameter is registered with a schema ([`register`]) and set on a device, a site or the system, several
//! at once ([`set`], [`rollback`]). What is set has a version for each thing, 1, 2, 3 …; a device inherits
//! from its site, and that from the system. Devices for which something changes are told by a job that is
//! recorded in the same commit. That a device has applied it is recorded when the device says so, and not
//! before (`applied`), together with what it measured in the hour before; the hour after follows
//! ([`Evidence`]). Devices that come later are told what holds for them then ([`Arrivals`]).

mod affected;
mod applied;
mod args;
mod arrivals;
mod evidence;
mod parameter;
mod rollback;
mod sealed;
mod set;

use thiserror::Error;
use uuid::Uuid;

use crate::event::{Fact, Position};
use crate::jobs::JobError;
use crate::kinds::Refusal;
use crate::store::{AppendError, Appended, EntityType, Outcome, Store, StoreError};

pub(crate) use affected::superseded_among;
pub(crate) use applied::{Applied, applied, superseded};
pub use args::{ConfigurationArgs, KeysError, kept};
pub use arrivals::Arrivals;
pub use evidence::{Evidence, evidence_of};
pub use parameter::{
    PARAMETERS_MAX, Parameter, Registration, SCOPES, parameters, refused_by_hand, register,
};
pub use rollback::{Rollback, rollback};
pub(crate) use sealed::opened;
pub use sealed::{Keyring, KeyringError, Place, SealError};
pub use set::{CHANGES_MAX, Done, ParameterChange, Setting, set};

pub use crate::history::configuration::SYSTEM;

/// How often a command is decided anew when somebody else has configured something meanwhile.
const DECISIONS_MAX: usize = 32;
/// Devices at most of which it is read at once all that holds on them.
const EFFECTIVE_AT_ONCE: usize = 100;

/// Why nothing was configured.
#[derive(Debug, Error)]
pub enum ConfigurationError {
    /// There is no such device or site.
    #[error("there is no {what} {id}")]
    Unknown {
        /// `device` or `site`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// The system is for those who reach all of it.
    #[error("the system is configured by whoever is bound to no site")]
    Bound,
    /// It could be set on nothing.
    #[error("{0}")]
    Scopes(&'static str),
    /// The system is for administrators.
    #[error("the system is configured by the role ADMIN")]
    NotAllowed,
    /// It is not said which device or site.
    #[error("entityId is missing: it says which {what}")]
    Unnamed {
        /// `device` or `site`.
        what: &'static str,
    },
    /// The system has no parts.
    #[error("entityId of SYSTEM is left out or \"system\"")]
    NotTheSystem,
    /// Others configured something each time that it was read.
    #[error("others configured something at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("it has changed: its version is {version}")]
    Stale {
        /// The version that holds; 0 for none.
        version: i64,
    },
    /// One of the parameters is not what the caller has read.
    #[error("the parameter has changed")]
    StaleParameter {
        /// Which of the changes.
        index: usize,
        /// Name of the field that says what the caller has read.
        field: &'static str,
    },
    /// One of the changes cannot be made.
    #[error("{why}")]
    Change {
        /// Which.
        index: usize,
        /// The field at fault.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// There is no such parameter.
    #[error("there is no parameter of this name: registerParameter makes one")]
    Unregistered {
        /// Which of the changes.
        index: usize,
    },
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There is no or too much to do.
    #[error("a command sets 1 to {CHANGES_MAX} parameters")]
    Changes,
    /// Devices would have to be told too many different things.
    #[error("the devices differ too much for one command: set fewer parameters at once")]
    TooManyJobs,
    /// The thing never had such a version.
    #[error("there is no version {0}")]
    NoVersion(i64),
    /// What held then is no value any more.
    #[error("{parameter} cannot be what it was: {why}")]
    NoValue {
        /// The parameter.
        parameter: String,
        /// Why not.
        why: String,
    },
    /// The schema cannot be one.
    #[error("{0}")]
    Schema(String),
    /// Whether a parameter is secret stays as it is.
    #[error("whether a parameter is sensitive is not changed: register one of another name")]
    Sensitivity,
    /// There are as many as there may be.
    #[error("there are {PARAMETERS_MAX} parameters, which is as many as there may be")]
    TooManyParameters,
    /// The key was used before for another command.
    #[error("the idempotency key was used before for another change")]
    OtherRepeat,
    /// One of the values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The devices cannot be told.
    #[error("cannot make the job that tells devices")]
    Job(#[source] JobError),
    /// The log cannot be read.
    #[error("cannot read the configuration")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the change")]
    Append(#[from] AppendError),
}

impl From<Refusal> for ConfigurationError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What is configured: a DEVICE, a SITE or the SYSTEM, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// DEVICE, SITE or SYSTEM.
    pub entity_type: String,
    /// Id of the device or site; [`SYSTEM`] otherwise.
    pub entity_id: String,
}

impl Thing {
    /// The thing of a type and id, which must be there.
    ///
    /// # Errors
    /// When there is no such thing, or the tables cannot be read.
    pub async fn find(
        store: &Store,
        entity_type: &str,
        id: Option<&str>,
    ) -> Result<Self, ConfigurationError> {
        let (entity, what) = match entity_type {
            "DEVICE" => (EntityType::Device, "device"),
            "SITE" => (EntityType::Site, "site"),
            _ => {
                return match id {
                    None | Some(SYSTEM) => Ok(Self::new(entity_type, SYSTEM)),
                    Some(_) => Err(ConfigurationError::NotTheSystem),
                };
            }
        };
        let id = id.ok_or(ConfigurationError::Unnamed { what })?;
        let is_there = !id.contains('\0') && store.key(entity, id).await?.is_some();
        if !is_there {
            let id = id.to_owned();
            return Err(ConfigurationError::Unknown { what, id });
        }
        Ok(Self::new(entity_type, id))
    }

    fn new(entity_type: &str, entity_id: &str) -> Self {
        let [entity_type, entity_id] = [entity_type, entity_id].map(str::to_owned);
        Self {
            entity_type,
            entity_id,
        }
    }
}

/// Whether the event at a position bears an id: what a command has changed is no change by others.
pub(crate) async fn is_of(
    store: &Store,
    position: i64,
    event_id: Option<Uuid>,
) -> Result<bool, StoreError> {
    if event_id.is_none() || position == 0 {
        return Ok(false);
    }
    let event = store.event(Position(position)).await?;
    Ok(event.is_some_and(|event| event.fact.event_id == event_id))
}

/// What is recorded under an id, if anything is.
async fn recorded(store: &Store, event_id: Uuid) -> Result<Option<Fact>, StoreError> {
    let position = store.positions(&[event_id]).await?.remove(&event_id);
    let Some(position) = position else {
        return Ok(None);
    };
    Ok(store.event(position).await?.map(|event| event.fact))
}

/// That all of a command was recorded: its ids are its own.
fn all_recorded(appended: Appended) -> Result<(), ConfigurationError> {
    for outcome in appended.outcomes {
        match outcome {
            Outcome::Recorded(_) | Outcome::Duplicate(_) => {}
            Outcome::Conflict(_) => return Err(ConfigurationError::OtherRepeat),
            Outcome::Rejected(refusal) => return Err(ConfigurationError::Refused(refusal)),
        }
    }
    Ok(())
}
