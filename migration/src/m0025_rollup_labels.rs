//! Of labels that clients make up no more are told apart than a bound allows: days of devices that have more of
//! them are written down to be summed up anew, and so are their hours and quarters, which have no more than
//! their day.

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
        db.execute_unprepared(CROWDED).await.map(drop)
    }
}

/// What is written down of a day already is of all of it, or goes on beyond it.
const CROWDED: &str = "INSERT INTO rollup_moves (device_key, from_at, until_at) \
    SELECT DISTINCT device_key, bucket_at, bucket_at + 86400000000 FROM (\
    SELECT device_key, bucket_at FROM device_rollups_1d WHERE labels <> '' \
    GROUP BY kind, device_key, provenance, bucket_at, site_key, currency HAVING count(*) > 1000) AS d \
    WHERE TRUE ON CONFLICT (device_key, from_at) DO UPDATE SET until_at = \
    CASE WHEN excluded.until_at > rollup_moves.until_at \
    THEN excluded.until_at ELSE rollup_moves.until_at END";
