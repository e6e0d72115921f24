//! Configuration: a parameter of a device, a site or the system gets a new value.

use entity::configuration_history::Column;
use serde_json::Value as Json;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Cell, Provenance};
use crate::history::fleet;
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{AppendError, EntityType, Expect, Outcome, StoreError};

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
    .set(Column::EntityId, change.entity_id.as_str())
    .set(Column::ParameterName, change.parameter.as_str())
    .set(Column::OldValue, old.map_or(Cell::Null, Cell::from))
    .set(Column::NewValue, change.value)
    .set(Column::ChangedBy, change.changed_by.as_str())
    .set(Column::Reason, change.reason.as_deref())
    .set(Column::ChangeType, "MANUAL");
    if let Some(event_id) = change.event_id {
        draft = draft.event_id(event_id);
    }
    let event = draft.finish().map_err(ConfigurationError::Refused)?;
    let appended = ingest
        .command(vec![event], Some(Expect { entity, version }))
        .await?;
    match appended.outcomes.into_iter().next() {
        Some(Outcome::Rejected(refusal)) => Err(ConfigurationError::Refused(refusal)),
        Some(outcome) => Ok(outcome),
        None => Err(ConfigurationError::Store(StoreError::Closed)),
    }
}
