//! Who may do what, and who did: the audit, the access keys folded from it, and their last use.

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
        AUDIT_LOG.create(db).await?;
        let backend = db.get_database_backend();
        for table in [ACCESS_KEYS, ACCESS_KEY_USAGE] {
            let sql = typed(backend, table) + strict(backend);
            db.execute_unprepared(&sql).await?;
        }
        // lists of jobs are in this order, whoever asks
        let index = "CREATE INDEX jobs_created ON jobs (created_at, job_id)";
        db.execute_unprepared(index).await?;
        Ok(())
    }
}

const fn plain(sql: &'static str) -> Column {
    Column {
        sql,
        report: Report::Plain,
    }
}

const AUDIT_LOG: Table = Table {
    name: "audit_log",
    columns: &[
        plain(
            "action TEXT NOT NULL CHECK (action IN \
             ('KEY_CREATED', 'KEY_REVOKED', 'COMMAND', 'SIGN_IN'))",
        ),
        plain("outcome TEXT NOT NULL CHECK (outcome IN ('DONE', 'REFUSED'))"),
        plain("actor TEXT NOT NULL CHECK (length(actor) <= 255)"),
        plain("operation TEXT CHECK (length(operation) <= 255)"),
        plain("target TEXT CHECK (length(target) <= 255)"),
        plain("reason TEXT CHECK (length(reason) <= 1000)"),
        plain("ip_address TEXT CHECK (length(ip_address) <= 64)"),
        plain("occurrences {int} CHECK (occurrences BETWEEN 1 AND 2147483647)"),
        plain("key_id TEXT CHECK (length(key_id) <= 64)"),
        Column {
            sql: "key_grant TEXT CHECK (length(key_grant) <= 65536)",
            report: Report::Json,
        },
    ],
    unique: &[],
    indexes: &["occurred_at"],
    partitioned: false,
};

const ACCESS_KEYS: &str = "CREATE TABLE access_keys (
    key_id TEXT NOT NULL PRIMARY KEY,
    key_grant TEXT,
    created_at {int},
    created_by TEXT,
    revoked_at {int},
    revoked_by TEXT,
    position {int} NOT NULL
)";

const ACCESS_KEY_USAGE: &str = "CREATE TABLE access_key_usage (
    key_id TEXT NOT NULL PRIMARY KEY,
    last_used_at {int} NOT NULL
)";
