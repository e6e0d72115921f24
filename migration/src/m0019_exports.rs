//! Exports that were asked for over the API, and how far each is.

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
        let sql = format!("{}{}", typed(backend, EXPORTS), strict(backend));
        db.execute_unprepared(&sql).await?;
        for index in INDEXES {
            db.execute_unprepared(index).await?;
        }
        Ok(())
    }
}

/// What is asked for is JSON, and so are the sites or the device that its account reached. A file is named
/// from when it is begun.
const EXPORTS: &str = "CREATE TABLE exports (export_id TEXT NOT NULL PRIMARY KEY, asked TEXT NOT NULL, \
    format TEXT NOT NULL, \
    state TEXT NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED', 'EXPIRED')), \
    events {int} NOT NULL, events_total {int}, bytes {int} NOT NULL, position {int} NOT NULL, \
    restarts {int} NOT NULL, file TEXT, account TEXT NOT NULL, reach TEXT NOT NULL, \
    administrators {int} NOT NULL, created_by TEXT NOT NULL, created_at {int} NOT NULL, \
    changed_at {int} NOT NULL, expires_at {int}, error_code TEXT, error_message TEXT)";

const INDEXES: [&str; 2] = [
    "CREATE INDEX exports_by_time ON exports (created_at, export_id)",
    "CREATE INDEX exports_by_state ON exports (state)",
];
