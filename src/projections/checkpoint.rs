//! Checkpoints: how far each of those has come who follow the log, projections and others.
//!
//! They bear which log that was.

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::rebuild::empty;
use crate::event::Position;
use crate::store::{Doing, Fold, Identity, Sql, Store, StoreError};

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

/// Makes the checkpoint of a projection if there is none. One that was folded from another log, or
/// from this one before it was restored, begins anew. After events of it were deleted for good it would lack
/// them, so what was restored goes on as it is: it is of the same moment as the log.
pub(super) async fn make(
    tx: &DatabaseTransaction,
    (fold, deleted): (&dyn Fold, bool),
    identity: Identity,
) -> Result<(), StoreError> {
    let doing = "make a checkpoint";
    let (name, backend) = (fold.name(), tx.get_database_backend());
    let log_id = identity.log_id.to_string();
    let mut sql = Sql::new("INSERT INTO checkpoints (projection, position, log_id, epoch) VALUES ");
    sql.bind_list([
        name.into(),
        0_i64.into(),
        log_id.clone().into(),
        identity.epoch.into(),
    ]);
    sql.push(" ON CONFLICT (projection) DO NOTHING");
    tx.execute_raw(sql.statement(backend)).await.doing(doing)?;
    if deleted {
        let mut sql = Sql::new("UPDATE checkpoints SET epoch = ");
        sql.bind(identity.epoch)
            .push(" WHERE projection = ")
            .bind(name);
        sql.push(" AND log_id = ").bind(log_id.clone());
        tx.execute_raw(sql.statement(backend)).await.doing(doing)?;
    }
    let mut sql = Sql::new("UPDATE checkpoints SET log_id = ");
    sql.bind(log_id.clone())
        .push(", epoch = ")
        .bind(identity.epoch);
    sql.push(" WHERE projection = ").bind(name);
    sql.push(" AND (log_id <> ").bind(log_id);
    sql.push(" OR epoch <> ").bind(identity.epoch).push(")");
    let changed = tx.execute_raw(sql.statement(backend)).await.doing(doing)?;
    if changed.rows_affected() > 0 {
        tracing::warn!(projection = name, "folded from another log, is folded anew");
        empty(tx, fold).await?;
    }
    Ok(())
}

/// Moves the checkpoint of a projection on, or holds it where it is. If somebody else has moved it meanwhile,
/// nothing is kept.
pub(super) async fn hold(
    tx: &DatabaseTransaction,
    fold: &dyn Fold,
    (from, upto): (Position, Position),
    identity: Identity,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE checkpoints SET position = ");
    sql.bind(upto.0)
        .push(" WHERE projection = ")
        .bind(fold.name());
    sql.push(" AND position = ").bind(from.0);
    sql.push(" AND log_id = ").bind(identity.log_id.to_string());
    sql.push(" AND epoch = ").bind(identity.epoch);
    let moved = tx
        .execute_raw(sql.statement(tx.get_database_backend()))
        .await;
    if moved.doing("move a checkpoint")?.rows_affected() != 1 {
        let projection = fold.name();
        return Err(StoreError::Overtaken { projection });
    }
    Ok(())
}
