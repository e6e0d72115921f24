//! Access keys as they stand, and when they were last used.

use std::collections::HashMap;

use entity::{access_key_usage, access_keys};
use sea_orm::{
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::fleet::{IdPage, bounds};
use super::gathered;
use crate::store::{Allowance, Doing, Store, StoreError};

/// An access key.
pub type KeyRow = access_keys::Model;

/// Keys of which it was heard that they were made.
fn made() -> Select<access_keys::Entity> {
    access_keys::Entity::find().filter(access_keys::Column::KeyGrant.is_not_null())
}

/// A key by its id.
///
/// # Errors
/// When the tables cannot be read.
pub async fn key(store: &Store, key_id: &str) -> Result<Option<KeyRow>, StoreError> {
    let key = made().filter(access_keys::Column::KeyId.eq(key_id));
    key.one(store.readers()).await.doing("read an access key")
}

/// A page of keys.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn keys_page(
    store: &Store,
    page: &IdPage,
    allowance: &Allowance,
) -> Result<Vec<KeyRow>, StoreError> {
    let column = access_keys::Column::KeyId;
    let query = made().filter(bounds(column, page)).limit(page.limit);
    let query = if page.from_end {
        query.order_by_desc(column)
    } else {
        query.order_by_asc(column)
    };
    let doing = "read the access keys";
    let rows = query.stream(store.readers()).await.doing(doing)?;
    let weight_bytes =
        |row: &KeyRow| size_of::<KeyRow>() + row.key_grant.as_ref().map_or(0, String::len);
    gathered(rows, (allowance, weight_bytes), doing).await
}

/// How many keys there are.
///
/// # Errors
/// When the tables cannot be read.
pub async fn keys_count(store: &Store) -> Result<u64, StoreError> {
    let count = made().count(store.readers()).await;
    count.doing("count the access keys")
}

/// When some keys were last used, in microseconds since 1970.
///
/// # Errors
/// When the tables cannot be read.
pub async fn usage(store: &Store, key_ids: &[String]) -> Result<HashMap<String, i64>, StoreError> {
    let rows = access_key_usage::Entity::find()
        .filter(access_key_usage::Column::KeyId.is_in(key_ids.iter().cloned()))
        .all(store.readers())
        .await
        .doing("read the use of access keys")?;
    let used = |row: access_key_usage::Model| (row.key_id, row.last_used_at);
    Ok(rows.into_iter().map(used).collect())
}
