//! Of each device of a job is kept how many of its commands have failed, apart from those that were taken
//! back, and when the last one did.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

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
        for sql in STATE {
            let sql = typed(db.get_database_backend(), sql);
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

const STATE: &[&str] = &[
    "ALTER TABLE job_targets ADD COLUMN failures {int} NOT NULL DEFAULT 0",
    "ALTER TABLE job_targets ADD COLUMN failed_at {int} NOT NULL DEFAULT 0",
    // what ended a command that had ended, or of a device that had ended its job, has no effect
    "UPDATE job_targets SET failures = f.failures, failed_at = f.failed_at FROM (SELECT t.job_id, \
     t.device_key, count(*) AS failures, max(c.recorded_at) AS failed_at FROM job_targets t \
     JOIN command_transitions c ON c.job_id = t.job_id AND c.device_key = t.device_key \
     AND c.position <= t.step_position WHERE c.state IN ('FAILED', 'ERROR', 'TIMEOUT') \
     GROUP BY t.job_id, t.device_key) AS f \
     WHERE f.job_id = job_targets.job_id AND f.device_key = job_targets.device_key",
];
