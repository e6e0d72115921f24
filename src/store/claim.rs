//! Claims: what only one process at a time may do with a log, or several together that others must not disturb.
//!
//! A claim ends with the process that holds it, however that ends: it is a lock on a file beside the
//! one of SQLite. On PostgreSQL it is a lock of a session, and also ends when the server ends that.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::Store;
use super::error::{Doing, StoreError};
use super::location::Location;
use super::open::{Connections, OpenError};
use super::sql::Sql;
use crate::places::OWNERS_ALONE;
use crate::telemetry::chain;

/// What a process has claimed, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    held: Held,
}

impl Drop for Claim {
    /// Nothing is left of it, and whoever waits for it is given a file of their own.
    fn drop(&mut self) {
        if let Held::File { file, path, .. } = &self.held {
            if file.try_lock().is_ok() {
                // nobody else has it; where it cannot be removed it stays, and hinders nobody
                let _ = std::fs::remove_file(path);
            }
            // also where a child that is just being begun has the file still; it ends with the file at the latest
            let _ = file.unlock();
        }
    }
}

#[derive(Debug)]
enum Held {
    /// A file that is locked, which lies beside that of the log.
    File {
        file: File,
        path: PathBuf,
        log: PathBuf,
    },
    Session {
        db: DatabaseConnection,
    },
    Nothing,
}

/// With whom something is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Nobody,
    /// Others who claim it in the same way.
    Others,
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
/// What is claimed by whoever puts segments together, and together by those who read the files of all that there are.
pub const MERGE: &str = "merge";
/// What is claimed by whoever serves a file of SQLite.
const SERVER: &str = "server";
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
        self.shared.connections.claim(what).await
    }

    /// Claims it as soon as it is free, for which it is waited some seconds at most.
    ///
    /// # Errors
    /// When another process has it all the while, or that cannot be found out.
    pub async fn claim_patiently(&self, what: &'static str) -> Result<Claim, ClaimError> {
        claimed(&self.shared.connections, (what, With::Nobody)).await
    }
}

impl Connections {
    /// The same of a log that is not open.
    ///
    /// # Errors
    /// When another process has claimed it, or that cannot be found out.
    pub(super) async fn claim(&self, what: &'static str) -> Result<Claim, ClaimError> {
        let mut held = held_by(self, what).await?;
        if held.is_taken(what, With::Nobody).await? {
            Ok(Claim { held })
        } else {
            Err(ClaimError::Taken)
        }
    }

    /// Claims what is to be served, where only one process may serve it: a file of SQLite. Of PostgreSQL several do so
    /// together.
    ///
    /// # Errors
    /// When another process serves it, or that cannot be found out.
    pub(super) async fn claim_served(&self, at: &Location) -> Result<Option<Claim>, OpenError> {
        if !at.serves || self.writer.get_database_backend() != DbBackend::Sqlite {
            return Ok(None);
        }
        match self.claim(SERVER).await {
            Ok(claim) => Ok(Some(claim)),
            Err(ClaimError::Taken) => Err(OpenError::Served(self.address.clone())),
            Err(error) => Err(OpenError::Claim(error)),
        }
    }
}

/// Claims that no segments are put together, as soon as nobody does so, while the files of all of them are read. Where
/// that cannot be claimed they are read all the same: who meets what was replaced meanwhile says so.
pub(super) async fn claim_files(connections: &Connections) -> Option<Claim> {
    match claimed(connections, (MERGE, With::Others)).await {
        Ok(claim) => Some(claim),
        Err(error) => {
            let error = chain(&error).to_string();
            tracing::warn!(
                error,
                "segments may be put together while all of them are read: what is replaced meanwhile is missed"
            );
            None
        }
    }
}

/// Claims something as soon as it is free, within some time.
async fn claimed(
    connections: &Connections,
    (what, with): (&str, With),
) -> Result<Claim, ClaimError> {
    let until = Instant::now() + WITHIN;
    let mut held = held_by(connections, what).await?;
    while !held.is_taken(what, with).await? {
        if Instant::now() >= until {
            return Err(ClaimError::Taken);
        }
        sleep(EVERY).await;
    }
    Ok(Claim { held })
}

/// That by which it is held, once it is taken.
async fn held_by(connections: &Connections, what: &str) -> Result<Held, ClaimError> {
    match connections.file.clone() {
        // a log in memory has the name of a file that is not there
        Some(file) if file.exists() => {
            // whatever name it was opened under
            let file = file.canonicalize().unwrap_or(file);
            opened(&file, what)
        }
        _ if connections.writer.get_database_backend() == DbBackend::Postgres => {
            let db = connections.alone().await.doing("connect")?;
            Ok(Held::Session { db })
        }
        _ => Ok(Held::Nothing),
    }
}

impl Held {
    /// Tries to take it; whether it is held by this process then.
    async fn is_taken(&mut self, what: &str, with: With) -> Result<bool, ClaimError> {
        match self {
            Self::File { file, path, log } => {
                let locked = is_file_locked(file, (path, log), with);
                locked.map_err(|source| ClaimError::File {
                    path: path.clone(),
                    source,
                })
            }
            Self::Session { db } => Ok(is_locked(db, what, with).await?),
            Self::Nothing => Ok(true),
        }
    }
}

fn opened(log: &Path, what: &str) -> Result<Held, ClaimError> {
    let mut path = log.as_os_str().to_owned();
    path.push(format!("-{what}"));
    let path = PathBuf::from(path);
    match open(&path, log) {
        Ok(file) => Ok(Held::File {
            file,
            path,
            log: log.to_owned(),
        }),
        Err(source) => Err(ClaimError::File { path, source }),
    }
}

/// The file is its owner's alone, as that of the log is: whoever can read it could lock it.
fn open(path: &Path, log: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true).mode(OWNERS_ALONE);
    let file = options.open(path)?;
    give(&file, log);
    Ok(file)
}

/// Tries to lock a file. What was removed by whoever had it before is opened anew.
fn is_file_locked(
    file: &mut File,
    (path, log): (&Path, &Path),
    with: With,
) -> std::io::Result<bool> {
    loop {
        let locked = match with {
            With::Nobody => file.try_lock(),
            With::Others => file.try_lock_shared(),
        };
        match locked {
            Ok(()) if is_at(file, path)? => return Ok(true),
            Ok(()) => *file = open(path, log)?,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether an open file is the one that stands under a path, and none that stood there.
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let there = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let open = file.metadata()?;
    Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
}

/// Gives a file to the user who has the log, as SQLite does with what it makes beside it: whoever may do all, and has
/// made a backup, is not to keep that user from claiming the same.
fn give(file: &File, log: &Path) {
    let (Ok(of_file), Ok(of_log)) = (file.metadata(), std::fs::metadata(log)) else {
        return;
    };
    if of_file.uid() != of_log.uid() {
        // who may not give it away goes on with it as it is
        let _ = fchown(file, Some(of_log.uid()), Some(of_log.gid()));
    }
}

/// Tries to lock it by a session.
async fn is_locked(db: &DatabaseConnection, what: &str, with: With) -> Result<bool, StoreError> {
    let mut sql = Sql::new(match with {
        With::Nobody => "SELECT pg_try_advisory_lock(",
        With::Others => "SELECT pg_try_advisory_lock_shared(",
    });
    sql.bind(i64::from(CLAIMS)).push("::int4, hashtext(");
    sql.bind(what).push("))");
    let row = db.query_one_raw(sql.statement(DbBackend::Postgres)).await;
    let free: Option<bool> = row
        .doing("claim")?
        .map(|row| row.try_get_by_index(0))
        .transpose()
        .doing("claim")?;
    Ok(free == Some(true))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn what_is_claimed_by_whoever_may_do_all_is_of_the_user_who_has_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.db");
        File::create(&log).unwrap();
        // others may not give it away: then both are of whoever runs this
        let _ = chown(&log, Some(65_534), Some(65_534));
        let Held::File { path, .. } = opened(&log, "merge").unwrap() else {
            panic!("it is no file");
        };
        let owner = |path: &Path| {
            let found = std::fs::metadata(path).unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!(owner(&path), owner(&log));
    }
}
