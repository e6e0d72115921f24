//! The keys of devices that have something in common.

use std::collections::{BTreeSet, HashMap};

use entity::{device_status, devices};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::fleet::DeviceFilter;
use crate::store::{Doing, List, Store, StoreError, is_among};

/// Lifecycles of devices that are in use, or will be again: they take configuration.
pub const SERVING: [&str; 2] = ["ACTIVE", "SUSPENDED"];

/// The keys of the devices of a filter.
///
/// # Errors
/// When the tables cannot be read.
pub async fn device_keys(
    store: &Store,
    filter: &DeviceFilter,
) -> Result<BTreeSet<i64>, StoreError> {
    let keys: Vec<i64> = devices::Entity::find()
        .left_join(device_status::Entity)
        .select_only()
        .column(devices::Column::DeviceKey)
        .filter(filter.condition(store.backend()))
        .into_tuple()
        .all(store.readers())
        .await
        .doing("read devices")?;
    Ok(keys.into_iter().collect())
}

/// The keys of the devices in use at each of some sites, in their order.
///
/// # Errors
/// When the tables cannot be read.
pub async fn at_sites(store: &Store, sites: &[i64]) -> Result<HashMap<i64, Vec<i64>>, StoreError> {
    let among = List::Int(sites.to_vec());
    let keys: Vec<(i64, i64)> = devices::Entity::find()
        .select_only()
        .column(devices::Column::SiteKey)
        .column(devices::Column::DeviceKey)
        .filter(is_among(devices::Column::SiteKey, among, store.backend()))
        .filter(devices::Column::Lifecycle.is_in(SERVING))
        .into_tuple()
        .all(store.readers())
        .await
        .doing("read devices")?;
    let mut at: HashMap<i64, Vec<i64>> = HashMap::with_capacity(sites.len());
    for (site, device) in keys {
        at.entry(site).or_default().push(device);
    }
    for keys in at.values_mut() {
        keys.sort_unstable();
    }
    Ok(at)
}
