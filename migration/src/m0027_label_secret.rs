//! The secret of a log by which labels are ranked. Days of devices of which some were not told apart, so far by
//! what anybody could reckon, are written down to be summed up anew, and so are their hours and quarters, which
//! have no more than their day.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

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
        db.execute_unprepared(COLUMN).await?;
        let secret = random(db.get_database_backend());
        // a log that is still to be made gets its own with its id
        let made = format!("UPDATE log_head SET label_secret = {secret}");
        db.execute_unprepared(&made).await?;
        db.execute_unprepared(CROWDED).await.map(drop)
    }
}

const COLUMN: &str = "ALTER TABLE log_head ADD COLUMN label_secret TEXT NOT NULL DEFAULT ''";

/// What is written down of a day already is of all of it, or goes on beyond it.
const CROWDED: &str = "INSERT INTO rollup_moves (device_key, from_at, until_at) \
    SELECT DISTINCT device_key, bucket_at, bucket_at + 86400000000 FROM device_rollups_1d \
    WHERE labels LIKE '%{\"other\":true}%' ON CONFLICT (device_key, from_at) DO UPDATE SET until_at = \
    CASE WHEN excluded.until_at > rollup_moves.until_at \
    THEN excluded.until_at ELSE rollup_moves.until_at END";

/// More than 240 random bits as hexadecimal digits.
const fn random(backend: DbBackend) -> &'static str {
    if matches!(backend, DbBackend::Postgres) {
        "replace(CAST(gen_random_uuid() AS TEXT) || CAST(gen_random_uuid() AS TEXT), '-', '')"
    } else {
        "lower(hex(randomblob(32)))"
    }
}
