//! Configuration: a parameter of a device, a site or the system gets a new value.

use entity::configuration_history::Column;
use serde_json::Value as Json;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Cell, Fact, Position, Provenance};
use crate::history::fleet;
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
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
    /// The key was used before for another change.
    #[error("the idempotency key was used before for another change")]
    OtherRepeat,
    /// One of the values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the configuration")]
    Store(#[from] StoreError),
    /// The log cannot be written, or somebody else has set the parameter meanwhile.
    #[error("cannot record the change")]
    Append(#[from] AppendError),
}

/// A change to be made.
#[derive(Clone, Debug)]
pub struct Change {
    /// DEVICE, SITE or SYSTEM.
    pub entity_type: String,
    /// Id of the device or site; `system` otherwise.
    pub entity_id: String,
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
}

/// Sets a parameter; the value before is recorded with it.
///
/// # Errors
/// When there is no such thing, a value is out of bounds, or the change cannot be recorded.
pub async fn set(ingest: &Ingest, change: Change) -> Result<Outcome, ConfigurationError> {
    let store = ingest.store();
    let entity = format!(
        "configuration/{}/{}/{}",
        change.entity_type, change.entity_id, change.parameter
    );
    let known = match change.entity_type.as_str() {
        "DEVICE" => Some((EntityType::Device, "device")),
        "SITE" => Some((EntityType::Site, "site")),
        _ => None,
    };
    if let Some((entity, what)) = known
        && store.names().key(entity, &change.entity_id).is_none()
    {
        return Err(ConfigurationError::Unknown {
            what,
            id: change.entity_id,
        });
    }
    let version = store.version(&entity).await?;
    let values = fleet::configuration(store, &change.entity_type, &change.entity_id).await?;
    let old = values
        .into_iter()
        .find(|row| row.parameter_name == change.parameter);
    let old = old.and_then(|row| serde_json::from_str::<Json>(&row.value).ok());
    let mut draft = Draft::new(
        Kind::ConfigurationChange,
        ingest.clock().now(),
        Provenance::Real,
    )
    .set(Column::EntityType, change.entity_type.as_str())
    .given(Column::EntityId, Some(&change.entity_id))
    .given(Column::ParameterName, Some(&change.parameter))
    .set(Column::OldValue, old.map_or(Cell::Null, Cell::from))
    .set(Column::NewValue, change.value)
    .set(Column::ChangedBy, change.changed_by.as_str())
    .given(Column::Reason, change.reason.as_deref())
    .set(Column::ChangeType, "MANUAL");
    if let Some(event_id) = change.event_id {
        draft = draft.event_id(event_id);
    }
    let event = draft.finish().map_err(ConfigurationError::Refused)?;
    let asked = event.fact.clone();
    let appended = ingest
        .command(vec![event], Some(Expect { entity, version }))
        .await?;
    match appended.outcomes.into_iter().next() {
        Some(Outcome::Rejected(refusal)) => Err(ConfigurationError::Refused(refusal)),
        Some(Outcome::Conflict(first)) => repeated(store, first, &asked).await,
        Some(outcome) => Ok(outcome),
        None => Err(ConfigurationError::Store(StoreError::Closed)),
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
