//! Jobs that are carried out by commands to devices: what each command came to, how a job is to be
//! carried out, and how far it is on each device.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use crate::tables::{Column, Report, Table, typed};

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
        COMMAND_TRANSITIONS.create(db).await?;
        // further states and columns: SQLite changes no check of a table that is there
        for sql in APART {
            db.execute_unprepared(sql).await?;
        }
        JOB_TRANSITIONS.create(db).await?;
        for sql in TOGETHER.iter().chain(STATE) {
            db.execute_unprepared(&typed(backend, sql)).await?;
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

const COMMAND_TRANSITIONS: Table = Table {
    name: "command_transitions",
    columns: &[
        plain("command_id TEXT NOT NULL CHECK (length(command_id) <= 512)"),
        plain("job_id TEXT NOT NULL CHECK (length(job_id) <= 255)"),
        plain("job_type TEXT NOT NULL CHECK (length(job_type) <= 255)"),
        Column {
            sql: "device_key {int} NOT NULL",
            report: Report::Id,
        },
        plain("attempt {int} NOT NULL CHECK (attempt BETWEEN 1 AND 1000000)"),
        plain(
            "state TEXT NOT NULL CHECK (state IN ('ISSUED', 'ACKNOWLEDGED', 'COMPLETED', \
             'FAILED', 'ERROR', 'TIMEOUT', 'CANCELLED'))",
        ),
        plain("duration_ms {int} CHECK (duration_ms BETWEEN 0 AND 2147483647)"),
        plain("error_code TEXT CHECK (length(error_code) <= 255)"),
        plain("error_message TEXT CHECK (length(error_message) <= 10000)"),
        json("result TEXT CHECK (length(result) <= 65536)"),
        plain("changed_by TEXT CHECK (length(changed_by) <= 255)"),
    ],
    unique: &[],
    indexes: &["occurred_at", "device_key, occurred_at", "job_id"],
    partitioned: false,
};

const JOB_TRANSITIONS: Table = Table {
    name: "job_transitions",
    columns: &[
        plain("job_id TEXT NOT NULL CHECK (length(job_id) <= 255)"),
        plain("job_type TEXT NOT NULL CHECK (length(job_type) <= 255)"),
        plain(
            "state TEXT NOT NULL CHECK (state IN ('SCHEDULED', 'QUEUED', 'RUNNING', 'PAUSED', \
             'COMPLETED', 'FAILED', 'CANCELLED'))",
        ),
        json("payload TEXT CHECK (length(payload) <= 65536)"),
        json("targets TEXT CHECK (length(targets) <= 1048576)"),
        plain("changed_by TEXT CHECK (length(changed_by) <= 255)"),
        plain("reason TEXT CHECK (length(reason) <= 1000)"),
        json("plan TEXT CHECK (length(plan) <= 65536)"),
        plain("parent_job_id TEXT CHECK (length(parent_job_id) <= 255)"),
    ],
    unique: &[],
    indexes: &["occurred_at", "job_id"],
    partitioned: false,
};

/// Puts the table aside.
const APART: &[&str] = &[
    "DROP VIEW report_job_transitions",
    "DROP INDEX job_transitions_1",
    "DROP INDEX job_transitions_2",
    "ALTER TABLE job_transitions RENAME TO job_transitions_before",
];

/// Takes over what was in it.
const TOGETHER: &[&str] = &[
    "INSERT INTO job_transitions (position, event_id, occurred_at, recorded_at, provenance, job_id, \
     job_type, state, payload, targets, changed_by, reason, extra) \
     SELECT position, event_id, occurred_at, recorded_at, provenance, job_id, \
     job_type, state, payload, targets, changed_by, reason, extra FROM job_transitions_before",
    "DROP TABLE job_transitions_before",
];

const STATE: &[&str] = &[
    "ALTER TABLE jobs ADD COLUMN plan TEXT",
    "ALTER TABLE jobs ADD COLUMN parent_job_id TEXT",
    "CREATE INDEX jobs_parent ON jobs (parent_job_id, created_at)",
    // the place of a device in its job, from 0
    "ALTER TABLE job_targets ADD COLUMN ordinal {int} NOT NULL DEFAULT 0",
    // of the command that the device was given last, if any: which one it is, from 1, and how far
    // it is
    "ALTER TABLE job_targets ADD COLUMN attempt {int} NOT NULL DEFAULT 0",
    "ALTER TABLE job_targets ADD COLUMN step TEXT NOT NULL DEFAULT 'WAITING'",
    "ALTER TABLE job_targets ADD COLUMN step_at {int} NOT NULL DEFAULT 0",
    "ALTER TABLE job_targets ADD COLUMN step_position {int} NOT NULL DEFAULT 0",
    // devices stood in the order of their ids
    "UPDATE job_targets SET ordinal = o.ordinal - 1 FROM (SELECT t.job_id, t.device_key, \
     ROW_NUMBER() OVER (PARTITION BY t.job_id ORDER BY k.entity_id) AS ordinal \
     FROM job_targets t JOIN entity_keys k ON k.entity_key = t.device_key) AS o \
     WHERE o.job_id = job_targets.job_id AND o.device_key = job_targets.device_key",
    // since when a device has ended its job: since it was stopped, or since its outcome
    "UPDATE job_targets SET step_at = o.recorded_at, step_position = o.position \
     FROM job_outcomes o WHERE o.position = job_targets.outcome_position",
    "UPDATE job_targets SET step_at = c.recorded_at, step_position = c.position \
     FROM job_transitions c WHERE c.job_id = job_targets.job_id AND c.state = 'CANCELLED' \
     AND job_targets.status = 'CANCELLED' \
     AND (job_targets.outcome_position IS NULL OR c.position < job_targets.outcome_position)",
    "CREATE INDEX job_targets_open ON job_targets (step_position) WHERE status IS NULL",
    "CREATE INDEX job_targets_ordinal ON job_targets (job_id, ordinal)",
];
