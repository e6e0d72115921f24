//! What the devices of a fleet come to, and what was learned from them: sums, examples and models of failures, each as of
//! a midnight (UTC). All of it is made of the log by itself.

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
        for table in TABLES {
            let sql = format!("{}{}", typed(backend, table), strict(backend));
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

/// A version of the form stands beside another while servers of both run. A model that did not take the place of the
/// one before it is kept as well, with why it did not. What is large, since it is of each site, is kept of the last nights.
const TABLES: [&str; 3] = [
    "CREATE TABLE insight_fleets (provenance {int} NOT NULL, version {int} NOT NULL, day {int} NOT NULL, \
     made_at {int} NOT NULL, devices {int} NOT NULL, sums {bytes} NOT NULL, site_pools {bytes}, \
     PRIMARY KEY (provenance, version, day))",
    "CREATE TABLE insight_examples (provenance {int} NOT NULL, version {int} NOT NULL, day {int} NOT NULL, \
     devices {int} NOT NULL, examples {bytes} NOT NULL, PRIMARY KEY (provenance, version, day))",
    "CREATE TABLE insight_models (provenance {int} NOT NULL, version {int} NOT NULL, day {int} NOT NULL, \
     trained_at {int} NOT NULL, is_accepted {int} NOT NULL CHECK (is_accepted IN (0, 1)), \
     model {bytes} NOT NULL, tried {bytes}, report TEXT NOT NULL, PRIMARY KEY (provenance, version, day))",
];
