//! Writes the events of a batch, one statement a table on PostgreSQL and a few on SQLite.
//!
//! PostgreSQL takes one array a column (`UNNEST`). SQLite takes rows of values, filled up with empty
//! rows to one of few sizes, so that few prepared statements serve every size of batch; both measured
//! faster than one statement a row, by 5 and 3 times.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DbBackend, Value};

use super::error::StoreError;
use super::script::Script;
use super::sql::{Sql, on_grid, value_in};
use crate::event::Event;
use crate::kinds::{Spec, Storage};

/// Rows at most in one statement on SQLite, whose limit is 32,766 values.
const ROWS_MAX: usize = 512;

/// A table to insert into: its columns with how they are stored.
struct Target<'a> {
    table: &'a str,
    columns: Vec<(&'a str, Form)>,
}

/// How a column is given to the database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// As a value of a kind's field.
    Stored(Storage),
    /// As the id of an event.
    Uuid,
    /// As bytes.
    Bytes,
}

/// Inserts events of one kind, which already have their positions.
pub(crate) async fn events<C: ConnectionTrait>(
    script: &mut Script<'_, C>,
    spec: &Spec,
    events: &[&Event],
) -> Result<(), StoreError> {
    let stored = |name, storage| (name, Form::Stored(storage));
    let mut columns = vec![
        stored("position", Storage::Int),
        ("event_id", Form::Uuid),
        stored("occurred_at", Storage::Int),
        stored("recorded_at", Storage::Int),
        stored("provenance", Storage::Int),
    ];
    columns.extend(
        spec.fields
            .iter()
            .map(|f| stored(f.column.name(), f.ty.storage())),
    );
    columns.push(stored("extra", Storage::Text));
    let rows = events.iter().map(|event| row_of(spec, event)).collect();
    let table = spec.table;
    insert(script, &Target { table, columns }, rows).await
}

/// Remembers the ids of events.
pub(crate) async fn keys<C: ConnectionTrait>(
    script: &mut Script<'_, C>,
    events: &[Event],
) -> Result<(), StoreError> {
    let columns = vec![
        ("event_id", Form::Uuid),
        ("position", Form::Stored(Storage::Int)),
        ("kind", Form::Stored(Storage::Int)),
    ];
    let keyed = events
        .iter()
        .filter(|event| super::duplicates::is_keyed_by_id(&event.fact));
    let rows = keyed.map(|event| {
        vec![
            Value::Uuid(event.fact.event_id),
            event.position.0.into(),
            event.fact.kind.code().into(),
        ]
    });
    let table = "event_keys";
    insert(script, &Target { table, columns }, rows.collect()).await
}

/// Inserts rows of any table.
pub(crate) async fn rows(
    db: &impl ConnectionTrait,
    table: &str,
    columns: Vec<(&str, Form)>,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let mut script = Script::new(db, false);
    insert(&mut script, &Target { table, columns }, rows).await?;
    script.run().await
}

fn row_of(spec: &Spec, event: &Event) -> Vec<Value> {
    let fact = &event.fact;
    let mut row = Vec::with_capacity(spec.fields.len() + 6);
    row.push(event.position.0.into());
    row.push(Value::Uuid(fact.event_id));
    row.push(fact.occurred_at.0.into());
    row.push(event.recorded_at.0.into());
    row.push(fact.provenance.code().into());
    let cells = spec.fields.iter().zip(&fact.cells);
    row.extend(cells.map(|(field, cell)| value_in(field.ty.storage(), cell)));
    row.push(value_in(Storage::Text, &fact.extra));
    row
}

async fn insert<C: ConnectionTrait>(
    script: &mut Script<'_, C>,
    target: &Target<'_>,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    if script.backend() == DbBackend::Postgres {
        return script.add(arrays(target, rows), INSERT).await;
    }
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let sql = filled_up(target, rows.by_ref().take(ROWS_MAX).collect());
        script.add(sql, INSERT).await?;
    }
    Ok(())
}

const INSERT: &str = "insert events";

/// The first column of a table is never empty, so that an empty row is none.
fn filled_up(target: &Target<'_>, rows: Vec<Vec<Value>>) -> Sql {
    let missing = on_grid(rows.len()) - rows.len();
    let empty = vec![Value::BigInt(None); if missing > 0 { target.columns.len() } else { 0 }];
    let mut sql = Sql::new(beginning(target));
    sql.push(if missing > 0 {
        "SELECT * FROM (VALUES "
    } else {
        "VALUES "
    });
    let rows = rows.into_iter().chain(std::iter::repeat_n(empty, missing));
    for (ordinal, row) in rows.enumerate() {
        sql.push(if ordinal > 0 { ", " } else { "" }).bind_list(row);
    }
    if missing > 0 {
        sql.push(") WHERE column1 IS NOT NULL");
    }
    sql
}

fn beginning(target: &Target<'_>) -> String {
    let names: Vec<&str> = target.columns.iter().map(|(name, _)| *name).collect();
    format!("INSERT INTO {} ({}) ", target.table, names.join(", "))
}

fn arrays(target: &Target<'_>, rows: Vec<Vec<Value>>) -> Sql {
    let mut columns: Vec<Vec<Value>> = target
        .columns
        .iter()
        .map(|_| Vec::with_capacity(rows.len()))
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let shown: Vec<String> = target
        .columns
        .iter()
        .enumerate()
        .map(column_of_array)
        .collect();
    let mut sql = Sql::new(beginning(target));
    sql.push("SELECT ")
        .push(&shown.join(", "))
        .push(" FROM UNNEST(");
    for (ordinal, (column, (_, form))) in columns.into_iter().zip(&target.columns).enumerate() {
        sql.push(if ordinal > 0 { ", " } else { "" });
        sql.bind(array_of(*form, column));
        sql.push(match form {
            Form::Stored(Storage::Int) => "::bigint[]",
            Form::Stored(Storage::Float) => "::double precision[]",
            Form::Stored(Storage::Text) | Form::Uuid | Form::Bytes => "::text[]",
        });
    }
    let names: Vec<String> = (0..target.columns.len()).map(|i| format!("c{i}")).collect();
    sql.push(") AS u(").push(&names.join(", ")).push(")");
    sql
}

/// The library's arrays cannot hold an absent value, so each form has one that stands for it and
/// that no value can be: the least number, NaN, and the text without the mark that begins the rest.
fn column_of_array((ordinal, (_, form)): (usize, &(&str, Form))) -> String {
    match form {
        Form::Stored(Storage::Int) => format!("NULLIF(c{ordinal}, {})", i64::MIN),
        Form::Stored(Storage::Float) => format!("NULLIF(c{ordinal}, 'NaN')"),
        Form::Stored(Storage::Text) => format!("substr(NULLIF(c{ordinal}, ''), 2)"),
        Form::Uuid => format!("NULLIF(c{ordinal}, '')::uuid"),
        Form::Bytes => format!("decode(substr(NULLIF(c{ordinal}, ''), 2), 'base64')"),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
fn array_of(form: Form, column: Vec<Value>) -> Value {
    let filled = column.into_iter().map(|value| match value {
        Value::BigInt(None) => Value::BigInt(Some(i64::MIN)),
        Value::Double(None) => Value::Double(Some(f64::NAN)),
        Value::String(text) => Value::String(Some(
            text.map_or_else(String::new, |text| format!("={text}")),
        )),
        Value::Uuid(uuid) => {
            Value::String(Some(uuid.map_or_else(String::new, |uuid| uuid.to_string())))
        }
        Value::Bytes(bytes) => {
            Value::String(Some(bytes.map_or_else(String::new, |bytes| {
                format!("={}", BASE64.encode(bytes))
            })))
        }
        value => value,
    });
    let ty = match form {
        Form::Stored(Storage::Int) => ArrayType::BigInt,
        Form::Stored(Storage::Float) => ArrayType::Double,
        Form::Stored(Storage::Text) | Form::Uuid | Form::Bytes => ArrayType::String,
    };
    Value::Array(ty, Some(Box::new(filled.collect())))
}
