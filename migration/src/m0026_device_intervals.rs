//! How often each device reports, as it told last: also where nothing but the archive has it. It is folded from
//! the whole log once.

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
        let sql = format!("{}{}", typed(backend, TABLE), strict(backend));
        db.execute_unprepared(&sql).await.map(drop)
    }
}

/// The reading that told it is the newest that tells one.
const TABLE: &str = "CREATE TABLE device_intervals (device_key {int} NOT NULL PRIMARY KEY, \
    seconds {int} NOT NULL, told_at {int} NOT NULL, position {int} NOT NULL)";
