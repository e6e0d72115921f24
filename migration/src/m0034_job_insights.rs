//! How jobs ended on devices, summed up by site, type of job and six hours of the site's day. It is folded from the
//! whole log once.

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
        db.execute_unprepared(&sql).await.map(drop)
    }
}

/// The whole fleet is site 0; a span is 0 of a day and 1 of a month.
const TABLE: &str = "CREATE TABLE job_tallies (site_key {int} NOT NULL, provenance {int} NOT NULL, \
    span {int} NOT NULL, start_at {int} NOT NULL, job_type TEXT NOT NULL, block {int} NOT NULL, \
    succeeded {int} NOT NULL, failed {int} NOT NULL, first_at {int} NOT NULL, last_at {int} NOT NULL, \
    PRIMARY KEY (site_key, provenance, span, start_at, job_type, block))";
