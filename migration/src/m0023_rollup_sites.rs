//! At which sites devices were summed up, to be found by the site: it may be another than where a device is
//! known to have stood by now. And what is still to be summed up anew, in order of time.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

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
        for sql in INDEXES {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

const INDEXES: [&str; 2] = [
    "CREATE INDEX device_rollups_1d_site ON device_rollups_1d (kind, site_key, bucket_at, device_key)",
    "CREATE INDEX rollup_moves_time ON rollup_moves (from_at, device_key)",
];
