//! Jobs: what people have devices do.
//!
//! A job is made, ends on each of its devices, and ends as a whole. On a device it ends with the
//! first outcome that is recorded while the job runs, whoever records it; as a whole it ends when it
//! has on all devices ([`Reconciler`]) or when somebody cancels it. Who moves a job decides on the
//! version that was read, so that of two who decide at once one wins; who cancels it decides on what
//! its devices had reported.

mod executor;
mod reconciler;
mod steps;

use entity::{job_outcomes as outcome, job_transitions as transition};
use serde_json::Value as Json;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Cell, Fact, Instant, NewEvent, Position, Provenance};
use crate::history::Within;
use crate::history::jobs::{self, JobRow, TargetRow};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
use crate::projections::jobs::{entity_of, outcomes_of};
use crate::store::{AppendError, EntityType, Expect, Outcome, Store, StoreError};
use steps::{duration, moved, of_job, step_id};

pub use executor::{Executor, Run};
pub use reconciler::Reconciler;

/// Devices at most of a job: its end is one commit with an outcome for each.
pub const TARGETS_MAX: usize = 900;
/// How often a decision is made anew when somebody else has decided meanwhile.
const DECISIONS_MAX: usize = 8;

/// Why a job was not made or moved.
#[derive(Debug, Error)]
pub enum JobError {
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// It is also for devices that whoever commands it does not reach.
    #[error(
        "the job is for devices of other sites too, and is stopped by whoever reaches all of them"
    )]
    Shared,
    /// It has ended.
    #[error("the job has ended: it is {state}")]
    Ended {
        /// Its state.
        state: String,
    },
    /// It names no device.
    #[error("the job is for no device")]
    NoTarget,
    /// It names more devices than a job may have.
    #[error("a job is for at most {TARGETS_MAX} devices, this one is for {targets}")]
    TooManyTargets {
        /// Devices.
        targets: usize,
    },
    /// Others moved it each time that it was read.
    #[error("the job was moved by others at the same time; try again")]
    Contended,
    /// It is not what the caller has read.
    #[error("the job has moved: its version is {version}")]
    Stale {
        /// Position of its last step.
        version: i64,
    },
    /// Other events have the ids of its steps, also those that are taken in their place.
    #[error("other events have the ids under which its steps are recorded")]
    Taken,
    /// The key was used before for another job.
    #[error("the idempotency key was used before for another job")]
    OtherRepeat,
    /// One of its values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be read.
    #[error("cannot read the job")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the job")]
    Append(#[from] AppendError),
}

impl From<Refusal> for JobError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A job to be made.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub job_id: Uuid,
    /// What kind of job.
    pub job_type: String,
    /// What the devices are given.
    pub payload: Option<Json>,
    /// What was asked for, when that includes sites: their devices are found anew by a repeat.
    pub asked: Option<Json>,
    /// Ids of the devices: those it was asked for, and those at the sites.
    pub targets: Vec<String>,
    /// Who makes it.
    pub created_by: String,
}

/// How a job ended on a device.
#[derive(Clone, Debug)]
pub struct DeviceResult {
    /// COMPLETED, FAILED, ERROR or TIMEOUT.
    pub status: &'static str,
    /// How long it took.
    pub duration_ms: i64,
    /// Code of the failure.
    pub error_code: Option<String>,
    /// What went wrong.
    pub error_message: Option<String>,
    /// Whether the device is simulated.
    pub provenance: Provenance,
}

/// Makes a job. Making it again with the same id does nothing.
///
/// # Errors
/// When it names no device or too many, another job has its id, or it cannot be recorded.
pub async fn create(ingest: &Ingest, job: NewJob) -> Result<(), JobError> {
    match job.targets.len() {
        0 => return Err(JobError::NoTarget),
        targets if targets > TARGETS_MAX => return Err(JobError::TooManyTargets { targets }),
        _ => {}
    }
    let now = ingest.clock().now();
    let targets = Json::Array(job.targets.into_iter().map(Json::String).collect());
    let event = Draft::new(Kind::JobTransition, now, Provenance::Real)
        .event_id(step_id(&job.job_id.to_string(), "QUEUED", ""))
        .set(transition::Column::JobId, job.job_id.to_string().as_str())
        .given(transition::Column::JobType, Some(&job.job_type))
        .set(transition::Column::State, "QUEUED")
        .set(transition::Column::Payload, job.payload)
        .set(transition::Column::Targets, targets)
        .set(transition::Column::ChangedBy, job.created_by.as_str())
        .extra(job.asked)
        .finish()?;
    let asked = event.fact.clone();
    let appended = ingest.command(vec![event], None).await?;
    match appended.outcomes.into_iter().next() {
        Some(Outcome::Rejected(refusal)) => Err(refusal.into()),
        Some(Outcome::Conflict(first)) => repeated(ingest.store(), first, &asked).await,
        Some(Outcome::Recorded(_) | Outcome::Duplicate(_)) | None => Ok(()),
    }
}

/// A repeat comes later, and sites that it names may have other devices by then; apart from these
/// it is the same command when it says the same.
async fn repeated(store: &Store, first: Position, asked: &Fact) -> Result<(), JobError> {
    let made = store.event(first).await?;
    let same = made.is_some_and(|made| {
        let mut what = vec![transition::Column::JobType, transition::Column::Payload];
        if asked.extra == Cell::Null {
            what.push(transition::Column::Targets);
        }
        made.fact.kind == asked.kind
            && made.fact.extra == asked.extra
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

/// Stops a job: devices that have not ended it are CANCELLED. Stopping it again does nothing.
///
/// # Errors
/// When there is no such job, it has ended otherwise, or cannot be recorded.
pub async fn cancel(
    ingest: &Ingest,
    (job_id, expected): (&str, Option<i64>),
    (by, reason): (&str, Option<&str>),
) -> Result<(), JobError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        // the version first: what is read after it is at least as new
        let expect = Expect {
            entity: outcomes_of(job_id),
            version: store.version(&outcomes_of(job_id)).await?,
        };
        let standing = Standing::read(store, job_id).await?;
        let version = standing.job.position;
        if expected.is_some_and(|expected| expected != version) {
            return Err(JobError::Stale { version });
        }
        if standing.job.state == CANCELLED {
            return reconciler::reconcile(ingest, job_id).await;
        }
        if !standing.runs() {
            let state = standing.job.state;
            return Err(JobError::Ended { state });
        }
        if standing
            .targets
            .iter()
            .all(|target| target.status.is_some())
        {
            // it has ended, and only has not been moved yet
            reconciler::reconcile(ingest, job_id).await?;
            continue;
        }
        let now = ingest.clock().now();
        let cancelled = moved(&standing.job, CANCELLED, (by, reason), now)?;
        // the server moves it to its end only after an outcome; that it runs is no hindrance
        steps::record(ingest, job_id, vec![cancelled], Some(expect)).await?;
    }
    Err(JobError::Contended)
}

/// Records how a job ended on a device at an instant. It counts unless the job has ended there
/// already.
///
/// # Errors
/// When there is no such job, it has ended, it is not for the device, or the outcome cannot be
/// recorded.
pub async fn complete_device(
    ingest: &Ingest,
    job_id: &str,
    device_id: &str,
    (result, at): (&DeviceResult, Instant),
) -> Result<(), JobError> {
    let store = ingest.store();
    let standing = Standing::read(store, job_id).await?;
    let device_key = store.key(EntityType::Device, device_id).await?;
    let mut targets = standing.targets.iter();
    let target = targets.find(|target| Some(target.device_key) == device_key);
    let target = target.ok_or(JobError::NoTarget)?;
    if !standing.runs() {
        let state = standing.job.state;
        return Err(JobError::Ended { state });
    }
    if target.status.is_some() {
        return Ok(());
    }
    let draft = Draft::new(Kind::JobOutcome, at, result.provenance)
        .event_id(step_id(job_id, "ENDED", device_id))
        .set(outcome::Column::Scope, "DEVICE")
        .set(outcome::Column::Status, result.status)
        .set(outcome::Column::DeviceKey, device_id)
        .set(outcome::Column::DurationMs, duration(result.duration_ms))
        .set(outcome::Column::ErrorCode, result.error_code.as_deref())
        .set(
            outcome::Column::ErrorMessage,
            result.error_message.as_deref(),
        );
    let event = of_job(draft, &standing.job).finish()?;
    steps::record(ingest, job_id, vec![event], None).await
}

/// State of a job that was stopped, and of the devices that had not ended it.
const CANCELLED: &str = "CANCELLED";

/// A job as it was read, with the version that was read before it.
struct Standing {
    version: i64,
    job: JobRow,
    targets: Vec<TargetRow>,
}

impl Standing {
    async fn read(store: &Store, job_id: &str) -> Result<Self, JobError> {
        // the version first: what is read after it is at least as new
        let version = store.version(&entity_of(job_id)).await?;
        let job = jobs::job(store, job_id).await?.ok_or(JobError::Unknown)?;
        let targets = jobs::targets(store, job_id).await?;
        Ok(Self {
            version,
            job,
            targets,
        })
    }

    fn runs(&self) -> bool {
        matches!(self.job.state.as_str(), "QUEUED" | "RUNNING")
    }

    /// Appends what was decided on the job as it was read, unless somebody else has moved it
    /// meanwhile.
    async fn append(&self, ingest: &Ingest, events: Vec<NewEvent>) -> Result<(), JobError> {
        let expect = Expect {
            entity: entity_of(&self.job.job_id),
            version: self.version,
        };
        steps::record(ingest, &self.job.job_id, events, Some(expect)).await
    }
}

/// The devices that a job is for: those named, and those at the sites named that are not retired,
/// in order of their ids; all of them within a part of the fleet.
///
/// # Errors
/// The first id that is not registered, or not within.
pub async fn resolve_targets(
    ingest: &Ingest,
    within: &Within,
    (devices, sites): (&[String], &[String]),
) -> Result<Result<Vec<String>, String>, StoreError> {
    use crate::history::fleet::{DeviceFilter, IdPage, devices_page};
    let store = ingest.store();
    let mut targets = std::collections::BTreeSet::new();
    for device in devices {
        let key = store.key(EntityType::Device, device).await?;
        if !key.is_some_and(|key| within.reaches_device(store.names(), key)) {
            return Ok(Err(device.clone()));
        }
        targets.insert(device.clone());
    }
    for site in sites {
        let key = store.key(EntityType::Site, site).await?;
        let Some(site_key) = key.filter(|key| within.has_site(*key)) else {
            return Ok(Err(site.clone()));
        };
        let filter = DeviceFilter {
            site_key: Some(site_key),
            lifecycles: Some(["ACTIVE", "SUSPENDED"].map(str::to_owned).to_vec()),
            ..DeviceFilter::default()
        };
        let limit = u64::try_from(TARGETS_MAX + 1).unwrap_or(u64::MAX);
        let page = IdPage {
            limit,
            ..IdPage::default()
        };
        for row in devices_page(store, &filter, &page, &Store::own_allowance()).await? {
            targets.insert(row.device.device_id.clone());
        }
    }
    Ok(Ok(targets.into_iter().collect()))
}
