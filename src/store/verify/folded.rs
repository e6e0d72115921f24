//! Folds the log once more, apart, and compares what comes of it with what the projections hold.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{Check, Folds, Verifier};
use crate::event::Position;
use crate::store::error::{Doing, StoreError};
use crate::store::feed::head_of;
use crate::store::fold::Fold;
use crate::store::identity::read_identity;
use crate::store::names::Names;
use crate::store::open::Connections;
use crate::store::read::Tables;
use crate::store::scratch::{Scratch, fold_in, is_put_off};
use crate::store::segments::Archive;
use crate::store::slice::Extent;
use crate::store::sql::Sql;

/// Events that are folded at once.
const PAGE_EVENTS: usize = 2_000;

/// A projection and how far it is folded here, and in the database.
struct Folded {
    fold: Arc<dyn Fold>,
    follows: bool,
    here: Position,
    there: Position,
}

impl Verifier<'_> {
    /// Each projection is what the log folds to, up to where it has folded it.
    pub(super) async fn projections(
        &mut self,
        connections: &Connections,
        folds: &Folds,
    ) -> Result<(), StoreError> {
        let folded = |fold: &Arc<dyn Fold>, follows| Folded {
            fold: Arc::clone(fold),
            follows,
            here: Position::START,
            there: Position::START,
        };
        let archive = Archive::of(Arc::clone(&connections.segments));
        for fold in folds.inline.iter().chain(&folds.following) {
            fold.attach(&archive);
        }
        let inline = folds.inline.iter().map(|fold| folded(fold, false));
        let following = folds.following.iter().map(|fold| folded(fold, true));
        let mut all: Vec<Folded> = inline.chain(following).collect();
        let every: Vec<Arc<dyn Fold>> = all.iter().map(|one| Arc::clone(&one.fold)).collect();
        let scratch = Scratch::make(connections, &every).await?;
        let compared = self
            .fold_and_compare(connections, (&scratch, &mut all))
            .await;
        scratch.drop().await;
        compared
    }

    async fn fold_and_compare(
        &mut self,
        connections: &Connections,
        (scratch, all): (&Scratch, &mut [Folded]),
    ) -> Result<(), StoreError> {
        let tables = Tables::new(
            self.db.clone(),
            Arc::new(Names::default()),
            Arc::clone(&connections.segments),
        );
        // most of it while nothing is held, so that only the rest is folded in a snapshot
        look(self.db, all).await?;
        while let Some((after, upto)) = rest(all) {
            let events = tables
                .after(after, Extent::of_events(PAGE_EVENTS), None)
                .await?;
            let upto = upto.min(events.upto);
            let tx = scratch.begin_apart().await?;
            for one in all.iter_mut() {
                one.fold_in(&tx, &events.events, upto).await?;
            }
            tx.commit().await.doing("fold events apart")?;
            self.told("folding events", upto.0);
        }
        for one in all.iter() {
            let mut is_left = true;
            while is_left {
                let tx = scratch.begin_apart().await?;
                is_left = one.go_on(&tx).await?;
                tx.commit().await.doing("fold events apart")?;
            }
        }
        let tx = scratch.snapshot().await?;
        look(&tx, all).await?;
        while let Some((after, upto)) = rest(all) {
            let events = tables
                .after(after, Extent::of_events(PAGE_EVENTS), None)
                .await?;
            let upto = upto.min(events.upto);
            for one in all.iter_mut() {
                one.fold_in(&tx, &events.events, upto).await?;
            }
        }
        for one in all.iter() {
            while one.go_on(&tx).await? {}
            self.compare(scratch, &tx, one).await?;
        }
        tx.rollback().await.doing("end the snapshot")
    }

    async fn compare(
        &mut self,
        scratch: &Scratch,
        tx: &DatabaseTransaction,
        one: &Folded,
    ) -> Result<(), StoreError> {
        let is_behind = is_put_off(tx, &*one.fold, Some(&scratch.schema)).await?;
        if one.here != one.there || is_behind {
            // it was emptied meanwhile, and is being folded again; or it has put something off
            return Ok(());
        }
        let whole_since = self.tables.segments.catalog().whole_since();
        let mut kinds = one.fold.kinds().iter();
        let is_whole = !kinds.any(|kind| whole_since.contains_key(kind));
        for table in one.fold.tables() {
            let condition = if is_whole {
                Some("TRUE".to_owned())
            } else {
                one.fold.untouched(table, scratch.deleted(&whole_since))
            };
            let Some(condition) = condition else {
                // it holds what was deleted since
                continue;
            };
            let found = scratch.compare(tx, (table, &condition)).await?;
            let (missing, surplus) = (found.missing, found.surplus);
            if missing > 0 || surplus > 0 {
                let detail = format!(
                    "{table} lacks {missing} rows that the log folds to and has {surplus} that it \
                     does not; rebuild {}",
                    one.fold.name()
                );
                self.found(Check::Projections, detail);
            }
        }
        Ok(())
    }
}

impl Folded {
    async fn fold_in(
        &mut self,
        tx: &DatabaseTransaction,
        events: &[Arc<crate::event::Event>],
        upto: Position,
    ) -> Result<(), StoreError> {
        let upto = upto.min(self.there);
        if upto > self.here {
            fold_in(tx, &*self.fold, events, (self.here, upto)).await?;
            self.here = upto;
        }
        Ok(())
    }

    /// Does a part of what it has put off here; answers whether there was any.
    async fn go_on(&self, tx: &DatabaseTransaction) -> Result<bool, StoreError> {
        let is_left = is_put_off(tx, &*self.fold, None).await?;
        if is_left {
            self.fold.go_on(tx, self.here).await?;
        }
        Ok(is_left)
    }
}

/// What is left to be folded by any of them.
fn rest(all: &[Folded]) -> Option<(Position, Position)> {
    let behind = all.iter().filter(|one| one.here < one.there);
    let after = behind.clone().map(|one| one.here).min()?;
    let upto = behind.map(|one| one.there).max()?;
    Some((after, upto))
}

/// Looks how far the projections are folded in the database.
async fn look(db: &impl ConnectionTrait, all: &mut [Folded]) -> Result<(), StoreError> {
    let doing = "read a checkpoint";
    let (head, identity) = (head_of(db).await?, read_identity(db).await?);
    for one in all.iter_mut() {
        if !one.follows {
            one.there = head;
            continue;
        }
        let mut sql = Sql::new("SELECT position FROM checkpoints WHERE projection = ");
        sql.bind(one.fold.name())
            .push(" AND log_id = ")
            .bind(identity.log_id.to_string());
        sql.push(" AND epoch = ").bind(identity.epoch);
        let row = db.query_one_raw(sql.statement(db.get_database_backend()));
        let row = row.await.doing(doing)?;
        let position = row.map(|row| row.try_get_by_index(0)).transpose();
        one.there = Position(position.doing(doing)?.unwrap_or_default());
    }
    Ok(())
}
