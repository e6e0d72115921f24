//! Access keys as they stand, and when they were last used.

use std::collections::HashMap;

use entity::{access_key_usage, access_keys};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use serde_json::Value;

use super::fleet::{IdPage, bounds, containing};
use super::gathered;
use crate::event::Instant;
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

/// The keys of a device that are not revoked at an instant, by their ids.
///
/// # Errors
/// When the tables cannot be read.
pub async fn of_device(
    store: &Store,
    device_id: &str,
    now: Instant,
) -> Result<Vec<KeyRow>, StoreError> {
    let revoked_at = access_keys::Column::RevokedAt;
    let unrevoked = Condition::any()
        .add(revoked_at.is_null())
        .add(revoked_at.gt(now.0));
    // what has the id anywhere is looked at closely
    let text = Value::from(device_id).to_string();
    let rows = made()
        .filter(unrevoked)
        .filter(access_keys::Column::KeyGrant.like(containing(&format!("\"deviceId\":{text}"))))
        .order_by_asc(access_keys::Column::KeyId)
        .all(store.readers())
        .await
        .doing("read the access keys of a device")?;
    let is_its = |row: &KeyRow| {
        let grant = row.key_grant.as_deref().unwrap_or_default();
        let grant: Option<Value> = serde_json::from_str(grant).ok();
        grant.is_some_and(|grant| grant["deviceId"] == device_id)
    };
    Ok(rows.into_iter().filter(is_its).collect())
}

/// The tokens by which devices enrol at a site, those first that changed last.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn tokens_of_site(
    store: &Store,
    site_id: &str,
    (limit, allowance): (u64, &Allowance),
) -> Result<Vec<KeyRow>, StoreError> {
    let has = |name: &str, value: Value| {
        let text = containing(&format!("\"{name}\":{value}"));
        access_keys::Column::KeyGrant.like(text)
    };
    // within a text all quotes are escaped, so that nothing else reads like these
    let query = made()
        .filter(has("role", Value::from("ENROL")))
        .filter(has("siteIds", Value::from(vec![site_id])))
        .order_by_desc(access_keys::Column::Position)
        .limit(limit);
    let doing = "read the enrolment tokens";
    let rows = query.stream(store.readers()).await.doing(doing)?;
    let weight_bytes =
        |row: &KeyRow| size_of::<KeyRow>() + row.key_grant.as_ref().map_or(0, String::len);
    let rows = gathered(rows, (allowance, weight_bytes), doing).await?;
    // SQLite takes the letters of either case for the same
    let is_its = |row: &KeyRow| {
        let grant = row.key_grant.as_deref().unwrap_or_default();
        let grant: Option<Value> = serde_json::from_str(grant).ok();
        grant.is_some_and(|grant| grant["siteIds"][0] == site_id)
    };
    Ok(rows.into_iter().filter(is_its).collect())
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
