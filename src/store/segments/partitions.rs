//! Drops partitions of which everything was archived (PostgreSQL), so that their room is free at once.
//!
//! A node that still counts on one of them finds it gone when it appends what happened then, looks again, and
//! makes it anew.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::archive::lock;
use crate::event::Instant;
use crate::kinds::Kind;
use crate::store::Store;
use crate::store::error::{Cause, Doing, StoreError};
use crate::store::sql::Sql;

const DOING: &str = "drop a partition";

impl Store {
    /// Drops the partitions of a kind that end before an instant and are empty; answers how many. One that
    /// somebody reads for long is left for the next time.
    ///
    /// # Errors
    /// When they cannot be looked at.
    pub async fn drop_empty_partitions(
        &self,
        kind: Kind,
        before: Instant,
    ) -> Result<usize, StoreError> {
        if self.backend() != DbBackend::Postgres {
            return Ok(0);
        }
        let mut dropped = 0;
        for name in self.partitions_before(kind, before).await? {
            let table = kind.spec().table;
            let dropping = self.transact_durably(move |tx| Box::pin(drop(tx, table, name)));
            match dropping.await {
                Ok(()) => dropped += 1,
                // it has events, or somebody reads it
                Err(StoreError::SegmentsMoved) => {}
                Err(error) if error.cause() == Cause::Busy => {}
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }

    async fn partitions_before(
        &self,
        kind: Kind,
        before: Instant,
    ) -> Result<Vec<String>, StoreError> {
        let mut sql = Sql::new(
            "SELECT quote_ident(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = to_regclass(",
        );
        sql.bind(kind.spec().table).push(
            ") AND substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''([0-9]+)''\\)')::bigint <= ",
        );
        sql.bind(before.0);
        let rows = self
            .readers()
            .query_all_raw(sql.statement(DbBackend::Postgres));
        let rows = rows.await.doing(DOING)?;
        let read = |row: &sea_orm::QueryResult| row.try_get_by_index(0).doing(DOING);
        rows.iter().map(read).collect()
    }
}

/// Nobody appends meanwhile, so that what is empty stays so.
async fn drop(
    tx: &DatabaseTransaction,
    table: &'static str,
    name: String,
) -> Result<(), StoreError> {
    lock(tx).await?;
    let looked = Sql::new(format!("SELECT 1 FROM {name} LIMIT 1"));
    let row = tx
        .query_one_raw(looked.statement(DbBackend::Postgres))
        .await;
    if row.doing(DOING)?.is_some() {
        return Err(StoreError::SegmentsMoved);
    }
    for sql in [
        "SET LOCAL lock_timeout = '200ms'".to_owned(),
        format!("ALTER TABLE {table} DETACH PARTITION {name}"),
        format!("DROP TABLE {name}"),
    ] {
        tx.execute_unprepared(&sql).await.doing(DOING)?;
    }
    Ok(())
}
