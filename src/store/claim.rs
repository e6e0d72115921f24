//! Claims: what only one process at a time may do with a log.
//!
//! A claim ends with the process that holds it, however that ends: it is a lock on a file beside the
//! one of SQLite. On PostgreSQL it is a lock of a session, and also ends when the server ends that.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::error::{Doing, StoreError};
use super::sql::Sql;
use super::{Store, open};

/// What a process has claimed, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    _held: Held,
}

#[derive(Debug)]
enum Held {
    File { _locked: File },
    Session { _db: DatabaseConnection },
    Nothing,
}

/// Why a claim was not given.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// Another process has it.
    #[error("another process has claimed it")]
    Taken,
    /// The file of the claim cannot be made or locked.
    #[error("cannot lock {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database does not say whether it is free.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the locks of PostgreSQL that are claims have in common.
const CLAIMS: i32 = 0x4850_4F54;
/// How long it is waited for what another process has claimed, and how often it is tried: what a server does by
/// itself is mostly done at once.
const WITHIN: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_millis(50);

impl Store {
    /// Claims what only one process at a time may do with this log. What is claimed is known by a
    /// name of few letters.
    ///
    /// # Errors
    /// When another process has claimed it, or that cannot be found out.
    pub async fn claim(&self, what: &'static str) -> Result<Claim, ClaimError> {
        let connections = &self.shared.connections;
        let held = match self.file() {
            // a log in memory has the name of a file that is not there
            Some(file) if file.exists() => {
                // whatever name it was opened under
                let file = file.canonicalize().unwrap_or(file);
                locked(file.into_os_string(), what)?
            }
            _ if self.backend() == DbBackend::Postgres => session(connections, what).await?,
            _ => Held::Nothing,
        };
        Ok(Claim { _held: held })
    }

    /// Claims it as soon as it is free, for which it is waited some seconds at most.
    ///
    /// # Errors
    /// When another process has it all the while, or that cannot be found out.
    pub async fn claim_patiently(&self, what: &'static str) -> Result<Claim, ClaimError> {
        let until = Instant::now() + WITHIN;
        loop {
            match self.claim(what).await {
                Err(ClaimError::Taken) if Instant::now() < until => sleep(EVERY).await,
                claim => return claim,
            }
        }
    }
}

fn locked(mut path: std::ffi::OsString, what: &str) -> Result<Held, ClaimError> {
    path.push(format!("-{what}"));
    let path = PathBuf::from(path);
    let failed = |source| ClaimError::File {
        path: path.clone(),
        source,
    };
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Held::File { _locked: file }),
        Err(TryLockError::WouldBlock) => Err(ClaimError::Taken),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn session(connections: &open::Connections, what: &str) -> Result<Held, ClaimError> {
    let db = connections.alone().await.doing("connect")?;
    let mut sql = Sql::new("SELECT pg_try_advisory_lock(");
    sql.bind(i64::from(CLAIMS)).push("::int4, hashtext(");
    sql.bind(what).push("))");
    let row = db.query_one_raw(sql.statement(DbBackend::Postgres)).await;
    let free: Option<bool> = row
        .doing("claim")?
        .map(|row| row.try_get_by_index(0))
        .transpose()
        .doing("claim")?;
    if free == Some(true) {
        Ok(Held::Session { _db: db })
    } else {
        Err(ClaimError::Taken)
    }
}
