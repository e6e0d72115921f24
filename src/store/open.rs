//! Opens a database: connects, makes sure that it is ours and of our time, and brings it up to date.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use migration::{Migrator, MigratorTrait};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Error as SqlxError, PgConnection, PgPool, query,
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqlxPostgresConnector,
    SqlxSqliteConnector,
};
use thiserror::Error;

use super::error::{Cause, StoreError, cause_of};
use super::sql::Sql;

/// Marks a SQLite file as ours: `HPOT` (the pragma `application_id`).
pub(super) const APPLICATION_ID: i64 = 0x4850_4F54;
/// Below it a write-ahead log could be damaged on checkpoint (sqlite.org, release 3.51.3).
const SQLITE_OLDEST: &str = "3.51.3";
/// How long a statement waits for a lock that another process holds.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 512;
/// Rows that the thread of an SQLite connection may be ahead of their reader. With the 50 that the
/// library has the two wake each other all the time.
const ROWS_AHEAD: usize = 2_000;

/// Where the log is kept and with how many connections it is read.
#[derive(Clone, Debug)]
pub struct Location {
    /// `sqlite://path` or `postgres://…`.
    pub url: String,
    /// Connections for readers at most.
    pub readers_max: u32,
    /// Whether a file that is not there is made.
    pub create: bool,
}

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
    /// It lacks migrations, and this command does not change it.
    #[error("{address} lacks {missing} migrations; run `homepot-analytics migrate up`")]
    Behind {
        /// Where.
        address: String,
        /// How many.
        missing: usize,
    },
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
        Cause::Unreachable => ": it cannot be reached; check the address, and that it runs",
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
    pub(crate) readers: DatabaseConnection,
    /// The pool of PostgreSQL, for listening.
    pub(crate) postgres: Option<PgPool>,
    /// The file of SQLite.
    pub(crate) file: Option<PathBuf>,
    /// Where, without a password.
    pub(crate) address: String,
}

impl Connections {
    /// Closes all of them. The last to close a SQLite file puts its write-ahead log back into it, so
    /// the writer comes last.
    pub(crate) async fn close(&self) {
        for db in [&self.readers, &self.writer] {
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
    check_ours(&connections).await?;
    Ok(connections)
}

/// An address that can be shown.
fn without_password(url: &str) -> String {
    match url
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)))
    {
        Some((scheme, (user, host))) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        None => url.to_owned(),
    }
}

async fn sqlite(location: &Location) -> Result<Connections, OpenError> {
    let address = location.url.clone();
    let failed = |source| OpenError::Connect {
        address: address.clone(),
        cause: cause_of(&source),
        source,
    };
    let options = SqliteConnectOptions::from_str(&location.url)
        .map_err(|_| OpenError::Address(address.clone()))?
        .create_if_missing(location.create)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_WAIT)
        .foreign_keys(false)
        .row_buffer_size(ROWS_AHEAD)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let plain = options.clone();
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let file = options.get_filename().to_path_buf();
    if !location.create && !file.exists() {
        return Err(OpenError::Missing(address));
    }
    check_header(&file, &address)?;
    let one = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
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
        let looking = one.clone().connect_with(plain).await;
        let looking = looking.map_err(connect_error)?;
        let looking = SqlxSqliteConnector::from_sqlx_sqlite_pool(looking);
        let names = table_names(&looking).await.map_err(failed)?;
        looking.close().await.map_err(failed)?;
        check_names(&names, &address)?;
    }
    let writer = one
        .connect_with(options.clone())
        .await
        .map_err(connect_error)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(location.readers_max)
        .idle_timeout(Some(Duration::from_mins(1)))
        .connect_lazy_with(options.pragma("query_only", "ON"));
    let writer = SqlxSqliteConnector::from_sqlx_sqlite_pool(writer);
    check_sqlite(&writer)
        .await
        .map_err(failed)?
        .map_or(Ok(()), |found| Err(OpenError::OldSqlite { found }))?;
    let readers = SqlxSqliteConnector::from_sqlx_sqlite_pool(readers);
    Ok(Connections {
        writer,
        readers,
        postgres: None,
        file: Some(file),
        address: location.url.clone(),
    })
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
    let options = PgConnectOptions::from_str(&location.url)
        .map_err(|_| OpenError::Address(address.clone()))?
        .application_name("homepot-analytics")
        .options([("lock_timeout", "5s"), ("timezone", "UTC")])
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging();
    let pool = |connections| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(LOCK_WAIT)
            .idle_timeout(Some(Duration::from_mins(1)))
    };
    let failed = |error| {
        let source = DbErr::Conn(sea_orm::RuntimeErr::SqlxError(Arc::new(error)));
        OpenError::Connect {
            address: address.clone(),
            cause: cause_of(&source),
            source,
        }
    };
    // a pool tries again until its time is over, and then does not say why
    let probe = tokio::time::timeout(LOCK_WAIT, PgConnection::connect_with(&options)).await;
    let silent = |_| sqlx_silent();
    let probe = probe
        .map_err(silent)
        .and_then(|probe| probe)
        .map_err(failed)?;
    // it was only tried
    let _ = probe.close().await;
    let writer = pool(3)
        .connect_with(options.clone())
        .await
        .map_err(failed)?;
    let readers = pool(location.readers_max).connect_lazy_with(options);
    Ok(Connections {
        postgres: Some(writer.clone()),
        writer: SqlxPostgresConnector::from_sqlx_postgres_pool(writer),
        readers: SqlxPostgresConnector::from_sqlx_postgres_pool(readers),
        file: None,
        address,
    })
}

/// A server that accepted the connection and said nothing in time.
fn sqlx_silent() -> SqlxError {
    let message = "it did not answer in time";
    std::io::Error::new(std::io::ErrorKind::TimedOut, message).into()
}

/// The tables of a database.
async fn table_names(db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let tables = if db.get_database_backend() == DbBackend::Postgres {
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    };
    let sql = Sql::new(tables).statement(db.get_database_backend());
    let rows = db.query_all_raw(sql).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

fn check_names(names: &[String], address: &str) -> Result<(), OpenError> {
    if names.is_empty() || names.iter().any(|name| name == "seaql_migrations") {
        return Ok(());
    }
    Err(OpenError::NotOurs(address.to_owned()))
}

async fn check_ours(connections: &Connections) -> Result<(), OpenError> {
    let db = &connections.writer;
    let address = || connections.address.clone();
    let failed = |source: DbErr| OpenError::Connect {
        address: address(),
        cause: cause_of(&source),
        source,
    };
    let names = table_names(db).await.map_err(failed)?;
    check_names(&names, &connections.address)?;
    if names.is_empty() {
        return Ok(());
    }
    let ours: Vec<String> = Migrator::migrations()
        .iter()
        .map(|m| m.name().to_owned())
        .collect();
    let sql = Sql::new("SELECT version FROM seaql_migrations ORDER BY version");
    let rows = db
        .query_all_raw(sql.statement(db.get_database_backend()))
        .await
        .map_err(failed)?;
    for row in rows {
        let migration: String = row.try_get_by_index(0).map_err(failed)?;
        if !ours.contains(&migration) {
            let foreign = !names.iter().any(|name| name == "log_head");
            return Err(if foreign {
                OpenError::NotOurs(address())
            } else {
                OpenError::Newer {
                    address: address(),
                    migration,
                }
            });
        }
    }
    Ok(())
}

/// Migrations that the database lacks.
pub(crate) async fn missing_migrations(
    connections: &Connections,
) -> Result<Vec<String>, OpenError> {
    let failed = |source: DbErr| OpenError::Connect {
        address: connections.address.clone(),
        cause: cause_of(&source),
        source,
    };
    let db = &connections.writer;
    let table = if db.get_database_backend() == DbBackend::Postgres {
        "SELECT count(*) FROM pg_tables WHERE tablename = 'seaql_migrations' \
         AND schemaname = current_schema()"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE name = 'seaql_migrations'"
    };
    let row = db
        .query_one_raw(Sql::new(table).statement(db.get_database_backend()))
        .await
        .map_err(failed)?;
    let exists: i64 = row
        .map(|row| row.try_get_by_index(0))
        .transpose()
        .map_err(failed)?
        .unwrap_or(0);
    let mut missing: Vec<String> = Migrator::migrations()
        .iter()
        .map(|m| m.name().to_owned())
        .collect();
    if exists > 0 {
        let sql = Sql::new("SELECT version FROM seaql_migrations");
        for row in db
            .query_all_raw(sql.statement(db.get_database_backend()))
            .await
            .map_err(failed)?
        {
            let applied: String = row.try_get_by_index(0).map_err(failed)?;
            missing.retain(|name| *name != applied);
        }
    }
    Ok(missing)
}

/// Brings the database up to date. Several nodes may do so at once: one does, the others wait.
pub(crate) async fn migrate(connections: &Connections) -> Result<(), OpenError> {
    let db = &connections.writer;
    let failed = |source: DbErr| OpenError::Connect {
        address: connections.address.clone(),
        cause: cause_of(&source),
        source,
    };
    if missing_migrations(connections).await?.is_empty() {
        return Ok(());
    }
    let Some(pool) = &connections.postgres else {
        Migrator::up(db, None).await.map_err(failed)?;
        let sql = format!("PRAGMA application_id = {APPLICATION_ID}");
        db.execute_unprepared(&sql).await.map_err(failed)?;
        return Ok(());
    };
    let of_sqlx = |error| failed(DbErr::Exec(sea_orm::RuntimeErr::SqlxError(Arc::new(error))));
    // held by a connection of its own while the migrations run on another
    let mut lock = pool.acquire().await.map_err(of_sqlx)?;
    let sql = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
    query(AssertSqlSafe(sql))
        .execute(&mut *lock)
        .await
        .map_err(of_sqlx)?;
    let done = Migrator::up(db, None).await.map_err(failed);
    let sql = format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})");
    query(AssertSqlSafe(sql))
        .execute(&mut *lock)
        .await
        .map_err(of_sqlx)?;
    done
}

/// Serialises those who migrate (an arbitrary number of our own).
const MIGRATION_LOCK: i64 = 0x484F_4D45_504F_5402;

/// Migrations that a database lacks.
///
/// # Errors
/// When the database cannot be used.
pub async fn missing_at(location: &Location) -> Result<Vec<String>, OpenError> {
    missing_migrations(&connect(location).await?).await
}

/// Brings a database up to date.
///
/// # Errors
/// When the database cannot be used.
pub async fn migrate_at(location: &Location) -> Result<(), OpenError> {
    migrate(&connect(location).await?).await
}
