//! Alerts: the rules that raise them, their steps, both as they stand, and what is sent of them.

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
        ALERT_RULE_CHANGES.create(db).await?;
        ALERT_TRANSITIONS.create(db).await?;
        for table in TABLES {
            let sql = typed(backend, table) + strict(backend);
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

const CONDITION: Column = plain(
    "alert_condition TEXT NOT NULL CHECK (alert_condition IN ('METRIC', 'STATE', 'ERROR_RATE', \
     'COLLECTION_GAP', 'JOB_FAILURE'))",
);
const SEVERITY: Column =
    plain("severity TEXT NOT NULL CHECK (severity IN ('CRITICAL', 'WARNING', 'INFO'))");

const ALERT_RULE_CHANGES: Table = Table {
    name: "alert_rule_changes",
    columns: &[
        plain("rule_id TEXT NOT NULL CHECK (length(rule_id) <= 64)"),
        plain("name TEXT NOT NULL CHECK (length(name) <= 255)"),
        CONDITION,
        json("spec TEXT NOT NULL CHECK (length(spec) <= 65536)"),
        SEVERITY,
        plain("state TEXT NOT NULL CHECK (state IN ('ENABLED', 'DISABLED', 'DELETED'))"),
        plain("changed_by TEXT CHECK (length(changed_by) <= 255)"),
    ],
    unique: &[],
    indexes: &["occurred_at", "rule_id"],
    partitioned: false,
};

const ALERT_TRANSITIONS: Table = Table {
    name: "alert_transitions",
    columns: &[
        plain("alert_id TEXT NOT NULL CHECK (length(alert_id) <= 64)"),
        plain("rule_id TEXT NOT NULL CHECK (length(rule_id) <= 64)"),
        plain("rule_name TEXT CHECK (length(rule_name) <= 255)"),
        CONDITION,
        plain("cause TEXT NOT NULL CHECK (length(cause) <= 512)"),
        plain(
            "state TEXT NOT NULL CHECK (state IN ('OPEN', 'ACKNOWLEDGED', 'SILENCED', 'RESOLVED'))",
        ),
        SEVERITY,
        id("device_key {int}"),
        id("site_key {int}"),
        plain("job_id TEXT CHECK (length(job_id) <= 255)"),
        plain("duration_ms {int} CHECK (duration_ms >= 0)"),
        plain("silenced_seconds {int} CHECK (silenced_seconds BETWEEN 1 AND 2678400)"),
        plain("value {real} CHECK (value BETWEEN -1e15 AND 1e15)"),
        plain("threshold {real} CHECK (threshold BETWEEN -1e15 AND 1e15)"),
        plain("changed_by TEXT CHECK (length(changed_by) <= 255)"),
        plain("reason TEXT CHECK (length(reason) <= 1000)"),
    ],
    unique: &[],
    indexes: &[
        "occurred_at",
        "device_key, occurred_at",
        "site_key, occurred_at",
        "alert_id",
    ],
    partitioned: false,
};

const TABLES: &[&str] = &[
    "CREATE TABLE alert_rules (rule_id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
     alert_condition TEXT NOT NULL, spec TEXT NOT NULL, severity TEXT NOT NULL, \
     state TEXT NOT NULL, created_at {int} NOT NULL, created_by TEXT, changed_at {int} NOT NULL, \
     changed_by TEXT, position {int} NOT NULL)",
    "CREATE TABLE alerts (alert_id TEXT NOT NULL PRIMARY KEY, rule_id TEXT NOT NULL, \
     rule_name TEXT, alert_condition TEXT NOT NULL, cause TEXT NOT NULL, severity TEXT NOT NULL, \
     device_key {int}, site_key {int}, job_id TEXT, state TEXT NOT NULL, \
     started_at {int} NOT NULL, opened_at {int} NOT NULL, changed_at {int} NOT NULL, \
     ended_at {int}, acknowledged_at {int}, acknowledged_by TEXT, silenced_until {int}, \
     resolved_by TEXT, reason TEXT, value {real}, threshold {real}, provenance {int} NOT NULL, \
     position {int} NOT NULL)",
    // not of the log: the secret is known to nobody who reads that
    "CREATE TABLE webhooks (webhook_id TEXT NOT NULL PRIMARY KEY, url TEXT NOT NULL, \
     secret TEXT NOT NULL, severity TEXT NOT NULL, states TEXT NOT NULL, site_ids TEXT NOT NULL, \
     is_enabled {int} NOT NULL, created_at {int} NOT NULL, created_by TEXT, \
     version {int} NOT NULL)",
    "CREATE TABLE webhook_deliveries (delivery_id {uuid} NOT NULL PRIMARY KEY, \
     webhook_id TEXT NOT NULL, position {int} NOT NULL, alert_id TEXT NOT NULL, \
     body TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')), \
     attempts {int} NOT NULL, due_at {int} NOT NULL, claimed_until {int}, \
     created_at {int} NOT NULL, tried_at {int}, status_code {int}, error TEXT)",
];

const INDEXES: &[&str] = &[
    "CREATE INDEX alerts_opened ON alerts (opened_at, alert_id)",
    "CREATE INDEX alerts_cause ON alerts (rule_id, cause, opened_at)",
    "CREATE INDEX alerts_device ON alerts (device_key, opened_at) WHERE state <> 'RESOLVED'",
    "CREATE INDEX alerts_site ON alerts (site_key, opened_at) WHERE state <> 'RESOLVED'",
    "CREATE INDEX alerts_open ON alerts (opened_at, alert_id) WHERE state <> 'RESOLVED'",
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'PENDING'",
    "CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook_id, position)",
];
