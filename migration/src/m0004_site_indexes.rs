//! The history of a site is read from indexes: of what names the site itself, and, of each of its
//! devices, of what does not.

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
        for table in TABLES {
            let sql = format!(
                "CREATE INDEX {table}_site ON {table} (site_key, occurred_at) \
                 WHERE site_key IS NOT NULL"
            );
            db.execute_unprepared(&sql).await?;
        }
        for table in ALSO_OF_DEVICES {
            let sql = format!(
                "CREATE INDEX {table}_device ON {table} (device_key, occurred_at) \
                 WHERE site_key IS NULL"
            );
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

/// Most of their events name a device alone, and are found by that.
const TABLES: [&str; 3] = [
    "device_registrations",
    "job_outcomes",
    "configuration_history",
];

/// Their events may name a device with its site or without.
const ALSO_OF_DEVICES: [&str; 2] = ["job_outcomes", "configuration_history"];
