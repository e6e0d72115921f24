//! The states that were reported of devices, by what is folded inside the appends: other projections may be behind, and
//! the events may be archived, or deleted for good.

use std::collections::HashMap;

use crate::kinds::Kind;
use crate::store::{Scope, Stated, Store, StoreError};

/// The newest state that was reported of each of some devices, by their keys.
///
/// # Errors
/// When the tables cannot be read.
pub async fn newest(
    store: &Store,
    device_keys: &[i64],
) -> Result<HashMap<i64, Stated>, StoreError> {
    let kind = (Kind::DeviceStateChange, Scope::All);
    let newest = store.newest_stated(kind, device_keys, 1).await?;
    let newest = newest.into_iter();
    let first = |(key, stated): (i64, Vec<Stated>)| Some((key, stated.into_iter().next()?));
    Ok(newest.filter_map(first).collect())
}

/// The newest changes of state of each of some devices, by their keys, the newest first.
///
/// # Errors
/// When the tables cannot be read.
pub async fn changes(
    store: &Store,
    device_keys: &[i64],
    limit: usize,
) -> Result<HashMap<i64, Vec<Stated>>, StoreError> {
    let kind = (Kind::DeviceStateChange, Scope::Changes);
    store.newest_stated(kind, device_keys, limit).await
}
