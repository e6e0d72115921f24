//! The keys of devices that have something in common.

use std::collections::BTreeSet;

use entity::devices;
use sea_orm::{EntityTrait, QueryFilter, QuerySelect};

use super::fleet::DeviceFilter;
use crate::store::{Doing, Store, StoreError};

/// The keys of the devices of a filter.
///
/// # Errors
/// When the tables cannot be read.
pub async fn device_keys(
    store: &Store,
    filter: &DeviceFilter,
) -> Result<BTreeSet<i64>, StoreError> {
    let keys: Vec<i64> = devices::Entity::find()
        .select_only()
        .column(devices::Column::DeviceKey)
        .filter(filter.condition(store.backend()))
        .into_tuple()
        .all(store.readers())
        .await
        .doing("read devices")?;
    Ok(keys.into_iter().collect())
}
