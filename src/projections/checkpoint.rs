//! Checkpoints: how far each of those has come who follow the log, projections and others.
//!
//! They bear which log that was.

use sea_orm::ConnectionTrait;

use crate::event::Position;
use crate::store::{Doing, Sql, Store, StoreError};

/// How far a follower has come; the start when it never began, or had come so far in another log or
/// in this one before it was restored.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn position(store: &Store, name: &str) -> Result<Position, StoreError> {
    let identity = store.identity();
    let mut sql = Sql::new("SELECT position FROM checkpoints WHERE projection = ");
    sql.bind(name).push(" AND log_id = ");
    sql.bind(identity.log_id.to_string());
    sql.push(" AND epoch = ").bind(identity.epoch);
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()));
    let row = row.await.doing("read a checkpoint")?;
    let position = row.map(|row| row.try_get_by_index(0)).transpose();
    Ok(Position(
        position.doing("read a checkpoint")?.unwrap_or_default(),
    ))
}

/// Moves a checkpoint on, never back in the same log: another node may be ahead.
///
/// # Errors
/// When the tables cannot be written.
pub(crate) async fn advance(
    store: &Store,
    name: &'static str,
    position: Position,
) -> Result<(), StoreError> {
    let identity = store.identity();
    let statements = store.transact(move |tx| {
        Box::pin(async move {
            let table = "INSERT INTO checkpoints (projection, position, log_id, epoch) VALUES ";
            let mut sql = Sql::new(table);
            sql.bind_list([
                name.into(),
                position.0.into(),
                identity.log_id.to_string().into(),
                identity.epoch.into(),
            ]);
            sql.push(" ON CONFLICT (projection) DO UPDATE SET position = excluded.position,");
            sql.push(" log_id = excluded.log_id, epoch = excluded.epoch");
            sql.push(" WHERE excluded.position > checkpoints.position");
            sql.push(" OR excluded.log_id <> checkpoints.log_id");
            sql.push(" OR excluded.epoch <> checkpoints.epoch");
            let statement = sql.statement(tx.get_database_backend());
            tx.execute_raw(statement).await.doing("move a checkpoint")?;
            Ok(())
        })
    });
    statements.await
}
