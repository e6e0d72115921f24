//! A device is put into a state by a person, such as MAINTENANCE while it is worked on, and back.

use entity::device_state_history::Column;
use uuid::Uuid;

use super::{RegistryError, Thing, done, first_of};
use crate::event::{Instant, Position, Provenance};
use crate::history::{fleet, states};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind};
use crate::store::{EntityType, Outcome, Store, StoreError};

/// A state that a person tells of a device.
#[derive(Clone, Copy, Debug)]
pub struct StateChange<'a> {
    /// The device.
    pub device_id: &'a str,
    /// The state, a word of `DeviceState`.
    pub state: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// Who tells it.
    pub by: &'a str,
    /// Id of its event, under which a repeat is known.
    pub event_id: Option<Uuid>,
}

/// Records the state; it is the newest, also when the one before is from a clock that is ahead. A repeat
/// with the same id does nothing. Answers with its position.
///
/// # Errors
/// When there is no such device, a value is out of bounds, or it cannot be recorded.
pub async fn set_state(ingest: &Ingest, of: StateChange<'_>) -> Result<Position, RegistryError> {
    let store = ingest.store();
    let key = store.key(EntityType::Device, of.device_id).await?;
    let key = key.ok_or_else(|| Thing::device(of.device_id).unknown())?;
    if let Some(first) = first_of(store, of.event_id).await? {
        return repeated(store, first, of).await;
    }
    let newest = states::newest(store, &[key]).await?.remove(&key);
    let since = newest.map_or(0, |stated| stated.place.occurred_at.0 + 1);
    let at = ingest.clock().now().max(Instant(since));
    let provenance = provenance_of(store, key).await?;
    let draft = Draft::new(Kind::DeviceStateChange, at, provenance)
        .set(Column::DeviceKey, of.device_id)
        .set(Column::NewState, of.state)
        .set(Column::ChangedBy, of.by)
        .given(Column::Reason, of.reason);
    let mut event = draft.finish().map_err(RegistryError::Refused)?;
    event.fact.event_id = of.event_id;
    event.occurred_at_given = false;
    let appended = ingest.command(vec![event], None).await?;
    match appended.outcomes.into_iter().next() {
        Some(Outcome::Recorded(position) | Outcome::Duplicate(position)) => Ok(position),
        outcome => done(outcome).and(Err(RegistryError::Store(StoreError::Closed))),
    }
}

/// That of the device itself: what a simulated one is put into is no more real than what else is known of its
/// states, and has its place among them.
async fn provenance_of(store: &Store, device_key: i64) -> Result<Provenance, StoreError> {
    let allowance = Store::own_allowance();
    let devices = fleet::devices_by_key(store, &[device_key], &allowance).await?;
    let found = fleet::provenances(store, devices.values(), &allowance).await?;
    Ok(found.get(&device_key).copied().unwrap_or_default())
}

async fn repeated(
    store: &Store,
    first: Position,
    of: StateChange<'_>,
) -> Result<Position, RegistryError> {
    let event = store.event(first).await?;
    let is_same = event.is_some_and(|event| {
        let text = |column: Column| event.fact.cell(column).text();
        text(Column::DeviceKey) == Some(of.device_id) && text(Column::NewState) == Some(of.state)
    });
    is_same.then_some(first).ok_or(RegistryError::OtherRepeat)
}
