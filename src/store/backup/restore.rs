//! Restores a backup into an empty database, in one transaction: all of it or nothing.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};
use serde_json::{Map, Value as Json};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::file::{self, Lines, Manifest};
use super::tables::{self, Column, Shape};
use super::{BackupError, OnProgress, PAGE, Progress};
use crate::clock::Clock;
use crate::event::{Instant, Position};
use crate::kinds::Kind;
use crate::store::Identity;
use crate::store::error::{Doing, StoreError};
use crate::store::insert::{self, Form};
use crate::store::location::Location;
use crate::store::migrations;
use crate::store::open::{self, Connections};
use crate::store::partitions::Partitions;
use crate::store::segments::{Catalog, FilesError};
use crate::store::sql::Sql;
use crate::store::transactions::begin;

/// A restore raises the epoch by 1 to this, at random: two restores of one backup go on differently
/// from the same positions, and a cursor of one must not be read in the other.
const EPOCH_STEP_MAX: i64 = 1 << 20;

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Which log it is now: the epoch is later than that of the backup.
    pub identity: Identity,
    /// Its head.
    pub head: Position,
    /// Rows of all tables.
    pub rows: i64,
}

/// A part of a backup.
enum Part {
    Rows(Batch),
    Segment(String, Vec<u8>),
}

/// Rows of one table.
struct Batch {
    table: String,
    columns: Vec<String>,
    rows: Vec<Vec<Json>>,
}

/// Restores a backup into a database that is empty or not there yet. The file is read to its end and
/// checked before anything is written.
///
/// # Errors
/// When the file is not sound or too new, or the database is not empty or cannot be written.
pub async fn restore(
    file: &Path,
    location: &Location,
    progress: OnProgress<'_>,
) -> Result<Restored, BackupError> {
    let manifest = file::check(file).await?;
    let ours = Migrator::migrations();
    let known = |name: &String| ours.iter().any(|migration| migration.name() == name);
    if let Some(name) = manifest.migrations.iter().find(|name| !known(name)) {
        return Err(BackupError::Newer(name.clone()));
    }
    let connections = open::connect(location).await?;
    migrations::check_ours(&connections).await?;
    let identity = Identity {
        log_id: manifest.log_id,
        epoch: manifest.epoch + rand::random_range(1..=EPOCH_STEP_MAX),
    };
    let tx = begin(&connections.writer).await?;
    let mut restoring = Restoring {
        tx: &tx,
        connections: &connections,
        partitions: Partitions::default(),
        home: format!("{}-{}", identity.log_id, identity.epoch),
        epoch: identity.epoch,
        segments: Vec::new(),
        rows: 0,
    };
    let restored = restoring.run(file, &manifest, progress).await;
    let (rows, segments) = (restoring.rows, restoring.segments);
    if let Err(error) = restored {
        let _ = tx.rollback().await;
        for path in segments {
            if let Some(files) = &connections.segments.files {
                // why it was not restored is told
                let _ = files.remove(&path).await;
            }
        }
        return Err(error);
    }
    tx.commit().await.doing("commit what was restored")?;
    if connections.file.is_some() {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let done = connections.writer.execute_unprepared(sql).await;
        done.doing("write what was restored")?;
    }
    connections.close().await;
    Ok(Restored {
        identity,
        head: Position(manifest.head),
        rows,
    })
}

struct Restoring<'a> {
    tx: &'a DatabaseTransaction,
    connections: &'a Connections,
    partitions: Partitions,
    epoch: i64,
    /// Under what the files of segments lie.
    home: String,
    /// Those that were written.
    segments: Vec<String>,
    rows: i64,
}

impl Restoring<'_> {
    async fn run(
        &mut self,
        file: &Path,
        manifest: &Manifest,
        progress: OnProgress<'_>,
    ) -> Result<(), BackupError> {
        self.make_sure_it_is_empty().await?;
        // what was made by an older version is brought up to date as it would have been where it was made
        let made = migrations::make_as_of(self.tx, &manifest.migrations).await;
        made.doing("make the tables")?;
        self.partitions = Partitions::load(self.tx).await?;
        let shapes = tables::shapes(self.tx).await?;
        let emptied = self.tx.execute_unprepared("DELETE FROM log_head").await;
        emptied.doing("make the tables")?;
        let (sender, mut batches) = mpsc::channel(2);
        let path = file.to_owned();
        let reader = spawn_blocking(move || read(&path, &sender));
        while let Some(batch) = batches.recv().await {
            match batch {
                Part::Rows(batch) => {
                    let shape = shapes.iter().find(|shape| shape.name == batch.table);
                    self.insert(shape, batch).await?;
                }
                Part::Segment(name, bytes) => self.put(&name, bytes).await?,
            }
            progress(Progress {
                stage: "restoring",
                done: self.rows,
                total: manifest.head,
            });
        }
        let damaged = |why| BackupError::Damaged {
            path: file.to_owned(),
            why,
        };
        reader.await.map_err(|_| damaged("it cannot be read"))??;
        self.finish(manifest.epoch).await?;
        if manifest.has_segments {
            self.check_segments().await?;
        }
        let finished = migrations::finish(self.tx).await;
        finished.doing("bring the tables up to date")?;
        Ok(())
    }

    /// A log that was only just made has a head at 0 and nothing else.
    async fn make_sure_it_is_empty(&self) -> Result<(), BackupError> {
        let doing = "look whether the database is empty";
        let backend = self.tx.get_database_backend();
        for shape in tables::shapes(self.tx).await? {
            let table = &shape.name;
            let head = if table == "log_head" {
                " WHERE position > 0"
            } else {
                ""
            };
            let sql = Sql::new(format!("SELECT 1 FROM {table}{head} LIMIT 1"));
            let row = self
                .tx
                .query_one_raw(sql.statement(backend))
                .await
                .doing(doing)?;
            if row.is_some() {
                return Err(BackupError::NotEmpty(self.connections.address.clone()));
            }
        }
        Ok(())
    }

    async fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        let files = self.connections.segments.files.as_ref();
        let files = files.ok_or(StoreError::Files(FilesError::Nowhere))?;
        let path = format!("{}/{name}", self.home);
        self.segments.push(path.clone());
        let put = files.put(&path, bytes.into()).await;
        Ok(put.map_err(StoreError::Files)?)
    }

    /// Every segment that is listed is there, as it was written.
    async fn check_segments(&self) -> Result<(), BackupError> {
        let segments = &self.connections.segments;
        for segment in Catalog::read(self.tx).await?.all() {
            segments.bytes_of(segment).await?;
        }
        Ok(())
    }

    async fn insert(&mut self, shape: Option<&Shape>, batch: Batch) -> Result<(), BackupError> {
        let unsupported = |column: &str| BackupError::Unsupported {
            table: batch.table.clone(),
            column: column.to_owned(),
        };
        let shape = shape.ok_or_else(|| unsupported("*"))?;
        let mut columns: Vec<&Column> = Vec::with_capacity(batch.columns.len());
        for name in &batch.columns {
            let column = shape.columns.iter().find(|column| column.name == *name);
            columns.push(column.ok_or_else(|| unsupported(name))?);
        }
        let mut rows: Vec<Vec<Value>> = Vec::with_capacity(batch.rows.len());
        for row in &batch.rows {
            let values = columns.iter().zip(row).map(|(column, json)| {
                column
                    .of_json(json)
                    .ok_or_else(|| unsupported(&column.name))
            });
            rows.push(values.collect::<Result<_, _>>()?);
        }
        self.make_partitions(&batch, &rows).await?;
        self.rows += i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let columns: Vec<(&str, Form)> =
            columns.iter().map(|c| (c.name.as_str(), c.form)).collect();
        insert::rows(self.tx, &batch.table, columns, rows).await?;
        Ok(())
    }

    async fn make_partitions(
        &mut self,
        batch: &Batch,
        rows: &[Vec<Value>],
    ) -> Result<(), StoreError> {
        let kind = Kind::all().find(|kind| kind.spec().table == batch.table);
        let index = batch.columns.iter().position(|name| name == "occurred_at");
        let (Some(kind), Some(index)) = (kind, index) else {
            return Ok(());
        };
        let times = rows.iter().filter_map(|row| {
            let Some(Value::BigInt(Some(at))) = row.get(index) else {
                return None;
            };
            Some((kind, Instant(*at)))
        });
        self.partitions
            .ensure_within(self.tx, times, Clock::system().now())
            .await
    }

    /// Raises the epoch, so that a cursor from before the restore is told apart, also in the
    /// checkpoints of this log, whose projections were restored with it, and lets new keys
    /// begin after those that were restored.
    async fn finish(&self, epoch_before: i64) -> Result<(), StoreError> {
        let doing = "raise the epoch";
        let backend = self.tx.get_database_backend();
        let mut sql = Sql::new("UPDATE log_head SET epoch = ");
        sql.bind(self.epoch);
        self.tx
            .execute_raw(sql.statement(backend))
            .await
            .doing(doing)?;
        let mut sql = Sql::new("UPDATE checkpoints SET epoch = ");
        sql.bind(self.epoch);
        sql.push(" WHERE epoch = ").bind(epoch_before);
        self.tx
            .execute_raw(sql.statement(backend))
            .await
            .doing(doing)?;
        if backend == DbBackend::Postgres {
            let sql = Sql::new(
                "SELECT setval(pg_get_serial_sequence('entity_keys', 'entity_key'), \
                 coalesce(max(entity_key), 0) + 1, false) FROM entity_keys",
            );
            self.tx
                .query_one_raw(sql.statement(backend))
                .await
                .doing(doing)?;
        }
        Ok(())
    }
}

/// Reads the rows of a backup and hands them over in batches.
fn read(path: &Path, batches: &mpsc::Sender<Part>) -> Result<(), BackupError> {
    let (_, mut lines) = Lines::open(path)?;
    let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let begin = |table: &str, columns: Vec<String>| Batch {
        table: table.to_owned(),
        columns,
        rows: Vec::new(),
    };
    let mut batch = begin("", Vec::new());
    loop {
        let line = lines.next()?;
        let full = batch.rows.len() >= page;
        if full || !line.is_array() {
            let next = begin(&batch.table, batch.columns.clone());
            let done = std::mem::replace(&mut batch, next);
            if !done.rows.is_empty() && batches.blocking_send(Part::Rows(done)).is_err() {
                // whoever restores has failed, and tells why
                return Ok(());
            }
        }
        match line {
            Json::Array(row) if row.len() == batch.columns.len() => batch.rows.push(row),
            Json::Object(said) if said.contains_key("sha256") => return Ok(()),
            Json::Object(said) if said.contains_key("segment") => {
                let segment = segment(&said, &mut lines)?;
                if batches.blocking_send(segment).is_err() {
                    return Ok(());
                }
            }
            Json::Object(said) => {
                let table = said.get("table").and_then(Json::as_str);
                let columns = said.get("columns").and_then(Json::as_array);
                let (Some(table), Some(columns)) = (table, columns) else {
                    return Err(lines.damaged("a line says nothing"));
                };
                let names = columns.iter().filter_map(Json::as_str).map(str::to_owned);
                batch = begin(table, names.collect());
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                return Err(lines.damaged("a row has not the columns of its table"));
            }
        }
    }
}

/// Reads the file of a segment.
fn segment(said: &Map<String, Json>, lines: &mut Lines) -> Result<Part, BackupError> {
    let name = said.get("segment").and_then(Json::as_str);
    let size = said.get("bytes").and_then(Json::as_u64);
    let size = size.and_then(|size| usize::try_from(size).ok());
    // a name is no way to anywhere else
    let name = name.filter(|name| !name.contains(['/', '\\']) && !name.contains(".."));
    let (Some(name), Some(size)) = (name, size) else {
        return Err(lines.damaged("a segment says nothing"));
    };
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let line = lines.next()?;
        let chunk = line.get("chunk").and_then(Json::as_str);
        let chunk = chunk.and_then(|chunk| BASE64.decode(chunk).ok());
        match chunk.filter(|chunk| !chunk.is_empty()) {
            Some(chunk) => bytes.extend(chunk),
            None => return Err(lines.damaged("a segment is not whole")),
        }
    }
    Ok(Part::Segment(name.to_owned(), bytes))
}
