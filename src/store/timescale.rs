//! TimescaleDB, where PostgreSQL has it: the large tables as hypertables, whose old chunks are compressed.
//!
//! It is never needed. Tables are partitioned by month from their first migration on, and such a table cannot
//! become a hypertable as it stands; so a command makes hypertables of them and moves their rows, in one
//! transaction. From then on the extension makes chunks as they are needed, and nobody makes partitions.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};

use super::Store;
use super::error::{Doing, StoreError};
use super::location::Location;
use super::migrations::missing_migrations;
use super::open::{OpenError, connect};
use super::partitions::Partitions;
use super::sql::Sql;
use super::transactions::begin;

/// Microseconds of a chunk, and after which one is compressed: a week.
const CHUNK_US: i64 = 7 * 24 * 3_600 * 1_000_000;
/// What a chunk of the log is old by: its column of time is a number.
const NOW: &str = "CREATE OR REPLACE FUNCTION homepot_now() RETURNS bigint LANGUAGE sql STABLE AS \
    $$ SELECT (extract(epoch FROM now()) * 1000000)::bigint $$";
/// What is done when any of this fails.
const DOING: &str = "make hypertables";

/// TimescaleDB as a database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timescale {
    /// Its version.
    pub version: String,
    /// The tables of the log that are hypertables.
    pub hypertables: Vec<String>,
}

impl Timescale {
    /// Finds out whether a database has it.
    pub(super) async fn find(db: &impl ConnectionTrait) -> Result<Option<Self>, StoreError> {
        if db.get_database_backend() != DbBackend::Postgres {
            return Ok(None);
        }
        let sql = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";
        let Some(version) = texts(db, Sql::new(sql)).await?.pop() else {
            return Ok(None);
        };
        let sql = "SELECT hypertable_name::text FROM timescaledb_information.hypertables \
            WHERE hypertable_schema = current_schema() ORDER BY 1";
        let hypertables = texts(db, Sql::new(sql)).await?;
        Ok(Some(Self {
            version,
            hypertables,
        }))
    }
}

impl Store {
    /// TimescaleDB, if the database had it when this log was opened.
    #[must_use]
    pub fn timescale(&self) -> Option<&Timescale> {
        self.shared.timescale.as_ref()
    }
}

/// Makes hypertables of the partitioned tables of a database, and tells which. Nobody appends meanwhile:
/// what is tried is refused as if the database were busy.
///
/// # Errors
/// When the database is not PostgreSQL, cannot be used, lacks migrations or lacks TimescaleDB; then it is as it was.
pub async fn make_hypertables(location: &Location) -> Result<Vec<String>, OpenError> {
    let connections = connect(location).await?;
    let address = connections.address.clone();
    if connections.writer.get_database_backend() != DbBackend::Postgres {
        connections.close().await;
        return Err(OpenError::NoHypertables(address));
    }
    let missing = missing_migrations(&connections).await?.len();
    if missing > 0 {
        return Err(OpenError::Behind { address, missing });
    }
    if Timescale::find(&connections.writer).await?.is_none() {
        return Err(OpenError::NoTimescale(address));
    }
    let tx = begin(&connections.writer).await?;
    let made = in_transaction(&tx).await;
    match made {
        Ok(made) => {
            tx.commit().await.doing(DOING)?;
            connections.close().await;
            Ok(made)
        }
        Err(error) => {
            let _ = tx.rollback().await;
            Err(error.into())
        }
    }
}

async fn in_transaction(tx: &DatabaseTransaction) -> Result<Vec<String>, StoreError> {
    let lock = "UPDATE log_head SET position = position WHERE id = 1";
    tx.execute_unprepared(lock).await.doing(DOING)?;
    tx.execute_unprepared(NOW).await.doing(DOING)?;
    let mut made = Vec::new();
    for table in Partitions::load(tx).await?.tables() {
        make(tx, table).await?;
        made.push(table.to_owned());
    }
    made.sort_unstable();
    Ok(made)
}

/// Makes a hypertable in the place of a partitioned table. Its view goes on to the new one.
async fn make(tx: &DatabaseTransaction, table: &str) -> Result<(), StoreError> {
    let mut sql = Sql::new("SELECT pg_get_viewdef(to_regclass(");
    sql.bind(format!("report_{table}")).push("))");
    let view = texts(tx, sql).await?.pop().unwrap_or_default();
    let (segment, order) = columns(tx, table).await?;
    let before = format!("{table}_before");
    for sql in [
        format!("ALTER TABLE {table} RENAME TO {before}"),
        format!("CREATE TABLE {table} (LIKE {before} INCLUDING ALL)"),
        format!(
            "SELECT create_hypertable('{table}', by_range('occurred_at', {CHUNK_US}), \
             create_default_indexes => false)"
        ),
        format!("SELECT set_integer_now_func('{table}', 'homepot_now')"),
        format!("INSERT INTO {table} SELECT * FROM {before}"),
        format!("CREATE OR REPLACE VIEW report_{table} AS {view}"),
        format!("DROP TABLE {before}"),
        format!(
            "ALTER TABLE {table} SET (timescaledb.compress, \
             timescaledb.compress_segmentby = '{segment}', \
             timescaledb.compress_orderby = '{order}')"
        ),
        format!("SELECT add_compression_policy('{table}', compress_after => {CHUNK_US}::bigint)"),
    ] {
        tx.execute_unprepared(&sql).await.doing(DOING)?;
    }
    Ok(())
}

/// By which columns compressed rows of a table stand together, and in which order: a device's, if it has
/// one; all that are unique have to be among them.
async fn columns(tx: &DatabaseTransaction, table: &str) -> Result<(String, String), StoreError> {
    let mut sql = Sql::new(
        "SELECT DISTINCT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid \
         AND attnum = ANY (indkey) WHERE indisunique AND indrelid = to_regclass(",
    );
    sql.bind(table).push(") ORDER BY 1");
    let (segment, mut order): (Vec<String>, Vec<String>) = texts(tx, sql)
        .await?
        .into_iter()
        .partition(|column| column == "device_key");
    // in order of time first
    order.sort_by_key(|column| column != "occurred_at");
    Ok((segment.join(", "), order.join(", ")))
}

async fn texts(db: &impl ConnectionTrait, sql: Sql) -> Result<Vec<String>, StoreError> {
    let doing = "look for TimescaleDB";
    let rows = db
        .query_all_raw(sql.statement(DbBackend::Postgres))
        .await
        .doing(doing)?;
    let texts = rows.iter().map(|row| row.try_get_by_index(0));
    texts.collect::<Result<_, _>>().doing(doing)
}
