//! The table of what is learned from: the examples of each day, of so many device days at most.

use std::collections::BTreeSet;

use entity::insight_examples::{Column, Entity};
use futures_util::TryStreamExt;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde::{Deserialize, Serialize};

use crate::event::{Instant, Provenance};
use crate::insights::fleet::VERSION;
use crate::insights::input::DAY;
use crate::insights::number::{float, whole};
use crate::insights::risk::model::Example;
use crate::store::{Doing, Sql, Store, StoreError};

/// Device days at most of which examples are kept, of which each has four: so they fit into memory when it is learned
/// from them.
const DEVICE_DAYS_MAX: i64 = 50_000;
/// Days at most of which they are kept: what is older says little of the devices of today.
const DAYS_MAX: i64 = 800;
const DOING: &str = "read what is learned from";

/// The examples of a day.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The keys of the devices that they are of.
    pub(super) devices: BTreeSet<i64>,
    /// In order of time, and those of one instant in order of the ids of devices.
    pub(super) examples: Vec<Example>,
}

/// The first day of which examples are taken before a midnight, of so many devices.
pub(super) fn first_day(midnight: Instant, devices: usize) -> Instant {
    let devices: i64 = whole(float(devices)).max(1);
    let days = (DEVICE_DAYS_MAX / devices).clamp(1, DAYS_MAX);
    Instant(midnight.0 - days * DAY)
}

fn days(provenance: Provenance) -> Select<Entity> {
    Entity::find()
        .filter(Column::Provenance.eq(provenance.code()))
        .filter(Column::Version.eq(VERSION))
}

/// The first and the last day of which examples are kept.
pub(super) async fn span(
    store: &Store,
    provenance: Provenance,
) -> Result<Option<(Instant, Instant)>, StoreError> {
    let days = days(provenance).select_only().column(Column::Day);
    let [first, last] = [
        days.clone().order_by_asc(Column::Day),
        days.order_by_desc(Column::Day),
    ];
    let first = first.into_tuple::<i64>().one(store.readers()).await;
    let last = last.into_tuple::<i64>().one(store.readers()).await;
    let span = first.doing(DOING)?.zip(last.doing(DOING)?);
    Ok(span.map(|(first, last)| (Instant(first), Instant(last))))
}

/// All examples of a fleet.
pub(super) async fn all(store: &Store, provenance: Provenance) -> Result<Taken, StoreError> {
    let query = days(provenance).order_by_asc(Column::Day);
    let rows = query.stream(store.readers()).await.doing(DOING)?;
    let mut rows = std::pin::pin!(rows);
    let mut all = Taken::default();
    while let Some(row) = rows.try_next().await.doing(DOING)? {
        let taken: Taken = postcard::from_bytes(&row.examples).map_err(|_| malformed())?;
        all.devices.extend(taken.devices);
        all.examples.extend(taken.examples);
    }
    Ok(all)
}

const fn malformed() -> StoreError {
    StoreError::Row {
        table: "insight_examples",
        column: "examples",
    }
}

/// Keeps the examples of some days, in place of those that were taken of them before.
pub(super) async fn put(
    store: &Store,
    provenance: Provenance,
    days: &[(Instant, Taken)],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(days.len());
    for (day, taken) in days {
        let bytes = postcard::to_stdvec(taken).map_err(|_| malformed())?;
        rows.push((day.0, whole(float(taken.devices.len())), bytes));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let put = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new(
                "INSERT INTO insight_examples (provenance, version, day, devices, examples) VALUES ",
            );
            for (ordinal, (day, devices, bytes)) in rows.into_iter().enumerate() {
                sql.push(if ordinal > 0 { ", " } else { "" });
                sql.bind_list([
                    provenance.code().into(),
                    VERSION.into(),
                    day.into(),
                    devices.into(),
                    bytes.into(),
                ]);
            }
            sql.push(
                " ON CONFLICT (provenance, version, day) \
                 DO UPDATE SET devices = excluded.devices, examples = excluded.examples",
            );
            let statement = sql.statement(tx.get_database_backend());
            tx.execute_raw(statement).await.doing("keep examples")?;
            Ok(())
        })
    });
    put.await
}

/// Forgets the examples of a fleet before a day.
pub(super) async fn forget(
    store: &Store,
    provenance: Provenance,
    before: Instant,
) -> Result<(), StoreError> {
    let forgotten = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new("DELETE FROM insight_examples WHERE provenance = ");
            sql.bind(provenance.code()).push(" AND version <= ");
            sql.bind(VERSION).push(" AND day < ").bind(before.0);
            let statement = sql.statement(tx.get_database_backend());
            tx.execute_raw(statement).await.doing("forget examples")?;
            Ok(())
        })
    });
    forgotten.await
}

/// The day before which examples are to be forgotten, so that there are not too many.
pub(super) async fn too_old(
    store: &Store,
    provenance: Provenance,
    midnight: Instant,
) -> Result<Instant, StoreError> {
    let query = days(provenance)
        .select_only()
        .columns([Column::Day, Column::Devices])
        .order_by_desc(Column::Day)
        .into_tuple::<(i64, i64)>();
    let rows = query.all(store.readers()).await.doing(DOING)?;
    let mut left = DEVICE_DAYS_MAX;
    let mut first = midnight.0 - DAYS_MAX * DAY;
    for (day, devices) in rows {
        left -= devices;
        if left < 0 {
            first = first.max(day + DAY);
            break;
        }
    }
    Ok(Instant(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_a_fleet_is_the_fewer_days_are_learned_from() {
        let midnight = Instant(20_000 * DAY);
        let days = |devices| (midnight.0 - first_day(midnight, devices).0) / DAY;
        assert_eq!([0, 12, 62, 100, 500].map(days), [800, 800, 800, 500, 100]);
    }
}
