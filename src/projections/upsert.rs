//! Writes folded rows, many at a time.

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use crate::store::{Doing, Sql, StoreError};

/// Rows at most in one statement.
const ROWS_MAX: usize = 256;

/// Inserts rows or merges them into those that are there. Groups of rows are powers of two, so that
/// few prepared statements serve all sizes.
pub(super) async fn upsert(
    tx: &DatabaseTransaction,
    insert: &str,
    rows: Vec<Vec<Value>>,
    on_conflict: &str,
) -> Result<(), StoreError> {
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    while left > 0 {
        let size = (1 << left.ilog2()).min(ROWS_MAX);
        left -= size;
        let mut sql = Sql::new(insert);
        sql.push(" VALUES ");
        for (ordinal, row) in rows.by_ref().take(size).enumerate() {
            sql.push(if ordinal > 0 { ", " } else { "" }).bind_list(row);
        }
        sql.push(" ").push(on_conflict);
        tx.execute_raw(sql.statement(tx.get_database_backend()))
            .await
            .doing("fold events")?;
    }
    Ok(())
}
