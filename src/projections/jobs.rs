//! Jobs as they stand: folded from their transitions and from the outcomes on their devices.
//!
//! On a device a job ends once: the first outcome counts that is recorded while the job runs. A job
//! that is cancelled ends with that on all devices that have not ended it.

use std::collections::BTreeMap;

use entity::{job_outcomes as outcome, job_transitions as transition};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};
use serde_json::Value as Json;

use super::upsert::{in_groups, upsert};
use crate::event::{Cell, Event, Fact};
use crate::kinds::Kind;
use crate::store::{Doing, Fold, Sql, StoreError, value_in_text};

/// Folds transitions and outcomes into `jobs` and `job_targets`.
#[derive(Debug)]
pub(super) struct Jobs;

impl Fold for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::JobTransition, Kind::JobOutcome]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["jobs", "job_targets"]
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        if fact.kind == Kind::JobTransition {
            let job_id = fact.cell(transition::Column::JobId).text();
            return job_id.map(entity_of);
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
                } else {
                    waiting.end_target(tx, event).await?;
                }
            }
            waiting.write_steps(tx).await?;
            waiting.write_outcomes(tx).await
        })
    }
}

/// Name of a job, for those who expect that nobody moves it.
pub(crate) fn entity_of(job_id: &str) -> String {
    format!("job/{job_id}")
}

/// Name of what a job came to on its devices, for those who expect that no device ends it. It is
/// apart from the job, so that those who move it are not held up by the devices that report.
pub(crate) fn outcomes_of(job_id: &str) -> String {
    format!("job/{job_id}/outcomes")
}

/// Rows that wait to be written together. No job has both steps and outcomes among them: what comes
/// second depends on the first, which is written before it.
#[derive(Default)]
struct Waiting<'e> {
    /// The row of each job that made a step.
    steps: BTreeMap<&'e str, Vec<Value>>,
    /// Devices of those jobs.
    targets: Vec<Vec<Value>>,
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
        if self.has_outcome_of(job) {
            self.write_outcomes(tx).await?;
        }
        let state = value_in_text(cell(transition::Column::State));
        let (at, position) = (event.fact.occurred_at.0, event.position.0);
        let row = self.steps.entry(job).or_insert_with(|| {
            vec![
                job.into(),
                value_in_text(cell(transition::Column::JobType)),
                value_in_text(cell(transition::Column::Payload)),
                value_in_text(cell(transition::Column::ChangedBy)),
                at.into(),
            ]
        });
        row.truncate(FIRST_STEP);
        row.extend([state, at.into(), position.into()]);
        let cancelled = cell(transition::Column::State).text() == Some(CANCELLED);
        if cancelled {
            self.write_steps(tx).await?;
            cancel(tx, job).await?;
        }
        if let Cell::Json(targets) = cell(transition::Column::Targets) {
            let ids = targets.as_array().into_iter().flatten();
            let ids = ids.filter_map(Json::as_str);
            let rows = ids.map(|id| vec![job.into(), id.into()]);
            self.targets.extend(rows);
            if cancelled {
                self.write_steps(tx).await?;
            }
        }
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
            self.write_outcomes(tx).await?;
        }
        let row = vec![
            job.into(),
            device.into(),
            text(outcome::Column::Status).into(),
            event.position.0.into(),
        ];
        self.outcomes.insert((job, device), row);
        Ok(())
    }

    fn has_outcome_of(&self, job: &str) -> bool {
        let mut from = self.outcomes.range((job, i64::MIN)..);
        from.next().is_some_and(|((next, _), _)| *next == job)
    }

    async fn write_steps(&mut self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let steps = std::mem::take(&mut self.steps).into_values();
        upsert(tx, INSERT_JOB, steps.collect(), MERGE_JOB).await?;
        let targets = std::mem::take(&mut self.targets);
        in_groups(tx, TARGETS, &["TEXT", "TEXT"], targets).await
    }

    async fn write_outcomes(&mut self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let outcomes = std::mem::take(&mut self.outcomes).into_values();
        let types = ["TEXT", "BIGINT", "TEXT", "BIGINT"];
        in_groups(tx, OUTCOMES, &types, outcomes.collect()).await
    }
}

/// State of a job that was stopped, and status of the devices that had not ended it.
const CANCELLED: &str = "CANCELLED";

async fn cancel(tx: &DatabaseTransaction, job: &str) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE job_targets SET status = ");
    sql.bind(CANCELLED)
        .push(" WHERE status IS NULL AND job_id = ")
        .bind(job);
    let statement = sql.statement(tx.get_database_backend());
    tx.execute_raw(statement).await.doing("fold a job")?;
    Ok(())
}

/// Values of a job's row that its first step gives; those behind them are of the last.
const FIRST_STEP: usize = 5;
const INSERT_JOB: &str = "INSERT INTO jobs (job_id, job_type, payload, created_by, created_at, \
    state, changed_at, position)";
const MERGE_JOB: &str = "ON CONFLICT (job_id) DO UPDATE SET state = excluded.state, \
    changed_at = excluded.changed_at, position = excluded.position";

/// Before and behind pairs of a job and the id of a device. The pairs come first in the join, so that
/// SQLite looks each device up.
const TARGETS: (&str, &str) = (
    "INSERT INTO job_targets (job_id, device_key) SELECT t.column1, k.entity_key FROM (VALUES ",
    ") AS t CROSS JOIN entity_keys k WHERE k.entity_type = 'DEVICE' AND k.entity_id = t.column2 \
     ON CONFLICT (job_id, device_key) DO NOTHING",
);

/// Before and behind job, device, status and position. The outcome of a device counts while the job
/// runs, or, as CANCELLED, when the job was cancelled for it before.
const OUTCOMES: (&str, &str) = (
    "UPDATE job_targets SET status = o.column3, outcome_position = o.column4 FROM (VALUES ",
    ") AS o WHERE job_targets.job_id = o.column1 AND job_targets.device_key = o.column2 AND \
     (job_targets.status IS NULL AND EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = o.column1 \
     AND jobs.state IN ('QUEUED', 'RUNNING')) OR o.column3 = 'CANCELLED' AND \
     job_targets.status = 'CANCELLED' AND job_targets.outcome_position IS NULL)",
);
