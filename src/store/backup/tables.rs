//! The tables of a database with the forms of their columns, as its own catalogue has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::BackupError;
use crate::kinds::Storage;
use crate::store::error::{Doing, StoreError};
use crate::store::insert::Form;
use crate::store::sql::Sql;

/// A table.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) form: Form,
    /// Its place in the primary key, from 1; 0 when it is not in it.
    key: i64,
}

impl Shape {
    pub(super) fn column_names(&self) -> Vec<&str> {
        self.columns
            .iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    fn key(&self) -> Vec<usize> {
        let mut key: Vec<usize> = (0..self.columns.len()).collect();
        key.retain(|index| {
            self.columns
                .get(*index)
                .is_some_and(|column| column.key > 0)
        });
        key.sort_by_key(|index| self.columns.get(*index).map(|column| column.key));
        key
    }

    pub(super) fn key_columns(&self) -> Vec<&str> {
        let names = self.column_names();
        let key = self.key().into_iter();
        key.filter_map(|index| names.get(index).copied()).collect()
    }

    pub(super) fn key_of(&self, values: &[Value]) -> Vec<Value> {
        let key = self.key().into_iter();
        key.filter_map(|index| values.get(index).cloned()).collect()
    }

    pub(super) fn to_json(&self) -> Json {
        json!({"table": self.name, "columns": self.column_names()})
    }
}

impl Column {
    pub(super) fn read(&self, row: &QueryResult, index: usize) -> Result<Value, DbErr> {
        Ok(match self.form {
            Form::Stored(Storage::Int) => Value::BigInt(row.try_get_by_index(index)?),
            Form::Stored(Storage::Float) => Value::Double(row.try_get_by_index(index)?),
            Form::Stored(Storage::Text) => Value::String(row.try_get_by_index(index)?),
            Form::Uuid => Value::Uuid(row.try_get_by_index::<Option<Uuid>>(index)?),
            Form::Bytes => Value::Bytes(row.try_get_by_index::<Option<Vec<u8>>>(index)?),
        })
    }

    /// The value of a column in a line; `None` when it is not of its form.
    pub(super) fn of_json(&self, json: &Json) -> Option<Value> {
        let absent = json.is_null();
        Some(match self.form {
            Form::Stored(Storage::Int) if absent => Value::BigInt(None),
            Form::Stored(Storage::Float) if absent => Value::Double(None),
            Form::Stored(Storage::Text) if absent => Value::String(None),
            Form::Uuid if absent => Value::Uuid(None),
            Form::Bytes if absent => Value::Bytes(None),
            Form::Stored(Storage::Int) => Value::BigInt(Some(json.as_i64()?)),
            Form::Stored(Storage::Float) => Value::Double(Some(json.as_f64()?)),
            Form::Stored(Storage::Text) => Value::String(Some(json.as_str()?.to_owned())),
            Form::Uuid => Value::Uuid(Some(json.as_str()?.parse().ok()?)),
            Form::Bytes => Value::Bytes(Some(BASE64.decode(json.as_str()?).ok()?)),
        })
    }
}

/// A value as it stands in a line.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a column is read as one of the forms that there are"
)]
pub(super) fn to_json(value: &Value) -> Json {
    match value {
        Value::BigInt(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::String(text) => json!(text),
        Value::Uuid(id) => json!(id),
        Value::Bytes(Some(bytes)) => json!(BASE64.encode(bytes)),
        _ => Json::Null,
    }
}

/// All tables of the database in order of their names, but that of the migrations, those that say which
/// servers there are at the moment, and those of exports and of the data lake, which are not in a backup.
pub(super) async fn shapes(db: &impl ConnectionTrait) -> Result<Vec<Shape>, BackupError> {
    let doing = "list the tables";
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let names = if postgres {
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition \
             AND relnamespace = current_schema()::regnamespace AND relname NOT IN ('seaql_migrations', 'nodes', 'leases', 'exports', 'lake_reached') \
             ORDER BY relname"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND name NOT IN ('seaql_migrations', 'nodes', 'leases', 'exports', 'lake_reached') ORDER BY name"
    };
    let statement = Sql::new(names).statement(db.get_database_backend());
    let mut shapes = Vec::new();
    for row in db.query_all_raw(statement).await.doing(doing)? {
        let name: String = row.try_get_by_index(0).doing(doing)?;
        let columns = columns(db, &name).await?;
        shapes.push(Shape { name, columns });
    }
    Ok(shapes)
}

async fn columns(db: &impl ConnectionTrait, table: &str) -> Result<Vec<Column>, BackupError> {
    let doing = "list the columns";
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let mut sql = Sql::new(if postgres {
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
             coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)::bigint \
             FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
             WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = to_regclass("
    } else {
        "SELECT name, type, pk FROM pragma_table_info("
    });
    sql.bind(table).push(") ORDER BY ");
    sql.push(if postgres { "a.attnum" } else { "cid" });
    let statement = sql.statement(db.get_database_backend());
    let (mut columns, mut keyed) = (Vec::new(), false);
    for row in db.query_all_raw(statement).await.doing(doing)? {
        let name: String = row.try_get_by_index(0).doing(doing)?;
        let ty: String = row.try_get_by_index(1).doing(doing)?;
        let key: i64 = row.try_get_by_index(2).doing(doing)?;
        keyed |= key > 0;
        let Some(form) = form_of(&name, &ty) else {
            let (table, column) = (table.to_owned(), name);
            return Err(BackupError::Unsupported { table, column });
        };
        columns.push(Column { name, form, key });
    }
    if !keyed {
        let error = StoreError::Row {
            table: "the catalogue",
            column: "primary key",
        };
        return Err(error.into());
    }
    Ok(columns)
}

/// On SQLite ids and other bytes are of one type.
fn form_of(name: &str, ty: &str) -> Option<Form> {
    match ty.to_ascii_lowercase().as_str() {
        "integer" | "bigint" => Some(Form::Stored(Storage::Int)),
        "real" | "double precision" => Some(Form::Stored(Storage::Float)),
        "text" => Some(Form::Stored(Storage::Text)),
        "uuid" => Some(Form::Uuid),
        "blob" if name.ends_with("_id") => Some(Form::Uuid),
        "blob" | "bytea" => Some(Form::Bytes),
        _ => None,
    }
}
