//! Tables beside those of a fold, under the same names, that one connection alone sees: what the log
//! folds to, made apart from what is in use, to mend it or to be compared with it.
//!
//! A temporary table stands before the one of its name on either database, so a fold writes into it
//! without knowing. They are gone when the connection is.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, TransactionOptions,
};

use super::Store;
use super::error::{Doing, StoreError};
use super::fold::{Deleted, Fold};
use super::open::Connections;
use super::slice::{Extent, Slice};
use super::sql::Sql;
use super::transactions::{self, begin};
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;

/// Empty tables of some folds.
#[derive(Debug)]
pub(crate) struct Scratch {
    db: DatabaseConnection,
    /// Where the tables in use are.
    pub(super) schema: String,
}

/// How many rows of a table differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Rows that the log folds to and that are not there.
    pub(crate) missing: i64,
    /// Rows that are there and that the log does not fold to.
    pub(crate) surplus: i64,
}

impl Scratch {
    /// Makes them.
    pub(crate) async fn make(
        connections: &Connections,
        folds: &[Arc<dyn Fold>],
    ) -> Result<Self, StoreError> {
        let doing = "make tables to fold into";
        let db = connections.alone().await.doing(doing)?;
        let schema = if db.get_database_backend() == DbBackend::Postgres {
            text(&db, Sql::new("SELECT quote_ident(current_schema())")).await?
        } else {
            "main".to_owned()
        };
        let scratch = Self { db, schema };
        for table in folds.iter().flat_map(|fold| fold.tables()) {
            let sql = scratch.definition(table).await?;
            scratch.db.execute_unprepared(&sql).await.doing(doing)?;
        }
        Ok(scratch)
    }

    async fn definition(&self, table: &str) -> Result<String, StoreError> {
        if self.db.get_database_backend() == DbBackend::Postgres {
            let schema = &self.schema;
            return Ok(format!(
                "CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING ALL)"
            ));
        }
        let mut sql =
            Sql::new("SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ");
        sql.bind(table);
        let made = text(&self.db, sql).await?;
        Ok(made.replacen("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))
    }

    /// Begins a transaction that may also write the tables in use.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        begin(&self.db).await
    }

    /// Begins a transaction that sees the tables in use as they are at its first statement.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        let begun = transactions::snapshot(&self.db, None).await;
        self.unhurried(begun.doing("take a snapshot")?).await
    }

    /// Begins a transaction that writes only the tables beside, and so hinders nobody.
    pub(crate) async fn begin_apart(&self) -> Result<DatabaseTransaction, StoreError> {
        let begun = transactions::begun(&self.db, TransactionOptions::default()).await;
        self.unhurried(begun.doing("fold events apart")?).await
    }

    /// The same transaction, which is not ended because much is reckoned between two statements of it: nobody who
    /// writes waits for what it holds. One of whom nothing is heard for an hour is gone.
    async fn unhurried(&self, tx: DatabaseTransaction) -> Result<DatabaseTransaction, StoreError> {
        if self.db.get_database_backend() == DbBackend::Postgres {
            let sql = "SET LOCAL idle_in_transaction_session_timeout = '1h'";
            let set = tx.execute_unprepared(sql).await;
            set.doing("have a transaction not ended")?;
        }
        Ok(tx)
    }

    /// Compares those rows of a table in use that meet a condition with those in the one beside it.
    pub(crate) async fn compare(
        &self,
        tx: &DatabaseTransaction,
        (table, condition): (&str, &str),
    ) -> Result<Difference, StoreError> {
        let of = |schema: &str| format!("SELECT * FROM {schema}.{table} WHERE {condition}");
        let (used, folded) = (of(&self.schema), of(self.temporary()));
        let count = |more: &str, less: &str| {
            Sql::new(format!("SELECT count(*) FROM ({more} EXCEPT {less}) AS d"))
        };
        Ok(Difference {
            missing: number(tx, count(&folded, &used)).await?,
            surplus: number(tx, count(&used, &folded)).await?,
        })
    }

    /// What was deleted for good, for folds that are asked what of the tables in use that leaves as it was.
    pub(crate) fn deleted<'a>(&'a self, whole_since: &'a HashMap<Kind, Instant>) -> Deleted<'a> {
        Deleted {
            whole_since,
            schema: &self.schema,
        }
    }

    /// Gives the connection back, and with it the tables.
    pub(crate) async fn drop(self) {
        // a connection that cannot be closed is gone as well
        let _ = self.db.close().await;
    }

    pub(super) fn temporary(&self) -> &'static str {
        if self.db.get_database_backend() == DbBackend::Postgres {
            "pg_temp"
        } else {
            "temp"
        }
    }
}

impl Store {
    /// Commits after a position, as [`Store::after`], with the events of some kinds only.
    pub(crate) async fn after_of(
        &self,
        position: Position,
        events_min: usize,
        kinds: &[Kind],
    ) -> Result<Slice, StoreError> {
        let tables = &self.shared.tables;
        let extent = Extent::of_events(events_min);
        tables.after(position, extent, Some(kinds)).await
    }

    /// Empty tables of a fold, on a connection that writes.
    pub(crate) async fn scratch(&self, folds: &[Arc<dyn Fold>]) -> Result<Scratch, StoreError> {
        Scratch::make(&self.shared.connections, folds).await
    }
}

/// Folds those events that a fold wants, after a position and up to another.
pub(crate) async fn fold_in(
    tx: &DatabaseTransaction,
    fold: &dyn Fold,
    events: &[Arc<Event>],
    (after, upto): (Position, Position),
) -> Result<(), StoreError> {
    let kinds = fold.kinds();
    let wanted: Vec<&Event> = events
        .iter()
        .map(|event| &**event)
        .filter(|event| event.position > after && event.position <= upto)
        .filter(|event| kinds.contains(&event.fact.kind))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    fold.apply(tx, &wanted).await
}

/// Whether a fold has put something off, by its tables in a schema, or in those that the connection looks into.
pub(crate) async fn is_put_off(
    db: &impl ConnectionTrait,
    fold: &dyn Fold,
    schema: Option<&str>,
) -> Result<bool, StoreError> {
    let schema = schema.map_or_else(String::new, |schema| format!("{schema}."));
    for table in fold.puts_off() {
        let sql = Sql::new(format!("SELECT 1 FROM {schema}{table} LIMIT 1"));
        let row = db.query_one_raw(sql.statement(db.get_database_backend()));
        if row.await.doing("look for what was put off")?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn text(db: &impl ConnectionTrait, sql: Sql) -> Result<String, StoreError> {
    let doing = "read the catalogue";
    let row = db.query_one_raw(sql.statement(db.get_database_backend()));
    let row = row.await.doing(doing)?.ok_or(StoreError::Row {
        table: "the catalogue",
        column: "name",
    })?;
    row.try_get_by_index(0).doing(doing)
}

async fn number(db: &impl ConnectionTrait, sql: Sql) -> Result<i64, StoreError> {
    let doing = "compare a projection";
    let row = db.query_one_raw(sql.statement(db.get_database_backend()));
    let row = row.await.doing(doing)?;
    let number = row.map(|row| row.try_get_by_index(0)).transpose();
    Ok(number.doing(doing)?.unwrap_or_default())
}
