//! Empties a projection and folds the whole log into it again.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use thiserror::Error;

use super::runner::Runner;
use crate::event::{Event, Position};
use crate::store::{Doing, Fold, Sql, Store, StoreError};

/// Events that are read at once.
const PAGE_EVENTS: usize = 2_000;

/// Why a projection was not rebuilt.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// There is none of that name.
    #[error("there is no projection {name}; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The log could not be read or folded.
    #[error("cannot rebuild")]
    Store(#[from] StoreError),
}

/// Rebuilds a projection by its name, and tells how far it has come.
///
/// One that follows the log is emptied and then folds again beside a running server. One that is
/// folded inside the appends holds them up until it is done.
///
/// # Errors
/// When there is no such projection, or the log cannot be folded.
pub async fn rebuild(
    store: &Store,
    name: &str,
    progress: impl Fn(Position, Position) + Send + Sync + 'static,
) -> Result<(), RebuildError> {
    let named = |folds: Vec<Arc<dyn Fold>>| folds.into_iter().find(|fold| fold.name() == name);
    if let Some(fold) = named(super::following()) {
        let emptied = Arc::clone(&fold);
        store
            .transact(move |tx| Box::pin(async move { empty(tx, &*emptied).await }))
            .await?;
        let runner = Runner::new(store.clone(), vec![fold]);
        let (head, mut folded) = (store.head(), runner.folded());
        let telling = async {
            while folded.changed().await.is_ok() {
                progress(*folded.borrow_and_update(), head);
            }
        };
        tokio::select! {
            done = runner.follow(Some(head)) => done?,
            () = telling => {}
        }
        return Ok(());
    }
    let Some(fold) = named(super::inline()) else {
        let known = super::inline().into_iter().chain(super::following());
        let known = known.map(|fold| fold.name()).collect::<Vec<_>>().join(", ");
        return Err(RebuildError::Unknown {
            name: name.to_owned(),
            known,
        });
    };
    let reader = store.clone();
    store
        .transact(move |tx| {
            Box::pin(async move { rebuild_inline(tx, &reader, &*fold, progress).await })
        })
        .await?;
    Ok(())
}

async fn empty(tx: &DatabaseTransaction, fold: &dyn Fold) -> Result<(), StoreError> {
    for table in fold.tables() {
        let statement =
            Sql::new(format!("DELETE FROM {table}")).statement(tx.get_database_backend());
        tx.execute_raw(statement)
            .await
            .doing("empty a projection")?;
    }
    let mut sql = Sql::new("UPDATE checkpoints SET position = 0 WHERE projection = ");
    sql.bind(fold.name());
    let statement = sql.statement(tx.get_database_backend());
    tx.execute_raw(statement)
        .await
        .doing("empty a projection")?;
    Ok(())
}

async fn rebuild_inline(
    tx: &DatabaseTransaction,
    store: &Store,
    fold: &dyn Fold,
    progress: impl Fn(Position, Position),
) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE log_head SET position = position WHERE id = 1 RETURNING position");
    let locked = tx.query_one_raw(sql.statement(tx.get_database_backend()));
    let head = locked
        .await
        .doing("lock the head")?
        .map(|row| row.try_get_by_index(0))
        .transpose();
    let head = Position(head.doing("lock the head")?.unwrap_or_default());
    empty(tx, fold).await?;
    let mut position = Position::START;
    while position < head {
        let slice = store.after(position, PAGE_EVENTS).await?;
        let wanted: Vec<&Event> = slice
            .events
            .iter()
            .map(|event| &**event)
            .filter(|event| fold.kinds().contains(&event.fact.kind))
            .collect();
        if !wanted.is_empty() {
            fold.apply(tx, &wanted).await?;
        }
        position = slice.upto;
        progress(position, head);
    }
    Ok(())
}
