//! How far the data lake is that a server fills, as the database knows it: until an event is there, it is not
//! deleted for good.
//!
//! That holds for [`HELD_DAYS`] after the lake was last filled, or a server has begun to: whoever gives a lake up,
//! or cannot fill it, keeps nothing for ever by that.

use sea_orm::{ConnectionTrait, Value};

use crate::event::Position;
use crate::store::{Doing, Sql, Store, StoreError};

/// Days for which what a lake has not got is not deleted.
const HELD_DAYS: i64 = 7;
/// Microseconds of a day.
const DAY: i64 = 24 * 3_600 * 1_000_000;

/// Keeps that a server begins to fill a lake, which is as far as was told last.
///
/// # Errors
/// When the table cannot be written.
pub(super) async fn begin(store: &Store) -> Result<(), StoreError> {
    keep(
        store,
        0,
        " ON CONFLICT (id) DO UPDATE SET told_at = excluded.told_at",
    )
    .await
}

/// Keeps how far the lake is.
///
/// # Errors
/// When the table cannot be written.
pub(super) async fn tell(store: &Store, upto: Position) -> Result<(), StoreError> {
    let again = " ON CONFLICT (id) DO UPDATE SET position = excluded.position, \
                 told_at = excluded.told_at";
    keep(store, upto.0, again).await
}

async fn keep(store: &Store, position: i64, again: &'static str) -> Result<(), StoreError> {
    let now = store.clock().now().0;
    let kept = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new("INSERT INTO lake_reached (id, position, told_at) VALUES ");
            sql.bind_list([1_i64, position, now].map(Value::from));
            sql.push(again);
            let kept = tx.execute_raw(sql.statement(tx.get_database_backend()));
            kept.await.doing("keep how far the data lake is").map(drop)
        })
    });
    kept.await
}

/// How far the data lake is that servers fill; nothing if none has filled one, or has begun to, for days.
///
/// # Errors
/// When the table cannot be read.
pub async fn reached(store: &Store) -> Result<Option<Position>, StoreError> {
    let doing = "read how far the data lake is";
    let since = store.clock().now().0.saturating_sub(HELD_DAYS * DAY);
    let mut sql = Sql::new("SELECT position FROM lake_reached WHERE id = 1 AND told_at > ");
    sql.bind(since);
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()));
    let position = row.await.doing(doing)?.map(|row| row.try_get_by_index(0));
    Ok(position.transpose().doing(doing)?.map(Position))
}
