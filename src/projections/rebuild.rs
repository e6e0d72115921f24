//! Empties a projection and folds the whole log into it again.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use thiserror::Error;

use super::runner::Runner;
use crate::event::Position;
use crate::store::{Doing, Fold, Scratch, Sql, Store, StoreError, fold_in};

/// Events that are read at once.
const PAGE_EVENTS: usize = 2_000;
/// Events at most that may be left to be folded while appends wait.
const LAST_EVENTS_MAX: i64 = 10_000;

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
/// Servers may run meanwhile. One that follows the log is emptied and then folded again, by this
/// process or by a server, whoever comes first. One that is folded inside the appends is folded apart
/// and then takes the place of the old one: appends wait only while what came last is folded.
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
        return Ok(refollow(store, fold, progress).await?);
    }
    if let Some(fold) = named(super::inline()) {
        let scratch = store.scratch(&[Arc::clone(&fold)]).await?;
        let replaced = fold_apart(store, &*fold, &scratch, progress).await;
        scratch.drop().await;
        return Ok(replaced?);
    }
    let known = super::inline().into_iter().chain(super::following());
    let known = known.map(|fold| fold.name()).collect::<Vec<_>>().join(", ");
    Err(RebuildError::Unknown {
        name: name.to_owned(),
        known,
    })
}

/// Empties a projection that follows the log and waits until it is folded again.
async fn refollow(
    store: &Store,
    fold: Arc<dyn Fold>,
    progress: impl Fn(Position, Position) + Send + Sync,
) -> Result<(), StoreError> {
    let emptied = Arc::clone(&fold);
    store
        .transact(move |tx| Box::pin(async move { empty(tx, &*emptied).await }))
        .await?;
    let runner = Runner::new(store.clone(), vec![fold]);
    let (head, mut folded) = (store.committed_head().await?, runner.folded());
    let telling = async {
        while folded.changed().await.is_ok() {
            progress(*folded.borrow_and_update(), head);
        }
    };
    let folding = async {
        loop {
            match runner.follow(Some(head)).await {
                // a server that folds it as well has come further: on from there
                Err(StoreError::Overtaken { .. }) => {}
                done => return done,
            }
        }
    };
    tokio::select! {
        done = folding => done,
        () = telling => Ok(()),
    }
}

/// Empties a projection; one with a checkpoint begins anew. The checkpoint comes first, so that
/// whoever folds at the same time waits for one of the two.
pub(super) async fn empty(tx: &DatabaseTransaction, fold: &dyn Fold) -> Result<(), StoreError> {
    let (doing, backend) = ("empty a projection", tx.get_database_backend());
    let mut sql = Sql::new("UPDATE checkpoints SET position = 0 WHERE projection = ");
    sql.bind(fold.name());
    tx.execute_raw(sql.statement(backend)).await.doing(doing)?;
    for table in fold.tables() {
        let sql = Sql::new(format!("DELETE FROM {table}"));
        tx.execute_raw(sql.statement(backend)).await.doing(doing)?;
    }
    Ok(())
}

/// Folds the log into tables beside those in use, and then puts what came of it into those.
async fn fold_apart(
    store: &Store,
    fold: &dyn Fold,
    scratch: &Scratch,
    progress: impl Fn(Position, Position) + Send + Sync,
) -> Result<(), StoreError> {
    let mut position = Position::START;
    loop {
        let head = store.committed_head().await?;
        while position < head {
            let slice = store.after_of(position, PAGE_EVENTS, fold.kinds()).await?;
            let tx = scratch.begin_apart().await?;
            fold_in(&tx, fold, &slice.events, (position, slice.upto)).await?;
            tx.commit().await.doing("fold events apart")?;
            position = slice.upto;
            progress(position, head);
        }
        // while this was folded more has come: the lock is for little
        if store.committed_head().await?.0 - position.0 <= LAST_EVENTS_MAX {
            break;
        }
    }
    let tx = scratch.begin().await?;
    let sql = Sql::new("UPDATE log_head SET position = position WHERE id = 1 RETURNING position");
    let locked = tx.query_one_raw(sql.statement(tx.get_database_backend()));
    let head = locked.await.doing("lock the head")?;
    let head = head.map(|row| row.try_get_by_index(0)).transpose();
    let head = Position(head.doing("lock the head")?.unwrap_or_default());
    while position < head {
        let slice = store.after_of(position, PAGE_EVENTS, fold.kinds()).await?;
        fold_in(&tx, fold, &slice.events, (position, slice.upto)).await?;
        position = slice.upto;
    }
    for table in fold.tables() {
        scratch.replace(&tx, table).await?;
    }
    tx.commit().await.doing("replace a projection")?;
    progress(position, head);
    Ok(())
}
