//! Drops partitions, or chunks of TimescaleDB, of which everything was archived (PostgreSQL), so that their room is
//! free at once.
//!
//! A node that still counts on a partition finds it gone when it appends what happened then, looks again, and
//! makes it anew. Chunks are made by TimescaleDB.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::archive::lock;
use crate::event::Instant;
use crate::kinds::Kind;
use crate::store::Store;
use crate::store::error::{Cause, Doing, StoreError};
use crate::store::sql::Sql;

const DOING: &str = "drop a partition";

/// A part of the table of a kind.
#[derive(Clone, Debug)]
enum Part {
    /// A partition, by its name.
    Partition(String),
    /// A chunk of a hypertable: from when, and until when.
    Chunk(i64, i64),
}

impl Store {
    /// Drops the partitions or chunks of a kind that end before an instant and are empty; answers how many. One that
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
        for part in self.parts_before(kind, before).await? {
            match self.drop_part(kind.spec().table, part).await {
                Ok(()) => dropped += 1,
                // it has events, or somebody reads it
                Err(StoreError::SegmentsMoved) => {}
                Err(error) if error.cause() == Cause::Busy => {}
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }

    /// Drops a part, unless it has events: most have, and nobody who appends is to wait until that is found.
    async fn drop_part(&self, table: &'static str, part: Part) -> Result<(), StoreError> {
        let looked = part.look(table).statement(DbBackend::Postgres);
        let row = self.readers().query_one_raw(looked).await;
        if row.doing(DOING)?.is_some() {
            return Err(StoreError::SegmentsMoved);
        }
        let dropping = self.transact_durably(move |tx| Box::pin(drop(tx, table, part)));
        dropping.await
    }

    async fn parts_before(&self, kind: Kind, before: Instant) -> Result<Vec<Part>, StoreError> {
        let table = kind.spec().table;
        if self.is_hypertable(kind) {
            let chunks = self.chunks(kind, before).await?.into_iter();
            let whole = chunks.filter(|chunk| chunk.to <= before.0);
            return Ok(whole
                .map(|chunk| Part::Chunk(chunk.from, chunk.to))
                .collect());
        }
        let mut sql = Sql::new(
            "SELECT quote_ident(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = to_regclass(",
        );
        sql.bind(table).push(
            ") AND substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''([0-9]+)''\\)')::bigint <= ",
        );
        sql.bind(before.0);
        let statement = sql.statement(DbBackend::Postgres);
        let rows = self.readers().query_all_raw(statement).await.doing(DOING)?;
        let names = rows.iter().map(|row| row.try_get_by_index(0));
        let parts = names.map(|name| name.map(Part::Partition));
        parts.collect::<Result<_, _>>().doing(DOING)
    }
}

impl Part {
    /// Looks for an event in it.
    fn look(&self, table: &str) -> Sql {
        let rows = match self {
            Self::Partition(name) => name.clone(),
            Self::Chunk(from, to) => {
                format!("{table} WHERE occurred_at >= {from} AND occurred_at < {to}")
            }
        };
        Sql::new(format!("SELECT 1 FROM {rows} LIMIT 1"))
    }
}

/// Nobody appends meanwhile, so that what is empty stays so.
async fn drop(tx: &DatabaseTransaction, table: &'static str, part: Part) -> Result<(), StoreError> {
    lock(tx).await?;
    let looked = part.look(table).statement(DbBackend::Postgres);
    let row = tx.query_one_raw(looked).await;
    let dropping = match part {
        Part::Partition(name) => vec![
            format!("ALTER TABLE {table} DETACH PARTITION {name}"),
            format!("DROP TABLE {name}"),
        ],
        Part::Chunk(from, to) => vec![format!(
            "SELECT drop_chunks('{table}', older_than => {to}::bigint, newer_than => {from}::bigint)"
        )],
    };
    if row.doing(DOING)?.is_some() {
        return Err(StoreError::SegmentsMoved);
    }
    let wait = "SET LOCAL lock_timeout = '200ms'".to_owned();
    for sql in [wait].into_iter().chain(dropping) {
        tx.execute_unprepared(&sql).await.doing(DOING)?;
    }
    Ok(())
}
