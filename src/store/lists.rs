//! Lists of values in statements: a list is one value, so that lists of all lengths have one text.
//!
//! A database keeps a prepared statement for each text, and one with a place for each value would be
//! another for each length. So PostgreSQL gets an array, and SQLite a text of JSON.

use sea_orm::sea_query::{ArrayType, Expr};
use sea_orm::{ColumnTrait, DbBackend, Value};
use serde_json::Value as Json;

use crate::event::Cell;

/// Marks of lists, and what stands for them on either database: an array on PostgreSQL, a text of
/// JSON on SQLite.
pub(super) const AMONG: &str = "/*among*/";
pub(super) const END: &str = "/*end*/";
pub(super) const EACH: &str = "/*each*/";
pub(super) const AS_K: &str = "/*as k*/";
const LISTS: [(&str, &str, &str); 4] = [
    (AMONG, " = ANY(", " IN (SELECT value FROM json_each("),
    (END, ")", "))"),
    (EACH, "UNNEST(", "json_each("),
    (AS_K, ") AS k(value)", ") AS k"),
];

/// A text with the marks replaced by what a database has.
pub(super) fn written(text: &str, backend: DbBackend) -> String {
    let mut text = text.to_owned();
    for (mark, postgres, sqlite) in LISTS {
        let sql = if backend == DbBackend::Postgres {
            postgres
        } else {
            sqlite
        };
        text = text.replace(mark, sql);
    }
    text
}

/// The condition that a column is one of some values, for a query of the library.
pub(crate) fn is_among(column: impl ColumnTrait, list: List, backend: DbBackend) -> Expr {
    let name = format!("{}.{}", column.entity_name(), column.as_str());
    let (place, value) = if backend == DbBackend::Postgres {
        ("$1", list.array())
    } else {
        ("?", as_json(list.array()))
    };
    let condition = written(&format!("{name}{AMONG}{place}{END}"), backend);
    Expr::cust_with_values(condition, [value])
}

/// Values of one type.
#[derive(Debug)]
pub(crate) enum List {
    /// Whole numbers and keys.
    Int(Vec<i64>),
    /// Numbers.
    Float(Vec<f64>),
    /// Texts.
    Text(Vec<String>),
}

impl List {
    /// Some cells, which are of one type.
    pub(super) fn of(cells: &[Cell]) -> Self {
        match cells.first() {
            Some(Cell::Text(_)) => {
                let text = |cell: &Cell| cell.text().map(str::to_owned);
                Self::Text(cells.iter().filter_map(text).collect())
            }
            Some(Cell::Float(_)) => {
                let number = |cell: &Cell| match cell {
                    Cell::Float(number) => Some(*number),
                    Cell::Null | Cell::Int(_) | Cell::Text(_) => None,
                    Cell::Json(_) | Cell::Reference(_) => None,
                };
                Self::Float(cells.iter().filter_map(number).collect())
            }
            Some(Cell::Null | Cell::Int(_) | Cell::Json(_) | Cell::Reference(_)) | None => {
                Self::Int(cells.iter().filter_map(Cell::int).collect())
            }
        }
    }

    pub(super) fn array(self) -> Value {
        let array = |ty, values: Vec<Value>| Value::Array(ty, Some(Box::new(values)));
        match self {
            Self::Int(list) => array(
                ArrayType::BigInt,
                list.into_iter().map(Into::into).collect(),
            ),
            Self::Float(list) => array(
                ArrayType::Double,
                list.into_iter().map(Into::into).collect(),
            ),
            Self::Text(list) => array(
                ArrayType::String,
                list.into_iter().map(Into::into).collect(),
            ),
        }
    }
}

/// A list as SQLite takes it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, of which lists have these three"
)]
pub(super) fn as_json(value: Value) -> Value {
    let Value::Array(_, Some(values)) = value else {
        return value;
    };
    let item = |value: Value| match value {
        Value::BigInt(number) => Json::from(number),
        Value::Double(number) => Json::from(number),
        Value::String(text) => Json::from(text),
        _ => Json::Null,
    };
    Value::from(Json::Array(values.into_iter().map(item).collect()).to_string())
}
