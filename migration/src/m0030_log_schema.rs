//! By which schema a log is appended to: a migration that adds a fold inside the appends raises it, before it fills
//! the tables of that, and servers of a version that does not know the fold append no more.

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
        let column = typed(db.get_database_backend(), COLUMN);
        db.execute_unprepared(&column).await?;
        db.execute_unprepared(FIRST).await.map(drop)
    }
}

const COLUMN: &str = "ALTER TABLE log_head ADD COLUMN schema {int} NOT NULL DEFAULT 0";

/// A log that is still to be made gets its own with its id.
const FIRST: &str = "UPDATE log_head SET schema = 1";
