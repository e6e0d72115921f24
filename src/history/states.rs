//! The states that were reported of devices, by what is folded inside the appends: other projections may be behind, and
//! the events may be archived, or deleted for good.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;

use crate::event::{Instant, Provenance};
use crate::kinds::Kind;
use crate::store::{Doing, Scope, Sql, Stated, Store, StoreError};

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

/// When a device was first reported to be in error, in one provenance, from an instant to another; both are part of the
/// time. `None` if it was not.
///
/// # Errors
/// When the table cannot be read.
pub async fn first_error(
    store: &Store,
    (device_key, provenance): (i64, Provenance),
    (from, to): (Instant, Instant),
) -> Result<Option<Instant>, StoreError> {
    let doing = "look for a report of an error";
    let mut sql = Sql::new("SELECT occurred_at FROM device_states WHERE device_key = ");
    sql.bind(device_key).push(" AND occurred_at >= ");
    sql.bind(from.0).push(" AND occurred_at <= ");
    sql.bind(to.0).push(" AND provenance = ");
    sql.bind(provenance.code());
    sql.push(" AND state = 'ERROR' ORDER BY occurred_at LIMIT 1");
    let statement = sql.statement(store.backend());
    let row = store
        .readers()
        .query_one_raw(statement)
        .await
        .doing(doing)?;
    let at = row.map(|row| row.try_get_by_index::<i64>(0)).transpose();
    Ok(at.doing(doing)?.map(Instant))
}
