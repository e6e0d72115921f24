//! Erasures of what is personal: those that were asked for, and how far each is. What was erased before is
//! among them, as done.

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
        let sql = format!("{}{}", typed(backend, ERASURES), strict(backend));
        db.execute_unprepared(&sql).await?;
        for sql in CHANGES {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

/// Of whom it is, is known until it is done; then only who knows their id can tell. What was recorded after the
/// position is not erased.
const ERASURES: &str = "CREATE TABLE person_erasures (erasure_id TEXT NOT NULL PRIMARY KEY, person TEXT, \
    person_sha256 TEXT NOT NULL, position {int} NOT NULL, \
    state TEXT NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'DONE')), \
    events {int} NOT NULL, segments {int} NOT NULL, asked_at {int} NOT NULL, asked_by TEXT NOT NULL, \
    changed_at {int} NOT NULL, failure TEXT, CHECK ((person IS NULL) = (state = 'DONE')))";

const CHANGES: [&str; 4] = [
    "INSERT INTO person_erasures (erasure_id, person, person_sha256, position, state, events, segments, \
     asked_at, asked_by, changed_at) SELECT CAST(id AS TEXT), NULL, person_sha256, 0, 'DONE', events, \
     segments, erased_at, erased_by, erased_at FROM erasures",
    "DROP TABLE erasures",
    "CREATE INDEX person_erasures_by_time ON person_erasures (asked_at, erasure_id)",
    "CREATE INDEX person_erasures_by_state ON person_erasures (state)",
];
