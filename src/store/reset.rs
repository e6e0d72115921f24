//! Removes the file of a log that was made to be thrown away, and of no other.
//!
//! Such a log is marked when it is made (the pragma `user_version` of its file), so that no log
//! with real facts, and no file of another program, is ever removed.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sea_orm::ConnectionTrait;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error as SqlxError, Row, query};
use thiserror::Error;

use super::error::{Doing, StoreError};
use super::open::{APPLICATION_ID, check_header};
use super::sql::Sql;
use super::{DbBackend, Store};

/// Marks a log that may be thrown away: `DEMO`.
const THROWAWAY: i64 = 0x4445_4D4F;

/// Why a log was not reset. Nothing was removed, unless it says so.
#[derive(Debug, Error)]
pub enum ResetError {
    /// It is in no file.
    #[error("--reset empties SQLite files only, and {0} is none")]
    NoFile(String),
    /// It is no log, or one with facts that are to be kept.
    #[error(
        "{0} was not made by `demo`, so --reset leaves it as it is; give another file with --database, or remove it yourself"
    )]
    NotThrowaway(String),
    /// Somebody has it open.
    #[error("{0} is in use by another process; stop that first")]
    InUse(String),
    /// It cannot be read.
    #[error("cannot look into {address}")]
    Read {
        /// Where.
        address: String,
        /// What SQLite said.
        source: SqlxError,
    },
    /// A file cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Store {
    /// Marks this log, which is to be new, as one that [`reset`] may remove. Does nothing where
    /// that would not remove it anyway.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn mark_as_throwaway(&self) -> Result<(), StoreError> {
        if self.backend() != DbBackend::Sqlite {
            return Ok(());
        }
        let sql = format!("PRAGMA user_version = {THROWAWAY}");
        self.transact(move |tx| {
            Box::pin(async move {
                let marked = tx.execute_unprepared(&sql).await;
                marked.map(drop).doing("mark the log as a demo's")
            })
        })
        .await
    }
}

impl Store {
    /// Whether this log is marked as one that [`reset`] may remove.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn is_throwaway(&self) -> Result<bool, StoreError> {
        is_marked(self.readers()).await
    }
}

/// Whether a log is marked as one that may be thrown away.
pub(super) async fn is_marked(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(false);
    }
    let doing = "look whether the log is a demo's";
    let sql = Sql::new("PRAGMA user_version");
    let row = db.query_one_raw(sql.statement(DbBackend::Sqlite)).await;
    let row = row.doing(doing)?;
    let mark = row.map(|row| row.try_get_by_index::<i32>(0)).transpose();
    Ok(mark.doing(doing)?.map(i64::from) == Some(THROWAWAY))
}

/// Removes the file of a log that is marked as thrown away; there may be none.
///
/// # Errors
/// When it is no such log, or in use.
pub async fn reset(url: &str) -> Result<(), ResetError> {
    let is_file = url.starts_with("sqlite:");
    let options = SqliteConnectOptions::from_str(url).ok();
    let Some(options) = options.filter(|_| is_file) else {
        return Err(ResetError::NoFile(url.to_owned()));
    };
    let file = options.get_filename().to_path_buf();
    if !file.exists() {
        return Ok(());
    }
    check_header(&file, url).map_err(|_| ResetError::NotThrowaway(url.to_owned()))?;
    let failed = |source: SqlxError| {
        let code = source.as_database_error().and_then(DatabaseError::code);
        if is_busy(code.as_deref()) {
            return ResetError::InUse(url.to_owned());
        }
        let address = url.to_owned();
        ResetError::Read { address, source }
    };
    // there is nothing to wait for: a server keeps its file open until it ends
    let options = options
        .busy_timeout(std::time::Duration::ZERO)
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(failed)?;
    for (pragma, expected) in [
        ("application_id", APPLICATION_ID),
        ("user_version", THROWAWAY),
    ] {
        if number(&mut connection, pragma).await.map_err(failed)? != expected {
            return Err(ResetError::NotThrowaway(url.to_owned()));
        }
    }
    lock(&mut connection).await.map_err(failed)?;
    // while it is locked, so that nobody opens what is being removed
    let removed = remove(&file);
    // awaited, since a connection that closes removes the journal beside its file once more, and
    // that may be the journal of the next one
    let _ = connection.close().await;
    removed
}

async fn number(connection: &mut SqliteConnection, pragma: &str) -> Result<i64, SqlxError> {
    let sql = AssertSqlSafe(format!("PRAGMA {pragma}"));
    query(sql).fetch_one(connection).await?.try_get(0)
}

/// Locks out everybody else. Leaving the write-ahead log succeeds only when nobody else has the
/// file open, also when they are idle.
async fn lock(connection: &mut SqliteConnection) -> Result<(), SqlxError> {
    for sql in [
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA journal_mode = DELETE",
        "BEGIN EXCLUSIVE",
    ] {
        query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// `SQLITE_BUSY`, with any extension.
fn is_busy(code: Option<&str>) -> bool {
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

fn remove(file: &Path) -> Result<(), ResetError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        let path = PathBuf::from(path);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ResetError::Remove { path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
