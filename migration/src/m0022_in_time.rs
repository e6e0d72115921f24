//! How far a deleted segment had what was recorded in time, how far an erasure has come, and what a server can
//! do of that which only one does.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

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
        for sql in CHANGES {
            db.execute_unprepared(&typed(backend, sql)).await?;
        }
        Ok(())
    }
}

const CHANGES: [&str; 5] = [
    // of a segment that was deleted before it is not known, and it counts as if all of it had been in time
    "ALTER TABLE segments ADD COLUMN timely_position {int}",
    // up to which position tables are done, and up to which segment those are that there were by then
    "ALTER TABLE person_erasures ADD COLUMN rows_upto {int} NOT NULL DEFAULT 0",
    "ALTER TABLE person_erasures ADD COLUMN segments_done {int} NOT NULL DEFAULT 0",
    "ALTER TABLE person_erasures ADD COLUMN segments_upto {int}",
    // names of works
    "ALTER TABLE nodes ADD COLUMN able TEXT NOT NULL DEFAULT ''",
];
