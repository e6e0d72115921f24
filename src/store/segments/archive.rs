//! Archives events: reads the oldest of a kind, writes them into a file, reads that back, and then, in one
//! transaction, lists it as a segment and deletes exactly those events.
//!
//! Whatever ends it on the way leaves the events in their table, and at most a file that no list names. Who
//! was overtaken, by another that archived or swept such files away, finds another generation than the one it
//! began with, and changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};

use super::scan::blocking;
use super::spans::Span;
use super::{FilesError, Segments, sha256_of};
use crate::columnar::{File, Form, Layout, Table, write};
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::store::Store;
use crate::store::allowance::Allowance;
use crate::store::chunks::Chunk;
use crate::store::error::{Doing, StoreError};
use crate::store::open::HELD_WITHIN;
use crate::store::read::Place;
use crate::store::rows::{self, Columns, Reading};
use crate::store::sql::Sql;

/// Events at most in a segment: so many are deleted in well under a second, for which the writer of SQLite
/// is held.
pub(super) const EVENTS_MAX: usize = 100_000;
/// Bytes in memory at which a segment ends.
pub(super) const BYTES: usize = 64 * 1024 * 1024;
/// Events that are read at once.
const CHUNK: usize = 5_000;
/// Bytes at most that are read at once, unless one event has more.
const CHUNK_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A segment that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its events.
    pub events: i64,
    /// Bytes of its file.
    pub bytes: i64,
}

/// What a file is to be listed with.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) events: i64,
    pub(super) bytes: i64,
    pub(super) positions: (i64, i64),
    pub(super) times: (i64, i64),
    pub(super) devices: Option<(i64, i64)>,
}

/// Which events are old enough.
#[derive(Clone, Copy, Debug)]
struct Old {
    kind: Kind,
    /// Where the chunk begins that they are in; `None` where there are no chunks.
    from: Option<i64>,
    before: Instant,
    upto: Position,
}

impl Old {
    /// As a condition on a table by the name of `t`.
    fn among(&self, sql: &mut Sql) {
        sql.push("t.occurred_at < ").bind(self.before.0);
        sql.push(" AND t.position <= ").bind(self.upto.0);
        if let Some(from) = self.from {
            sql.push(" AND t.occurred_at >= ").bind(from);
        }
    }

    /// Those that may stand in one segment with the first of them.
    fn beside(self, first: Instant, now: Instant) -> Self {
        Self {
            before: self.before.min(Span::of(first, now).to),
            ..self
        }
    }
}

impl Store {
    /// Archives the oldest events of a kind that happened before an instant, of those up to a position, as
    /// one segment; `None` when there are none. It has as many as go into one and as happened within one span,
    /// which is short beside how old they are. Only one process may do so at a time
    /// ([`Store::claim`]). A chunk of TimescaleDB that is compressed is unpacked before.
    ///
    /// # Errors
    /// When they cannot be read, or the segment cannot be written. Nothing has changed then.
    pub async fn archive(
        &self,
        kind: Kind,
        before: Instant,
        upto: Position,
    ) -> Result<Option<Archived>, StoreError> {
        let old = Old {
            kind,
            from: None,
            before,
            upto,
        };
        if !self.is_hypertable(kind) {
            return self.archive_part(old, None).await;
        }
        for chunk in self.chunks(kind, before).await? {
            let old = Old {
                from: Some(chunk.from),
                before: before.min(Instant(chunk.to)),
                ..old
            };
            if !self.has_old(old).await? {
                continue;
            }
            self.unpack(&chunk).await?;
            if let Some(archived) = self.archive_part(old, Some(chunk)).await? {
                return Ok(Some(archived));
            }
        }
        Ok(None)
    }

    /// Archives the oldest events, of one chunk where there are chunks.
    async fn archive_part(
        &self,
        old: Old,
        chunk: Option<Chunk>,
    ) -> Result<Option<Archived>, StoreError> {
        let segments = self.segments();
        let catalog = segments.renew(self.readers()).await?;
        let Some(first) = self.first(old).await? else {
            return Ok(None);
        };
        let old = old.beside(first, self.clock().now());
        let (table, last) = self.oldest(old).await?;
        let Some(last) = last else { return Ok(None) };
        let made = segments.make(&catalog.home, table).await?;
        let archived = Archived {
            events: made.events,
            bytes: made.bytes,
        };
        let (generation, now) = (catalog.generation, self.clock().now());
        self.transact_durably(move |tx| {
            Box::pin(async move {
                if let Some(chunk) = chunk {
                    chunk.hold(tx).await?;
                }
                lock(tx).await?;
                list(tx, &made, now).await?;
                delete(tx, (old, last), made.events).await?;
                raise(tx, generation).await
            })
        })
        .await?;
        segments.renew(self.readers()).await?;
        Ok(Some(archived))
    }

    /// Whether there are any.
    async fn has_old(&self, old: Old) -> Result<bool, StoreError> {
        let mut sql = Sql::new(format!("SELECT 1 FROM {} t WHERE ", old.kind.spec().table));
        old.among(&mut sql);
        sql.push(" LIMIT 1");
        let row = self.readers().query_one_raw(sql.statement(self.backend()));
        Ok(row.await.doing("look for old events")?.is_some())
    }

    /// When the oldest of them happened.
    async fn first(&self, old: Old) -> Result<Option<Instant>, StoreError> {
        let doing = "look for the oldest event";
        let table = old.kind.spec().table;
        let mut sql = Sql::new(format!("SELECT t.occurred_at FROM {table} t WHERE "));
        old.among(&mut sql);
        sql.push(" ORDER BY t.occurred_at, t.position LIMIT 1");
        let row = self.readers().query_one_raw(sql.statement(self.backend()));
        let row = row.await.doing(doing)?;
        let first = row.map(|row| row.try_get_by_index(0)).transpose();
        Ok(first.doing(doing)?.map(Instant))
    }

    /// The oldest events, and the place of the last of them.
    async fn oldest(&self, old: Old) -> Result<(Table, Option<Place>), StoreError> {
        let mut table = Table::new(Arc::new(Layout::of(old.kind, Form::Archive)));
        let (mut last, mut limit) = (None, CHUNK);
        while table.len() < EVENTS_MAX && table.weight_bytes() < BYTES {
            let wanted = limit.min(EVENTS_MAX - table.len());
            let read = match self.chunk(old, last, wanted).await {
                Err(StoreError::TooLarge { .. }) => {
                    limit = wanted.div_ceil(2);
                    continue;
                }
                read => read?,
            };
            for event in &read {
                table.push(event);
            }
            last = read.last().map(Place::of).or(last);
            if read.len() < wanted {
                break;
            }
        }
        Ok((table, last))
    }

    async fn chunk(
        &self,
        old: Old,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let mut sql = Sql::new(rows::select(old.kind.spec(), Reading::Reported));
        sql.push(" WHERE ");
        old.among(&mut sql);
        if let Some(after) = after {
            sql.push(" AND (t.occurred_at, t.position) > ");
            sql.bind_list([after.occurred_at.0.into(), after.position.0.into()]);
        }
        sql.push(&format!(
            " ORDER BY t.occurred_at, t.position LIMIT {limit}"
        ));
        let bytes_max = if limit > 1 {
            CHUNK_BYTES_MAX
        } else {
            usize::MAX
        };
        let kind = (old.kind, Columns::ALL);
        let allowance = Allowance::of(bytes_max);
        rows::read(self.readers(), self.names(), kind, (sql, &allowance)).await
    }
}

impl Segments {
    /// Writes a table into a file that lasts, and makes sure that it can be read.
    pub(super) async fn make(&self, home: &str, table: Table) -> Result<Made, StoreError> {
        let files = self.files.as_ref().ok_or(FilesError::Nowhere)?;
        let encode = move || {
            let mut bytes = Vec::new();
            write(&table, &table.sorted(), &mut bytes)?;
            let sha256 = sha256_of(&bytes);
            Ok((made(&table, sha256, bytes.len()), Bytes::from(bytes)))
        };
        let (made, bytes) = blocking(encode).await?;
        let path = format!("{home}/{}", made.name);
        files.put(&path, bytes).await?;
        let read = files.get(&path, &made.sha256).await?;
        let kind = made.kind;
        let count = move || {
            let file = File::open(read, Arc::new(Layout::of(kind, Form::Archive)))?;
            let mut events = 0;
            for group in 0..file.groups() {
                events += file.table(group)?.len();
            }
            Ok(events)
        };
        if i64::try_from(blocking(count).await?) != Ok(made.events) {
            return Err(FilesError::Damaged { name: path }.into());
        }
        Ok(made)
    }
}

/// What is to be known of a file. Its name says of which kind it is and when it begins; the rest of it is
/// its checksum.
fn made(table: &Table, sha256: String, bytes: usize) -> Made {
    let layout = table.layout();
    let ends = |slot| {
        let column = table.column(slot);
        let numbers = || (0..table.len()).filter_map(|row| column?.int(row));
        numbers().min().zip(numbers().max())
    };
    let times = ends(Layout::OCCURRED_AT).unwrap_or_default();
    let every = |slot: &usize| {
        let column = table.column(*slot);
        column.is_some_and(|column| column.present.iter().all(|present| *present))
    };
    let day = Instant(times.0).date_time().format("%Y%m%d");
    let sum: String = sha256.chars().take(24).collect();
    Made {
        kind: layout.kind,
        name: format!("{}-{day}-{sum}.parquet", layout.kind.spec().table),
        sha256,
        events: i64::try_from(table.len()).unwrap_or(i64::MAX),
        bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        positions: ends(Layout::POSITION).unwrap_or_default(),
        times,
        devices: layout.device().filter(every).and_then(ends),
    }
}

/// On PostgreSQL nobody appends until this transaction ends: who looks for repeats sees the events in their
/// table or in the segment. On SQLite it is the only one that writes anyway.
pub(super) async fn lock(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Postgres {
        let sql = Sql::new(format!(
            "SELECT position, {HELD_WITHIN} FROM log_head WHERE id = 1 FOR UPDATE"
        ));
        let locked = tx.query_one_raw(sql.statement(DbBackend::Postgres)).await;
        locked.doing("lock the head of the log")?;
    }
    Ok(())
}

/// Lists a file as a segment.
pub(super) async fn list(
    tx: &DatabaseTransaction,
    made: &Made,
    now: Instant,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO segments (id, kind, name, events, bytes, sha256, first_position, \
         last_position, first_at, last_at, first_device, last_device, archived_at) \
         SELECT coalesce(max(id), 0) + 1",
    );
    let (first_device, last_device) = (made.devices.map(|d| d.0), made.devices.map(|d| d.1));
    let values: [Value; 12] = [
        made.kind.code().into(),
        made.name.clone().into(),
        made.events.into(),
        made.bytes.into(),
        made.sha256.clone().into(),
        made.positions.0.into(),
        made.positions.1.into(),
        made.times.0.into(),
        made.times.1.into(),
        first_device.into(),
        last_device.into(),
        now.0.into(),
    ];
    for value in values {
        sql.push(", ").bind(value);
    }
    sql.push(" FROM segments");
    let listed = tx.execute_raw(sql.statement(tx.get_database_backend()));
    listed.await.doing("list a segment").map(drop)
}

/// Deletes the events up to a place; if they are not as many as were archived, nothing is to be kept.
async fn delete(
    tx: &DatabaseTransaction,
    (old, last): (Old, Place),
    events: i64,
) -> Result<(), StoreError> {
    let table = old.kind.spec().table;
    let mut sql = Sql::new(format!("DELETE FROM {table} WHERE occurred_at <= "));
    sql.bind(last.occurred_at.0);
    sql.push(" AND (occurred_at, position) <= ");
    sql.bind_list([last.occurred_at.0.into(), last.position.0.into()]);
    sql.push(" AND position <= ").bind(old.upto.0);
    if let Some(from) = old.from {
        sql.push(" AND occurred_at >= ").bind(from);
    }
    let deleted = tx.execute_raw(sql.statement(tx.get_database_backend()));
    let deleted = deleted.await.doing("delete what was archived")?;
    if i64::try_from(deleted.rows_affected()) == Ok(events) {
        Ok(())
    } else {
        Err(StoreError::SegmentsMoved)
    }
}

/// Begins the next generation of the list, unless another has done so.
pub(super) async fn raise(tx: &DatabaseTransaction, generation: i64) -> Result<(), StoreError> {
    let mut sql =
        Sql::new("UPDATE log_head SET segments = segments + 1 WHERE id = 1 AND segments = ");
    sql.bind(generation);
    let raised = tx.execute_raw(sql.statement(tx.get_database_backend()));
    if raised
        .await
        .doing("change the list of segments")?
        .rows_affected()
        == 1
    {
        Ok(())
    } else {
        Err(StoreError::SegmentsMoved)
    }
}

/// Lists a segment in the place of another.
pub(super) async fn replace(
    tx: &DatabaseTransaction,
    old: i64,
    made: &Made,
    now: i64,
) -> Result<(), StoreError> {
    list(tx, made, Instant(now)).await?;
    let mut sql = Sql::new("DELETE FROM segments WHERE id = ");
    sql.bind(old);
    let replaced = tx.execute_raw(sql.statement(tx.get_database_backend()));
    replaced.await.doing("replace a segment").map(drop)
}
