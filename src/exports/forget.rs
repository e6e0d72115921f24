//! Takes persons out of exports that were asked for: who asked, and of whom events were asked for. The files of those
//! that are done stay as they are until their time is over. Those that are not done fail: without the person they
//! would be of other events than were asked for.

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::Value as Json;

use super::{Ask, Code, rows};
use crate::event::Instant;
use crate::identity::account_of_subject;
use crate::kinds::ERASED;
use crate::store::{Doing, List, Sql, StoreError};

const DOING: &str = "erase who asked for an export";
/// Why an export is not made that names a person.
const WHY: &str =
    "a person whom its filters name was erased before it was made: ask for it without them";

/// Takes persons out of all exports, at an instant.
///
/// # Errors
/// When the table cannot be read or written.
pub(crate) async fn forget(
    tx: &DatabaseTransaction,
    (persons, now): (&[String], Instant),
) -> Result<(), StoreError> {
    let accounts = persons.iter().map(|person| account_of_subject(person));
    for (column, names) in [
        ("created_by", persons.to_vec()),
        ("account", accounts.collect()),
    ] {
        let mut sql = Sql::new(format!("UPDATE exports SET {column} = "));
        sql.bind(ERASED).push(" WHERE ");
        sql.among(column, List::Text(names));
        run(tx, sql).await?;
    }
    for person in persons {
        for (export_id, asked) in asked_with(tx, person).await? {
            if let Some(asked) = without(&asked, person) {
                rows::fail(tx, &export_id, ((Code::PersonErased, WHY), now)).await?;
                let mut sql = Sql::new("UPDATE exports SET asked = ");
                sql.bind(asked).push(" WHERE export_id = ").bind(export_id);
                run(tx, sql).await?;
            }
        }
    }
    Ok(())
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let done = tx.execute_raw(sql.statement(tx.get_database_backend()));
    done.await.doing(DOING).map(drop)
}

/// What was asked for with a text of which it is not known yet what it says, by the ids of the exports.
async fn asked_with(
    tx: &DatabaseTransaction,
    text: &str,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut sql = Sql::new("SELECT export_id, asked FROM exports WHERE replace(asked, ");
    sql.bind(Json::from(text).to_string());
    sql.push(", '') <> asked");
    let rows = tx.query_all_raw(sql.statement(tx.get_database_backend()));
    let mut asked = Vec::new();
    for row in rows.await.doing(DOING)? {
        let id: String = row.try_get_by_index(0).doing(DOING)?;
        asked.push((id, row.try_get_by_index(1).doing(DOING)?));
    }
    Ok(asked)
}

/// What was asked for without a person; `None` when it names them nowhere, or is not understood any more.
fn without(asked: &str, person: &str) -> Option<String> {
    let asked: Ask = serde_json::from_str(asked).ok()?;
    let mut ask = asked.clone();
    for source in &mut ask.sources {
        let of = source.kind().and_then(|kind| kind.spec().person);
        if let Some(of) = of {
            in_filter(&mut source.filter, (of.id, person));
        }
    }
    if ask == asked {
        return None;
    }
    serde_json::to_string(&ask).ok()
}

/// Takes a person out of the conditions on a field.
fn in_filter(filter: &mut Json, (field, person): (&str, &str)) {
    match filter {
        Json::Object(conditions) => {
            for (name, condition) in conditions {
                if name == field {
                    in_condition(condition, person);
                } else {
                    in_filter(condition, (field, person));
                }
            }
        }
        Json::Array(filters) => {
            for filter in filters {
                in_filter(filter, (field, person));
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn in_condition(condition: &mut Json, person: &str) {
    match condition {
        Json::Object(operands) => {
            for operand in operands.values_mut() {
                in_condition(operand, person);
            }
        }
        Json::Array(values) => {
            for value in values {
                in_condition(value, person);
            }
        }
        Json::String(text) if text == person => ERASED.clone_into(text),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_is_taken_out_of_the_conditions_on_who_it_is_alone() {
        let asked = |user: &str| {
            json!({"sources": [{"name": "userActivity", "filter": {"or": [
                {"userId": {"in": [user, "other"]}}, {"not": {"userId": {"eq": user}}},
                {"pageUrl": {"eq": "ann"}}]}}], "format": "jsonl", "gzip": false})
        };
        let left = without(&asked("ann").to_string(), "ann").unwrap();
        let left: Json = serde_json::from_str(&left).unwrap();
        assert_eq!(left, asked("erased"));
        assert_eq!(without(&asked("bob").to_string(), "ann"), None);
    }
}
