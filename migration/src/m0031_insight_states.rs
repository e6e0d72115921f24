//! What is kept of each device for its insights, and of which hours something is still to be folded into it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use super::m0015_rollups::by_key;
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
        let tables = [
            (STATES, strict(backend)),
            (DAYS, strict(backend)),
            (OPEN, by_key(backend)),
            (DUE, by_key(backend)),
            (HORIZON, strict(backend)),
        ];
        for (sql, tail) in tables {
            let sql = format!("{}{tail}", typed(backend, sql));
            db.execute_unprepared(&sql).await?;
        }
        for sql in INDEXES {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

/// A row may have some kilobytes: what is looked at of all of them stands in an index as well.
const STATES: &str = "CREATE TABLE device_insights (device_key {int} NOT NULL, provenance {int} NOT NULL, \
    version {int} NOT NULL, upto {int} NOT NULL, first_at {int} NOT NULL, measured_at {int} NOT NULL, \
    mark {int} NOT NULL, \
    risk {bytes} NOT NULL, rest {bytes} NOT NULL, PRIMARY KEY (device_key, provenance))";

const DAYS: &str = "CREATE TABLE device_insight_days (device_key {int} NOT NULL, provenance {int} NOT NULL, \
    until_at {int} NOT NULL, version {int} NOT NULL, upto {int} NOT NULL, \
    risk {bytes} NOT NULL, rest {bytes} NOT NULL, PRIMARY KEY (device_key, provenance, until_at))";

const OPEN: &str = "CREATE TABLE insight_open (hour_at {int} NOT NULL, device_key {int} NOT NULL, \
    provenance {int} NOT NULL, PRIMARY KEY (hour_at, device_key, provenance))";

const DUE: &str = "CREATE TABLE insight_due (device_key {int} NOT NULL, provenance {int} NOT NULL, \
    from_at {int} NOT NULL, PRIMARY KEY (device_key, provenance))";

const HORIZON: &str = "CREATE TABLE insight_horizon (id {int} PRIMARY KEY CHECK (id = 1), \
    horizon_at {int} NOT NULL, version {int} NOT NULL)";

const INDEXES: [&str; 3] = [
    "CREATE INDEX device_insights_heads ON device_insights \
     (device_key, provenance, version, upto, first_at, measured_at, mark)",
    "CREATE INDEX device_insight_days_heads ON device_insight_days \
     (device_key, provenance, until_at, version, upto)",
    "CREATE INDEX insight_due_from ON insight_due (from_at, device_key, provenance)",
];
