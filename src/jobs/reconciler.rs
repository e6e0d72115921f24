//! Brings each job to the state that its devices have brought it to.
//!
//! It follows the outcomes from a checkpoint, so that a job ends whoever reports how it ended on its
//! devices, and also when this process had stopped in between. What it appends follows from the log
//! alone and has fixed ids: to do it twice, or on two nodes, is to do it once.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use entity::job_outcomes::{Column, Model as OutcomeRow};
use entity::job_transitions::Column as TransitionColumn;
use tokio_util::sync::CancellationToken;

use super::steps::{self, duration, moved, of_job, step_id};
use super::{CANCELLED, DECISIONS_MAX, JobError, Standing};
use crate::event::{Cell, Event, Instant, NewEvent, Provenance};
use crate::history::fleet;
use crate::history::jobs::{self, JobRow};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind};
use crate::projections::checkpoint;
use crate::store::Store;
use crate::telemetry::chain;

/// Name of its checkpoint.
const CHECKPOINT: &str = "jobs_reconciled";
/// The checkpoint moves at least this often, also when nothing of jobs is recorded.
const UNMARKED_MAX: i64 = 10_000;
/// How long it waits after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Who moves a job that its devices have ended.
const BY: &str = "server";
/// What it calls itself where faults are told.
const SOURCE: &str = "the jobs";
/// Jobs at most of which it knows that it has told that they cannot end.
const TOLD_MAX: usize = 1_000;

/// Follows the outcomes of jobs and moves the jobs.
#[derive(Debug)]
pub struct Reconciler {
    ingest: Ingest,
    /// Jobs of which it has told that they cannot end.
    told: BTreeSet<String>,
}

impl Reconciler {
    /// One that records through a door.
    #[must_use]
    pub const fn new(ingest: Ingest) -> Self {
        let told = BTreeSet::new();
        Self { ingest, told }
    }

    /// Follows until it is told to stop. After a failure of the log it goes on from its checkpoint;
    /// a job that cannot end holds no other up.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            let error = chain(&error).to_string();
            tracing::warn!(error, "jobs are not moved, will go on from the checkpoint");
            let store = self.ingest.store();
            store.faults().tell(SOURCE, store.clock().now(), error);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    async fn follow(&mut self) -> Result<Infallible, JobError> {
        let store = &self.ingest.store().clone();
        let mut marked = checkpoint::position(store, CHECKPOINT).await?;
        let kinds = &[Kind::JobTransition, Kind::JobOutcome];
        let mut tail = store.tail(marked, Some(kinds));
        loop {
            let jobs = concerned(&tail.next_looked_at().await?);
            self.reconcile_all(&jobs).await?;
            if !jobs.is_empty() || tail.position().0 - marked.0 >= UNMARKED_MAX {
                marked = tail.position();
                checkpoint::advance(store, CHECKPOINT, marked).await?;
            }
        }
    }

    /// Outcomes are also recorded of jobs that others run: those are none of ours.
    async fn reconcile_all(&mut self, job_ids: &[String]) -> Result<(), JobError> {
        for job in jobs::by_ids(self.ingest.store(), job_ids).await? {
            match reconcile(&self.ingest, &job.job_id).await {
                Ok(()) => {}
                Err(error @ (JobError::Store(_) | JobError::Append(_))) => return Err(error),
                Err(error) => self.cannot_end(&job.job_id, &error),
            }
        }
        Ok(())
    }

    /// Tells it once of each job, which may be concerned again and again.
    fn cannot_end(&mut self, job_id: &str, error: &JobError) {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if self.told.insert(job_id.to_owned()) {
            let error = chain(error).to_string();
            tracing::error!(job.id = job_id, error, "a job cannot end");
            let store = self.ingest.store();
            let message = format!("job {job_id} cannot end: {error}");
            store.faults().tell(SOURCE, store.clock().now(), message);
        }
    }
}

/// The jobs for which something may be due: those that ended on a device, and those that were
/// stopped.
fn concerned(events: &[Arc<Event>]) -> Vec<String> {
    let concerns = |event: &&Arc<Event>| {
        event.fact.kind == Kind::JobOutcome
            || event.fact.cell(TransitionColumn::State).text() == Some(CANCELLED)
    };
    let id = |event: &Arc<Event>| event.fact.cell(Column::JobId).text().map(str::to_owned);
    let ids: BTreeSet<String> = events.iter().filter(concerns).filter_map(id).collect();
    ids.into_iter().collect()
}

/// Moves a job to where its devices have brought it; does nothing when it is there.
///
/// # Errors
/// When there is no such job, or it cannot be recorded.
pub(super) async fn reconcile(ingest: &Ingest, job_id: &str) -> Result<(), JobError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        let standing = Standing::read(store, job_id).await?;
        if standing.job.state == CANCELLED {
            let events = cancelled(store, &standing).await?;
            return steps::record(ingest, job_id, events, None).await;
        }
        if !standing.runs() {
            return Ok(());
        }
        let outcomes = outcomes(store, &standing).await?;
        let events = due(&standing, &outcomes)?;
        if events.is_empty() {
            return Ok(());
        }
        standing.append(ingest, events).await?;
    }
    Err(JobError::Contended)
}

/// The outcomes that count, in the order in which they were recorded.
async fn outcomes(store: &Store, standing: &Standing) -> Result<Vec<OutcomeRow>, JobError> {
    let positions = standing.targets.iter().filter_map(|t| t.outcome_position);
    Ok(jobs::outcomes(store, &positions.collect::<Vec<_>>()).await?)
}

/// The steps that are due of a job that runs. Each happened when the outcome came that brought it
/// about.
fn due(standing: &Standing, outcomes: &[OutcomeRow]) -> Result<Vec<NewEvent>, JobError> {
    let job = &standing.job;
    let (Some(first), Some(last)) = (outcomes.first(), outcomes.last()) else {
        return Ok(Vec::new());
    };
    let mut events = Vec::new();
    if job.state == "QUEUED" {
        let at = Instant(first.recorded_at);
        events.push(moved(job, "RUNNING", (BY, None), at)?);
    }
    if outcomes.len() == standing.targets.len() {
        let all_completed = outcomes.iter().all(|o| o.status == "COMPLETED");
        let state = if all_completed { "COMPLETED" } else { "FAILED" };
        let at = Instant(last.recorded_at);
        let provenances = outcomes.iter();
        let provenances = provenances.filter_map(|o| Provenance::of_code(o.provenance));
        events.push(moved(job, state, (BY, None), at)?);
        events.push(ended(standing, outcomes, at, most_real(provenances))?);
    }
    Ok(events)
}

/// What remains to be recorded of a job that was stopped: the outcomes of the devices that had not
/// ended it, and its own.
async fn cancelled(store: &Store, standing: &Standing) -> Result<Vec<NewEvent>, JobError> {
    let job = &standing.job;
    let at = Instant(job.changed_at);
    let keys: Vec<i64> = standing
        .targets
        .iter()
        .map(|target| target.device_key)
        .collect();
    let provenances: HashMap<i64, Provenance> = fleet::provenances(store, &keys).await?;
    let mut events = Vec::new();
    for target in &standing.targets {
        let open = target.status.as_deref() == Some(CANCELLED) && target.outcome_position.is_none();
        if !open {
            continue;
        }
        let Some(device_id) = store.id(target.device_key).await? else {
            continue;
        };
        let provenance = provenances.get(&target.device_key).copied();
        let draft = Draft::new(Kind::JobOutcome, at, provenance.unwrap_or(Provenance::Real))
            .event_id(step_id(&job.job_id, CANCELLED, &device_id))
            .set(Column::Scope, "DEVICE")
            .set(Column::Status, CANCELLED)
            .set(Column::DeviceKey, &*device_id);
        events.push(of_job(draft, job).finish()?);
    }
    let outcomes = outcomes(store, standing).await?;
    let provenance = most_real(provenances.into_values());
    events.push(ended(standing, &outcomes, at, provenance)?);
    Ok(events)
}

/// How a job ended as a whole. It took no less time than the slowest of its devices says it did.
fn ended(
    standing: &Standing,
    outcomes: &[OutcomeRow],
    at: Instant,
    provenance: Provenance,
) -> Result<NewEvent, JobError> {
    let job: &JobRow = &standing.job;
    let statuses = || standing.targets.iter().filter_map(|t| t.status.as_deref());
    let count = |count: usize| Cell::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let succeeded = statuses().filter(|status| *status == "COMPLETED").count();
    let failed = statuses().count() - succeeded;
    let slowest = outcomes
        .iter()
        .filter_map(|outcome| outcome.duration_ms)
        .max();
    let duration_ms = ((at.0 - job.created_at) / 1_000).max(slowest.unwrap_or(0));
    let status = match (job.state.as_str(), failed) {
        (CANCELLED, _) => CANCELLED,
        (_, 0) => "COMPLETED",
        (_, _) => "FAILED",
    };
    let draft = Draft::new(Kind::JobOutcome, at, provenance)
        .event_id(step_id(&job.job_id, "JOB", ""))
        .set(Column::Scope, "JOB")
        .set(Column::Status, status)
        .set(Column::DurationMs, duration(duration_ms))
        .set(Column::DevicesTargeted, count(standing.targets.len()))
        .set(Column::DevicesSucceeded, count(succeeded))
        .set(Column::DevicesFailed, count(failed));
    Ok(of_job(draft, job).finish()?)
}

/// What concerns a real device is real, whatever else it concerns.
fn most_real(provenances: impl Iterator<Item = Provenance>) -> Provenance {
    let least = provenances.min_by_key(|provenance| provenance.code());
    least.unwrap_or(Provenance::Real)
}
