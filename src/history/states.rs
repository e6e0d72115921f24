//! States of devices, by the log itself: projections may be behind.

use std::collections::HashMap;

use crate::event::Event;
use crate::kinds::{Kind, Operand};
use crate::store::{Columns, Order, PageQuery, Store, StoreError};

/// The newest state that was reported of each of some devices, by their keys.
///
/// # Errors
/// When the tables cannot be read.
pub async fn newest(store: &Store, device_keys: &[i64]) -> Result<HashMap<i64, Event>, StoreError> {
    let query = PageQuery {
        order: Order::NewestFirst,
        limit: 1,
        ..PageQuery::all_of(Kind::DeviceStateChange, Columns::SMALL)
    };
    let parents = (Operand::Device, device_keys);
    let pages = store
        .pages(&query, parents, &Store::own_allowance())
        .await?;
    let newest = |(key, page): (i64, Vec<Event>)| Some((key, page.into_iter().next()?));
    Ok(pages.into_iter().filter_map(newest).collect())
}
