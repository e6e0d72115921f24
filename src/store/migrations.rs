//! Which migrations a database has, and how it gets those that it lacks: one who migrates at a time,
//! in one transaction, so that whoever is killed leaves it as it was before.

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr};

use super::error::cause_of;
use super::location::Location;
use super::open::{APPLICATION_ID, Connections, OpenError, connect};
use super::sql::Sql;
use super::transactions::begin;

/// Serialises those who migrate (an arbitrary number of our own).
const MIGRATION_LOCK: i64 = 0x484F_4D45_504F_5402;

/// The tables of a database.
pub(super) async fn table_names(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let tables = if db.get_database_backend() == DbBackend::Postgres {
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    };
    let sql = Sql::new(tables).statement(db.get_database_backend());
    let rows = db.query_all_raw(sql).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

pub(super) fn check_names(names: &[String], address: &str) -> Result<(), OpenError> {
    if names.is_empty() || names.iter().any(|name| name == "seaql_migrations") {
        return Ok(());
    }
    Err(OpenError::NotOurs(address.to_owned()))
}

fn failed(connections: &Connections) -> impl Fn(DbErr) -> OpenError {
    let address = connections.address.clone();
    move |source| OpenError::Connect {
        address: address.clone(),
        cause: cause_of(&source),
        source,
    }
}

async fn applied(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let sql = Sql::new("SELECT version FROM seaql_migrations ORDER BY version");
    let rows = db.query_all_raw(sql.statement(db.get_database_backend()));
    let rows = rows.await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

fn ours() -> Vec<String> {
    let all = Migrator::migrations();
    all.iter()
        .map(|migration| migration.name().to_owned())
        .collect()
}

/// Makes sure that the database is ours, or empty, and that no newer version has changed it.
pub(super) async fn check_ours(connections: &Connections) -> Result<(), OpenError> {
    let db = &connections.writer;
    let failed = failed(connections);
    let names = table_names(db).await.map_err(&failed)?;
    check_names(&names, &connections.address)?;
    if names.is_empty() {
        return Ok(());
    }
    let (ours, address) = (ours(), connections.address.clone());
    let applied = applied(db).await.map_err(&failed)?;
    match applied.into_iter().find(|name| !ours.contains(name)) {
        None => Ok(()),
        Some(_) if !names.iter().any(|name| name == "log_head") => Err(OpenError::NotOurs(address)),
        Some(migration) => Err(OpenError::Newer { address, migration }),
    }
}

async fn missing(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let mut missing = ours();
    let tables = table_names(db).await?;
    if tables.iter().any(|table| table == "seaql_migrations") {
        let applied = applied(db).await?;
        missing.retain(|name| !applied.contains(name));
    }
    Ok(missing)
}

/// Migrations that the database lacks.
pub(crate) async fn missing_migrations(
    connections: &Connections,
) -> Result<Vec<String>, OpenError> {
    let missing = missing(&connections.writer).await;
    missing.map_err(failed(connections))
}

/// Brings the database up to date. Several processes may do so at once: one does, the others wait
/// for it and find nothing left to do.
pub(crate) async fn migrate(connections: &Connections) -> Result<(), OpenError> {
    if missing_migrations(connections).await?.is_empty() {
        return Ok(());
    }
    let tx = begin(&connections.writer).await?;
    match migrate_in(&tx).await {
        Ok(()) => tx.commit().await.map_err(failed(connections)),
        Err(error) => {
            let _ = tx.rollback().await;
            Err(failed(connections)(error))
        }
    }
}

async fn migrate_in(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    lock(tx).await?;
    // who held the lock before may have done it all
    if missing(tx).await?.is_empty() {
        return Ok(());
    }
    Migrator::up(tx, None).await
}

/// Lets nobody else migrate until the transaction ends.
async fn lock(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        // another's migration may take as long as it takes
        tx.execute_unprepared("SET LOCAL lock_timeout = 0").await?;
        let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        tx.execute_unprepared(&lock).await?;
        tx.execute_unprepared("SET LOCAL lock_timeout = '5s'")
            .await?;
    } else {
        // the transaction is the only one that writes from its beginning on
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
        tx.execute_unprepared(&mark).await?;
    }
    Ok(())
}

/// Gives an empty database the tables that one had which lacks the newest of our migrations: what was in that
/// one fits into these, and is then brought up to date by the same migrations as it would have been there.
pub(super) async fn make_as_of(tx: &DatabaseTransaction, then: &[String]) -> Result<(), DbErr> {
    lock(tx).await?;
    let tables = table_names(tx).await?;
    let mut has = Vec::new();
    if !tables.is_empty() {
        has = applied(tx).await?;
    }
    if has.iter().any(|name| !then.contains(name)) {
        drop_all(tx, tables).await?;
        has.clear();
    }
    let lacking = then.iter().filter(|name| !has.contains(name)).count();
    Migrator::up(tx, u32::try_from(lacking).ok()).await
}

/// Brings a database up to date in a transaction of another.
pub(super) async fn finish(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    Migrator::up(tx, None).await
}

async fn drop_all(tx: &DatabaseTransaction, tables: Vec<String>) -> Result<(), DbErr> {
    let is_postgres = tx.get_database_backend() == DbBackend::Postgres;
    let views = if is_postgres {
        "SELECT viewname::text FROM pg_views WHERE schemaname = current_schema()"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'view'"
    };
    let views = tx.query_all_raw(Sql::new(views).statement(tx.get_database_backend()));
    for view in views.await? {
        let view: String = view.try_get_by_index(0)?;
        tx.execute_unprepared(&format!("DROP VIEW {view}")).await?;
    }
    for table in tables {
        // those of PostgreSQL take their partitions along
        tx.execute_unprepared(&format!("DROP TABLE IF EXISTS {table}"))
            .await?;
    }
    Ok(())
}

/// Migrations that a database lacks.
///
/// # Errors
/// When the database cannot be used.
pub async fn missing_at(location: &Location) -> Result<Vec<String>, OpenError> {
    let connections = connect(location).await?;
    let missing = missing_migrations(&connections).await;
    connections.close().await;
    missing
}

/// Brings a database up to date.
///
/// # Errors
/// When the database cannot be used.
pub async fn migrate_at(location: &Location) -> Result<(), OpenError> {
    let connections = connect(location).await?;
    let migrated = migrate(&connections).await;
    connections.close().await;
    migrated
}
