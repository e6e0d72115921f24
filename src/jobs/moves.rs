//! Moves jobs as people ask for it.

use uuid::Uuid;

use super::away::Away;
use super::create::create_on;
use super::machine::{Ended, JobState};
use super::retold::Retold;
use super::standing::Standing;
use super::steps::{self, moved};
use super::{DECISIONS_MAX, JobError, NewJob, Plan, Start, UPDATE_CONFIGURATION};
use crate::configuration;
use crate::history::jobs;
use crate::ingest::Ingest;
use crate::projections::jobs::outcomes_of;
use crate::projections::settings::CONFIGURED;
use crate::store::{Expect, Store};

/// Which job is moved, and its version as the caller has read it.
type Which<'a> = (&'a str, Option<i64>);
/// Who moves it, and why.
type By<'a> = (&'a str, Option<&'a str>);
/// The job with which one is tried again, who does so, and the sites that they reach, if these are not all.
type Again<'a> = (Uuid, (&'a str, Option<Vec<String>>));

/// Stops a job: on devices that have not ended it, it ends as CANCELLED. Stopping it again does
/// nothing. One that all its devices have ended has ended by that, whether or not it was moved yet.
///
/// # Errors
/// When there is no such job, it has ended otherwise, or cannot be recorded.
pub async fn cancel(
    ingest: &Ingest,
    (job_id, expected): Which<'_>,
    by: By<'_>,
) -> Result<(), JobError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        // the version first: what is read after it is at least as new
        let ends = outcomes_of(job_id);
        let ends = Expect::reading(ends.clone(), store.version(&ends).await?);
        let standing = Standing::read(store, job_id).await?;
        standing.is_as_read(expected)?;
        let (is, left) = (standing.machine.state, standing.machine.left());
        if is == JobState::Cancelled {
            return tell_of_end(ingest, job_id).await;
        }
        if !is.is_open() {
            return Err(standing.cannot_be(JobState::Cancelled.word()));
        }
        if left == 0 && !standing.machine.targets.is_empty() {
            // it has ended, and only has not been moved yet
            match act(ingest, standing).await {
                Ok(()) | Err(JobError::Contended) => continue,
                Err(error) => return Err(error),
            }
        }
        let step = moved(&standing.job, JobState::Cancelled, by, ingest.clock().now())?;
        // when few are left, the last may end it meanwhile
        let ends = (left < DECISIONS_MAX).then_some(ends);
        let expect = ends.into_iter().chain([standing.unmoved()]);
        if steps::record(ingest, job_id, vec![step], expect.collect()).await? {
            // whoever hears of it finds what became of its devices
            return tell_of_end(ingest, job_id).await;
        }
    }
    Err(JobError::Contended)
}

/// Tells what became of the devices of a job that has ended, and of it as a whole. It is read anew if who made it
/// may have been erased meanwhile.
async fn tell_of_end(ingest: &Ingest, job_id: &str) -> Result<(), JobError> {
    for _ in 0..DECISIONS_MAX {
        let standing = Standing::read(ingest.store(), job_id).await?;
        match act(ingest, standing).await {
            Err(JobError::Contended) => {}
            told => return told,
        }
    }
    Err(JobError::Contended)
}

/// Does what is due for a job.
async fn act(ingest: &Ingest, standing: Standing) -> Result<(), JobError> {
    let mut job = Retold::of(ingest, standing).await?;
    let now = ingest.clock().now();
    job.act((ingest, &Away::default()), now).await
}

/// Gives a job to no further device until it is resumed; devices that have it go on with it. Pausing it
/// again does nothing.
///
/// # Errors
/// When there is no such job, it has ended, or cannot be recorded.
pub async fn pause(ingest: &Ingest, which: Which<'_>, by: By<'_>) -> Result<(), JobError> {
    transit(ingest, which, by, |_| JobState::Paused).await
}

/// Has a job that was paused go on. Resuming one that goes on does nothing.
///
/// # Errors
/// When there is no such job, it has ended, or cannot be recorded.
pub async fn resume(ingest: &Ingest, which: Which<'_>, by: By<'_>) -> Result<(), JobError> {
    transit(ingest, which, by, |standing| {
        let targets = &standing.machine.targets;
        match standing.machine.plan.start {
            _ if !standing.machine.state.is_open() => JobState::Running,
            _ if standing.machine.state != JobState::Paused => standing.machine.state,
            _ if targets.iter().any(|target| target.attempt > 0) => JobState::Running,
            Start::Now => JobState::Queued,
            Start::At(_) | Start::InMaintenanceWindow | Start::Recurring(_) => JobState::Scheduled,
        }
    })
    .await
}

async fn transit(
    ingest: &Ingest,
    (job_id, expected): Which<'_>,
    by: By<'_>,
    state: impl Fn(&Standing) -> JobState,
) -> Result<(), JobError> {
    for _ in 0..DECISIONS_MAX {
        let standing = Standing::read(ingest.store(), job_id).await?;
        standing.is_as_read(expected)?;
        let (is, wanted) = (standing.machine.state, state(&standing));
        if is == wanted {
            return Ok(());
        }
        if !is.may_become(wanted) {
            return Err(standing.cannot_be(wanted.word()));
        }
        let now = ingest.clock().now();
        let step = moved(&standing.job, wanted, by, now)?;
        if steps::record(ingest, job_id, vec![step], vec![standing.unmoved()]).await? {
            return Ok(());
        }
    }
    Err(JobError::Contended)
}

/// Makes a job of the same kind for the devices on which a job that has ended did not complete.
///
/// # Errors
/// When there is no such job, it has not ended, no device failed, what it tells holds no more, or it cannot
/// be recorded.
pub async fn retry(
    ingest: &Ingest,
    (job_id, expected): Which<'_>,
    (retry_id, (by, reach)): Again<'_>,
) -> Result<(), JobError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        // the version first: what is read after it is at least as new
        let configured = store.version(CONFIGURED).await?;
        let standing = Standing::read(store, job_id).await?;
        standing.is_as_read(expected)?;
        let job = again(store, &standing, (retry_id, (by, reach.clone()))).await?;
        let expect = (job.job_type == UPDATE_CONFIGURATION)
            .then(|| Expect::reading(CONFIGURED.to_owned(), configured));
        match create_on(ingest, job, expect).await {
            Err(JobError::Contended) => {}
            made => return made,
        }
    }
    Err(JobError::Contended)
}

/// The job with which one that has ended is tried again.
async fn again(
    store: &Store,
    standing: &Standing,
    (retry_id, (by, reach)): Again<'_>,
) -> Result<NewJob, JobError> {
    if standing.machine.state.is_open() {
        return Err(standing.cannot_be("tried again"));
    }
    let targets = failed(store, standing).await?;
    let is_made = jobs::job(store, &retry_id.to_string()).await?.is_some();
    if standing.job.job_type == UPDATE_CONFIGURATION
        && !is_made
        && let Some((device, parameter)) =
            configuration::superseded(store, &standing.job, &targets).await?
    {
        return Err(JobError::Superseded { parameter, device });
    }
    let payload = standing.job.payload.as_deref();
    Ok(NewJob {
        job_id: retry_id,
        job_type: standing.job.job_type.clone(),
        payload: payload.and_then(|text| serde_json::from_str(text).ok()),
        plan: Plan {
            start: Start::Now,
            best_windows: Vec::new(),
            selection: None,
            reach,
            ..standing.machine.plan.clone()
        },
        targets,
        created_by: by.to_owned(),
        parent_job_id: Some(standing.job.job_id.clone()),
    })
}

async fn failed(store: &Store, standing: &Standing) -> Result<Vec<String>, JobError> {
    let mut failed = Vec::new();
    for target in &standing.machine.targets {
        if target.ended != Some(Ended::Completed) {
            failed.extend(store.id(target.device_key).await?.map(|id| id.to_string()));
        }
    }
    failed.sort_unstable();
    Ok(failed)
}
