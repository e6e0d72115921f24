//! One append transaction: lock the head, look duplicates up, give positions, insert, fold, commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

use super::append::{AppendError, Appended, Outcome, Request};
use super::duplicates::{self, Key};
use super::error::{Doing, StoreError};
use super::fold::Fold;
use super::names::{EntityType, Names};
use super::rows::{self, Reading};
use super::sql::Sql;
use super::writer::Statements;
use super::{insert, partitions::Partitions};
use crate::clock::Clock;
use crate::event::{Cell, Event, Instant, NewEvent, Position};
use crate::kinds::{Code, Kind, Refusal, Type};

/// What an append transaction did.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// The events, in the order of their positions.
    pub(crate) events: Vec<Arc<Event>>,
    /// The answer to each request, in their order.
    pub(crate) answers: Vec<Result<Appended, AppendError>>,
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
}

/// A batch in the making.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    answers: Vec<Result<Appended, AppendError>>,
    registered: Vec<(EntityType, Arc<str>, i64)>,
    duplicates: usize,
}

impl Committer {
    /// Runs statements in a transaction of their own. On SQLite it is not synced by itself: what is
    /// folded can be folded again, and the next append syncs it.
    pub(crate) async fn transact(&self, statements: Statements) -> Result<(), StoreError> {
        let lazy = self.db.get_database_backend() == DbBackend::Sqlite;
        if lazy {
            let sql = "PRAGMA synchronous = NORMAL";
            self.db
                .execute_unprepared(sql)
                .await
                .doing("begin a fold")?;
        }
        let done = transact(&self.db, statements).await;
        if lazy {
            let sql = "PRAGMA synchronous = FULL";
            self.db.execute_unprepared(sql).await.doing("end a fold")?;
        }
        done
    }

    /// Appends the events of some requests as one commit.
    pub(crate) async fn commit(&mut self, requests: &[&Request]) -> Result<Committed, Failed> {
        self.partitions.ensure(&self.db, requests).await?;
        let tx = begin(&self.db).await?;
        let batch = match self.fill(&tx, requests).await {
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
        for (entity, id, key) in &batch.registered {
            self.names.add(*entity, id, *key);
        }
        for event in &batch.events {
            learn_place(&self.names, event);
        }
        Ok(Committed {
            events: batch.events.into_iter().map(Arc::new).collect(),
            answers: batch.answers,
            duplicates: batch.duplicates,
        })
    }

    async fn fill(
        &self,
        tx: &DatabaseTransaction,
        requests: &[&Request],
    ) -> Result<Batch, StoreError> {
        let head = lock_head(tx).await?;
        let recorded_at = self.clock.now().max(head.recorded_at);
        let mut batch = Batch::default();
        let mut requests: Vec<Option<Vec<NewEvent>>> =
            check_versions(tx, requests, &mut batch).await?;
        let refused = self.resolve(tx, &mut requests, &mut batch).await?;
        let keys: HashSet<Key> = requests
            .iter()
            .flatten()
            .flatten()
            .filter_map(|e| duplicates::key_of(&e.fact))
            .collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        let mut known = Known {
            stored: duplicates::stored(tx, &self.names, &keys).await?,
            fresh: HashMap::with_capacity(keys.len()),
        };
        let mut position = head.position;
        for (of, (events, answer)) in requests.into_iter().zip(&mut batch.answers).enumerate() {
            let (Some(events), Ok(appended)) = (events, answer) else {
                continue;
            };
            appended.recorded_at = recorded_at;
            for (ordinal, new) in events.into_iter().enumerate() {
                let outcome = match refused.get(&(of, ordinal)) {
                    Some(refusal) => Outcome::Rejected(refusal.clone()),
                    None => place(
                        new,
                        recorded_at,
                        &mut position,
                        &mut known,
                        &mut batch.events,
                    ),
                };
                batch.duplicates += usize::from(matches!(outcome, Outcome::Duplicate(_)));
                appended.outcomes.push(outcome);
            }
        }
        if !batch.events.is_empty() {
            self.write(tx, &mut batch.events, recorded_at).await?;
        }
        Ok(batch)
    }

    async fn write(
        &self,
        tx: &DatabaseTransaction,
        events: &mut Vec<Event>,
        recorded_at: Instant,
    ) -> Result<(), StoreError> {
        let mut counts = BTreeMap::new();
        for kind in Kind::ALL {
            let of_kind: Vec<&Event> = events.iter().filter(|e| e.fact.kind == kind).collect();
            if !of_kind.is_empty() {
                insert::events(tx, kind.spec(), &of_kind).await?;
                counts.insert(kind, of_kind.len());
            }
        }
        insert::keys(tx, events).await?;
        for fold in &self.folds {
            let kinds = fold.kinds();
            let of_fold: Vec<&Event> = events
                .iter()
                .filter(|event| kinds.contains(&event.fact.kind))
                .collect();
            if !of_fold.is_empty() {
                fold.apply(tx, &of_fold).await?;
            }
        }
        write_commit(tx, events, &counts, recorded_at).await?;
        for kind in counts
            .into_keys()
            .filter(|kind| kind.spec().derived.is_some())
        {
            derive(tx, &self.names, kind, events).await?;
        }
        Ok(())
    }

    /// Turns the ids of sites and devices into keys. An id that is neither registered nor registered
    /// by an earlier event of the batch refuses the event.
    async fn resolve(
        &self,
        tx: &DatabaseTransaction,
        requests: &mut [Option<Vec<NewEvent>>],
        batch: &mut Batch,
    ) -> Result<HashMap<(usize, usize), Refusal>, StoreError> {
        self.look_up_unknown(tx, requests).await?;
        let mut fresh: HashMap<(EntityType, Arc<str>), i64> = HashMap::new();
        let mut refused = HashMap::new();
        for (of, events) in requests.iter_mut().enumerate() {
            for (ordinal, new) in events.iter_mut().flatten().enumerate() {
                let spec = new.fact.spec();
                // a registration that is refused for its site must not register its device
                let order = |new_one: bool| {
                    move |ty: &Type| matches!(ty, Type::NewDevice | Type::NewSite) == new_one
                };
                for new_ones in [false, true] {
                    for (field, cell) in spec.fields.iter().zip(&mut new.fact.cells) {
                        let Cell::Reference(reference) = cell else {
                            continue;
                        };
                        if !order(new_ones)(&field.ty) || refused.contains_key(&(of, ordinal)) {
                            continue;
                        }
                        let entity = entity_of(field.ty);
                        let known = self.names.key(entity, &reference.id);
                        let name = (entity, Arc::clone(&reference.id));
                        let known = known.or_else(|| fresh.get(&name).copied());
                        reference.key = match known {
                            Some(key) => key,
                            None if new_ones => {
                                let key = register(tx, entity, &reference.id).await?;
                                batch
                                    .registered
                                    .push((entity, Arc::clone(&reference.id), key));
                                fresh.insert(name, key);
                                key
                            }
                            None => {
                                refused.insert((of, ordinal), unknown(field.name, entity));
                                0
                            }
                        };
                    }
                }
            }
        }
        Ok(refused)
    }

    async fn look_up_unknown(
        &self,
        tx: &DatabaseTransaction,
        requests: &[Option<Vec<NewEvent>>],
    ) -> Result<(), StoreError> {
        let (mut sites, mut devices) = (HashSet::new(), HashSet::new());
        for new in requests.iter().flatten().flatten() {
            for (field, cell) in new.fact.spec().fields.iter().zip(&new.fact.cells) {
                let Cell::Reference(reference) = cell else {
                    continue;
                };
                let entity = entity_of(field.ty);
                if self.names.key(entity, &reference.id).is_none() {
                    let ids = if field.ty.is_site() {
                        &mut sites
                    } else {
                        &mut devices
                    };
                    ids.insert(Arc::clone(&reference.id));
                }
            }
        }
        for (entity, ids) in [(EntityType::Site, sites), (EntityType::Device, devices)] {
            let ids: Vec<Arc<str>> = ids.into_iter().collect();
            self.names.look_up(tx, entity, &ids).await?;
        }
        Ok(())
    }
}

fn entity_of(ty: Type) -> EntityType {
    if ty.is_site() {
        EntityType::Site
    } else {
        EntityType::Device
    }
}

fn unknown(field: &'static str, entity: EntityType) -> Refusal {
    let (code, what) = match entity {
        EntityType::Site => (Code::UnknownSite, "site"),
        EntityType::Device => (Code::UnknownDevice, "device"),
    };
    Refusal::of(field, code, format!("{field} names no registered {what}"))
}

async fn register(
    tx: &DatabaseTransaction,
    entity: EntityType,
    id: &str,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new("INSERT INTO entity_keys (entity_type, entity_id) VALUES (");
    sql.bind(entity.word())
        .push(", ")
        .bind(id)
        .push(") RETURNING entity_key");
    let statement = sql.statement(tx.get_database_backend());
    let row = tx.query_one_raw(statement).await.doing("register a name")?;
    let row = row.ok_or(StoreError::Row {
        table: "entity_keys",
        column: "entity_key",
    })?;
    row.try_get_by_index(0).doing("register a name")
}

/// The events whose keys are taken: by the log, or by the batch, of which it holds the index.
struct Known {
    stored: HashMap<Key, Event>,
    fresh: HashMap<Key, usize>,
}

impl Known {
    fn first<'a>(&'a self, key: &Key, batch: &'a [Event]) -> Option<&'a Event> {
        let of_batch = || batch.get(*self.fresh.get(key)?);
        self.stored.get(key).or_else(of_batch)
    }
}

/// Gives an event its place, unless the log or the batch has it already.
fn place(
    new: NewEvent,
    recorded_at: Instant,
    position: &mut Position,
    known: &mut Known,
    events: &mut Vec<Event>,
) -> Outcome {
    let key = duplicates::key_of(&new.fact);
    if let Some(first) = key.as_ref().and_then(|key| known.first(key, events)) {
        return match duplicates::says_the_same(&first.fact, &new) {
            true => Outcome::Duplicate(first.position),
            false => Outcome::Conflict(first.position),
        };
    }
    *position = position.next();
    known.fresh.extend(key.map(|key| (key, events.len())));
    events.push(Event {
        position: *position,
        recorded_at,
        fact: new.fact,
    });
    Outcome::Recorded(*position)
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
        names.place(device, site);
    }
}

/// Begins a transaction that writes.
pub(crate) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    db.begin_with_options(options)
        .await
        .doing("begin a transaction")
}

/// Runs statements in a transaction of their own.
pub(crate) async fn transact(
    db: &DatabaseConnection,
    statements: Statements,
) -> Result<(), StoreError> {
    let tx = begin(db).await?;
    match statements(&tx).await {
        Ok(()) => tx.commit().await.doing("commit a fold"),
        Err(error) => {
            let _ = tx.rollback().await;
            Err(error)
        }
    }
}

struct Head {
    position: Position,
    recorded_at: Instant,
}

/// Locks the head until the transaction ends. Duplicates are looked up after it, so that what
/// another node has just appended is seen.
async fn lock_head(tx: &DatabaseTransaction) -> Result<Head, StoreError> {
    let mut sql = Sql::new("SELECT position, recorded_at FROM log_head WHERE id = 1");
    if tx.get_database_backend() == DbBackend::Postgres {
        sql.push(" FOR UPDATE");
    }
    let statement = sql.statement(tx.get_database_backend());
    let row = tx
        .query_one_raw(statement)
        .await
        .doing("lock the head of the log")?;
    let row = row.ok_or(StoreError::Row {
        table: "log_head",
        column: "position",
    })?;
    Ok(Head {
        position: Position(row.try_get_by_index(0).doing("read the head")?),
        recorded_at: Instant(row.try_get_by_index(1).doing("read the head")?),
    })
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

/// Takes out the requests whose expected version is stale, and raises the versions of the others.
async fn check_versions(
    tx: &DatabaseTransaction,
    requests: &[&Request],
    batch: &mut Batch,
) -> Result<Vec<Option<Vec<NewEvent>>>, StoreError> {
    let backend = tx.get_database_backend();
    let mut passed = Vec::with_capacity(requests.len());
    for request in requests {
        let Some(expect) = &request.expect else {
            batch.answers.push(Ok(Appended::default()));
            passed.push(Some(request.events.clone()));
            continue;
        };
        let mut sql = Sql::new("SELECT version FROM entity_versions WHERE entity = ");
        sql.bind(expect.entity.as_str());
        let row = tx
            .query_one_raw(sql.statement(backend))
            .await
            .doing("read a version")?;
        let version: i64 = match row {
            Some(row) => row.try_get_by_index(0).doing("read a version")?,
            None => 0,
        };
        if version != expect.version {
            let entity = expect.entity.clone();
            batch
                .answers
                .push(Err(AppendError::Stale { entity, version }));
            passed.push(None);
            continue;
        }
        let mut sql = Sql::new("INSERT INTO entity_versions (entity, version) VALUES (");
        sql.bind(expect.entity.as_str())
            .push(", 1) ON CONFLICT (entity) DO UPDATE SET ");
        sql.push("version = entity_versions.version + 1");
        tx.execute_raw(sql.statement(backend))
            .await
            .doing("raise a version")?;
        batch.answers.push(Ok(Appended::default()));
        passed.push(Some(request.events.clone()));
    }
    Ok(passed)
}

/// Writes the commit and moves the head.
async fn write_commit(
    tx: &DatabaseTransaction,
    events: &[Event],
    counts: &BTreeMap<Kind, usize>,
    recorded_at: Instant,
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
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
    let head = |sql: &mut Sql| {
        sql.push("UPDATE log_head SET position = ")
            .bind(last.position.0);
        sql.push(", recorded_at = ").bind(recorded_at.0);
        sql.push(" WHERE id = 1");
    };
    if backend == DbBackend::Sqlite {
        // both on one way to the thread of the connection, on which a small append spends most time
        head(commit.push("; "));
    } else {
        let mut moved = Sql::new("");
        head(&mut moved);
        tx.execute_raw(moved.statement(backend))
            .await
            .doing("move the head")?;
    }
    tx.execute_raw(commit.statement(backend))
        .await
        .doing("write the commit")?;
    Ok(())
}

/// Puts what is derived into the events that followers will see.
async fn derive(
    tx: &DatabaseTransaction,
    names: &Names,
    kind: Kind,
    events: &mut [Event],
) -> Result<(), StoreError> {
    let first = events.first().map_or(0, |event| event.position.0);
    let mut sql = Sql::new(rows::select(kind.spec(), Reading::AsAppended));
    sql.push(" WHERE t.position >= ")
        .bind(first)
        .push(" ORDER BY t.position");
    let read = rows::read(tx, names, kind, sql).await?;
    let mut read = read
        .into_iter()
        .map(|event| (event.position, event))
        .collect::<HashMap<_, _>>();
    for event in events {
        if let Some(whole) = read.remove(&event.position) {
            event.fact.cells = whole.fact.cells;
        }
    }
    Ok(())
}
