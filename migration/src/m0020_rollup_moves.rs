//! Which devices are found to have stood elsewhere than was known, and so what of them and of their sites is
//! still to be summed up anew.

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
        for sql in [MOVES, SITES] {
            let sql = format!("{}{}", typed(backend, sql), by_key(backend));
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

/// The first instant of each is moved on as days of it are done.
const MOVES: &str = "CREATE TABLE rollup_moves (device_key {int} NOT NULL, from_at {int} NOT NULL, \
    until_at {int} NOT NULL, PRIMARY KEY (device_key, from_at))";

/// A day of UTC, and the hour from which on it is to be done.
const SITES: &str = "CREATE TABLE rollup_moved_sites (site_key {int} NOT NULL, day_at {int} NOT NULL, \
    hour_at {int} NOT NULL, PRIMARY KEY (site_key, day_at))";
