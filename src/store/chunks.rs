//! Chunks of TimescaleDB: which a hypertable has, and how one that is compressed is made of plain rows again
//! before rows of it are deleted or changed.
//!
//! TimescaleDB would do so by itself in the transaction that deletes, with all rows that stand together with one
//! of those, and nobody appends while that transaction holds the head. So a chunk is unpacked before, by a
//! statement of its own that holds nothing but the chunk, and is held against being compressed again for as long
//! as rows are deleted from it.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult};

use super::Store;
use super::error::{Doing, StoreError};
use super::sql::Sql;
use crate::event::Instant;
use crate::kinds::Kind;

const DOING: &str = "unpack a chunk";
const COLUMNS: &str = "SELECT format('%I.%I', chunk_schema, chunk_name), range_start_integer, \
    range_end_integer, is_compressed FROM timescaledb_information.chunks \
    WHERE hypertable_schema = current_schema() AND hypertable_name = ";

/// A chunk of a hypertable.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Its name, as it stands in a statement.
    name: String,
    /// From when.
    pub(super) from: i64,
    /// Until when, which is outside.
    pub(super) to: i64,
    /// Whether it was compressed when it was looked at.
    pub(super) is_compressed: bool,
}

/// Rows of one chunk by their positions; of all of a table that has none.
pub(super) type Rows = (Option<Chunk>, Vec<i64>);

impl Store {
    /// Whether the table of a kind is a hypertable.
    pub(super) fn is_hypertable(&self, kind: Kind) -> bool {
        let table = kind.spec().table;
        self.timescale()
            .is_some_and(|timescale| timescale.hypertables.iter().any(|name| name == table))
    }

    /// The chunks of a hypertable that begin before an instant, the oldest first.
    pub(super) async fn chunks(
        &self,
        kind: Kind,
        before: Instant,
    ) -> Result<Vec<Chunk>, StoreError> {
        let doing = "list the chunks";
        let mut sql = Sql::new(COLUMNS);
        sql.bind(kind.spec().table);
        sql.push(" AND range_start_integer < ").bind(before.0);
        sql.push(" ORDER BY range_start_integer");
        let statement = sql.statement(DbBackend::Postgres);
        let rows = self.readers().query_all_raw(statement).await.doing(doing)?;
        let chunks = rows.iter().map(Chunk::read);
        chunks.collect::<Result<_, _>>().doing(doing)
    }

    /// Up to when events of a kind are archived that happened before an instant: a chunk that is compressed goes
    /// as a whole, so that it is unpacked once and not each day.
    ///
    /// # Errors
    /// When the chunks cannot be listed.
    pub async fn whole_before(&self, kind: Kind, before: Instant) -> Result<Instant, StoreError> {
        if !self.is_hypertable(kind) {
            return Ok(before);
        }
        let chunks = self.chunks(kind, before).await?;
        let parted = chunks
            .iter()
            .find(|chunk| chunk.is_compressed && chunk.to > before.0);
        Ok(parted.map_or(before, |chunk| Instant(chunk.from)))
    }

    /// Makes a chunk of plain rows, if it is compressed. That takes as long as it takes: nobody who appends what is
    /// new waits for it.
    pub(super) async fn unpack(&self, chunk: &Chunk) -> Result<(), StoreError> {
        if !chunk.is_compressed {
            return Ok(());
        }
        let name = chunk.name.as_str();
        tracing::info!(
            chunk = name,
            "a chunk of TimescaleDB is unpacked, to archive or to erase some of it"
        );
        let db = self.shared.connections.alone().await.doing(DOING)?;
        let mut sql = Sql::new("SELECT decompress_chunk(to_regclass(");
        sql.bind(name).push("), if_compressed => true)");
        let unpacked = db.execute_raw(sql.statement(DbBackend::Postgres)).await;
        // what was unpacked is so, whether or not this ends well
        let _ = db.close().await;
        unpacked.doing(DOING).map(drop)
    }

    /// Rows, each a position and when it happened, by the chunks that they are in.
    pub(super) async fn by_chunk(
        &self,
        kind: Kind,
        rows: &[(i64, i64)],
    ) -> Result<Vec<Rows>, StoreError> {
        if !self.is_hypertable(kind) {
            let positions = rows.iter().map(|(position, _)| *position);
            return Ok(vec![(None, positions.collect())]);
        }
        let mut parts = Vec::new();
        for chunk in self.chunks(kind, Instant(i64::MAX)).await? {
            let within = rows.iter().filter(|(_, at)| chunk.has(*at));
            let positions: Vec<i64> = within.map(|(position, _)| *position).collect();
            if !positions.is_empty() {
                parts.push((Some(chunk), positions));
            }
        }
        Ok(parts)
    }
}

impl Chunk {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            name: row.try_get_by_index(0)?,
            from: row.try_get_by_index(1)?,
            to: row.try_get_by_index(2)?,
            is_compressed: row.try_get_by_index(3)?,
        })
    }

    const fn has(&self, at: i64) -> bool {
        self.from <= at && at < self.to
    }

    /// Keeps it of plain rows until the transaction ends. Whoever compresses it just now, or has since it was
    /// unpacked, is not waited for: then nothing is done.
    pub(super) async fn hold(&self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let doing = "hold a chunk";
        let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE NOWAIT", self.name);
        tx.execute_unprepared(&lock).await.doing(doing)?;
        let mut sql = Sql::new(
            "SELECT 1 FROM timescaledb_information.chunks WHERE is_compressed \
             AND format('%I.%I', chunk_schema, chunk_name) = ",
        );
        sql.bind(self.name.as_str());
        let compressed = tx.query_one_raw(sql.statement(DbBackend::Postgres)).await;
        match compressed.doing(doing)? {
            None => Ok(()),
            Some(_) => Err(StoreError::SegmentsMoved),
        }
    }
}
