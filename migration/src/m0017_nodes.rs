//! The servers that share a database, and which of them does what only one may do.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use super::tables::{strict, typed};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait itself leaves it out")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        for sql in [NODES, LEASES] {
            let sql = format!("{}{}", typed(backend, sql), strict(backend));
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

/// Instants are those of the clock of the database.
const NODES: &str = "CREATE TABLE nodes (node_id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
    address TEXT NOT NULL, version TEXT NOT NULL, started_at {int} NOT NULL, \
    alive_until {int} NOT NULL)";

/// A lease of nobody names no node. A token is given once: who held it before knows that it does no more.
const LEASES: &str = "CREATE TABLE leases (work TEXT NOT NULL PRIMARY KEY, node_id TEXT, \
    token {int} NOT NULL, since {int} NOT NULL)";
