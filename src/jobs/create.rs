//! Makes jobs.

use entity::job_transitions as transition;
use serde_json::Value as Json;
use uuid::Uuid;

use super::machine::JobState;
use super::steps::step_id;
use super::{JobError, Plan, Start, TARGETS_MAX};
use crate::event::{Cell, Fact, Instant, NewEvent, Position, Provenance};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind};
use crate::store::{AppendError, Expect, Outcome, Store, StoreError};

/// What counts the jobs that were given windows.
const WINDOWS: &str = "job-windows";

/// A job to be made.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub job_id: Uuid,
    /// What kind of job.
    pub job_type: String,
    /// What the devices are given.
    pub payload: Option<Json>,
    /// How it is to be carried out.
    pub plan: Plan,
    /// Ids of the devices. Of one that recurs they are found anew each time.
    pub targets: Vec<String>,
    /// Who makes it.
    pub created_by: String,
    /// The job that it comes from.
    pub parent_job_id: Option<String>,
}

/// Makes a job. Making it again with the same id does nothing.
///
/// # Errors
/// When it names no device or too many, another job has its id, or it cannot be recorded.
pub async fn create(ingest: &Ingest, job: NewJob) -> Result<(), JobError> {
    create_on(ingest, job, None).await
}

/// How often jobs were made that start in a window which was found for them.
///
/// # Errors
/// When the tables cannot be read.
pub async fn windows_given(store: &Store) -> Result<i64, StoreError> {
    store.version(WINDOWS).await
}

/// Makes a job whose windows were found when so many had been given, so that no two are given the same at once.
///
/// # Errors
/// [`JobError::Contended`] when more were given meanwhile: the windows are to be found anew. Else as [`create`].
pub async fn create_in_windows(ingest: &Ingest, job: NewJob, given: i64) -> Result<(), JobError> {
    let expected = Expect::changing(WINDOWS.to_owned(), given);
    create_on(ingest, job, Some(expected)).await
}

/// The same, on what is expected.
pub(super) async fn create_on(
    ingest: &Ingest,
    job: NewJob,
    expected: Option<Expect>,
) -> Result<(), JobError> {
    let event = first_step(job, ingest.clock().now())?;
    let asked = event.fact.clone();
    let appended = match ingest.command(vec![event], expected).await {
        Err(AppendError::Stale { .. }) => return Err(JobError::Contended),
        appended => appended?,
    };
    match appended.outcomes.into_iter().next() {
        Some(Outcome::Rejected(refusal)) => Err(refusal.into()),
        Some(Outcome::Conflict(first)) => repeated(ingest.store(), first, &asked).await,
        Some(Outcome::Recorded(_) | Outcome::Duplicate(_)) | None => Ok(()),
    }
}

/// The step with which a job is made, for whoever records it together with something else.
///
/// # Errors
/// When it names no device or too many, or one of its values is out of bounds.
pub(crate) fn first_step(job: NewJob, now: Instant) -> Result<NewEvent, JobError> {
    if job.targets.is_empty() {
        return Err(JobError::NoTarget);
    }
    if job.targets.len() > TARGETS_MAX {
        return Err(JobError::TooManyTargets);
    }
    let recurs = matches!(job.plan.start, Start::Recurring(_));
    let state = match job.plan.start {
        Start::Now => JobState::Queued,
        Start::At(_) | Start::InMaintenanceWindow | Start::Recurring(_) => JobState::Scheduled,
    };
    let targets = job.targets.into_iter().map(Json::String).collect();
    let targets = (!recurs).then_some(Json::Array(targets));
    let plan = serde_json::to_value(&job.plan).unwrap_or_default();
    let event = Draft::new(Kind::JobTransition, now, Provenance::Real)
        // all jobs have their first step under this id, whatever it is called
        .event_id(step_id(&job.job_id.to_string(), "QUEUED", ""))
        .set(transition::Column::JobId, job.job_id.to_string().as_str())
        .given(transition::Column::JobType, Some(&job.job_type))
        .set(transition::Column::State, state.word())
        .set(transition::Column::Payload, job.payload)
        .set(transition::Column::Targets, targets)
        .set(transition::Column::Plan, plan)
        .set(
            transition::Column::ParentJobId,
            job.parent_job_id.as_deref(),
        )
        .set(transition::Column::ChangedBy, job.created_by.as_str())
        .finish()?;
    Ok(event)
}

/// A repeat comes later, and what it selects may be other devices by then; apart from these it is the
/// same command when it says the same.
async fn repeated(store: &Store, first: Position, asked: &Fact) -> Result<(), JobError> {
    let made = store.event(first).await?;
    let same = made.is_some_and(|made| {
        let mut what = vec![
            transition::Column::JobType,
            transition::Column::Payload,
            transition::Column::Plan,
        ];
        if !selects(asked) {
            what.push(transition::Column::Targets);
        }
        made.fact.kind == asked.kind
            && what
                .iter()
                .all(|column| made.fact.cell(*column) == asked.cell(*column))
    });
    if same {
        Ok(())
    } else {
        Err(JobError::OtherRepeat)
    }
}

/// Whether the devices of a job were not named by their ids alone.
fn selects(fact: &Fact) -> bool {
    let Cell::Json(plan) = fact.cell(transition::Column::Plan) else {
        return false;
    };
    plan.get("selection").is_some()
}
