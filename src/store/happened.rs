//! What happened to some devices, to each from an instant of its own on, as one transaction sees it: in the table or
//! archived.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::allowance::Allowance;
use super::error::{Doing, StoreError};
use super::lists::List;
use super::names::Names;
use super::rows::{self, Columns, Reading};
use super::segments::{Archive, Happened};
use super::sql::{Sql, device_of, on_grid};
use crate::event::{Cell, Event, Reference};
use crate::kinds::Kind;

const READ: &str = "read what happened to devices";

/// Which events of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since<'a> {
    pub(crate) kind: Kind,
    /// What is read of them; their source and their device are in any case.
    pub(crate) columns: Columns,
    /// Devices by their keys, each with the instant from which on; none twice.
    pub(crate) devices: &'a [[i64; 2]],
    /// Before this instant.
    pub(crate) until: i64,
    /// Recorded up to this position.
    pub(crate) upto: i64,
}

/// Of whom something is read, beside what is in the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) names: &'a Names,
    /// What was archived; `None` where nobody has said.
    pub(crate) archive: Option<&'a Archive>,
}

/// Why archived events are not read any further.
enum Stop {
    Full,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Since<'_> {
    fn first(&self) -> i64 {
        let first = self.devices.iter().map(|[_, from]| *from).min();
        first.unwrap_or(i64::MAX)
    }

    fn columns(&self) -> Columns {
        self.columns.with_source().with_subject(self.kind.spec())
    }

    /// The statement that reads what of it is in the table.
    fn selected(&self, backend: DbBackend) -> Sql {
        let columns = rows::columns(self.kind.spec(), Reading::Reported, self.columns());
        let mut sql = Sql::new(format!("SELECT {columns} FROM "));
        self.devices(&mut sql, backend);
        self.joined(&mut sql, backend);
        sql
    }

    /// Adds the devices as a table `v`, filled up so that few texts of statements serve all numbers of them.
    fn devices(&self, sql: &mut Sql, backend: DbBackend) {
        let mut devices = self.devices.to_vec();
        devices.resize(on_grid(devices.len()), [0, i64::MAX]);
        sql.rows_of(backend, &devices);
    }

    /// Adds the conditions on the events `t` of the devices `v`.
    fn joined(&self, sql: &mut Sql, backend: DbBackend) {
        let spec = self.kind.spec();
        let device = device_of(spec).unwrap_or_default();
        // on SQLite the order of the two is as it is said here
        sql.push(if backend == DbBackend::Postgres {
            " JOIN "
        } else {
            " CROSS JOIN "
        });
        let table = spec.table;
        sql.push(&format!(
            "{table} t ON {device} = v.column1 AND t.occurred_at >= v.column2"
        ));
        sql.push(" WHERE t.occurred_at < ").bind(self.until);
        if backend == DbBackend::Postgres {
            // it picks its partitions by that; SQLite would begin there with each device
            sql.push(" AND t.occurred_at >= ").bind(self.first());
        }
        if self.upto < i64::MAX {
            sql.push(" AND t.position <= ").bind(self.upto);
        }
    }
}

/// Those events, in no order, each with the id of its device; `None` if they are more than so many.
pub(crate) fn happened<'a>(
    tx: &'a DatabaseTransaction,
    sources: Sources<'a>,
    asked: (Since<'a>, usize),
) -> BoxFuture<'a, Result<Option<Vec<Event>>, StoreError>> {
    Box::pin(read(tx, sources, asked))
}

async fn read(
    tx: &DatabaseTransaction,
    sources: Sources<'_>,
    (since, max): (Since<'_>, usize),
) -> Result<Option<Vec<Event>>, StoreError> {
    if since.devices.is_empty() || since.first() >= since.until {
        return Ok(Some(Vec::new()));
    }
    let mut sql = since.selected(tx.get_database_backend());
    if let Some(limit) = max.checked_add(1) {
        // were it bound, SQLite would prepare the statement anew each time it is run
        sql.push(&format!(" LIMIT {limit}"));
    }
    let allowance = Allowance::of(usize::MAX);
    let kind = (since.kind, since.columns());
    let mut events = rows::read(tx, sources.names, kind, (sql, &allowance)).await?;
    if events.len() > max {
        return Ok(None);
    }
    let is_whole = archived(tx, sources, (since, max), &mut events).await?;
    Ok(is_whole.then_some(events))
}

/// Adds what was archived; whether there was room for it.
async fn archived(
    tx: &DatabaseTransaction,
    sources: Sources<'_>,
    (since, max): (Since<'_>, usize),
    events: &mut Vec<Event>,
) -> Result<bool, StoreError> {
    let Some(archive) = sources.archive else {
        return Ok(true);
    };
    let each = |event: &Event| {
        events.push(event.clone());
        if events.len() > max {
            Err(Stop::Full)
        } else {
            Ok(())
        }
    };
    match each_archived(tx, archive, since, each).await {
        Ok(()) => {}
        Err(Stop::Full) => return Ok(false),
        Err(Stop::Failed(error)) => return Err(error),
    }
    let keys = since.devices.iter().map(|[key, _]| *key);
    let nameless = |key: &i64| sources.names.id(*key).is_none();
    let unknown: Vec<i64> = keys.filter(nameless).collect();
    sources.names.look_up_keys(tx, &unknown).await?;
    for cell in events.iter_mut().flat_map(|event| &mut event.fact.cells) {
        if let Cell::Reference(Reference { key, id }) = cell
            && id.is_empty()
        {
            *cell = sources.names.reference(*key);
        }
    }
    Ok(true)
}

/// Hands over what was archived of them.
async fn each_archived<E: From<StoreError>>(
    tx: &DatabaseTransaction,
    archive: &Archive,
    since: Since<'_>,
    mut each: impl FnMut(&Event) -> Result<(), E> + Send,
) -> Result<(), E> {
    let spec = since.kind.spec();
    let Some(device) = spec.device_index() else {
        return Ok(());
    };
    let keys: Vec<i64> = since.devices.iter().map(|[key, _]| *key).collect();
    let from = since.devices.iter().map(|[key, from]| (*key, *from));
    let from: HashMap<i64, i64> = from.collect();
    let fields: Vec<usize> = since.columns().fields(spec).collect();
    let happened = Happened {
        kind: since.kind,
        devices: Some(&keys),
        time: (since.first(), since.until),
        upto: since.upto,
        fields: &fields,
        has_source: true,
    };
    let each = |event: &Event| {
        let key = event.fact.cells.get(device).and_then(Cell::int);
        let from = key.and_then(|key| from.get(&key));
        if from.is_some_and(|from| event.fact.occurred_at.0 >= *from) {
            each(event)
        } else {
            Ok(())
        }
    };
    let generation = archive.generation(tx).await?;
    archive.each(tx, (generation, happened), each).await
}

/// Who is handed events one by one, as they are read: they are not held all at once. Of what they speak of, the keys
/// are known, and not always the ids.
pub(crate) type Each<'a> = &'a mut (dyn FnMut(&Event) -> Result<(), StoreError> + Send);

/// Hands those events over, in no order, however many they are.
pub(crate) fn each_since<'a>(
    tx: &'a DatabaseTransaction,
    sources: Sources<'a>,
    since: Since<'a>,
    each: Each<'a>,
) -> BoxFuture<'a, Result<(), StoreError>> {
    Box::pin(async move {
        if since.devices.is_empty() || since.first() >= since.until {
            return Ok(());
        }
        let sql = since.selected(tx.get_database_backend());
        let kind = (since.kind, since.columns());
        rows::each(tx, sources.names, kind, (sql, &mut *each)).await?;
        let Some(archive) = sources.archive else {
            return Ok(());
        };
        each_archived(tx, archive, since, |event: &Event| each(event)).await
    })
}

/// Hands over the events of a kind that happened to whatever devices from an instant until before another, in no
/// order, however many they are.
pub(crate) fn each_of_all<'a>(
    tx: &'a DatabaseTransaction,
    sources: Sources<'a>,
    (kind, columns, time): (Kind, Columns, (i64, i64)),
    each: Each<'a>,
) -> BoxFuture<'a, Result<(), StoreError>> {
    let columns = columns.with_source().with_subject(kind.spec());
    let selected = rows::columns(kind.spec(), Reading::Reported, columns);
    let table = kind.spec().table;
    let mut sql = Sql::new(format!("SELECT {selected} FROM {table} t WHERE "));
    sql.push("t.occurred_at >= ").bind(time.0);
    sql.push(" AND t.occurred_at < ").bind(time.1);
    Box::pin(async move {
        if time.0 >= time.1 {
            return Ok(());
        }
        let of_kind = (kind, columns);
        rows::each(tx, sources.names, of_kind, (sql, &mut *each)).await?;
        let Some(archive) = sources.archive else {
            return Ok(());
        };
        let fields: Vec<usize> = columns.fields(kind.spec()).collect();
        let happened = Happened {
            kind,
            devices: None,
            time,
            upto: i64::MAX,
            fields: &fields,
            has_source: true,
        };
        let generation = archive.generation(tx).await?;
        let each = |event: &Event| each(event);
        archive.each(tx, (generation, happened), each).await
    })
}

/// When the next event of some kinds happened to each of some devices, from an instant of its own on and before
/// another, recorded up to a position: `None` where there is none. What was archived is known by the times of its
/// segments alone, so that it may be that nothing happened then.
pub(crate) fn next_of<'a>(
    tx: &'a DatabaseTransaction,
    archive: Option<&'a Archive>,
    asked: (&'a [Kind], Since<'a>),
) -> BoxFuture<'a, Result<Vec<Option<i64>>, StoreError>> {
    Box::pin(next(tx, archive, asked))
}

async fn next(
    tx: &DatabaseTransaction,
    archive: Option<&Archive>,
    (kinds, since): (&[Kind], Since<'_>),
) -> Result<Vec<Option<i64>>, StoreError> {
    let archived = match archive {
        Some(archive) => archive.times(tx, kinds).await?,
        None => Vec::new(),
    };
    let after = |from: i64| {
        let later = archived.iter().filter(move |(_, last)| *last >= from);
        later.map(move |(first, _)| (*first).max(from)).min()
    };
    let mut next: Vec<Option<i64>> = since
        .devices
        .iter()
        .map(|[_, from]| after(*from).filter(|at| *at < since.until))
        .collect();
    if since.devices.is_empty() {
        return Ok(next);
    }
    let backend = tx.get_database_backend();
    let mut sql = Sql::new("SELECT v.column1");
    for kind in kinds {
        let spec = kind.spec();
        let (table, device) = (spec.table, device_of(spec).unwrap_or_default());
        sql.push(&format!(
            ", (SELECT t.occurred_at FROM {table} t WHERE {device} = v.column1 \
             AND t.occurred_at >= v.column2 AND t.occurred_at < "
        ));
        sql.bind(since.until)
            .push(" AND t.position <= ")
            .bind(since.upto);
        sql.push(" ORDER BY t.occurred_at LIMIT 1)");
    }
    sql.push(" FROM ");
    since.devices(&mut sql, backend);
    for row in tx.query_all_raw(sql.statement(backend)).await.doing(READ)? {
        let key: i64 = row.try_get_by_index(0).doing(READ)?;
        let mut of_device = since.devices.iter().zip(&mut next);
        let Some((_, next)) = of_device.find(|([of, _], _)| *of == key) else {
            continue;
        };
        for index in 1..=kinds.len() {
            let at: Option<i64> = row.try_get_by_index(index).doing(READ)?;
            *next = [*next, at].into_iter().flatten().min();
        }
    }
    Ok(next)
}

/// Which events of a kind of which all stay in its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) kind: Kind,
    /// A column, and the keys of which it has one; `None` for all events.
    pub(crate) of: Option<(&'a str, &'a [i64])>,
    /// After a position and up to another.
    pub(crate) after: i64,
    pub(crate) upto: i64,
}

/// Those events, whole, in no order.
pub(crate) fn all_said<'a>(
    db: &'a DatabaseTransaction,
    names: &'a Names,
    said: Said<'a>,
) -> BoxFuture<'a, Result<Vec<Event>, StoreError>> {
    let mut sql = Sql::new(rows::select(said.kind.spec(), Reading::Reported));
    sql.push(" WHERE t.position > ").bind(said.after);
    sql.push(" AND t.position <= ").bind(said.upto);
    if let Some((column, keys)) = said.of {
        sql.push(" AND ")
            .among(&format!("t.{column}"), List::Int(keys.to_vec()));
    }
    Box::pin(async move {
        let allowance = Allowance::of(usize::MAX);
        let kind = (said.kind, Columns::ALL);
        rows::read(db, names, kind, (sql, &allowance)).await
    })
}
