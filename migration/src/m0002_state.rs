//! The state that is folded from the log: registry, current values, counters, jobs.
//!
//! All of it can be emptied and folded again.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use crate::tables::{strict, typed};

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
            let sql = typed(backend, table);
            db.execute_unprepared(&format!("{sql}{}", strict(backend)))
                .await?;
        }
        for index in INDEXES {
            db.execute_unprepared(index).await?;
        }
        Ok(())
    }
}

const TABLES: &[&str] = &[
    // how far each projection has folded the log, and which log that was
    "CREATE TABLE checkpoints (projection TEXT PRIMARY KEY, position {int} NOT NULL, \
     log_id TEXT NOT NULL, epoch {int} NOT NULL)",
    "CREATE TABLE sites (site_key {int} PRIMARY KEY, site_id TEXT NOT NULL UNIQUE, \
     name TEXT NOT NULL, time_zone TEXT NOT NULL, currency TEXT, address TEXT, tags TEXT, \
     registered_at {int} NOT NULL, position {int} NOT NULL)",
    "CREATE TABLE devices (device_key {int} PRIMARY KEY, device_id TEXT NOT NULL UNIQUE, \
     site_key {int} NOT NULL, name TEXT, device_type TEXT NOT NULL, model TEXT, firmware TEXT, \
     os TEXT, tags TEXT, lifecycle TEXT NOT NULL, registered_at {int} NOT NULL, \
     position {int} NOT NULL)",
    "CREATE TABLE device_status (device_key {int} PRIMARY KEY, state TEXT, state_at {int}, \
     state_position {int}, last_seen_at {int}, metrics_at {int}, metrics_position {int})",
    "CREATE TABLE current_schedules (site_key {int} NOT NULL, day TEXT NOT NULL, \
     occurred_at {int} NOT NULL, position {int} NOT NULL, PRIMARY KEY (site_key, day))",
    "CREATE TABLE collection_counters (kind {int} NOT NULL, provenance {int} NOT NULL, \
     records {int} NOT NULL, oldest_at {int} NOT NULL, newest_at {int} NOT NULL, \
     PRIMARY KEY (kind, provenance))",
    "CREATE TABLE refusals (kind TEXT NOT NULL, field TEXT NOT NULL, code TEXT NOT NULL, \
     device_id TEXT NOT NULL, refused {int} NOT NULL, last_at {int} NOT NULL, \
     PRIMARY KEY (kind, field, code, device_id))",
    "CREATE TABLE configuration_values (entity_type TEXT NOT NULL, entity_id TEXT NOT NULL, \
     parameter_name TEXT NOT NULL, value TEXT NOT NULL, occurred_at {int} NOT NULL, \
     position {int} NOT NULL, PRIMARY KEY (entity_type, entity_id, parameter_name))",
    "CREATE TABLE jobs (job_id TEXT PRIMARY KEY, job_type TEXT NOT NULL, state TEXT NOT NULL, \
     payload TEXT, created_by TEXT, created_at {int} NOT NULL, changed_at {int} NOT NULL, \
     position {int} NOT NULL)",
    "CREATE TABLE job_targets (job_id TEXT NOT NULL, device_key {int} NOT NULL, \
     status TEXT, outcome_position {int}, PRIMARY KEY (job_id, device_key))",
];

const INDEXES: &[&str] = &[
    "CREATE INDEX devices_site ON devices (site_key, device_id)",
    "CREATE INDEX jobs_state ON jobs (state, created_at)",
    "CREATE INDEX job_targets_device ON job_targets (device_key, status)",
];
