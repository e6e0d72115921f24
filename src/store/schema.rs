//! By which schema a log is appended to, as servers of two versions share it while they are replaced one after the
//! other.
//!
//! What is folded inside the appends is whole only if every append folds it. So the head bears a number, which a
//! migration raises that adds such a fold, before it fills its tables: that locks the head, so that what an older
//! version appends is there before they are filled, or not at all. Each append locks the head as well and compares.

use sea_orm::ConnectionTrait;

use super::error::{Doing, StoreError};
use super::sql::Sql;
use crate::event::Position;

/// By which schema this program appends.
pub(crate) const SCHEMA: i64 = 1;

/// Refuses to append to a log of a newer schema.
pub(super) fn check(schema: i64) -> Result<(), StoreError> {
    if schema > SCHEMA {
        return Err(StoreError::Superseded {
            schema,
            known: SCHEMA,
        });
    }
    Ok(())
}

/// The head of the log and its schema, as the database has them.
pub(super) async fn head_and_schema(
    db: &impl ConnectionTrait,
) -> Result<(Position, i64), StoreError> {
    let doing = "read the head";
    let sql = Sql::new("SELECT position, schema FROM log_head WHERE id = 1");
    let row = db.query_one_raw(sql.statement(db.get_database_backend()));
    let row = row.await.doing(doing)?.ok_or(StoreError::Row {
        table: "log_head",
        column: "position",
    })?;
    let position = row.try_get_by_index(0).doing(doing)?;
    Ok((Position(position), row.try_get_by_index(1).doing(doing)?))
}
