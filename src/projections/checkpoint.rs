//! Checkpoints of followers that fold nothing: how far each has done what it does for the log.

use sea_orm::ConnectionTrait;

use crate::event::Position;
use crate::store::{Doing, Sql, Store, StoreError};

/// How far a follower has come; the start when it never began.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn position(store: &Store, name: &str) -> Result<Position, StoreError> {
    let mut sql = Sql::new("SELECT position FROM checkpoints WHERE projection = ");
    sql.bind(name);
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()));
    let row = row.await.doing("read a checkpoint")?;
    let position = row.map(|row| row.try_get_by_index(0)).transpose();
    Ok(Position(
        position.doing("read a checkpoint")?.unwrap_or_default(),
    ))
}

/// Moves a checkpoint on, never back: another node may be ahead.
///
/// # Errors
/// When the tables cannot be written.
pub(crate) async fn advance(
    store: &Store,
    name: &'static str,
    position: Position,
) -> Result<(), StoreError> {
    let statements = store.transact(move |tx| {
        Box::pin(async move {
            let mut sql = Sql::new("INSERT INTO checkpoints (projection, position) VALUES (");
            sql.bind(name).push(", ").bind(position.0);
            sql.push(") ON CONFLICT (projection) DO UPDATE SET position = excluded.position");
            sql.push(" WHERE excluded.position > checkpoints.position");
            let statement = sql.statement(tx.get_database_backend());
            tx.execute_raw(statement).await.doing("move a checkpoint")?;
            Ok(())
        })
    });
    statements.await
}
