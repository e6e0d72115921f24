//! Finds out which events of a batch the log already has, inside the append transaction.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use super::error::{Doing, StoreError};
use super::names::Names;
use super::rows::{self, Reading};
use super::sql::Sql;
use crate::event::{Cell, Event, Fact, NewEvent, Position};
use crate::kinds::{Identity, Kind};

/// Keys at most in one statement.
const KEYS_MAX: usize = 512;

/// The key under which an event is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Its id.
    Id(Uuid),
    /// Its device and instant.
    Natural(Kind, i64, i64),
}

/// Whether the id of an event is its key.
pub(crate) fn is_keyed_by_id(fact: &Fact) -> bool {
    fact.event_id.is_some() && fact.spec().identity == Identity::EventId
}

/// The key of an event whose references are resolved; `None` when it is stored at least once.
pub(crate) fn key_of(fact: &Fact) -> Option<Key> {
    match fact.spec().identity {
        Identity::EventId => fact.event_id.map(Key::Id),
        Identity::DeviceAndTime => {
            let device = device_of(fact).and_then(Cell::int)?;
            Some(Key::Natural(fact.kind, device, fact.occurred_at.0))
        }
    }
}

/// The key of an event whose device is yet to be looked up; `None` also when it is not known.
pub(crate) fn key_with(fact: &Fact, device_key: impl Fn(&Arc<str>) -> Option<i64>) -> Option<Key> {
    match fact.spec().identity {
        Identity::EventId => fact.event_id.map(Key::Id),
        Identity::DeviceAndTime => {
            let Cell::Reference(device) = device_of(fact)? else {
                return None;
            };
            let device = device_key(&device.id)?;
            Some(Key::Natural(fact.kind, device, fact.occurred_at.0))
        }
    }
}

fn device_of(fact: &Fact) -> Option<&Cell> {
    let index = fact.spec().device_index()?;
    fact.cells.get(index)
}

/// Whether an event says the same as one that is stored. An instant that the source left out is
/// stamped anew on every try and does not count, nor does the id of an event with a natural key.
pub(crate) fn says_the_same(stored: &Fact, new: &NewEvent) -> bool {
    let fact = &new.fact;
    stored.kind == fact.kind
        && stored.provenance == fact.provenance
        && (stored.occurred_at == fact.occurred_at || !new.occurred_at_given)
        && same(&stored.extra, &fact.extra)
        && stored.cells.len() == fact.cells.len()
        && stored
            .cells
            .iter()
            .zip(&fact.cells)
            .all(|(left, right)| same(left, right))
}

fn same(left: &Cell, right: &Cell) -> bool {
    match (left, right) {
        (Cell::Reference(left), Cell::Reference(right)) => left.id == right.id,
        (Cell::Json(left), Cell::Json(right)) => same_json(left, right),
        (left, right) => left == right,
    }
}

/// JSON is compared as values: neither the order of keys counts, nor how a number is written.
fn same_json(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            left == right || (left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64()
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same_json(l, r))
        }
        (Json::Object(left), Json::Object(right)) => {
            let same = |(key, left): (&String, &Json)| {
                right.get(key).is_some_and(|right| same_json(left, right))
            };
            left.len() == right.len() && left.iter().all(same)
        }
        (left, right) => left == right,
    }
}

/// The events of the log that have one of these keys.
pub(crate) async fn stored(
    tx: &DatabaseTransaction,
    names: &Names,
    keys: &[Key],
) -> Result<HashMap<Key, Event>, StoreError> {
    let mut places: HashMap<Kind, Vec<Place>> = HashMap::new();
    for keys in keys.chunks(KEYS_MAX) {
        by_id(tx, keys, &mut places).await?;
        for kind in Kind::all().filter(|k| k.spec().identity == Identity::DeviceAndTime) {
            by_device_and_time(tx, kind, keys, &mut places).await?;
        }
    }
    let mut found = HashMap::new();
    for (kind, places) in places {
        for places in places.chunks(KEYS_MAX) {
            let mut sql = Sql::new(rows::select(kind.spec(), Reading::Reported));
            let positions = places.iter().map(|place| place.position.0).collect();
            let positions = padded(positions).into_iter().map(Value::from);
            sql.push(" WHERE t.position IN ").bind_list(positions);
            for event in rows::read(tx, names, kind, sql).await? {
                found.extend(key_of(&event.fact).map(|key| (key, event)));
            }
        }
    }
    Ok(found)
}

/// Where an event is.
struct Place {
    position: Position,
}

/// Fills a list up to the next power of two by repeating its last item, so that few texts of
/// statements serve all sizes.
fn padded<T: Clone>(mut items: Vec<T>) -> Vec<T> {
    if let Some(last) = items.last().cloned() {
        items.resize(items.len().next_power_of_two(), last);
    }
    items
}

async fn by_id(
    tx: &DatabaseTransaction,
    keys: &[Key],
    places: &mut HashMap<Kind, Vec<Place>>,
) -> Result<(), StoreError> {
    let ids = keys.iter().filter_map(|key| match key {
        Key::Id(id) => Some(*id),
        Key::Natural(..) => None,
    });
    let ids = padded(ids.collect());
    if ids.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new("SELECT position, kind FROM event_keys WHERE event_id IN ");
    sql.bind_list(ids.into_iter().map(Value::from));
    let statement = sql.statement(tx.get_database_backend());
    for row in tx
        .query_all_raw(statement)
        .await
        .doing("look up event ids")?
    {
        let position = row.try_get_by_index(0).doing("read an event id")?;
        let code = row.try_get_by_index(1).doing("read an event id")?;
        let row_of = StoreError::Row {
            table: "event_keys",
            column: "kind",
        };
        let kind = Kind::of_code(code).ok_or(row_of)?;
        places.entry(kind).or_default().push(Place {
            position: Position(position),
        });
    }
    Ok(())
}

async fn by_device_and_time(
    tx: &DatabaseTransaction,
    kind: Kind,
    keys: &[Key],
    places: &mut HashMap<Kind, Vec<Place>>,
) -> Result<(), StoreError> {
    let pairs = keys.iter().filter_map(|key| match key {
        Key::Natural(of, device, at) if *of == kind => Some((*device, *at)),
        Key::Natural(..) | Key::Id(_) => None,
    });
    let pairs = padded(pairs.collect());
    if pairs.is_empty() {
        return Ok(());
    }
    let statement = pairs_sql(tx.get_database_backend(), kind, &pairs);
    for row in tx
        .query_all_raw(statement)
        .await
        .doing("look up natural keys")?
    {
        let position = row.try_get_by_index(0).doing("read a natural key")?;
        places.entry(kind).or_default().push(Place {
            position: Position(position),
        });
    }
    Ok(())
}

fn pairs_sql(backend: DbBackend, kind: Kind, pairs: &[(i64, i64)]) -> sea_orm::Statement {
    let table = kind.spec().table;
    let mut sql = Sql::new("");
    if backend == DbBackend::Postgres {
        let array = |values: Vec<Value>| Value::Array(ArrayType::BigInt, Some(Box::new(values)));
        sql.push("SELECT m.position FROM UNNEST(");
        sql.bind(array(
            pairs
                .iter()
                .map(|(device, _)| Value::from(*device))
                .collect(),
        ))
        .push(", ");
        sql.bind(array(
            pairs.iter().map(|(_, at)| Value::from(*at)).collect(),
        ));
        sql.push(") AS v(d, o) JOIN ");
    } else {
        sql.push("WITH v(d, o) AS (VALUES ");
        for (ordinal, (device, at)) in pairs.iter().enumerate() {
            sql.push(if ordinal > 0 { ", (" } else { "(" });
            sql.bind(*device).push(", ").bind(*at).push(")");
        }
        sql.push(") SELECT m.position FROM v CROSS JOIN ");
    }
    sql.push(table)
        .push(" m ON m.device_key = v.d AND m.occurred_at = v.o AND m.part = 0");
    sql.statement(backend)
}
