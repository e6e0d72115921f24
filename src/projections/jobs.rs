//! Jobs as they stand: folded from their transitions, from those of the commands to their devices, and
//! from the outcomes on these. What each moves is what the machine of a job has an arrow for.
//!
//! On a device a job ends once: the first outcome counts that is recorded while the job is open. A job
//! that ends before its devices have ends as CANCELLED on the rest.

use std::collections::BTreeMap;

use entity::{
    command_transitions as command, job_outcomes as outcome, job_transitions as transition,
};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};
use serde_json::Value as Json;

use super::upsert::{in_groups, upsert};
use crate::event::{Cell, Event, Fact};
use crate::kinds::Kind;
use crate::store::{Deleted, Doing, Fold, Sql, Store, StoreError, value_in_text};

/// Folds transitions, commands and outcomes into `jobs` and `job_targets`.
#[derive(Debug)]
pub(super) struct Jobs;

impl Fold for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::JobTransition,
            Kind::CommandTransition,
            Kind::JobOutcome,
        ]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["jobs", "job_targets"]
    }

    /// Jobs are made of steps, which are never deleted. The outcome of a device matters to its own row alone, and
    /// where that may have been deleted the row stays as it is.
    fn untouched(&self, table: &str, deleted: Deleted<'_>) -> Option<String> {
        if table == "jobs" {
            return Some("TRUE".to_owned());
        }
        let (schema, kind) = (deleted.schema, Kind::JobOutcome.code());
        Some(format!(
            "NOT EXISTS (SELECT 1 FROM {schema}.job_targets u JOIN segments s ON s.kind = {kind} \
             AND s.dropped_at IS NOT NULL \
             AND u.outcome_position BETWEEN s.first_position AND s.last_position \
             WHERE u.job_id = job_targets.job_id AND u.device_key = job_targets.device_key)"
        ))
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        if fact.kind == Kind::JobTransition {
            let job_id = fact.cell(transition::Column::JobId).text();
            return job_id.map(entity_of);
        }
        if fact.kind == Kind::CommandTransition {
            let is_issued = fact.cell(command::Column::State).text() == Some("ISSUED");
            let command_id = fact.cell(command::Column::CommandId).text();
            let device_id = command_id.and_then(|id| id.splitn(3, '.').nth(2));
            return device_id.filter(|_| !is_issued).map(answers_of);
        }
        let on_a_device = fact.cell(outcome::Column::Scope).text() == Some("DEVICE");
        let job_id = fact.cell(outcome::Column::JobId).text();
        job_id.filter(|_| on_a_device).map(outcomes_of)
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut waiting = Waiting::default();
            for event in events {
                if event.fact.kind == Kind::JobTransition {
                    waiting.transit(tx, event).await?;
                } else if event.fact.kind == Kind::CommandTransition {
                    waiting.command(tx, event).await?;
                } else {
                    waiting.end_target(tx, event).await?;
                }
            }
            waiting.write_steps(tx).await?;
            waiting.write_of_devices(tx).await
        })
    }
}

/// What stands before the id of a job in its name.
pub(crate) const JOBS: &str = "job/";

/// Name of a job, for those who expect that nobody moves it.
pub(crate) fn entity_of(job_id: &str) -> String {
    format!("{JOBS}{job_id}")
}

/// Name of what a job came to on its devices, for those who expect that no device ends it. It is
/// apart from the job, so that those who move it are not held up by the devices that report.
pub(crate) fn outcomes_of(job_id: &str) -> String {
    format!("job/{job_id}/outcomes")
}

/// Name of what a device and the server make of the commands that it was given, for those who expect
/// that none of these was acknowledged or ended. There are as many as there are devices.
pub(crate) fn answers_of(device_id: &str) -> String {
    format!("device/{device_id}/answers")
}

/// Rows that wait to be written together: first those of jobs, then of commands, then of outcomes. What
/// must not be written in this order is written before.
#[derive(Default)]
struct Waiting<'e> {
    /// The row of each job that made a step.
    steps: BTreeMap<&'e str, Vec<Value>>,
    /// Devices of those jobs, by job and id: of one that is named twice the first place holds, and which of two
    /// rows of one statement that is no database says.
    targets: BTreeMap<(&'e str, &'e str), Vec<Value>>,
    /// What each command came to, by job and device.
    commands: BTreeMap<(&'e str, i64), Vec<Value>>,
    /// What each outcome says, by job and device.
    outcomes: BTreeMap<(&'e str, i64), Vec<Value>>,
}

impl<'e> Waiting<'e> {
    async fn transit(
        &mut self,
        tx: &DatabaseTransaction,
        event: &'e Event,
    ) -> Result<(), StoreError> {
        let cell = |column: transition::Column| event.fact.cell(column);
        let job = cell(transition::Column::JobId).text().unwrap_or_default();
        if has_any_of(&self.outcomes, job) || has_any_of(&self.commands, job) {
            self.write_of_devices(tx).await?;
        }
        let state = cell(transition::Column::State).text().unwrap_or_default();
        let (at, position) = (event.fact.occurred_at.0, event.position.0);
        let row = self.steps.entry(job).or_insert_with(|| {
            vec![
                job.into(),
                value_in_text(cell(transition::Column::JobType)),
                value_in_text(cell(transition::Column::Payload)),
                value_in_text(cell(transition::Column::Plan)),
                value_in_text(cell(transition::Column::ParentJobId)),
                value_in_text(cell(transition::Column::ChangedBy)),
                at.into(),
            ]
        });
        row.truncate(FIRST_STEP);
        row.extend([state.into(), at.into(), position.into()]);
        if let Cell::Json(targets) = cell(transition::Column::Targets) {
            let ids = targets.as_array().into_iter().flatten();
            let ids = ids.filter_map(Json::as_str).zip(0_i64..);
            for (id, ordinal) in ids {
                let target = self.targets.entry((job, id));
                target.or_insert_with(|| vec![job.into(), id.into(), ordinal.into()]);
            }
        }
        if ENDS.contains(&state) {
            self.write_steps(tx).await?;
            cancel(tx, job, event).await?;
        }
        Ok(())
    }

    async fn command(
        &mut self,
        tx: &DatabaseTransaction,
        event: &'e Event,
    ) -> Result<(), StoreError> {
        let cell = |column: command::Column| event.fact.cell(column);
        let text = |column: command::Column| cell(column).text().unwrap_or_default();
        let (job, state) = (text(command::Column::JobId), text(command::Column::State));
        let Some(device) = cell(command::Column::DeviceKey).int() else {
            return Ok(());
        };
        if self.steps.contains_key(job) {
            self.write_steps(tx).await?;
        }
        let key = (job, device);
        if self.commands.contains_key(&key) || self.outcomes.contains_key(&key) {
            self.write_of_devices(tx).await?;
        }
        let step = match state {
            "ISSUED" | "ACKNOWLEDGED" => state,
            _ => "WAITING",
        };
        let failures = i64::from(FAILURES.contains(&state));
        let row = vec![
            job.into(),
            device.into(),
            cell(command::Column::Attempt).int().into(),
            step.into(),
            event.recorded_at.0.into(),
            event.position.0.into(),
            failures.into(),
        ];
        self.commands.insert(key, row);
        Ok(())
    }

    /// Only devices that a job was made for have a target; an outcome of a job that others ran has none.
    async fn end_target(
        &mut self,
        tx: &DatabaseTransaction,
        event: &'e Event,
    ) -> Result<(), StoreError> {
        let cell = |column: outcome::Column| event.fact.cell(column);
        let text = |column: outcome::Column| cell(column).text().unwrap_or_default();
        let job = text(outcome::Column::JobId);
        let Some(device) = cell(outcome::Column::DeviceKey).int() else {
            return Ok(());
        };
        if text(outcome::Column::Scope) != "DEVICE" {
            return Ok(());
        }
        if self.steps.contains_key(job) {
            self.write_steps(tx).await?;
        }
        if self.outcomes.contains_key(&(job, device)) {
            self.write_of_devices(tx).await?;
        }
        let row = vec![
            job.into(),
            device.into(),
            text(outcome::Column::Status).into(),
            event.position.0.into(),
            event.recorded_at.0.into(),
        ];
        self.outcomes.insert((job, device), row);
        Ok(())
    }

    async fn write_steps(&mut self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let steps = std::mem::take(&mut self.steps).into_values();
        upsert(tx, INSERT_JOB, steps.collect(), MERGE_JOB).await?;
        let targets = std::mem::take(&mut self.targets).into_values();
        let types = ["TEXT", "TEXT", "BIGINT"];
        in_groups(tx, TARGETS, &types, targets.collect()).await
    }

    async fn write_of_devices(&mut self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let commands = std::mem::take(&mut self.commands).into_values();
        let types = [
            "TEXT", "BIGINT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "BIGINT",
        ];
        in_groups(tx, COMMANDS, &types, commands.collect()).await?;
        let outcomes = std::mem::take(&mut self.outcomes).into_values();
        let types = ["TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT"];
        in_groups(tx, OUTCOMES, &types, outcomes.collect()).await
    }
}

/// Whether rows of devices wait for a job.
fn has_any_of(rows: &BTreeMap<(&str, i64), Vec<Value>>, job: &str) -> bool {
    let mut from = rows.range((job, i64::MIN)..);
    from.next().is_some_and(|((next, _), _)| *next == job)
}

/// What a command has ended with when the device has failed it: one that is stopped or taken back has not.
const FAILURES: [&str; 3] = ["FAILED", "ERROR", "TIMEOUT"];

/// States with which a job has ended: on the devices that have not ended it, it is CANCELLED.
const ENDS: [&str; 3] = ["COMPLETED", "FAILED", "CANCELLED"];

async fn cancel(tx: &DatabaseTransaction, job: &str, by: &Event) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE job_targets SET status = 'CANCELLED', step_at = ");
    sql.bind(by.recorded_at.0).push(", step_position = ");
    sql.bind(by.position.0);
    sql.push(" WHERE status IS NULL AND job_id = ").bind(job);
    let statement = sql.statement(tx.get_database_backend());
    tx.execute_raw(statement).await.doing("fold a job")?;
    Ok(())
}

/// Values of a job's row that its first step gives; those behind them are of the last.
const FIRST_STEP: usize = 7;
const INSERT_JOB: &str = "INSERT INTO jobs (job_id, job_type, payload, plan, parent_job_id, \
    created_by, created_at, state, changed_at, position)";
const MERGE_JOB: &str = "ON CONFLICT (job_id) DO UPDATE SET state = excluded.state, \
    changed_at = excluded.changed_at, position = excluded.position \
    WHERE jobs.state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')";

/// Before and behind a job, the id of a device and its place. They come first in the join, so that
/// SQLite looks each device up.
const TARGETS: (&str, &str) = (
    "INSERT INTO job_targets (job_id, device_key, ordinal) \
     SELECT t.column1, k.entity_key, t.column3 FROM (VALUES ",
    ") AS t CROSS JOIN entity_keys k WHERE k.entity_type = 'DEVICE' AND k.entity_id = t.column2 \
     ON CONFLICT DO NOTHING",
);

/// Before and behind job, device, attempt, step, instant, position, and whether that is a failure. A command is issued to a device
/// that waits for its next; it is acknowledged once, and ends once.
const COMMANDS: (&str, &str) = (
    "UPDATE job_targets SET attempt = c.column3, step = c.column4, step_at = c.column5, \
     step_position = c.column6, failures = failures + c.column7, \
     failed_at = CASE c.column7 WHEN 0 THEN failed_at ELSE c.column5 END FROM (VALUES ",
    ") AS c WHERE job_targets.job_id = c.column1 AND job_targets.device_key = c.column2 AND \
     job_targets.status IS NULL AND CASE c.column4 \
     WHEN 'ISSUED' THEN job_targets.step = 'WAITING' AND job_targets.attempt = c.column3 - 1 \
     WHEN 'ACKNOWLEDGED' THEN job_targets.step = 'ISSUED' AND job_targets.attempt = c.column3 \
     ELSE job_targets.step <> 'WAITING' AND job_targets.attempt = c.column3 END",
);

/// Before and behind job, device, status, position and instant. The outcome of a device counts while
/// the job is open, or, as CANCELLED, when the job was stopped for it before.
const OUTCOMES: (&str, &str) = (
    "UPDATE job_targets SET status = o.column3, outcome_position = o.column4, step_at = CASE WHEN \
     job_targets.status IS NULL THEN o.column5 ELSE step_at END, step_position = CASE WHEN \
     job_targets.status IS NULL THEN o.column4 ELSE step_position END FROM (VALUES ",
    ") AS o WHERE job_targets.job_id = o.column1 AND job_targets.device_key = o.column2 AND \
     (job_targets.status IS NULL OR o.column3 = 'CANCELLED' AND \
     job_targets.status = 'CANCELLED' AND job_targets.outcome_position IS NULL)",
);

/// How far a job is on a device, with the version of the job that this was read with.
#[derive(Debug)]
pub(crate) struct OnDevice {
    pub(crate) version: i64,
    pub(crate) job_type: String,
    pub(crate) created_by: Option<String>,
    pub(crate) plan: Option<String>,
    pub(crate) attempt: i64,
    pub(crate) step: String,
    pub(crate) step_at: i64,
    pub(crate) status: Option<String>,
    pub(crate) failures: i64,
    /// The version of what the device has answered to commands.
    pub(crate) answers: i64,
}

/// How far a job is on a device; `None` when it is not for it. One statement, since each device asks
/// twice for each of its commands.
pub(crate) async fn on_device(
    store: &Store,
    job_id: &str,
    (device_id, device_key): (&str, i64),
) -> Result<Option<OnDevice>, StoreError> {
    let doing = "read the job of a device";
    let mut sql = Sql::new(
        "SELECT coalesce(v.version, 0), j.job_type, j.created_by, j.plan, t.attempt, \
         t.step, t.step_at, t.status, t.failures, coalesce(a.version, 0) \
         FROM job_targets t JOIN jobs j ON j.job_id = t.job_id \
         LEFT JOIN entity_versions v ON v.entity = ",
    );
    sql.bind(entity_of(job_id))
        .push(" LEFT JOIN entity_versions a ON a.entity = ");
    sql.bind(answers_of(device_id)).push(" WHERE t.job_id = ");
    sql.bind(job_id)
        .push(" AND t.device_key = ")
        .bind(device_key);
    let statement = sql.statement(store.backend());
    let row = store
        .readers()
        .query_one_raw(statement)
        .await
        .doing(doing)?;
    let read = |row: QueryResult| {
        Ok(OnDevice {
            version: row.try_get_by_index(0)?,
            job_type: row.try_get_by_index(1)?,
            created_by: row.try_get_by_index(2)?,
            plan: row.try_get_by_index(3)?,
            attempt: row.try_get_by_index(4)?,
            step: row.try_get_by_index(5)?,
            step_at: row.try_get_by_index(6)?,
            status: row.try_get_by_index(7)?,
            failures: row.try_get_by_index(8)?,
            answers: row.try_get_by_index(9)?,
        })
    };
    row.map(read).transpose().doing(doing)
}
