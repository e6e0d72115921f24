//! Configuration: a parameter of a device, a site or the system gets a new value.

use entity::configuration_history::Column;
use serde_json::Value as Json;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Cell, Fact, Instant, Position, Provenance};
use crate::history::fleet;
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
use crate::projections::configuration::entity_of;
use crate::store::{AppendError, EntityType, Expect, Outcome, Store, StoreError};

/// Why a parameter was not set.
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
    /// It is not said which device or site.
    #[error("entityId is missing: it says which {what}")]
    Unnamed {
        /// `device` or `site`.
        what: &'static str,
    },
    /// The system has no parts.
    #[error("entityId of SYSTEM is left out or \"system\"")]
    NotTheSystem,
    /// Others set it each time that it was read.
    #[error("the parameter was set by others at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("the parameter has changed: its version is {version}")]
    Stale {
        /// Position of the change that holds now; 0 for none.
        version: i64,
    },
    /// The key was used before for another change.
    #[error("the idempotency key was used before for another change")]
    OtherRepeat,
    /// One of the values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the configuration")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the change")]
    Append(#[from] AppendError),
}

/// A change to be made.
#[derive(Clone, Debug)]
pub struct Change {
    /// DEVICE, SITE or SYSTEM.
    pub entity_type: String,
    /// Id of the device or site; absent or [`SYSTEM`] otherwise.
    pub entity_id: Option<String>,
    /// The parameter.
    pub parameter: String,
    /// Its new value.
    pub value: Json,
    /// Who changes it.
    pub changed_by: String,
    /// Why.
    pub reason: Option<String>,
    /// Key under which a repeat is known.
    pub event_id: Option<Uuid>,
    /// Position of the change that holds now, as the caller has read it; 0 for none.
    pub expected: Option<i64>,
}

/// How often a change is made anew when somebody else has changed the parameter meanwhile.
const DECISIONS_MAX: usize = 8;
/// What is configured when it is neither a device nor a site.
pub const SYSTEM: &str = "system";

/// Sets a parameter; the value before is recorded with it. It holds from now on, also when the value
/// before is from a source whose clock is ahead.
///
/// # Errors
/// When there is no such thing, a value is out of bounds, or the change cannot be recorded.
pub async fn set(ingest: &Ingest, change: Change) -> Result<Outcome, ConfigurationError> {
    let store = ingest.store();
    let id = id_of(store, &change).await?;
    // before anything is read by what it says
    draft(&change, id, ingest.clock().now())
        .finish()
        .map_err(ConfigurationError::Refused)?;
    let entity = entity_of(&change.entity_type, id, &change.parameter);
    for _ in 0..DECISIONS_MAX {
        let version = store.version(&entity).await?;
        let kind = change.entity_type.as_str();
        let old = fleet::configured(store, (kind, id), &change.parameter).await?;
        let holds = old.as_ref().map_or(0, |row| row.position);
        let is_stale = change.expected.is_some_and(|expected| expected != holds);
        if is_stale && !is_of(store, holds, change.event_id).await? {
            return Err(ConfigurationError::Stale { version: holds });
        }
        let since = old.as_ref().map_or(0, |row| row.occurred_at + 1);
        let at = ingest.clock().now().max(Instant(since));
        let old = old.and_then(|row| serde_json::from_str::<Json>(&row.value).ok());
        let event = draft(&change, id, at)
            .set(Column::OldValue, old.map_or(Cell::Null, Cell::from))
            .finish()
            .map_err(ConfigurationError::Refused)?;
        let asked = event.fact.clone();
        let expect = Expect::changing(entity.clone(), version);
        let appended = match ingest.command(vec![event], Some(expect)).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        return match appended.outcomes.into_iter().next() {
            Some(Outcome::Rejected(refusal)) => Err(ConfigurationError::Refused(refusal)),
            Some(Outcome::Conflict(first)) => repeated(store, first, &asked).await,
            Some(outcome) => Ok(outcome),
            None => Err(ConfigurationError::Store(StoreError::Closed)),
        };
    }
    Err(ConfigurationError::Contended)
}

/// The id of what is configured, which must be there.
async fn id_of<'a>(store: &Store, change: &'a Change) -> Result<&'a str, ConfigurationError> {
    let (entity, what) = match change.entity_type.as_str() {
        "DEVICE" => (EntityType::Device, "device"),
        "SITE" => (EntityType::Site, "site"),
        _ => {
            return match change.entity_id.as_deref() {
                None | Some(SYSTEM) => Ok(SYSTEM),
                Some(_) => Err(ConfigurationError::NotTheSystem),
            };
        }
    };
    let id = change.entity_id.as_deref();
    let id = id.ok_or(ConfigurationError::Unnamed { what })?;
    if store.key(entity, id).await?.is_none() {
        let id = id.to_owned();
        return Err(ConfigurationError::Unknown { what, id });
    }
    Ok(id)
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

fn draft(change: &Change, id: &str, at: Instant) -> Draft {
    let draft = Draft::new(Kind::ConfigurationChange, at, Provenance::Real)
        .set(Column::EntityType, change.entity_type.as_str())
        .given(Column::EntityId, Some(id))
        .given(Column::ParameterName, Some(&change.parameter))
        .set(Column::NewValue, change.value.clone())
        .set(Column::ChangedBy, change.changed_by.as_str())
        .given(Column::Reason, change.reason.as_deref())
        .set(Column::ChangeType, "MANUAL");
    match change.event_id {
        Some(event_id) => draft.event_id(event_id),
        None => draft,
    }
}

/// A repeat comes later and may find another value before it, so that it is another event than the
/// first; it is the same command when it sets the same parameter to the same value.
async fn repeated(
    store: &Store,
    first: Position,
    asked: &Fact,
) -> Result<Outcome, ConfigurationError> {
    let same = store.event(first).await?.is_some_and(|event| {
        let what = [
            Column::EntityType,
            Column::EntityId,
            Column::ParameterName,
            Column::NewValue,
        ];
        event.fact.kind == asked.kind
            && what
                .iter()
                .all(|column| event.fact.cell(*column) == asked.cell(*column))
    });
    if same {
        Ok(Outcome::Duplicate(first))
    } else {
        Err(ConfigurationError::OtherRepeat)
    }
}
