//! When each device told nothing for long. It is folded from the whole log once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use super::m0015_rollups::by_key;
use super::tables::typed;

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
        let sql = format!("{}{}", typed(backend, TABLE), by_key(backend));
        db.execute_unprepared(&sql).await.map(drop)
    }
}

/// By their ends: the last one of a device, which never ends, is moved on with each reading.
const TABLE: &str = "CREATE TABLE device_silences (device_key {int} NOT NULL, until_at {int} NOT NULL, \
    from_at {int} NOT NULL, PRIMARY KEY (device_key, until_at))";
