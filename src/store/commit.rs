//! One append transaction: lock the head, look duplicates up, give positions, insert, fold, commit.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend};

use super::append::{AppendError, Request};
use super::derived;
use super::error::{Cause, Doing, StoreError};
use super::fold::Fold;
use super::lists::List;
use super::names::Names;
use super::placing::{Placed, Placing};
use super::read::Place;
use super::recall::Answer;
use super::ring::Ring;
use super::script::Script;
use super::segments::Segments;
use super::sql::{Sql, group_sizes};
use super::transactions::begin;
use super::writer::{Lasting, Pending, Statements};
use super::{insert, partitions::Partitions};
use crate::clock::Clock;
use crate::event::{Cell, Event, Instant};
use crate::kinds::{Kind, Type};

/// What an append transaction did.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// The events, in the order of their positions.
    pub(crate) events: Vec<Arc<Event>>,
    /// The answer to each request, in their order.
    pub(crate) answers: Vec<Answer>,
    /// Events that had been there before.
    pub(crate) duplicates: usize,
}

/// Why an append transaction failed, and whether it is certain that nothing of it was kept.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: StoreError,
    pub(crate) before_commit: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self {
            error,
            before_commit: true,
        }
    }
}

/// Commits batches, one at a time.
pub(crate) struct Committer {
    pub(crate) db: DatabaseConnection,
    pub(crate) names: Arc<Names>,
    pub(crate) folds: Vec<Arc<dyn Fold>>,
    pub(crate) partitions: Partitions,
    pub(crate) clock: Clock,
    /// Knows which positions there have been.
    pub(crate) ring: Arc<Ring>,
    /// What was archived, of which an append may be a repeat.
    pub(crate) segments: Arc<Segments>,
    /// Whether commits are not synced: an append must not begin before they are again.
    pub(crate) lazy: bool,
}

/// A batch that waits to be committed.
struct Batch {
    placed: Placed,
    answers: Vec<Answer>,
}

impl Committer {
    /// Runs statements in a transaction of their own. On SQLite it is not synced by itself unless it is to
    /// last at once: what is folded can be folded again, and the next append syncs it.
    pub(crate) async fn transact(
        &mut self,
        statements: Statements,
        lasting: Lasting,
    ) -> Result<(), StoreError> {
        if lasting == Lasting::AtOnce {
            self.sync_commits().await?;
        } else if self.db.get_database_backend() == DbBackend::Sqlite {
            self.lazy = true;
            let sql = "PRAGMA synchronous = NORMAL";
            self.db
                .execute_unprepared(sql)
                .await
                .doing("begin a fold")?;
        }
        transact(&self.db, statements).await
    }

    /// Makes commits last again after one that was not synced.
    async fn sync_commits(&mut self) -> Result<(), StoreError> {
        if self.lazy {
            let sql = "PRAGMA synchronous = FULL";
            self.db
                .execute_unprepared(sql)
                .await
                .doing("begin an append")?;
            self.lazy = false;
        }
        Ok(())
    }

    /// Appends the events of some requests as one commit.
    pub(crate) async fn commit(&mut self, batch: &[Pending]) -> Result<Committed, Failed> {
        let committed = self.try_commit(batch).await;
        // a partition that was known may have been dropped, since all of it was archived
        let may_lack_one = matches!(&committed, Err(failed)
            if failed.before_commit && failed.error.cause() == Cause::Constraint);
        if may_lack_one && self.partitions.renew(&self.db).await? {
            return self.try_commit(batch).await;
        }
        committed
    }

    async fn try_commit(&mut self, batch: &[Pending]) -> Result<Committed, Failed> {
        self.sync_commits().await?;
        let events = batch.iter().flat_map(|pending| pending.request.all());
        let times = events.map(|event| (event.fact.kind, event.fact.occurred_at));
        let now = self.clock.now();
        self.partitions.ensure(&self.db, times, now).await?;
        let tx = begin(&self.db).await?;
        let batch = match unless_it_panics(self.fill(&tx, batch)).await {
            Ok(batch) => batch,
            Err(error) => {
                let _ = tx.rollback().await;
                return Err(error.into());
            }
        };
        let commit = tx.commit().await.doing("commit events");
        commit.map_err(|error| Failed {
            error,
            before_commit: false,
        })?;
        let Placed {
            events,
            registered,
            duplicates,
            ..
        } = batch.placed;
        // whoever has met a device knows where it is, so that comes first
        for event in &events {
            learn_place(&self.names, event);
        }
        self.names.add_all(registered);
        Ok(Committed {
            events: events.into_iter().map(Arc::new).collect(),
            answers: batch.answers,
            duplicates,
        })
    }

    async fn fill(&self, tx: &DatabaseTransaction, batch: &[Pending]) -> Result<Batch, StoreError> {
        let fenced = fenced(tx, batch).await?;
        let requests: Vec<&Request> = batch.iter().map(|pending| &pending.request).collect();
        let now = self.clock.now();
        let known = self.ring.head();
        let log = (&self.names, &self.folds[..], &*self.segments);
        let mut placing = Placing::begin(tx, log, &requests, now).await?;
        let head = placing.position();
        if head < known {
            return Err(StoreError::WentBack { head, known });
        }
        let mut answers = Vec::with_capacity(requests.len());
        for (pending, fenced) in batch.iter().zip(fenced) {
            answers.push(match fenced {
                None => placing.place((&pending.request, &pending.recall)).await?,
                Some(error) => Answer::Given(Err(AppendError::Store(Arc::new(error)))),
            });
        }
        let mut placed = placing.finish();
        raise_versions(tx, &placed.raised).await?;
        if !placed.events.is_empty() {
            let recorded_at = placed.recorded_at;
            self.write(tx, &mut placed.events, recorded_at).await?;
        }
        Ok(Batch { placed, answers })
    }

    async fn write(
        &self,
        tx: &DatabaseTransaction,
        events: &mut [Event],
        recorded_at: Instant,
    ) -> Result<(), StoreError> {
        let mut counts = BTreeMap::new();
        for event in &*events {
            *counts.entry(event.fact.kind).or_default() += 1;
        }
        let mut script = Script::new(tx, counts.len() == 1);
        for kind in counts.keys() {
            let of_kind: Vec<&Event> = events.iter().filter(|e| e.fact.kind == *kind).collect();
            insert::events(&mut script, kind.spec(), &of_kind).await?;
        }
        insert::keys(&mut script, events).await?;
        for fold in &self.folds {
            let kinds = fold.kinds();
            let of_fold: Vec<&Event> = events
                .iter()
                .filter(|event| kinds.contains(&event.fact.kind))
                .collect();
            if !of_fold.is_empty() {
                script.run().await?;
                fold.apply(tx, &of_fold).await?;
            }
        }
        write_commit(&mut script, events, &counts, recorded_at).await?;
        script.run().await?;
        for kind in counts
            .into_keys()
            .filter(|kind| kind.spec().derived.is_some())
        {
            derive(tx, kind, events).await?;
        }
        Ok(())
    }
}

/// Of each request of a batch, why it is kept out: the work that it belongs to is another server's by now.
async fn fenced(
    tx: &DatabaseTransaction,
    batch: &[Pending],
) -> Result<Vec<Option<StoreError>>, StoreError> {
    let mut fenced = Vec::with_capacity(batch.len());
    for pending in batch {
        fenced.push(match &pending.fence {
            None => None,
            Some(fence) => match fence.check(tx).await {
                Ok(()) => None,
                Err(error @ StoreError::Fenced { .. }) => Some(error),
                Err(error) => return Err(error),
            },
        });
    }
    Ok(fenced)
}

/// The site of a device that was registered or moved.
pub(crate) fn learn_place(names: &Names, event: &Event) {
    let fact = &event.fact;
    let registers = fact
        .spec()
        .fields
        .iter()
        .any(|field| matches!(field.ty, Type::NewDevice));
    let key = |index: Option<usize>| index.and_then(|i| fact.cells.get(i)).and_then(Cell::int);
    if let (true, Some(device), Some(site)) = (
        registers,
        key(fact.spec().device_index()),
        key(fact.spec().site_index()),
    ) {
        names.place(device, site, Place::of(event));
    }
}

/// Runs statements in a transaction of their own.
pub(crate) async fn transact(
    db: &DatabaseConnection,
    statements: Statements,
) -> Result<(), StoreError> {
    let tx = begin(db).await?;
    match unless_it_panics(statements(&tx)).await {
        Ok(()) => tx.commit().await.doing("commit a fold"),
        Err(error) => {
            let _ = tx.rollback().await;
            Err(error)
        }
    }
}

/// What is written in a transaction runs the code of folds. A fault in one must not end the only
/// writer: the transaction is rolled back, nothing that it did outlives it, and the next is served.
async fn unless_it_panics<T>(
    writes: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let written = AssertUnwindSafe(writes).catch_unwind().await;
    written.unwrap_or(Err(StoreError::Panicked))
}

/// How often a thing has changed.
pub(crate) async fn version(db: &impl ConnectionTrait, entity: &str) -> Result<i64, StoreError> {
    let mut sql = Sql::new("SELECT version FROM entity_versions WHERE entity = ");
    sql.bind(entity);
    let row = db
        .query_one_raw(sql.statement(db.get_database_backend()))
        .await;
    match row.doing("read a version")? {
        Some(row) => row.try_get_by_index(0).doing("read a version"),
        None => Ok(0),
    }
}

/// How often things have changed; one that never has is absent.
pub(crate) async fn versions(
    db: &impl ConnectionTrait,
    entities: Vec<String>,
) -> Result<HashMap<String, i64>, StoreError> {
    let mut versions = HashMap::new();
    if entities.is_empty() {
        return Ok(versions);
    }
    let mut sql = Sql::new("SELECT entity, version FROM entity_versions WHERE ");
    sql.among("entity", List::Text(entities));
    let statement = sql.statement(db.get_database_backend());
    for row in db.query_all_raw(statement).await.doing("read versions")? {
        let entity = row.try_get_by_index(0).doing("read a version")?;
        let version = row.try_get_by_index(1).doing("read a version")?;
        versions.insert(entity, version);
    }
    Ok(versions)
}

/// Things at most whose versions are raised in one statement.
const VERSIONS_MAX: usize = 256;

async fn raise_versions(
    tx: &DatabaseTransaction,
    raised: &BTreeMap<String, i64>,
) -> Result<(), StoreError> {
    let (sizes, mut raised) = (group_sizes(raised.len(), VERSIONS_MAX), raised.iter());
    for size in sizes {
        let mut sql = Sql::new("INSERT INTO entity_versions (entity, version) VALUES ");
        for (ordinal, (entity, version)) in raised.by_ref().take(size).enumerate() {
            sql.push(if ordinal > 0 { ", " } else { "" });
            sql.bind_list([entity.as_str().into(), (*version).into()]);
        }
        sql.push(" ON CONFLICT (entity) DO UPDATE SET version = excluded.version");
        tx.execute_raw(sql.statement(tx.get_database_backend()))
            .await
            .doing("raise versions")?;
    }
    Ok(())
}

/// Writes the commit and moves the head.
async fn write_commit(
    script: &mut Script<'_, DatabaseTransaction>,
    events: &[Event],
    counts: &BTreeMap<Kind, usize>,
    recorded_at: Instant,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(());
    };
    let counts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{}:{count}", kind.code()))
        .collect();
    let mut commit = Sql::new(
        "INSERT INTO commits (first_position, last_position, recorded_at, counts) VALUES ",
    );
    commit.bind_list([
        first.position.0.into(),
        last.position.0.into(),
        recorded_at.0.into(),
        counts.join(" ").into(),
    ]);
    script.add(commit, "write the commit").await?;
    let mut head = Sql::new("UPDATE log_head SET position = ");
    head.bind(last.position.0);
    head.push(", recorded_at = ").bind(recorded_at.0);
    head.push(" WHERE id = 1");
    script.add(head, "move the head").await
}

/// Puts what is derived into the events that followers will see; what it is derived from is folded by then.
async fn derive(
    tx: &DatabaseTransaction,
    kind: Kind,
    events: &mut [Event],
) -> Result<(), StoreError> {
    let (spec, first) = (kind.spec(), events.first().map(|event| event.position));
    let (Some(derived), Some(first)) = (&spec.derived, first) else {
        return Ok(());
    };
    let index = spec.index_of(derived.field);
    let mut values = derived::appended(tx, spec, derived, first).await?;
    for event in events.iter_mut().filter(|event| event.fact.kind == kind) {
        let cell = index.and_then(|index| event.fact.cells.get_mut(index));
        if let (Some(cell), Some(value)) = (cell, values.remove(&event.position)) {
            *cell = value;
        }
    }
    Ok(())
}
