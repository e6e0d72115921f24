//! Backups: one compressed file of a log, taken while it is in use, restored to either database.
//!
//! One form serves both databases, rather than a copy of the file on SQLite and a dump on
//! PostgreSQL: a log that has outgrown SQLite moves to PostgreSQL by it, it needs no program of the
//! database, and a file says of itself whether it is whole. It holds all tables as they are in one
//! snapshot, also what could be folded again, as JSON lines:
//!
//! ```text
//! {"format": "homepot-analytics backup", "version": 1, "log_id": …, "epoch": …, "head": …, …}
//! {"table": "commits", "columns": ["first_position", …]}
//! [1, …]
//! …
//! {"segment": "…", "bytes": …}
//! {"chunk": "… base64 …"}
//! …
//! {"rows": 12345, "sha256": "… of all lines before"}
//! ```
//!
//! Segments come behind the tables that list them, each as it was written.

mod file;
mod restore;
mod tables;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use migration::{Migrator, MigratorTrait};
use sea_orm::{AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, Value};
use serde_json::{Value as Json, json};
use thiserror::Error;

pub use restore::{Restored, restore};

use super::claim::claim_files;
use super::error::{Doing, StoreError};
use super::identity::read_identity;
use super::location::Location;
use super::migrations;
use super::open::{self, Connections, OpenError};
use super::segments::Segments;
use super::sql::Sql;
use super::transactions;
use super::verify::{OnProgress, Progress};
use super::{Store, feed};
use crate::event::Position;
use file::{Manifest, Writing};
use tables::Shape;

/// Rows that are read and written together.
const PAGE: i64 = 1_000;
/// Bytes of a segment in a line.
const CHUNK_BYTES: usize = 1 << 20;

/// Why a backup cannot be taken or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// There is a file of that name, which is not written over.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no backup, or not a whole one.
    #[error("{path} is no sound backup: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A newer version of this program made the backup.
    #[error(
        "the backup was made by a newer version of this program (it has {0}); use that version"
    )]
    Newer(String),
    /// Restoring never mixes two logs.
    #[error("{0} is not empty; restore into a new database")]
    NotEmpty(String),
    /// A table has what a backup cannot hold.
    #[error("column {column} of {table} cannot be backed up")]
    Unsupported {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A statement failed, or what was archived cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The head of the log in the backup.
    pub head: Position,
    /// Rows of all tables.
    pub rows: i64,
}

/// Backs a database up that may be in use by another process.
///
/// # Errors
/// When the file exists or cannot be written, or the database cannot be read.
pub async fn backup(
    location: &Location,
    to: &Path,
    progress: OnProgress<'_>,
) -> Result<BackedUp, BackupError> {
    let location = Location {
        create: false,
        ..location.clone()
    };
    let connections = open::connect(&location).await?;
    let missing = migrations::missing_migrations(&connections).await?.len();
    if missing > 0 {
        let address = connections.address;
        return Err(OpenError::Behind { address, missing }.into());
    }
    let done = run(&connections, to, progress).await;
    connections.close().await;
    done
}

impl Store {
    /// Backs the log up while it is in use. It holds everything that was acknowledged before this was
    /// called.
    ///
    /// # Errors
    /// When the file exists or cannot be written, or the database cannot be read.
    pub async fn backup(
        &self,
        to: &Path,
        progress: OnProgress<'_>,
    ) -> Result<BackedUp, BackupError> {
        run(&self.shared.connections, to, progress).await
    }
}

async fn run(
    connections: &Connections,
    to: &Path,
    progress: OnProgress<'_>,
) -> Result<BackedUp, BackupError> {
    let writing = Writing::begin(to).await?;
    // before the list is seen
    let _files = claim_files(connections).await;
    let tx = snapshot(connections.readers.once()).await?;
    let written = write((&tx, &connections.segments), writing, progress).await;
    tx.rollback().await.doing("end the snapshot")?;
    written
}

/// A transaction that sees the database as it is now, whatever is written meanwhile. On SQLite its
/// first statement takes the snapshot, which keeps the write-ahead log from being reset until the
/// end; writers do not wait.
async fn snapshot(db: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
    let begun = transactions::snapshot(db, Some(AccessMode::ReadOnly)).await;
    begun.doing("take a snapshot")
}

async fn write(
    (tx, segments): (&DatabaseTransaction, &Segments),
    mut writing: Writing,
    progress: OnProgress<'_>,
) -> Result<BackedUp, BackupError> {
    let head = feed::head_of(tx).await?;
    let identity = read_identity(tx).await?;
    let migrations = Migrator::migrations();
    let catalog = segments.renew(tx).await?;
    let manifest = Manifest {
        has_segments: catalog.all().next().is_some(),
        log_id: identity.log_id,
        epoch: identity.epoch,
        head: head.0,
        migrations: migrations.iter().map(|m| m.name().to_owned()).collect(),
    };
    writing = writing.line(&manifest.to_json()).await?;
    for shape in tables::shapes(tx).await? {
        writing = writing.line(&shape.to_json()).await?;
        let mut after = None;
        loop {
            let (lines, last) = page(tx, &shape, after).await?;
            let Some(last) = last else { break };
            after = Some(last);
            writing = writing.rows(lines).await?;
            progress(Progress {
                stage: "backing up",
                done: writing.rows_written(),
                total: head.0,
            });
        }
    }
    for segment in catalog.all() {
        let bytes = segments.bytes_of(segment).await?;
        let size = bytes.len();
        writing = writing
            .line(&json!({"segment": segment.name, "bytes": size}))
            .await?;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let chunk = BASE64.encode(chunk);
            writing = writing.line(&json!({"chunk": chunk})).await?;
        }
    }
    let rows = writing.rows_written();
    writing.finish().await?;
    Ok(BackedUp { head, rows })
}

/// The next rows of a table as lines, and the key of the last one.
async fn page(
    tx: &DatabaseTransaction,
    shape: &Shape,
    after: Option<Vec<Value>>,
) -> Result<(Vec<String>, Option<Vec<Value>>), BackupError> {
    let doing = "read a table";
    let keys = shape.key_columns().join(", ");
    let mut sql = Sql::new(format!(
        "SELECT {} FROM {}",
        shape.column_names().join(", "),
        shape.name
    ));
    if let Some(after) = after {
        sql.push(" WHERE (")
            .push(&keys)
            .push(") > ")
            .bind_list(after);
    }
    sql.push(" ORDER BY ")
        .push(&keys)
        .push(" LIMIT ")
        .bind(PAGE);
    let statement = sql.statement(tx.get_database_backend());
    let (mut lines, mut last) = (Vec::new(), None);
    for row in tx.query_all_raw(statement).await.doing(doing)? {
        let mut values: Vec<Value> = Vec::with_capacity(shape.columns.len());
        for (index, column) in shape.columns.iter().enumerate() {
            values.push(column.read(&row, index).doing(doing)?);
        }
        let json: Vec<Json> = values.iter().map(tables::to_json).collect();
        lines.push(Json::from(json).to_string());
        last = Some(shape.key_of(&values));
    }
    Ok((lines, last))
}
