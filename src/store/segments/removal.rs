//! Takes segments away: those whose events are to be deleted, and files that no list names.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};
use uuid::Uuid;

use super::archive::{lock, raise};
use super::gone::fold_gone;
use super::{Segment, Segments};
use crate::columnar::Layout;
use crate::event::{Instant, Position};
use crate::kinds::{Identity, Kind};
use crate::store::Store;
use crate::store::error::{Doing, StoreError};
use crate::store::fold::Needed;
use crate::store::sql::Sql;

/// Ids at most in one statement.
const IDS_MAX: usize = 500;
const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Events of a segment that are about to be deleted for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Their kind.
    pub kind: Kind,
    /// When the first and the last of them happened.
    pub times: (Instant, Instant),
    /// The first position of them.
    pub first: Position,
    /// Whether nobody is waited for any more.
    pub is_overdue: bool,
    /// The instant of it.
    pub now: Instant,
}

/// Says whether events are waited with for somebody who asked for them and has not read them yet, in the transaction
/// that deletes them. If they are overdue it has whoever asked told that they are gone, in that transaction.
pub type Awaits =
    for<'a> fn(&'a DatabaseTransaction, Leaving) -> BoxFuture<'a, Result<bool, StoreError>>;

/// What is to be deleted for good of a kind.
#[derive(Clone, Debug)]
pub struct Deleting {
    /// The kind.
    pub kind: Kind,
    /// What happened before this midnight is deleted by now.
    pub before: Instant,
    /// Of that only segments that end before this instant.
    pub ends_before: Instant,
    /// Since when the age is the same at which events are deleted: what was recorded earlier was kept otherwise.
    pub since: Instant,
    /// For what there is in these, events are kept until it is done.
    pub needed: Vec<Needed>,
    /// Whether somebody who asked for events is waited for, if anybody is.
    pub awaits: Option<Awaits>,
    /// What happened before this instant was to be deleted so long ago that nobody is waited for.
    pub overdue_before: Instant,
}

impl Deleting {
    /// All of a kind that happened before an instant, as if that age had held from the beginning.
    #[must_use]
    pub const fn all_before(kind: Kind, before: Instant) -> Self {
        Self {
            kind,
            before,
            ends_before: before,
            since: Instant::OLDEST,
            needed: Vec::new(),
            awaits: None,
            overdue_before: Instant::OLDEST,
        }
    }

    /// What is about to be deleted with a segment.
    fn leaving(&self, segment: &Segment, now: Instant) -> Leaving {
        let times = (Instant(segment.times.0), Instant(segment.times.1));
        Leaving {
            kind: segment.kind,
            times,
            first: Position(segment.positions.0),
            is_overdue: times.1 < self.overdue_before,
            now,
        }
    }

    /// Whether what happened at an instant was not too old already when it was recorded. Ages are of whole days.
    fn is_timely(&self, happened_at: i64, recorded_at: i64, now: Instant) -> bool {
        let midnight = |at: i64| at - at.rem_euclid(DAY_US);
        let younger = midnight(now.0) - midnight(recorded_at);
        recorded_at < self.since.0 || happened_at >= self.before.0 - younger
    }
}

/// What is known of the events of a segment that are deleted.
#[derive(Debug)]
pub(super) struct Parting {
    /// The ids by which they are known.
    pub(super) ids: Vec<Uuid>,
    /// The last position of one that was recorded in time; 0 when none was.
    pub(super) timely: i64,
}

/// A segment that is taken away.
#[derive(Debug)]
pub(super) struct Removing<'a> {
    pub(super) segment: &'a Segment,
    /// That of the list in which it stands.
    pub(super) generation: i64,
    pub(super) parting: Parting,
    pub(super) leaving: Leaving,
    pub(super) needed: Vec<Needed>,
    pub(super) awaits: Option<Awaits>,
}

impl Store {
    /// Deletes for good the oldest segment of a kind of which everything happened before an instant, and
    /// answers how many events it had; `None` when there is none. What they were counted as stays.
    ///
    /// # Errors
    /// When its file may be there and cannot be read, the list cannot be changed, something is still to be made of
    /// its events, or somebody who asked for them is waited for. Nothing has changed then. One whose file is lost is
    /// deleted all the same.
    pub async fn drop_segment(&self, deleting: &Deleting) -> Result<Option<i64>, StoreError> {
        let segments = self.segments();
        let catalog = segments.renew(self.readers()).await?;
        let of_kind = catalog.of(deleting.kind).iter();
        let end = deleting.before.min(deleting.ends_before);
        let mut old = of_kind.filter(|s| s.times.1 < end.0);
        let Some(segment) = old.next().map(Arc::clone) else {
            return Ok(None);
        };
        let (generation, now) = (catalog.generation, self.clock().now());
        let parting = match self.parting(&segment, (deleting, now)).await {
            Err(error) if error.is_of_lost_segment() => {
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(error, "a segment is deleted whose file is lost");
                self.parting_of_lost(&segment, &catalog).await?
            }
            parting => parting?,
        };
        self.remove_segment(Removing {
            segment: &segment,
            generation,
            parting,
            leaving: deleting.leaving(&segment, now),
            needed: deleting.needed.clone(),
            awaits: deleting.awaits,
        })
        .await?;
        Ok(Some(segment.events))
    }

    /// Takes a segment away, with the ids that are known of it.
    pub(super) async fn remove_segment(&self, removing: Removing<'_>) -> Result<(), StoreError> {
        let Removing {
            segment,
            generation,
            parting,
            leaving,
            needed,
            awaits,
        } = removing;
        let (id, last_at) = (segment.id, segment.times.1);
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                unless_needed(tx, &needed, last_at).await?;
                unless_awaited(tx, awaits, leaving).await?;
                mark(tx, id, (leaving.now, parting.timely)).await?;
                fold_gone(tx, leaving.kind).await?;
                forget(tx, &parting.ids).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        let segments = self.segments();
        segments.renew(self.readers()).await?;
        segments.let_go(&segment.path).await;
        Ok(())
    }

    /// What is to be known of the events of a segment before they are deleted.
    async fn parting(
        &self,
        segment: &Segment,
        (deleting, now): (&Deleting, Instant),
    ) -> Result<Parting, StoreError> {
        let segments = self.segments();
        let mut slots = vec![Layout::POSITION, Layout::OCCURRED_AT, Layout::RECORDED_AT];
        if segment.kind.spec().identity == Identity::EventId {
            slots.push(Layout::EVENT_ID);
        }
        let file = segments.file(segment).await?;
        let mut parting = Parting {
            ids: Vec::new(),
            timely: 0,
        };
        for group in 0..file.groups() {
            let table = segments.table((segment, group), &slots).await?;
            let int = |slot, row| table.column(slot).and_then(|column| column.int(row));
            for row in 0..table.len() {
                let times = int(Layout::OCCURRED_AT, row).zip(int(Layout::RECORDED_AT, row));
                let is_timely = times.is_none_or(|(at, recorded_at)| {
                    // what is not known counts as in time
                    deleting.is_timely(at, recorded_at, now)
                });
                let position = int(Layout::POSITION, row).filter(|_| is_timely);
                parting.timely = parting.timely.max(position.unwrap_or_default());
            }
            let ids = table.column(Layout::EVENT_ID);
            let of_rows = (0..table.len()).filter_map(|row| ids?.id(row));
            parting.ids.extend(of_rows);
        }
        Ok(parting)
    }

    /// Removes the files of segments that no list names: what a process had written when it ended. Only
    /// one process may do so at a time ([`Store::claim`]). Answers how many.
    ///
    /// # Errors
    /// When the files cannot be listed or removed.
    pub async fn sweep_segments(&self) -> Result<usize, StoreError> {
        let segments = self.segments();
        let Some(files) = &segments.files else {
            return Ok(0);
        };
        let catalog = segments.renew(self.readers()).await?;
        let mut swept = files.sweep(&catalog.home).await?;
        let listed: HashSet<&str> = catalog.all().map(|s| s.path.as_str()).collect();
        let mut orphans = files.names(&catalog.home).await?;
        orphans.retain(|path| !listed.contains(path.as_str()));
        if orphans.is_empty() {
            return Ok(swept);
        }
        // whoever still means to list one of them is told that it was overtaken
        let generation = catalog.generation;
        self.transact_durably(move |tx| {
            Box::pin(async move {
                lock(tx).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        for orphan in &orphans {
            files.remove(orphan).await?;
            swept += 1;
        }
        Ok(swept)
    }
}

impl Segments {
    /// Removes a file that no list names any more. If it stays it is swept later.
    pub(super) async fn let_go(&self, path: &str) {
        let Some(files) = &self.files else {
            return;
        };
        if let Err(error) = files.remove(path).await {
            let error = crate::telemetry::chain(&error).to_string();
            tracing::warn!(error, "a file that no list names could not be removed");
        }
    }
}

/// Refuses to delete what happened until an instant while events of its day, or of one before it, are needed.
async fn unless_needed(
    tx: &DatabaseTransaction,
    needed: &[Needed],
    last_at: i64,
) -> Result<(), StoreError> {
    if needed.is_empty() {
        return Ok(());
    }
    let next_day = last_at - last_at.rem_euclid(DAY_US) + DAY_US;
    let mut sql = Sql::new("SELECT 1 WHERE ");
    for (ordinal, (table, from)) in needed.iter().enumerate() {
        sql.push(if ordinal > 0 { " OR " } else { "" });
        sql.push(&format!("EXISTS (SELECT 1 FROM {table} WHERE {from} < "));
        sql.bind(next_day).push(")");
    }
    let found = tx.query_one_raw(sql.statement(tx.get_database_backend()));
    match found.await.doing("look for what needs old events")? {
        Some(_) => Err(StoreError::StillNeeded),
        None => Ok(()),
    }
}

/// Refuses to delete events while somebody who asked for them is waited for.
async fn unless_awaited(
    tx: &DatabaseTransaction,
    awaits: Option<Awaits>,
    leaving: Leaving,
) -> Result<(), StoreError> {
    let Some(awaits) = awaits else {
        return Ok(());
    };
    if awaits(tx, leaving).await? {
        return Err(StoreError::StillAwaited);
    }
    Ok(())
}

async fn mark(
    tx: &DatabaseTransaction,
    id: i64,
    (now, timely): (Instant, i64),
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE segments SET dropped_at = ");
    sql.bind(now.0).push(", timely_position = ").bind(timely);
    sql.push(" WHERE id = ").bind(id);
    let marked = tx.execute_raw(sql.statement(tx.get_database_backend()));
    marked.await.doing("delete a segment").map(drop)
}

async fn forget(tx: &DatabaseTransaction, ids: &[Uuid]) -> Result<(), StoreError> {
    for ids in ids.chunks(IDS_MAX) {
        let mut sql = Sql::new("DELETE FROM event_keys WHERE event_id IN ");
        sql.bind_list(ids.iter().map(|id| Value::Uuid(Some(*id))));
        let forgotten = tx.execute_raw(sql.statement(tx.get_database_backend()));
        forgotten.await.doing("delete the ids of a segment")?;
    }
    Ok(())
}
