//! What is listed by its text is in the order of its bytes, whatever the locale of the database.
//!
//! SQLite compares so anyway. On PostgreSQL the columns get the collation "C", and with them their
//! indexes: a page begins after an id by a comparison of the program, of SQL, and of an index, and
//! all three must agree.

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
        if db.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        for (table, column) in COLUMNS {
            let sql = format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE TEXT COLLATE \"C\"");
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

const COLUMNS: &[(&str, &str)] = &[
    ("sites", "site_id"),
    ("devices", "device_id"),
    ("jobs", "job_id"),
    ("job_targets", "job_id"),
    ("configuration_values", "parameter_name"),
];
