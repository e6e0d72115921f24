//! Writes folded rows, many at a time.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use crate::event::Event;
use crate::store::{Doing, Sql, StoreError, group_sizes};

/// Rows at most in one statement.
const ROWS_MAX: usize = 256;

/// Inserts rows or merges them into those that are there. No two of them are for the same row.
pub(super) async fn upsert(
    tx: &DatabaseTransaction,
    insert: &str,
    rows: Vec<Vec<Value>>,
    on_conflict: &str,
) -> Result<(), StoreError> {
    let insert = format!("{insert} VALUES ");
    in_groups(tx, (&insert, on_conflict), &[], rows).await
}

/// Runs a statement for rows, which stand in it between two texts, each value as of its type when the
/// types are told.
pub(super) async fn in_groups(
    tx: &DatabaseTransaction,
    (before, after): (&str, &str),
    types: &[&str],
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let sizes = group_sizes(rows.len(), ROWS_MAX);
    let mut rows = rows.into_iter();
    for size in sizes {
        let mut sql = Sql::new(before);
        for (ordinal, row) in rows.by_ref().take(size).enumerate() {
            sql.push(if ordinal > 0 { ", " } else { "" });
            if types.is_empty() {
                sql.bind_list(row);
            } else {
                bind_typed(&mut sql, types, row);
            }
        }
        sql.push(" ").push(after);
        tx.execute_raw(sql.statement(tx.get_database_backend()))
            .await
            .doing("fold events")?;
    }
    Ok(())
}

fn bind_typed(sql: &mut Sql, types: &[&str], row: Vec<Value>) {
    sql.push("(");
    for (ordinal, (ty, value)) in types.iter().zip(row).enumerate() {
        sql.push(if ordinal > 0 { ", CAST(" } else { "CAST(" });
        sql.bind(value).push(" AS ").push(ty).push(")");
    }
    sql.push(")");
}

/// The newest event for each key, by its own time: what is left when later ones replace earlier ones.
pub(super) fn newest<'a, K: Ord>(
    events: impl IntoIterator<Item = &'a Event>,
    key_of: impl Fn(&'a Event) -> Option<K>,
) -> BTreeMap<K, &'a Event> {
    let mut newest: BTreeMap<K, &'a Event> = BTreeMap::new();
    for event in events {
        let Some(key) = key_of(event) else {
            continue;
        };
        let held = newest.entry(key).or_insert(event);
        if (event.fact.occurred_at, event.position) > (held.fact.occurred_at, held.position) {
            *held = event;
        }
    }
    newest
}
