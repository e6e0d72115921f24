//! Configuration that is set, delivered and applied: the parameters that there are, what is set on devices,
//! sites and the system, and what devices measured around each change.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use crate::tables::{Column, Report, Table, strict, typed};

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
        for table in [
            PARAMETER_REGISTRATIONS,
            CONFIGURATION_SETTINGS,
            CONFIGURATION_EVIDENCE,
        ] {
            table.create(db).await?;
        }
        for sql in STATE {
            let sql = typed(backend, sql) + strict(backend);
            db.execute_unprepared(&sql).await?;
        }
        for sql in INDEXES.iter().chain(FURTHER_COLUMNS) {
            db.execute_unprepared(sql).await?;
        }
        CONFIGURATION_HISTORY.show(db).await
    }
}

const fn plain(sql: &'static str) -> Column {
    Column {
        sql,
        report: Report::Plain,
    }
}

const fn json(sql: &'static str) -> Column {
    Column {
        sql,
        report: Report::Json,
    }
}

const fn id(sql: &'static str) -> Column {
    Column {
        sql,
        report: Report::Id,
    }
}

const PARAMETER_REGISTRATIONS: Table = Table {
    name: "parameter_registrations",
    columns: &[
        plain("parameter_name TEXT NOT NULL CHECK (length(parameter_name) <= 255)"),
        plain("version {int} NOT NULL CHECK (version BETWEEN 1 AND 2147483647)"),
        json("schema TEXT NOT NULL CHECK (length(schema) <= 65536)"),
        plain("description TEXT CHECK (length(description) <= 1000)"),
        Column {
            sql: "sensitive {int} NOT NULL CHECK (sensitive IN (0, 1))",
            report: Report::Boolean,
        },
        json("scopes TEXT NOT NULL CHECK (length(scopes) <= 8192)"),
        plain("changed_by TEXT NOT NULL CHECK (length(changed_by) <= 255)"),
    ],
    unique: &[],
    indexes: &["occurred_at"],
    partitioned: false,
};

const CONFIGURATION_SETTINGS: Table = Table {
    name: "configuration_settings",
    columns: &[
        plain("entity_type TEXT NOT NULL CHECK (entity_type IN ('DEVICE', 'SITE', 'SYSTEM'))"),
        plain("entity_id TEXT NOT NULL CHECK (length(entity_id) <= 255)"),
        plain("version {int} NOT NULL CHECK (version BETWEEN 1 AND 2147483647)"),
        plain("parameter_name TEXT NOT NULL CHECK (length(parameter_name) <= 255)"),
        json("value TEXT CHECK (length(value) <= 65536)"),
        plain("changed_by TEXT NOT NULL CHECK (length(changed_by) <= 255)"),
        plain("reason TEXT CHECK (length(reason) <= 1000)"),
        plain("change_type TEXT CHECK (change_type IN ('MANUAL', 'AUTOMATED', 'RECOMMENDED'))"),
        plain("rolled_back_to {int} CHECK (rolled_back_to BETWEEN 0 AND 2147483647)"),
        plain("job_id TEXT CHECK (length(job_id) <= 255)"),
        id("device_key {int}"),
        id("site_key {int}"),
    ],
    unique: &[],
    indexes: &[
        "occurred_at",
        "entity_type, entity_id, version",
        "job_id",
        "device_key, occurred_at",
        "site_key, occurred_at",
    ],
    partitioned: false,
};

const CONFIGURATION_EVIDENCE: Table = Table {
    name: "configuration_evidence",
    columns: &[
        plain("command_id TEXT NOT NULL CHECK (length(command_id) <= 512)"),
        id("device_key {int} NOT NULL"),
        plain("phase TEXT NOT NULL CHECK (phase IN ('BEFORE', 'AFTER'))"),
        plain("readings {int} NOT NULL CHECK (readings BETWEEN 0 AND 2147483647)"),
        plain("readings_provenance TEXT CHECK (length(readings_provenance) <= 16)"),
        json("measures TEXT NOT NULL CHECK (length(measures) <= 65536)"),
    ],
    unique: &[],
    indexes: &["occurred_at", "device_key, occurred_at", "command_id"],
    partitioned: false,
};

const STATE: &[&str] = &[
    "CREATE TABLE configuration_parameters (parameter_name TEXT PRIMARY KEY, version {int} NOT NULL, \
     schema TEXT NOT NULL, description TEXT, sensitive {int} NOT NULL, scopes TEXT NOT NULL, \
     default_value TEXT, registered_at {int} NOT NULL, position {int} NOT NULL)",
    "CREATE TABLE configuration_desired (entity_type TEXT NOT NULL, entity_id TEXT NOT NULL, \
     parameter_name TEXT NOT NULL, value TEXT, version {int} NOT NULL, occurred_at {int} NOT NULL, \
     position {int} NOT NULL, PRIMARY KEY (entity_type, entity_id, parameter_name))",
    "CREATE TABLE configuration_evidence_due (command_id TEXT PRIMARY KEY, device_key {int} NOT NULL, \
     applied_at {int} NOT NULL, provenance {int} NOT NULL)",
];

const INDEXES: &[&str] = &[
    "CREATE INDEX configuration_desired_parameter ON configuration_desired (parameter_name)",
    "CREATE INDEX configuration_evidence_due_at ON configuration_evidence_due (applied_at)",
];

const FURTHER_COLUMNS: &[&str] = &[
    "ALTER TABLE configuration_history ADD COLUMN job_id TEXT CHECK (length(job_id) <= 255)",
    "ALTER TABLE configuration_history ADD COLUMN command_id TEXT CHECK (length(command_id) <= 512)",
    "CREATE INDEX configuration_history_command ON configuration_history (command_id)",
    "DROP VIEW report_configuration_history",
];

/// As it is now, for its view.
const CONFIGURATION_HISTORY: Table = Table {
    name: "configuration_history",
    columns: &[
        plain("entity_type"),
        plain("entity_id"),
        plain("parameter_name"),
        json("old_value"),
        json("new_value"),
        plain("changed_by"),
        plain("reason"),
        plain("change_type"),
        id("device_key"),
        id("site_key"),
        plain("job_id"),
        plain("command_id"),
    ],
    unique: &[],
    indexes: &[],
    partitioned: false,
};
