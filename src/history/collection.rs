//! What was collected of each kind, and what was refused.

use entity::{collection_counters, refusals};
use sea_orm::{EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::store::{Doing, List, Store, StoreError, is_among};

/// How often something was refused.
pub type RefusedRow = refusals::Model;

/// Counts of all kinds and provenances.
///
/// # Errors
/// When the tables cannot be read.
pub async fn counters(store: &Store) -> Result<Vec<collection_counters::Model>, StoreError> {
    collection_counters::Entity::find()
        .all(store.readers())
        .await
        .doing("read the counters")
}

/// What was refused most often, at most a thousand rows.
///
/// # Errors
/// When the tables cannot be read.
pub async fn refused(store: &Store) -> Result<Vec<refusals::Model>, StoreError> {
    let query = refusals::Entity::find()
        .order_by_desc(refusals::Column::Refused)
        .limit(1_000);
    query.all(store.readers()).await.doing("read the refusals")
}

/// What was refused of some devices, by their ids, what was refused most often first.
///
/// # Errors
/// When the tables cannot be read.
pub async fn refused_of(
    store: &Store,
    devices: Vec<String>,
) -> Result<Vec<RefusedRow>, StoreError> {
    let among = List::Text(devices);
    let query = refusals::Entity::find()
        .filter(is_among(refusals::Column::DeviceId, among, store.backend()))
        .order_by_desc(refusals::Column::Refused);
    query.all(store.readers()).await.doing("read the refusals")
}
