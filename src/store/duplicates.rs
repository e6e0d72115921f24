//! Finds out which events of a batch the log already has, inside the append transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use super::allowance::Allowance;
use super::error::{Doing, StoreError};
use super::lists::List;
use super::nameless;
use super::names::Names;
use super::open::HELD_WITHIN;
use super::rows::{self, Columns, Reading};
use super::schema;
use super::segments::erased_fields;
use super::sql::{Sql, on_grid};
use crate::event::{Cell, Event, Fact, Instant, NewEvent, Position};
use crate::kinds::masked::masked;
use crate::kinds::{Identity, Kind};

/// Keys at most in one statement.
const KEYS_MAX: usize = 512;

/// The key under which an event is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Its id.
    Id(Uuid),
    /// Its device, its instant, and which part of a reading it is.
    Natural(Kind, [i64; 3]),
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
            Some(natural(fact, device))
        }
    }
}

fn natural(fact: &Fact, device: i64) -> Key {
    let part = fact.spec().part_index();
    let part = part.and_then(|index| fact.cells.get(index)?.int());
    Key::Natural(fact.kind, [device, fact.occurred_at.0, part.unwrap_or(0)])
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
            Some(natural(fact, device))
        }
    }
}

fn device_of(fact: &Fact) -> Option<&Cell> {
    let index = fact.spec().device_index()?;
    fact.cells.get(index)
}

/// Whether an event says the same as one that is stored. An instant that the source left out is
/// stamped anew on every try and does not count, nor does the id of an event with a natural key. What
/// its kind fills in by now of what a source leaves out is filled in for the comparison, since the one
/// that is stored may be of a time when it was not. What is secret in it is the same as the mask that is shown of it.
/// What is personal in it and was erased is not compared, and all else is.
pub(crate) fn says_the_same(stored: &Fact, new: &NewEvent) -> bool {
    let erased = erased_fields(stored);
    if is_said_alike((stored, erased), new) {
        return true;
    }
    let mut filled_in = stored.clone();
    (stored.spec().finish)(&mut filled_in).is_ok()
        && filled_in != *stored
        && is_said_alike((&filled_in, erased), new)
}

fn is_said_alike((stored, erased): (&Fact, &[&str]), new: &NewEvent) -> bool {
    let fact = &new.fact;
    let cells = stored.cells.iter().zip(&fact.cells);
    let mut compared = stored.spec().fields.iter().zip(cells);
    stored.kind == fact.kind
        && stored.provenance == fact.provenance
        && (stored.occurred_at == fact.occurred_at || !new.occurred_at_given)
        && (!erased.is_empty() || same(&stored.extra, &fact.extra))
        && stored.cells.len() == fact.cells.len()
        && compared.all(|(field, (left, right))| erased.contains(&field.name) || same(left, right))
}

fn same(left: &Cell, right: &Cell) -> bool {
    match (left, right) {
        (Cell::Reference(left), Cell::Reference(right)) => left.id == right.id,
        (Cell::Json(left), Cell::Json(right)) => {
            same_json(left, right) || same_json(&masked(left), right)
        }
        // null, where something may be left out, says no more than that it is
        (Cell::Json(json), Cell::Null) | (Cell::Null, Cell::Json(json)) => json.is_null(),
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

/// A look at the head of the log and for repeats. On PostgreSQL the head is locked first, until the
/// transaction ends, so that what another node has just registered or appended is seen. On SQLite
/// the transaction itself is the lock, and one statement looks at both.
pub(crate) struct Look<'t> {
    tx: &'t DatabaseTransaction,
    head: Option<(Position, Instant)>,
    /// The generation of the list of segments.
    generation: i64,
    /// Positions of events that have one of the keys, with their ids where these are the keys.
    places: HashMap<Kind, Vec<(i64, Option<Uuid>)>>,
}

/// Bytes at most of stored events that are read at once.
pub(crate) const STORED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A stored event; without its values if it is larger than all new ones of its key and says something
/// else: then that it differs is all there is to know of it.
fn unless_it_differs(mut stored: Event, news: &[&NewEvent]) -> Event {
    let bytes = stored.fact.weight_bytes();
    let is_larger = news.iter().all(|new| bytes > new.fact.weight_bytes());
    if is_larger && !news.iter().any(|new| says_the_same(&stored.fact, new)) {
        stored.fact.cells = Box::default();
        stored.fact.extra = Cell::Null;
    }
    stored
}

/// A stored event under its key: one without any of its own under that by which its log knows it again.
pub(crate) fn keyed(
    event: Event,
    (log, news): (Uuid, &HashMap<Key, Vec<&NewEvent>>),
) -> Option<(Key, Event)> {
    let given = || nameless::id_of(log, &event).map(Key::Id);
    let key = key_of(&event.fact).or_else(given)?;
    let event = unless_it_differs(event, news.get(&key)?);
    Some((key, event))
}

/// New events by the keys under which they may be known, as far as the keys of their devices are.
pub(crate) fn news_of<'n>(
    events: impl Iterator<Item = &'n NewEvent>,
    device_key: impl Fn(&Arc<str>) -> Option<i64>,
) -> HashMap<Key, Vec<&'n NewEvent>> {
    let mut news: HashMap<Key, Vec<&NewEvent>> = HashMap::new();
    for new in events {
        if let Some(key) = key_with(&new.fact, &device_key) {
            news.entry(key).or_default().push(new);
        }
    }
    news
}

/// What the log has under some keys, as far as its tables tell.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The events that are in the tables.
    pub(crate) events: HashMap<Key, Event>,
    /// The ids whose events are in no table, or may not be in any, with their kinds and positions.
    pub(crate) elsewhere: HashMap<Uuid, (Kind, i64)>,
}

/// Marks the row of the head among those of repeats, whose third column is 1.
const HEAD: i64 = 0;

impl<'t> Look<'t> {
    /// Begins, with the head locked.
    pub(crate) async fn begin(tx: &'t DatabaseTransaction) -> Result<Self, StoreError> {
        let (head, generation) = if tx.get_database_backend() == DbBackend::Postgres {
            let (head, generation) = lock_head(tx).await?;
            (Some(head), generation)
        } else {
            (None, 0)
        };
        let places = HashMap::new();
        Ok(Self {
            tx,
            head,
            generation,
            places,
        })
    }

    /// The head, and when the last events were recorded.
    pub(crate) async fn head(&mut self) -> Result<(Position, Instant), StoreError> {
        if self.head.is_none() {
            self.look(&[]).await?;
        }
        self.head.ok_or(StoreError::Row {
            table: "log_head",
            column: "position",
        })
    }

    /// The generation of the list of segments, once it was looked at the head.
    pub(crate) const fn generation(&self) -> i64 {
        self.generation
    }

    /// What the log has under the keys of new events.
    pub(crate) async fn stored(
        &mut self,
        (names, log): (&Names, Uuid),
        news: &HashMap<Key, Vec<&NewEvent>>,
    ) -> Result<Stored, StoreError> {
        let keys: Vec<Key> = news.keys().cloned().collect();
        for keys in keys.chunks(KEYS_MAX) {
            self.look(keys).await?;
        }
        self.add_nameless(log, &keys);
        let mut stored = Stored::default();
        for (kind, places) in std::mem::take(&mut self.places) {
            let positions: Vec<i64> = places.iter().map(|(position, _)| *position).collect();
            let mut found = HashSet::with_capacity(positions.len());
            let mut parts: Vec<&[i64]> = positions.chunks(KEYS_MAX).collect();
            while let Some(part) = parts.pop() {
                match self.read(names, kind, part).await {
                    Err(StoreError::TooLarge { .. }) => {
                        let (left, right) = part.split_at(part.len() / 2);
                        parts.extend([left, right]);
                    }
                    read => {
                        let read = read?;
                        found.extend(read.iter().map(|event| event.position.0));
                        let read = read.into_iter();
                        stored
                            .events
                            .extend(read.filter_map(|event| keyed(event, (log, news))));
                    }
                }
            }
            let gone = places.into_iter().filter(|(p, _)| !found.contains(p));
            let elsewhere = gone.filter_map(|(position, id)| Some((id?, (kind, position))));
            stored.elsewhere.extend(elsewhere);
        }
        Ok(stored)
    }

    /// Adds where events may stand that were recorded without an id, of those keys that are not found and by which the
    /// log knows such events again.
    fn add_nameless(&mut self, log: Uuid, keys: &[Key]) {
        let head = self.head.map_or(Position::START, |(head, _)| head);
        let places = ids_of(keys).into_iter().filter_map(|id| {
            let (kind, position) = nameless::place_of(log, id)?;
            (position <= head).then_some((kind, position.0, id))
        });
        let places: Vec<(Kind, i64, Uuid)> = places.collect();
        if places.is_empty() {
            return;
        }
        let found = self.places.values().flatten();
        let found: HashSet<Uuid> = found.filter_map(|(_, id)| *id).collect();
        for (kind, position, id) in places.into_iter().filter(|(.., id)| !found.contains(id)) {
            let places = self.places.entry(kind).or_default();
            places.push((position, Some(id)));
        }
    }

    /// The events at some positions, unless they are many and large.
    async fn read(
        &self,
        names: &Names,
        kind: Kind,
        positions: &[i64],
    ) -> Result<Vec<Event>, StoreError> {
        let bytes_max = if positions.len() > 1 {
            STORED_BYTES_MAX
        } else {
            usize::MAX
        };
        let mut sql = Sql::new(rows::select(kind.spec(), Reading::Reported));
        sql.push(" WHERE ");
        sql.among("t.position", List::Int(positions.to_vec()));
        let kind = (kind, Columns::ALL);
        rows::read(self.tx, names, kind, (sql, &Allowance::of(bytes_max))).await
    }

    /// Looks for some keys, and at the head unless that was seen.
    async fn look(&mut self, keys: &[Key]) -> Result<(), StoreError> {
        let backend = self.tx.get_database_backend();
        let mut sql = Sql::new("");
        let mut join = "";
        if self.head.is_none() {
            sql.push(
                "SELECT position, recorded_at, 0, segments, CAST(NULL AS UUID), schema \
                 FROM log_head WHERE id = 1",
            );
            join = " UNION ALL ";
        }
        let ids = padded(ids_of(keys));
        if !ids.is_empty() {
            sql.push(join).push(
                "SELECT position, kind, 1, NULL, event_id, NULL FROM event_keys \
                 WHERE event_id IN ",
            );
            sql.bind_list(ids.into_iter().map(Value::from));
            join = " UNION ALL ";
        }
        for kind in Kind::all().filter(|k| k.spec().identity == Identity::DeviceAndTime) {
            let naturals = padded(naturals_of(keys, kind));
            if !naturals.is_empty() {
                push_naturals(sql.push(join), backend, kind, &naturals);
                join = " UNION ALL ";
            }
        }
        if join.is_empty() {
            return Ok(());
        }
        let found = self.tx.query_all_raw(sql.statement(backend)).await;
        for row in found.doing("look for repeats")? {
            let number = |index| row.try_get_by_index::<i64>(index).doing("read a repeat");
            if i64::from(row.try_get_by_index::<i32>(2).doing("read a repeat")?) == HEAD {
                self.head = Some((Position(number(0)?), Instant(number(1)?)));
                self.generation = number(3)?;
                schema::check(number(5)?)?;
                continue;
            }
            let kind = Kind::of_code(number(1)?).ok_or(StoreError::Row {
                table: "event_keys",
                column: "kind",
            })?;
            let id = row.try_get_by_index(4).doing("read a repeat")?;
            let places = self.places.entry(kind).or_default();
            places.push((number(0)?, id));
        }
        Ok(())
    }
}

/// Fills a list up to a size of the grid by repeating its last item, so that few texts of
/// statements serve all sizes.
pub(super) fn padded<T: Clone>(mut items: Vec<T>) -> Vec<T> {
    if let Some(last) = items.last().cloned() {
        items.resize(on_grid(items.len()), last);
    }
    items
}

fn ids_of(keys: &[Key]) -> Vec<Uuid> {
    let id = |key: &Key| match key {
        Key::Id(id) => Some(*id),
        Key::Natural(..) => None,
    };
    keys.iter().filter_map(id).collect()
}

fn naturals_of(keys: &[Key], kind: Kind) -> Vec<[i64; 3]> {
    let natural = |key: &Key| match key {
        Key::Natural(of, natural) if *of == kind => Some(*natural),
        Key::Natural(..) | Key::Id(_) => None,
    };
    keys.iter().filter_map(natural).collect()
}

fn push_naturals(sql: &mut Sql, backend: DbBackend, kind: Kind, naturals: &[[i64; 3]]) {
    let (table, code) = (kind.spec().table, kind.code());
    sql.push(&format!(
        "SELECT m.position, CAST({code} AS BIGINT), 1, NULL, CAST(NULL AS UUID), NULL FROM "
    ));
    sql.rows_of(backend, naturals);
    // in this order: by the key, once for each
    sql.push(if backend == DbBackend::Postgres {
        " JOIN "
    } else {
        " CROSS JOIN "
    });
    sql.push(table).push(
        " m ON m.device_key = v.column1 AND m.occurred_at = v.column2 AND m.part = v.column3",
    );
}

async fn lock_head(tx: &DatabaseTransaction) -> Result<((Position, Instant), i64), StoreError> {
    let sql = Sql::new(format!(
        "SELECT position, recorded_at, segments, schema, {HELD_WITHIN} FROM log_head WHERE id = 1 \
         FOR UPDATE"
    ));
    let statement = sql.statement(tx.get_database_backend());
    let row = tx
        .query_one_raw(statement)
        .await
        .doing("lock the head of the log")?;
    let row = row.ok_or(StoreError::Row {
        table: "log_head",
        column: "position",
    })?;
    schema::check(row.try_get_by_index(3).doing("read the head")?)?;
    let head = (
        Position(row.try_get_by_index(0).doing("read the head")?),
        Instant(row.try_get_by_index(1).doing("read the head")?),
    );
    Ok((head, row.try_get_by_index(2).doing("read the head")?))
}
