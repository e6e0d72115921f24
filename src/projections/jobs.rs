//! Jobs as they stand: folded from their transitions and from the outcomes on their devices.
//!
//! On a device a job ends once: the first outcome counts that is recorded while the job runs. A job
//! that is cancelled ends with that on all devices that have not ended it.

use entity::{job_outcomes as outcome, job_transitions as transition};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::Value as Json;

use super::upsert::upsert;
use crate::event::{Cell, Event};
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

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for event in events {
                if event.fact.kind == Kind::JobTransition {
                    transit(tx, event).await?;
                } else {
                    end_target(tx, event).await?;
                }
            }
            Ok(())
        })
    }
}

async fn transit(tx: &DatabaseTransaction, event: &Event) -> Result<(), StoreError> {
    let cell = |column: transition::Column| event.fact.cell(column);
    let at = event.fact.occurred_at.0;
    let row = vec![
        value_in_text(cell(transition::Column::JobId)),
        value_in_text(cell(transition::Column::JobType)),
        value_in_text(cell(transition::Column::State)),
        value_in_text(cell(transition::Column::Payload)),
        value_in_text(cell(transition::Column::ChangedBy)),
        at.into(),
        at.into(),
        event.position.0.into(),
    ];
    upsert(tx, INSERT_JOB, vec![row], MERGE_JOB).await?;
    if cell(transition::Column::State).text() == Some(CANCELLED) {
        let mut sql = Sql::new("UPDATE job_targets SET status = ");
        sql.bind(CANCELLED)
            .push(" WHERE status IS NULL AND job_id = ");
        sql.bind(cell(transition::Column::JobId).text().unwrap_or_default());
        let statement = sql.statement(tx.get_database_backend());
        tx.execute_raw(statement).await.doing("fold a job")?;
    }
    let Cell::Json(targets) = cell(transition::Column::Targets) else {
        return Ok(());
    };
    let ids = targets
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str);
    for id in ids {
        let mut sql = Sql::new("INSERT INTO job_targets (job_id, device_key) SELECT ");
        // the type is said, since PostgreSQL cannot tell that of a parameter in a selection
        sql.push("CAST(")
            .bind(cell(transition::Column::JobId).text().unwrap_or_default());
        sql.push(" AS TEXT), entity_key FROM entity_keys WHERE entity_type = 'DEVICE'");
        sql.push(" AND entity_id = ")
            .bind(id)
            .push(" ON CONFLICT (job_id, device_key) DO NOTHING");
        let statement = sql.statement(tx.get_database_backend());
        tx.execute_raw(statement).await.doing("fold a job")?;
    }
    Ok(())
}

/// State of a job that was stopped, and status of the devices that had not ended it.
const CANCELLED: &str = "CANCELLED";

/// Only devices that a job was made for have a target; an outcome of a job that others ran has none.
async fn end_target(tx: &DatabaseTransaction, event: &Event) -> Result<(), StoreError> {
    let cell = |column: outcome::Column| event.fact.cell(column);
    let text = |column: outcome::Column| cell(column).text().unwrap_or_default();
    let Some(device) = cell(outcome::Column::DeviceKey).int() else {
        return Ok(());
    };
    if text(outcome::Column::Scope) != "DEVICE" {
        return Ok(());
    }
    let status = text(outcome::Column::Status);
    let mut sql = Sql::new("UPDATE job_targets SET status = ");
    sql.bind(status).push(", outcome_position = ");
    sql.bind(event.position.0).push(" WHERE job_id = ");
    sql.bind(text(outcome::Column::JobId));
    sql.push(" AND device_key = ").bind(device);
    sql.push(" AND (status IS NULL AND EXISTS (SELECT 1 FROM jobs WHERE job_id = ");
    sql.bind(text(outcome::Column::JobId));
    sql.push(" AND state IN ('QUEUED', 'RUNNING'))");
    if status == CANCELLED {
        // the outcome of a device for which the job was cancelled before
        sql.push(" OR status = 'CANCELLED' AND outcome_position IS NULL");
    }
    sql.push(")");
    tx.execute_raw(sql.statement(tx.get_database_backend()))
        .await
        .doing("fold a job")?;
    Ok(())
}

const INSERT_JOB: &str = "INSERT INTO jobs (job_id, job_type, state, payload, created_by, \
    created_at, changed_at, position)";
const MERGE_JOB: &str = "ON CONFLICT (job_id) DO UPDATE SET state = excluded.state, \
    changed_at = excluded.changed_at, position = excluded.position";
