//! What was collected of each kind, and what was refused.

use entity::{collection_counters, device_status, devices, refusals};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::event::Instant;
use crate::store::{Doing, Store, StoreError};

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

/// How many devices in use have been heard of before, but not since an instant.
///
/// # Errors
/// When the tables cannot be read.
pub async fn silent_devices(store: &Store, since: Instant) -> Result<u64, StoreError> {
    let query = devices::Entity::find()
        .left_join(device_status::Entity)
        .filter(devices::Column::Lifecycle.eq("ACTIVE"))
        .filter(device_status::Column::LastSeenAt.lt(since.0));
    query
        .count(store.readers())
        .await
        .doing("count silent devices")
}
