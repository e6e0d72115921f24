//! What the log says, summed up by days as well, and of sites by minutes of the last days. All rollups are
//! made anew from the log, so that every level is of the same events.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use super::m0015_rollups::{ROLLUP, by_key};
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
        for (name, owner, site, site_key) in ROLLUPS {
            let sql = ROLLUP.replace("{name}", name).replace("{owner}", owner);
            let sql = sql.replace("{site}", site).replace("{site_key}", site_key);
            let sql = format!("{}{}", typed(backend, &sql), by_key(backend));
            db.execute_unprepared(&sql).await?;
        }
        let sql = format!("{}{}", typed(backend, MINUTES), strict(backend));
        db.execute_unprepared(&sql).await?;
        for sql in ANEW {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

const ROLLUPS: [(&str, &str, &str, &str); 3] = [
    (
        "device_rollups_1d",
        "device_key",
        "site_key {int} NOT NULL, ",
        ", site_key",
    ),
    ("site_rollups_1d", "site_key", "", ""),
    ("site_rollups_1m", "site_key", "", ""),
];

/// From when on minutes are whole.
const MINUTES: &str = "CREATE TABLE rollup_minutes (id {int} NOT NULL PRIMARY KEY, \
    from_at {int} NOT NULL)";

const ANEW: [&str; 7] = [
    "DELETE FROM checkpoints WHERE projection = 'rollups'",
    "DELETE FROM device_rollups_15m",
    "DELETE FROM device_rollups_1h",
    "DELETE FROM site_rollups_15m",
    "DELETE FROM site_rollups_1h",
    "DELETE FROM rollup_places",
    "DELETE FROM rollup_counters",
];
