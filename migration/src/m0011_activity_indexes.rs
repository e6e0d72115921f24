//! What a user did, and what was done in a session, is read from indexes.

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
        for column in ["user", "session"] {
            let sql = format!(
                "CREATE INDEX user_activity_{column} ON user_activity ({column}_id, occurred_at) \
                 WHERE {column}_id IS NOT NULL"
            );
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
