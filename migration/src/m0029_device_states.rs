//! The states that were reported of each device, a few bytes each, beside the events that tell them: those may be
//! archived or deleted, and which state was before another is still known.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use super::m0015_rollups::by_key;
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
        let sql = format!("{}{}", typed(backend, TABLE), by_key(backend));
        db.execute_unprepared(&sql).await?;
        db.execute_unprepared(FILL).await.map(drop)
    }
}

const TABLE: &str = "CREATE TABLE device_states (device_key {int} NOT NULL, occurred_at {int} NOT NULL, \
    position {int} NOT NULL, state TEXT NOT NULL, provenance {int} NOT NULL, \
    PRIMARY KEY (device_key, occurred_at, position))";

/// None of the events was archived before there was this table.
const FILL: &str = "INSERT INTO device_states (device_key, occurred_at, position, state, provenance) \
    SELECT device_key, occurred_at, position, new_state, provenance FROM device_state_history";
