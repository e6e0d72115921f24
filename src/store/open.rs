//! Opens a database: connects, and makes sure that it is ours and of our time.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{
    ConnectOptions, Connection, Error as SqlxError, PgConnection, PgPool, SqlitePool,
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqlxPostgresConnector,
    SqlxSqliteConnector,
};
use thiserror::Error;

use super::claim::ClaimError;
use super::error::{Cause, StoreError, cause_of, cause_of_sqlx};
use super::location::{Location, without_password};
use super::readers::{Lost, Readers};
use super::segments::Segments;
use super::sql::Sql;
use super::upkeep::{by_whoever_takes, is_worn};
use super::wal::WAL_BYTES_MAX;
use super::{migrations, within};
use crate::places::make_private;

/// Pages that the writer of SQLite keeps in memory. A commit of a fleet changes a page of the index of
/// devices for each device: with the usual 2 MiB these are written and read again inside one commit.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Pages in the write-ahead log from which it is put into the file: a page that many commits change is
/// written there once. With the cache and the larger commits, twice as many events a second at 1,000
/// devices; half of [`WAL_BYTES_MAX`].
const CHECKPOINT_PAGES: u32 = 8_000;
/// Marks a SQLite file as ours: `HPOT` (the pragma `application_id`).
pub(super) const APPLICATION_ID: i64 = 0x4850_4F54;
/// Below it a write-ahead log could be damaged on checkpoint (sqlite.org, release 3.51.3).
const SQLITE_OLDEST: &str = "3.51.3";
/// How long a statement waits for a lock that another process holds.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How soon it is looked again whether another process has let go of a file.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Settings of sessions that write. A process that freezes, or whose machine is gone, while it holds
/// the head must not stop the others: the server ends what has been idle inside a transaction for
/// long, before those who wait for its locks give up, and whoever does not answer.
const UNLESS_FROZEN: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "4s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
    ("tcp_user_timeout", "15s"),
];
/// Sets how long a statement may take in a transaction, as part of the one that locks the head: nobody appends
/// as long as it is held, and all that is done meanwhile is bounded and takes a small part of that.
pub(super) const HELD_WITHIN: &str = "set_config('statement_timeout', '30s', true)";
/// Statements that a connection keeps prepared. A reader's are small, and of few forms; the writer has
/// one for each number of rows in which commits come, of up to 2 MiB.
const STATEMENTS_KEPT: usize = 128;
/// Bytes of the file that a reader has mapped into memory. Each commit of the writer makes a reader forget
/// its pages, which it then would copy from the cache of the system again. SQLite maps no more.
const MAPPED_BYTES_MAX: u64 = 0x7fff_0000;
/// Rows that the thread of an SQLite connection may be ahead of their reader: of the largest, 50 MiB.
/// With the 50 that the library has the two wake each other all the time.
const ROWS_AHEAD: usize = 256;

/// Why a database cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The address is of no database that this program speaks to.
    #[error("{0} is neither sqlite://FILE nor postgres://USER@HOST/DATABASE")]
    Address(String),
    /// There is no such file.
    #[error("there is no database at {0}; `serve`, `demo`, `import` and `migrate up` make one")]
    Missing(String),
    /// It cannot be reached.
    #[error("cannot open the database {address}{}", hint(*.cause))]
    Connect {
        /// Where, without a password.
        address: String,
        /// What it means.
        cause: Cause,
        /// What the database said.
        source: DbErr,
    },
    /// It belongs to another program.
    #[error("{0} is a database of another program; give an empty or a new one with --database")]
    NotOurs(String),
    /// A newer version of this program has changed it.
    #[error(
        "{address} was written by a newer version of this program (it has the migration {migration}); use that version"
    )]
    Newer {
        /// Where.
        address: String,
        /// A migration that this version does not know.
        migration: String,
    },
    /// Another process serves it.
    #[error(
        "{0} is served by another process, and a file of SQLite has one server at a time: stop that, or keep the log in PostgreSQL, which several servers share"
    )]
    Served(String),
    /// It cannot be found out whether another process serves it.
    #[error("cannot find out whether another process serves the log")]
    Claim(#[source] ClaimError),
    /// It lacks migrations, and this command does not change it.
    #[error("{address} lacks {missing} migrations; run `homepot-analytics migrate up`")]
    Behind {
        /// Where.
        address: String,
        /// How many.
        missing: usize,
    },
    /// It has no TimescaleDB.
    #[error("{0} has no TimescaleDB; have it made there with `CREATE EXTENSION timescaledb`")]
    NoTimescale(String),
    /// It is of no kind that has hypertables.
    #[error(
        "{0} is a file of SQLite, which has no hypertables and needs none: they are for PostgreSQL with TimescaleDB"
    )]
    NoHypertables(String),
    /// It is of no kind that has replicas.
    #[error("{0} has no replica: --database-read is for PostgreSQL")]
    NoReplica(String),
    /// The library of SQLite is too old.
    #[error("SQLite {found} is too old, {SQLITE_OLDEST} is needed")]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// A statement failed.
    #[error("cannot open the log{}", hint(.0.cause()))]
    Store(#[from] StoreError),
}

fn hint(cause: Cause) -> &'static str {
    match cause {
        Cause::Busy => ": it is locked by another process; try again when that has ended",
        Cause::Full => ": the disk is full; make room and try again",
        Cause::ReadOnly => ": it is read-only; check the rights of the file and its folder",
        Cause::Corrupt => ": the file is damaged or no database; restore a backup",
        Cause::Unreachable => {
            ": it cannot be reached; check the address, that it runs, and that it has connections left"
        }
        Cause::Unopened => {
            ": the file cannot be opened; check that its folder exists, that it is no folder itself, and that both may be written"
        }
        Cause::Io => ": the disk cannot be read or written; check it and its file system",
        Cause::NoDatabase => ": there is no such database; make it with `createdb`",
        Cause::Denied => ": its user is not let in; check the user and the password",
        Cause::Constraint | Cause::Other => "",
    }
}

/// Connections to a database.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(crate) writer: DatabaseConnection,
    pub(crate) readers: Readers,
    /// The pool of PostgreSQL, for listening.
    pub(crate) postgres: Option<PgPool>,
    /// The file of SQLite.
    pub(crate) file: Option<PathBuf>,
    /// Where, without a password.
    pub(crate) address: String,
    /// What was archived.
    pub(crate) segments: Arc<Segments>,
    alone: Alone,
}

/// How a connection is made that is in no pool.
#[derive(Clone)]
enum Alone {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

/// Shows no password.
impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alone")
    }
}

impl Connections {
    /// A connection of one's own, for what only that connection is to see. It may write.
    pub(crate) async fn alone(&self) -> Result<DatabaseConnection, DbErr> {
        let failed = |error| DbErr::Conn(sea_orm::RuntimeErr::SqlxError(Arc::new(error)));
        match &self.alone {
            Alone::Sqlite(options) => {
                let one = by_whoever_takes(SqlitePoolOptions::new()).max_connections(1);
                let pool = one.connect_with(options.clone()).await;
                pool.map(SqlxSqliteConnector::from_sqlx_sqlite_pool)
                    .map_err(failed)
            }
            Alone::Postgres(options) => {
                let one = by_whoever_takes(PgPoolOptions::new()).max_connections(1);
                let pool = one.connect_with(options.clone()).await;
                pool.map(SqlxPostgresConnector::from_sqlx_postgres_pool)
                    .map_err(failed)
            }
        }
    }

    /// Why PostgreSQL lets no further connection in; `None` if it does.
    pub(crate) async fn refused(&self) -> Option<SqlxError> {
        let Alone::Postgres(options) = &self.alone else {
            return None;
        };
        probe(options).await.err()
    }

    /// Closes all of them. The last to close a SQLite file puts its write-ahead log back into it, so
    /// the writer comes last.
    pub(crate) async fn close(&self) {
        for db in [self.readers.once(), &self.writer] {
            if let Err(error) = db.close_by_ref().await {
                tracing::debug!(%error, "a connection could not be closed");
            }
        }
    }
}

/// Connects, and checks that the database is ours; changes nothing.
pub(crate) async fn connect(location: &Location) -> Result<Connections, OpenError> {
    let url = location.url.as_str();
    let connections = if url.starts_with("sqlite:") {
        sqlite(location).await?
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        postgres(location).await?
    } else {
        return Err(OpenError::Address(without_password(url)));
    };
    migrations::check_ours(&connections).await?;
    Ok(connections)
}

async fn sqlite(location: &Location) -> Result<Connections, OpenError> {
    let address = location.url.clone();
    let failed = |source| OpenError::Connect {
        address: address.clone(),
        cause: cause_of(&source),
        source,
    };
    let plain = sqlite_options(location)?;
    let options = plain.clone();
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", WAL_BYTES_MAX.to_string());
    let file = options.get_filename().to_path_buf();
    if !location.create && !file.exists() {
        return Err(OpenError::Missing(address));
    }
    check_header(&file, &address)?;
    let one = by_whoever_takes(SqlitePoolOptions::new())
        .max_connections(1)
        .after_release(|connection, _| {
            // when a disk fills, SQLite may refuse to commit and to roll back; whatever came next
            // would be acknowledged inside that transaction and lost with it
            let clean = !connection.is_in_transaction();
            Box::pin(async move { Ok(clean) })
        });
    let connect_error =
        |error| failed(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(Arc::new(error))));
    if file.exists() {
        // before the file is told to keep a write-ahead log, which would change another program's
        let looking = connect_sqlite(&one, plain).await;
        let looking = looking.map_err(connect_error)?;
        let looking = SqlxSqliteConnector::from_sqlx_sqlite_pool(looking);
        let names = migrations::table_names(&looking).await.map_err(failed)?;
        looking.close().await.map_err(failed)?;
        migrations::check_names(&names, &address)?;
    } else if !is_in_memory(&address) {
        make_first(&file);
    }
    let of_writer = options
        .clone()
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        // what is deleted or erased is overwritten, also in pages that are free by then, where FAST leaves it
        .pragma("secure_delete", "ON");
    let writer = connect_sqlite(&one, of_writer).await;
    let writer = writer.map_err(connect_error)?;
    let readers = sqlite_readers(&options, location);
    let writer = SqlxSqliteConnector::from_sqlx_sqlite_pool(writer);
    check_sqlite(&writer)
        .await
        .map_err(failed)?
        .map_or(Ok(()), |found| Err(OpenError::OldSqlite { found }))?;
    let readers = SqlxSqliteConnector::from_sqlx_sqlite_pool(readers);
    let readers = Readers::new(readers, Arc::default());
    Ok(Connections {
        segments: Arc::new(Segments::new(location.files(Some(&file)))),
        writer,
        readers,
        postgres: None,
        file: Some(file),
        address: location.url.clone(),
        alone: Alone::Sqlite(options),
    })
}

pub(super) fn sqlite_readers(options: &SqliteConnectOptions, location: &Location) -> SqlitePool {
    let readers = by_whoever_takes(SqlitePoolOptions::new()).max_connections(location.readers_max);
    within::sqlite(readers, location.reads_within).connect_lazy_with(
        options
            .clone()
            .pragma("mmap_size", MAPPED_BYTES_MAX.to_string())
            .pragma("query_only", "ON"),
    )
}

/// Whether it is an address without a file.
fn is_in_memory(address: &str) -> bool {
    [":memory:", "mode=memory"]
        .iter()
        .any(|part| address.contains(part))
}

/// Makes a file that is not there, for its owner alone, where SQLite would let others read it. What it makes beside
/// it later, such as the write-ahead log, has the rights of the file.
fn make_first(file: &Path) {
    if let Err(error) = make_private(file) {
        // another process has made it, or SQLite cannot make it either and says so
        tracing::debug!(%error, "the file of the database was not made before it is opened");
    }
}

fn sqlite_options(location: &Location) -> Result<SqliteConnectOptions, OpenError> {
    let options = SqliteConnectOptions::from_str(&location.url)
        .map_err(|_| OpenError::Address(location.url.clone()))?;
    Ok(options
        .create_if_missing(location.create)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_WAIT)
        .foreign_keys(false)
        .row_buffer_size(ROWS_AHEAD)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging())
}

/// Connects, and waits while another process makes the file or begins its write-ahead log: for that
/// alone SQLite fails at once instead of waiting.
async fn connect_sqlite(
    pool: &SqlitePoolOptions,
    options: SqliteConnectOptions,
) -> Result<SqlitePool, SqlxError> {
    let until = tokio::time::Instant::now() + LOCK_WAIT;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error)
                if cause_of_sqlx(&error) == Cause::Busy && tokio::time::Instant::now() < until =>
            {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            connected => return connected,
        }
    }
}

/// The file's own mark, read before SQLite may change anything in it.
pub(super) fn check_header(file: &Path, address: &str) -> Result<(), OpenError> {
    use std::io::Read;
    let mut header = Vec::new();
    let read = std::fs::File::open(file).map(|file| file.take(72).read_to_end(&mut header));
    if !matches!(read, Ok(Ok(1..))) {
        return Ok(());
    }
    let id = header
        .get(68..72)
        .and_then(|id| <[u8; 4]>::try_from(id).ok())
        .map(i32::from_be_bytes);
    match id {
        Some(id) if i64::from(id) == APPLICATION_ID => Ok(()),
        // a file that SQLite has made but nobody has marked yet
        Some(0) if header.starts_with(b"SQLite format 3\0") => Ok(()),
        _ => Err(OpenError::NotOurs(address.to_owned())),
    }
}

async fn check_sqlite(db: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    let statement = Sql::new("SELECT sqlite_version()").statement(DbBackend::Sqlite);
    let row = db.query_one_raw(statement).await?;
    let found: String = row
        .map(|row| row.try_get_by_index(0))
        .transpose()?
        .unwrap_or_default();
    let number = |version: &str| -> Vec<u32> {
        version
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    Ok((number(&found) < number(SQLITE_OLDEST)).then_some(found))
}

async fn postgres(location: &Location) -> Result<Connections, OpenError> {
    let address = without_password(&location.url);
    let options = postgres_options(&location.url)?;
    let failed = |error| {
        let source = DbErr::Conn(sea_orm::RuntimeErr::SqlxError(Arc::new(error)));
        OpenError::Connect {
            address: address.clone(),
            cause: cause_of(&source),
            source,
        }
    };
    // a pool tries again until its time is over, and then does not say why
    probe(&options).await.map_err(failed)?;
    let writing = options.clone().options(UNLESS_FROZEN);
    let writer = pool(location.writers_max)
        .before_acquire(|_, used| {
            let is_used = !is_worn(used.age);
            Box::pin(async move { Ok(is_used) })
        })
        .connect_with(writing.clone())
        .await
        .map_err(failed)?;
    Ok(Connections {
        segments: Arc::new(Segments::new(location.files(None))),
        postgres: Some(writer.clone()),
        writer: SqlxPostgresConnector::from_sqlx_postgres_pool(writer),
        readers: postgres_readers(options, location),
        file: None,
        address,
        alone: Alone::Postgres(writing),
    })
}

pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url);
    Ok(options
        .map_err(|_| OpenError::Address(without_password(url)))?
        .application_name("homepot-analytics")
        .options([("lock_timeout", "5s"), ("timezone", "UTC")])
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging())
}

pub(super) fn pool(connections: u32) -> PgPoolOptions {
    by_whoever_takes(PgPoolOptions::new())
        .max_connections(connections)
        .acquire_timeout(LOCK_WAIT)
}

/// Connections that are only read on; none is made before it is needed.
pub(super) fn postgres_readers(options: PgConnectOptions, location: &Location) -> Readers {
    let reading = within::postgres(options, location.reads_within);
    let lost = Arc::default();
    let readers = Lost::looks_at(&lost, pool(location.readers_max)).connect_lazy_with(reading);
    let readers = SqlxPostgresConnector::from_sqlx_postgres_pool(readers);
    Readers::new(readers, lost)
}

/// Tries to connect once.
async fn probe(options: &PgConnectOptions) -> Result<(), SqlxError> {
    let silent = |_| {
        let message = "it did not answer in time";
        SqlxError::from(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
    };
    let connected = tokio::time::timeout(LOCK_WAIT, PgConnection::connect_with(options)).await;
    let connection = connected.map_err(silent)??;
    // it was only tried
    let _ = connection.close().await;
    Ok(())
}
