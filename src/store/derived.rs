//! What is derived for the events of a kind: the value that a field had in the event before, of the same device, in
//! order of time. It is looked for in the table that this field of each event is folded into, and which keeps it of
//! those too that were archived or deleted for good. So no file is read for it, be it inside an append.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult};

use super::Store;
use super::duplicates::padded;
use super::error::{Doing, StoreError};
use super::read::{Place, Scope};
use super::rows::{Columns, Reading};
use super::sql::{Sql, device_of};
use crate::event::{Cell, Event, Instant, Position};
use crate::kinds::{Derived, Kind, Spec};

/// Rows at most that are looked for in one statement.
const ROWS_MAX: usize = 1_000;
const DOING: &str = "read what is derived";

/// The device of an event, when it happened, and its position.
pub(crate) type Row = [i64; 3];

/// The value of a derived field, for an event of the table of its kind as `t`.
pub(crate) fn value(spec: &Spec, derived: &Derived, reading: Reading) -> String {
    let device = device_of(spec).unwrap_or_default();
    before(derived, [&device, "t.occurred_at", "t.position"], reading)
}

/// The value in the event before one, which is given by its device, time and position.
fn before(derived: &Derived, [device, at, position]: [&str; 3], reading: Reading) -> String {
    let table = derived.table;
    let known = if reading == Reading::AsAppended {
        format!(" AND p.position < {position}")
    } else {
        String::new()
    };
    format!(
        "(SELECT p.state FROM {table} p WHERE p.device_key = {device} \
         AND (p.occurred_at, p.position) < ({at}, {position}){known} \
         ORDER BY p.occurred_at DESC, p.position DESC LIMIT 1)"
    )
}

/// What is derived, as of the moment of their append, for the events from a position on.
pub(crate) async fn appended(
    db: &impl ConnectionTrait,
    spec: &Spec,
    derived: &Derived,
    first: Position,
) -> Result<HashMap<Position, Cell>, StoreError> {
    let value = value(spec, derived, Reading::AsAppended);
    let table = spec.table;
    let mut sql = Sql::new(format!("SELECT t.position, {value} FROM {table} t"));
    sql.push(" WHERE t.position >= ").bind(first.0);
    values(db, sql).await
}

async fn values(
    db: &impl ConnectionTrait,
    sql: Sql,
) -> Result<HashMap<Position, Cell>, StoreError> {
    let rows = db.query_all_raw(sql.statement(db.get_database_backend()));
    let rows = rows.await.doing(DOING)?;
    let read = |row: &QueryResult| {
        let position: i64 = row.try_get_by_index(0).doing(DOING)?;
        let value: Option<String> = row.try_get_by_index(1).doing(DOING)?;
        Ok((Position(position), Cell::from(value.as_deref())))
    };
    rows.iter().map(read).collect()
}

/// The columns that must be read of events of a kind in segments, to derive what is asked for.
pub(super) fn needed(spec: &Spec, columns: Columns) -> Columns {
    let device = spec
        .device_index()
        .filter(|_| derived_field(spec, columns).is_some());
    device.map_or(columns, |device| columns.with(device))
}

/// What is derived of what is asked for, and the index of its field.
fn derived_field(spec: &Spec, columns: Columns) -> Option<(&Derived, usize)> {
    let derived = spec.derived.as_ref()?;
    let index = spec.index_of(derived.field)?;
    columns
        .has_field(index, spec.fields.get(index)?)
        .then_some((derived, index))
}

/// Puts what is derived into events that were read of segments with the columns that are needed for it.
pub(super) async fn fill(
    db: &impl ConnectionTrait,
    (kind, columns): (Kind, Columns),
    (events, reading): (&mut [Event], Reading),
) -> Result<(), StoreError> {
    let (spec, backend) = (kind.spec(), db.get_database_backend());
    let Some((derived, index)) = derived_field(spec, columns) else {
        return Ok(());
    };
    for events in events.chunks_mut(ROWS_MAX) {
        let rows: Vec<Row> = events.iter().filter_map(row_of).collect();
        if reading != Reading::Reported && !rows.is_empty() {
            let value = before(derived, V, reading);
            let mut sql = Sql::new(format!("SELECT v.column3, {value} FROM "));
            sql.rows_of(backend, &padded(rows));
            let mut values = values(db, sql).await?;
            for event in events.iter_mut() {
                let value = values.remove(&event.position);
                set(event, index, value.unwrap_or_default());
            }
        }
        forget_device(spec, columns, events);
    }
    Ok(())
}

/// Takes the device out of events where it was read only to look for those before.
fn forget_device(spec: &Spec, columns: Columns, events: &mut [Event]) {
    let device = spec.device_index().filter(|index| {
        let field = spec.fields.get(*index);
        field.is_some_and(|field| !columns.has_field(*index, field))
    });
    for event in events {
        if let Some(device) = device {
            set(event, device, Cell::Null);
        }
    }
}

/// The columns of rows that are given to a statement.
const V: [&str; 3] = ["v.column1", "v.column2", "v.column3"];

fn row_of(event: &Event) -> Option<Row> {
    let device = event.fact.spec().device_index()?;
    let device = event.fact.cells.get(device)?.int()?;
    Some([device, event.fact.occurred_at.0, event.position.0])
}

fn set(event: &mut Event, index: usize, value: Cell) {
    if let Some(cell) = event.fact.cells.get_mut(index) {
        *cell = value;
    }
}

/// The positions of those of some events that are not like the one before.
pub(super) async fn changes(
    db: &impl ConnectionTrait,
    spec: &Spec,
    rows: &[Row],
) -> Result<HashSet<i64>, StoreError> {
    let mut changes = HashSet::new();
    let Some(derived) = &spec.derived else {
        return Ok(changes);
    };
    let (table, before) = (derived.table, before(derived, V, Reading::Whole));
    let [device, at, position] = V;
    for rows in rows.chunks(ROWS_MAX) {
        let mut sql = Sql::new("SELECT v.column3 FROM ");
        sql.rows_of(db.get_database_backend(), &padded(rows.to_vec()));
        sql.push(&format!(
            " WHERE (SELECT s.state FROM {table} s WHERE s.device_key = {device} \
             AND s.occurred_at = {at} AND s.position = {position}) IS DISTINCT FROM {before}"
        ));
        let found = db.query_all_raw(sql.statement(db.get_database_backend()));
        for row in found.await.doing(DOING)? {
            changes.insert(row.try_get_by_index(0).doing(DOING)?);
        }
    }
    Ok(changes)
}

/// What an event said that is folded into such a table, be it archived or deleted for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Where the event stands, or stood.
    pub place: Place,
    /// The value of its field.
    pub state: String,
}

impl Store {
    /// What the newest events of a kind said of each of some devices, by their keys, the newest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) async fn newest_stated(
        &self,
        (kind, scope): (Kind, Scope),
        device_keys: &[i64],
        limit: usize,
    ) -> Result<HashMap<i64, Vec<Stated>>, StoreError> {
        let mut newest: HashMap<i64, Vec<Stated>> = HashMap::new();
        let Some(derived) = &kind.spec().derived else {
            return Ok(newest);
        };
        let sql = newest_sql((derived, scope), (device_keys, limit), self.backend());
        let rows = self.readers().query_all_raw(sql.statement(self.backend()));
        for row in rows.await.doing(DOING)? {
            let place = Place {
                occurred_at: Instant(row.try_get_by_index(1).doing(DOING)?),
                position: Position(row.try_get_by_index(2).doing(DOING)?),
            };
            let state = row.try_get_by_index(3).doing(DOING)?;
            let of_device = newest.entry(row.try_get_by_index(0).doing(DOING)?);
            of_device.or_default().push(Stated { place, state });
        }
        for stated in newest.values_mut() {
            let place = |stated: &Stated| (stated.place.occurred_at, stated.place.position);
            stated.sort_by_key(|stated| std::cmp::Reverse(place(stated)));
        }
        Ok(newest)
    }
}

/// Keys of devices with what was said of them. PostgreSQL reads a page of each, and SQLite the rows of one.
fn newest_sql(
    (derived, scope): (&Derived, Scope),
    (device_keys, limit): (&[i64], usize),
    backend: DbBackend,
) -> Sql {
    let table = derived.table;
    let changed = match scope {
        Scope::All | Scope::AsReported => String::new(),
        Scope::Changes => {
            let row = ["s.device_key", "s.occurred_at", "s.position"];
            let before = before(derived, row, Reading::Whole);
            format!(" AND s.state IS DISTINCT FROM {before}")
        }
    };
    let page = |columns: &str| {
        format!(
            "(SELECT {columns} FROM {table} s WHERE s.device_key = k.value{changed} \
             ORDER BY s.occurred_at DESC, s.position DESC LIMIT {limit})"
        )
    };
    let mut sql = Sql::new("SELECT k.value, s.occurred_at, s.position, s.state FROM ");
    sql.each(device_keys).push(" CROSS JOIN ");
    if backend == DbBackend::Postgres {
        let page = page("s.occurred_at, s.position, s.state");
        sql.push("LATERAL ").push(&page).push(" AS s");
    } else {
        let page = page("s.occurred_at, s.position");
        sql.push(&format!(
            "{table} s WHERE s.device_key = k.value AND (s.occurred_at, s.position) IN {page}"
        ));
    }
    sql
}

#[cfg(test)]
mod tests {
    use sea_orm::Statement;

    use super::super::upkeep::in_memory;
    use super::*;

    #[tokio::test]
    async fn what_was_said_of_devices_is_read_from_the_key() {
        let db = in_memory().await;
        let spec = Kind::DeviceStateChange.spec();
        let derived = spec.derived.as_ref().unwrap();
        let mut filled = Sql::new(format!(
            "SELECT v.column3, {} FROM ",
            before(derived, V, Reading::AsAppended)
        ));
        filled.rows_of(DbBackend::Sqlite, &[[1, 2, 3], [2, 3, 4]]);
        let newest = |scope| newest_sql((derived, scope), (&[1, 2], 16), DbBackend::Sqlite);
        for sql in [filled, newest(Scope::All), newest(Scope::Changes)] {
            let Statement { sql, values, .. } = sql.statement(DbBackend::Sqlite);
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let values = values.map(|values| values.0).unwrap_or_default();
            let explain = Statement::from_sql_and_values(DbBackend::Sqlite, explain, values);
            let mut steps = Vec::new();
            for row in db.query_all_raw(explain).await.unwrap() {
                let step: String = row.try_get_by_index(3).unwrap();
                let is_scan = ["SCAN s", "SCAN p"]
                    .iter()
                    .any(|scan| step.starts_with(scan));
                assert!(!is_scan, "{step}\n{sql}");
                let is_by_device = step.ends_with("(device_key=?)");
                steps.push((step, is_by_device));
            }
            // all rows of a device are gone through only where that ends with the page
            let by_device = steps.iter().filter(|(_, is_by_device)| *is_by_device);
            assert!(by_device.count() <= 1, "{steps:?}\n{sql}");
        }
    }
}
