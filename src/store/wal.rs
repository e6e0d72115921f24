//! Keeps the write-ahead log of SQLite from staying large.
//!
//! SQLite writes it from its beginning again when all of it is in the file and nobody reads from it.
//! While somebody reads one snapshot for long, such as a backup does, it grows, and of itself it
//! never shrinks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

/// Bytes to which it is cut back.
pub(crate) const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How often it is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// That the write-ahead log is to be emptied soon, however small it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Emptying {
    is_asked: Arc<AtomicBool>,
}

impl Emptying {
    /// Asks for it.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Takes it as asked no more.
    fn take(&self) -> bool {
        self.is_asked.swap(false, Ordering::Relaxed)
    }
}

/// The write-ahead log of a file.
#[derive(Debug)]
pub(crate) struct Wal {
    file: PathBuf,
    bytes_max: u64,
    emptying: Emptying,
}

impl Wal {
    /// That of a database.
    pub(crate) fn of(database: &Path, emptying: Emptying) -> Self {
        let mut file = database.to_path_buf().into_os_string();
        file.push("-wal");
        Self {
            file: file.into(),
            bytes_max: WAL_BYTES_MAX,
            emptying,
        }
    }

    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    /// Empties it if it is large or that was asked for, unless somebody reads from it: then it waits for nobody
    /// and leaves it to the next time.
    pub(crate) async fn shrink(&self, writer: &DatabaseConnection, lock_wait: Duration) {
        if self.bytes() <= self.bytes_max && !self.emptying.is_asked() {
            return;
        }
        let was_asked = self.emptying.take();
        if let Err(error) = truncate(writer, lock_wait).await {
            tracing::debug!(%error, "the write-ahead log could not be emptied");
        }
        if was_asked && self.bytes() > 0 {
            self.emptying.ask();
        }
    }
}

async fn truncate(writer: &DatabaseConnection, lock_wait: Duration) -> Result<(), DbErr> {
    writer.execute_unprepared("PRAGMA busy_timeout = 0").await?;
    let done = writer
        .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
        .await;
    let wait = format!("PRAGMA busy_timeout = {}", lock_wait.as_millis());
    writer.execute_unprepared(&wait).await?;
    done.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use sea_orm::{ConnectOptions, Database};

    use super::*;
    use crate::store::transactions::snapshot;

    async fn connect(file: &Path) -> Result<DatabaseConnection, DbErr> {
        let url = format!("sqlite://{}?mode=rwc", file.display());
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        options.idle_timeout(None).max_lifetime(None);
        Database::connect(options).await
    }

    #[tokio::test]
    async fn it_is_emptied_when_nobody_reads_from_it() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("log.db");
        let wal = Wal {
            bytes_max: 10_000,
            ..Wal::of(&file, Emptying::default())
        };
        let (writer, reader) = (connect(&file).await?, connect(&file).await?);
        writer
            .execute_unprepared("PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT)")
            .await?;
        let snapshot = snapshot(&reader, None).await?;
        let look = "SELECT count(*) FROM t";
        snapshot.execute_unprepared(look).await?;
        let fill = "INSERT INTO t SELECT hex(zeroblob(10000))";
        for _ in 0..10 {
            writer.execute_unprepared(fill).await?;
        }
        wal.shrink(&writer, Duration::from_secs(5)).await;
        assert!(wal.bytes() > wal.bytes_max, "it was taken from a reader");
        snapshot.rollback().await?;
        wal.shrink(&writer, Duration::from_secs(5)).await;
        assert_eq!(wal.bytes(), 0);
        Ok(())
    }

    #[tokio::test]
    async fn it_is_emptied_when_that_is_asked_for() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("log.db");
        let emptying = Emptying::default();
        let wal = Wal::of(&file, emptying.clone());
        let (writer, reader) = (connect(&file).await?, connect(&file).await?);
        writer
            .execute_unprepared("PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT)")
            .await?;
        let snapshot = snapshot(&reader, None).await?;
        snapshot
            .execute_unprepared("SELECT count(*) FROM t")
            .await?;
        writer
            .execute_unprepared("INSERT INTO t VALUES ('a')")
            .await?;
        let wait = Duration::from_secs(5);
        wal.shrink(&writer, wait).await;
        assert!(wal.bytes() > 0, "nobody has asked for it");
        emptying.ask();
        wal.shrink(&writer, wait).await;
        assert!(wal.bytes() > 0, "it was taken from a reader");
        snapshot.rollback().await?;
        wal.shrink(&writer, wait).await;
        assert_eq!(wal.bytes(), 0);
        Ok(())
    }
}
