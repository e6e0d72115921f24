//! Makes a projection what the whole log folds to.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use thiserror::Error;

use super::runner::Runner;
use crate::event::Position;
use crate::store::{
    Differing, Doing, Fold, Scratch, Slice, Sql, Store, StoreError, fold_in, head_of,
};

/// Events that are read at once.
const PAGE_EVENTS: usize = 2_000;
/// Events at most that may be left to be folded while appends wait, of whatever kind.
const LAST_EVENTS_MAX: i64 = 10_000;
/// How often it is looked what differs: the second time it is hardly ever anything.
const ROUNDS_MAX: usize = 20;

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
    /// It holds more than the log has by now.
    #[error("events that it was folded from were deleted for good; rebuilt it would lack them")]
    Deleted,
    /// The log could not be read or folded.
    #[error("cannot rebuild")]
    Store(#[from] StoreError),
}

/// Rebuilds a projection by its name, and tells how far it has come.
///
/// Servers may run meanwhile. One that follows the log is emptied and then folded again, by this
/// process or by a server, whoever comes first. One that is folded inside the appends is folded apart,
/// and then the rows that differ are written a part at a time, so that appends never wait long. What events that
/// were deleted for good have made of it stays.
///
/// # Errors
/// When there is no such projection, it would lack what was deleted for good, or the log cannot be folded.
pub async fn rebuild(
    store: &Store,
    name: &str,
    progress: impl Fn(Position, Position) + Send + Sync + 'static,
) -> Result<(), RebuildError> {
    let named = |folds: Vec<Arc<dyn Fold>>| folds.into_iter().find(|fold| fold.name() == name);
    if let Some(fold) = named(super::following()) {
        if store.has_deleted(fold.kinds()).await? {
            return Err(RebuildError::Deleted);
        }
        return Ok(refollow(store, fold, progress).await?);
    }
    if let Some(fold) = named(super::inline()) {
        let scratch = store.scratch(&[Arc::clone(&fold)]).await?;
        let apart = Apart {
            store,
            fold: &*fold,
            scratch: &scratch,
            position: Position::START,
        };
        let mended = apart.mend(progress).await;
        scratch.drop().await;
        return mended;
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

/// Has a projection that follows the log fold all of it anew, since something that it was folded from is not what it
/// was.
pub(crate) async fn begin_anew(tx: &DatabaseTransaction, name: &str) -> Result<(), StoreError> {
    let named = super::following()
        .into_iter()
        .find(|fold| fold.name() == name);
    match named {
        Some(fold) => empty(tx, &*fold).await,
        None => Ok(()),
    }
}

/// A projection that is folded apart, into tables beside those in use.
struct Apart<'a> {
    store: &'a Store,
    fold: &'a dyn Fold,
    scratch: &'a Scratch,
    /// How far it is folded.
    position: Position,
}

impl Apart<'_> {
    /// Folds the log apart, and then makes the tables in use the same. What differs is found while
    /// nobody waits, and mended a part at a time: what was appended meanwhile is folded by the appends
    /// as well, so a row that did not differ before does not now, unless it was folded from one that
    /// did. Hence it is looked again, until nothing differs.
    async fn mend(
        mut self,
        progress: impl Fn(Position, Position) + Send + Sync,
    ) -> Result<(), RebuildError> {
        for _ in 0..ROUNDS_MAX {
            let mut differing = self.compare(&progress).await?;
            if differing.is_empty() {
                return Ok(());
            }
            while let Some(table) = differing.last_mut() {
                let tx = self.lock(&progress).await?;
                self.scratch.mend(&tx, table).await?;
                tx.commit().await.doing("mend a projection")?;
                if table.is_empty() {
                    differing.pop();
                }
            }
        }
        let what = "the same from the same events";
        Err(StoreError::Fold { what }.into())
    }

    /// Folds what others may append meanwhile, without holding anybody up.
    async fn catch_up(
        &mut self,
        progress: &(impl Fn(Position, Position) + Send + Sync),
    ) -> Result<(), StoreError> {
        loop {
            let head = self.store.committed_head().await?;
            if head.0 - self.position.0 <= LAST_EVENTS_MAX {
                return Ok(());
            }
            while self.position < head {
                let slice = self.after(self.position).await?;
                let tx = self.scratch.begin_apart().await?;
                let step = (self.position, slice.upto);
                fold_in(&tx, self.fold, &slice.events, step).await?;
                tx.commit().await.doing("fold events apart")?;
                self.position = slice.upto;
                progress(self.position, head);
            }
        }
    }

    /// The tables of which some rows differ at one moment, of those to which the log still folds.
    async fn compare(
        &mut self,
        progress: &(impl Fn(Position, Position) + Send + Sync),
    ) -> Result<Vec<Differing>, RebuildError> {
        self.catch_up(progress).await?;
        let tx = self.scratch.snapshot().await?;
        let head = head_of(&tx).await?;
        let mut differing = Vec::new();
        self.fold_upto(&tx, head).await?;
        let whole_since = self.store.archive_of().whole_since(&tx).await?;
        let mut kinds = self.fold.kinds().iter();
        let is_whole = !kinds.any(|kind| whole_since.contains_key(kind));
        for table in self.fold.tables().iter().copied() {
            let untouched = self
                .fold
                .untouched(table, self.scratch.deleted(&whole_since));
            let condition = untouched.or_else(|| is_whole.then(|| "TRUE".to_owned()));
            let condition = condition.ok_or(RebuildError::Deleted)?;
            let rows = self.scratch.differing(&tx, (table, condition));
            differing.push(rows.await?);
        }
        tx.commit().await.doing("compare a projection")?;
        self.position = head;
        progress(head, head);
        differing.retain(|table| !table.is_empty());
        Ok(differing)
    }

    /// A transaction beside which nobody appends, with everything folded that there is.
    async fn lock(
        &mut self,
        progress: &(impl Fn(Position, Position) + Send + Sync),
    ) -> Result<DatabaseTransaction, StoreError> {
        let doing = "lock the head";
        loop {
            self.catch_up(progress).await?;
            let tx = self.scratch.begin().await?;
            let sql = "UPDATE log_head SET position = position WHERE id = 1 RETURNING position";
            let locked = tx.query_one_raw(Sql::new(sql).statement(tx.get_database_backend()));
            let head = locked.await.doing(doing)?;
            let head = head.map(|row| row.try_get_by_index(0)).transpose();
            let head = Position(head.doing(doing)?.unwrap_or_default());
            if head.0 - self.position.0 > LAST_EVENTS_MAX {
                // much was appended while this waited for the lock
                tx.rollback().await.doing(doing)?;
                continue;
            }
            self.fold_upto(&tx, head).await?;
            self.position = head;
            return Ok(tx);
        }
    }

    async fn fold_upto(&self, tx: &DatabaseTransaction, head: Position) -> Result<(), StoreError> {
        let mut position = self.position;
        while position < head {
            let slice = self.after(position).await?;
            let upto = slice.upto.min(head);
            fold_in(tx, self.fold, &slice.events, (position, upto)).await?;
            position = upto;
        }
        Ok(())
    }

    async fn after(&self, position: Position) -> Result<Slice, StoreError> {
        let kinds = self.fold.kinds();
        self.store.after_of(position, PAGE_EVENTS, kinds).await
    }
}
