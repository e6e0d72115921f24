//! What stands beside the events of persons and has their ids too: what is folded from these events, what was made
//! of them to be sent, and tables that are of no event. Whoever erases says which these are.

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::Value as Json;

use crate::event::Instant;
use crate::kinds::{ERASED, Kind};
use crate::store::error::{Doing, StoreError};
use crate::store::lists::List;
use crate::store::sql::Sql;

/// A column that is folded from the field by which events of a kind say who did something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    /// The kind.
    pub(crate) kind: Kind,
    /// The table that it is folded into.
    pub(crate) table: &'static str,
    /// The column by which a row is known; that of the same name in the table of the kind says of which row an
    /// event is.
    pub(crate) key: &'static str,
    /// The column with the id.
    pub(crate) column: &'static str,
    /// What stands before the key in the name under which changes of it are counted, if somebody keeps what he has
    /// read of it for as long as it does not change.
    pub(crate) entity: Option<&'static str>,
}

/// A column with events of a kind as JSON, in rows that bear their positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// The kind.
    pub(crate) kind: Kind,
    /// The table.
    pub(crate) table: &'static str,
    /// The column with the event.
    pub(crate) column: &'static str,
}

/// Takes persons out of tables that are of no event, in the transaction with which their erasures are done, and at
/// the instant of that.
pub(crate) type Aside = for<'a> fn(
    &'a DatabaseTransaction,
    (&'a [String], Instant),
) -> BoxFuture<'a, Result<(), StoreError>>;

/// What stands beside the events of persons.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    /// What is folded from them.
    pub(crate) folded: &'static [Folded],
    /// What was made of them to be sent.
    pub(crate) told: &'static [Told],
    /// What is of no event.
    pub(crate) aside: Aside,
}

impl Beside {
    /// Takes persons out of what follows from events of theirs, in the transaction that blanks these: what is folded
    /// is then what it is folded anew from them.
    pub(super) async fn blank(
        self,
        tx: &DatabaseTransaction,
        kind: Kind,
        (positions, persons): (&[i64], &[String]),
    ) -> Result<(), StoreError> {
        for folded in self.folded.iter().filter(|folded| folded.kind == kind) {
            folded.blank(tx, (positions, persons)).await?;
        }
        for told in self.told.iter().filter(|told| told.kind == kind) {
            for person in persons {
                told.blank(tx, (positions, person)).await?;
            }
        }
        Ok(())
    }
}

impl Folded {
    async fn blank(
        &self,
        tx: &DatabaseTransaction,
        of: (&[i64], &[String]),
    ) -> Result<(), StoreError> {
        if let Some(entity) = self.entity {
            // whoever has read the name goes on with it no more
            let mut sql = Sql::new("UPDATE entity_versions SET version = version + 1 WHERE ");
            let Self { table, key, .. } = self;
            sql.push(&format!(
                "entity IN (SELECT '{entity}' || {key} FROM {table} WHERE "
            ));
            self.narrow(&mut sql, of).push(")");
            run(tx, sql).await?;
        }
        let mut sql = Sql::new(format!("UPDATE {} SET {} = ", self.table, self.column));
        sql.bind(ERASED).push(" WHERE ");
        self.narrow(&mut sql, of);
        run(tx, sql).await
    }

    /// Narrows rows to those that name one of some persons and are of one of some events: what somebody else did to
    /// the same thing is told.
    fn narrow<'s>(
        &self,
        sql: &'s mut Sql,
        (positions, persons): (&[i64], &[String]),
    ) -> &'s mut Sql {
        let (key, of_kind) = (self.key, self.kind.spec().table);
        sql.among(self.column, List::Text(persons.to_vec()));
        sql.push(&format!(
            " AND {key} IN (SELECT {key} FROM {of_kind} WHERE "
        ));
        sql.among("position", List::Int(positions.to_vec()))
            .push(")")
    }
}

impl Told {
    async fn blank(
        &self,
        tx: &DatabaseTransaction,
        (positions, person): (&[i64], &str),
    ) -> Result<(), StoreError> {
        let Some(of) = &self.kind.spec().person else {
            return Ok(());
        };
        // within a text of JSON this cannot stand, since the quotes of that would be escaped
        let says = |id: &str| format!("\"{}\":{}", of.id, Json::from(id));
        let column = self.column;
        let mut sql = Sql::new(format!("UPDATE {} SET {column} = ", self.table));
        sql.push(&format!("replace({column}, "));
        sql.bind(says(person)).push(", ").bind(says(ERASED));
        sql.push(") WHERE ");
        sql.among("position", List::Int(positions.to_vec()));
        run(tx, sql).await
    }
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let blanked = tx.execute_raw(sql.statement(tx.get_database_backend()));
    blanked
        .await
        .doing("erase what follows from events of a person")
        .map(drop)
}
