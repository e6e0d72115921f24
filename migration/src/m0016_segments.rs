//! Segments, the number of changes of their list beside the head of the log, and how long events of a kind
//! are kept.

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
        for sql in TABLES {
            let sql = typed(backend, sql);
            let form = strict(backend);
            db.execute_unprepared(&format!("{sql}{form}")).await?;
        }
        for sql in CHANGES {
            db.execute_unprepared(&typed(backend, sql)).await?;
        }
        Ok(())
    }
}

const TABLES: [&str; 3] = [
    // a segment whose events were deleted stays, so that they are known to have been there
    "CREATE TABLE segments (id {int} PRIMARY KEY, kind {int} NOT NULL, name TEXT NOT NULL, \
     events {int} NOT NULL CHECK (events > 0), bytes {int} NOT NULL, sha256 TEXT NOT NULL, \
     first_position {int} NOT NULL, last_position {int} NOT NULL, first_at {int} NOT NULL, \
     last_at {int} NOT NULL, first_device {int}, last_device {int}, archived_at {int} NOT NULL, \
     dropped_at {int})",
    // days; absent when it is never done
    "CREATE TABLE retention_policies (kind {int} PRIMARY KEY, \
     archive_after_days {int} CHECK (archive_after_days > 0), \
     delete_after_days {int} CHECK (delete_after_days > 0), changed_at {int} NOT NULL, \
     changed_by TEXT NOT NULL)",
    // of whom, only who knows their id can tell
    "CREATE TABLE erasures (id {int} PRIMARY KEY, person_sha256 TEXT NOT NULL, \
     events {int} NOT NULL, segments {int} NOT NULL, erased_at {int} NOT NULL, \
     erased_by TEXT NOT NULL)",
];

const CHANGES: [&str; 1] = ["ALTER TABLE log_head ADD COLUMN segments {int} NOT NULL DEFAULT 0"];
