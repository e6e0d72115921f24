//! How far the data lake is that a server fills: what it has not got is not deleted.

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
        let sql = format!("{}{}", typed(backend, REACHED), strict(backend));
        db.execute_unprepared(&sql).await.map(drop)
    }
}

/// One row, if a server fills one: up to where it is whole, and when that was told.
const REACHED: &str = "CREATE TABLE lake_reached (id {int} NOT NULL PRIMARY KEY CHECK (id = 1), \
    position {int} NOT NULL, told_at {int} NOT NULL)";
