//! Groups of errors that are one error: what people decide about them, and how they stand. They are folded from the
//! whole log once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use super::m0015_rollups::by_key;
use super::tables::{Column, Report, Table, strict, typed};

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
        ERROR_GROUP_CHANGES.create(db).await?;
        for table in PACKED {
            let sql = typed(backend, table) + strict(backend);
            db.execute_unprepared(&sql).await?;
        }
        for table in COUNTED {
            let sql = typed(backend, table) + by_key(backend);
            db.execute_unprepared(&sql).await?;
        }
        for index in INDEXES {
            db.execute_unprepared(index).await?;
        }
        Ok(())
    }
}

const fn plain(sql: &'static str) -> Column {
    Column {
        sql,
        report: Report::Plain,
    }
}

const ERROR_GROUP_CHANGES: Table = Table {
    name: "error_group_changes",
    columns: &[
        plain("group_id TEXT NOT NULL CHECK (length(group_id) <= 64)"),
        plain(
            "change TEXT NOT NULL CHECK (change IN ('RESOLVED', 'IGNORED', 'MERGED', 'REOPENED'))",
        ),
        plain("into_group_id TEXT CHECK (length(into_group_id) <= 64)"),
        plain(
            "category TEXT NOT NULL CHECK (category IN ('API', 'DATABASE', 'EXTERNAL_SERVICE', \
             'VALIDATION', 'DEVICE', 'SYSTEM'))",
        ),
        plain("error_code TEXT CHECK (length(error_code) <= 255)"),
        plain("template TEXT NOT NULL CHECK (length(template) <= 1000)"),
        plain("changed_by TEXT CHECK (length(changed_by) <= 255)"),
        plain("reason TEXT CHECK (length(reason) <= 1000)"),
    ],
    unique: &[],
    indexes: &["occurred_at", "provenance, position"],
    partitioned: false,
};

const PACKED: &[&str] = &[
    "CREATE TABLE error_group_states (provenance {int} NOT NULL PRIMARY KEY, version {int} NOT NULL, \
     position {int} NOT NULL, chain_at_position {int} NOT NULL, from_at {int}, until_at {int}, tidied_at {int} NOT NULL)",
    // apart from what changes with each error: most of them say what others have said before
    "CREATE TABLE error_group_forms (provenance {int} NOT NULL PRIMARY KEY, cells {bytes} NOT NULL)",
    "CREATE TABLE error_groups (provenance {int} NOT NULL, label {int} NOT NULL, \
     cells {bytes} NOT NULL, PRIMARY KEY (provenance, label))",
];

const COUNTED: &[&str] = &[
    "CREATE TABLE error_group_hours (provenance {int} NOT NULL, label {int} NOT NULL, \
     device_key {int} NOT NULL, hour {int} NOT NULL, events {int} NOT NULL, first_at {int} NOT NULL, \
     last_at {int} NOT NULL, severity {int} NOT NULL, PRIMARY KEY (provenance, label, device_key, hour))",
    "CREATE TABLE error_group_news (provenance {int} NOT NULL, label {int} NOT NULL, \
     device_key {int} NOT NULL, since {int} NOT NULL, position {int} NOT NULL, \
     PRIMARY KEY (provenance, label, device_key, since))",
];

const INDEXES: &[&str] = &[
    "CREATE INDEX error_group_hours_device ON error_group_hours (device_key, provenance, hour)",
    "CREATE INDEX error_group_news_position ON error_group_news (position)",
    // how often a parameter is changed anyway, beside how often an error follows
    "CREATE INDEX configuration_history_parameter ON configuration_history (parameter_name, occurred_at)",
];
