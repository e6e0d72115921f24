//! Jobs: what people have devices do.
//!
//! A job is made, ends on each of its devices, and ends as a whole. Each step is decided on the
//! version of the job that was read and appended together with its outcomes, so that two who decide
//! at once cannot both win, and a crash leaves a job at a step that it has reached.

mod executor;

use entity::{job_outcomes as outcome, job_transitions as transition};
use serde_json::Value as Json;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Cell, Fact, Instant, NewEvent, Position, Provenance};
use crate::history::jobs::{self, JobRow, TargetRow};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{AppendError, EntityType, Expect, Outcome, Store, StoreError};

pub use executor::{Executor, Run};

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

/// Stops a job: devices that have not ended it are CANCELLED.
///
/// # Errors
/// When there is no such job, it has ended, or cannot be recorded.
pub async fn cancel(
    ingest: &Ingest,
    job_id: &str,
    by: &str,
    reason: Option<&str>,
) -> Result<(), JobError> {
    decide(ingest, job_id, |standing, now| {
        let job = &standing.job;
        let mut events = Vec::new();
        for target in standing
            .targets
            .iter()
            .filter(|target| target.status.is_none())
        {
            let id = standing.device_id(target);
            let draft = Draft::new(Kind::JobOutcome, now, Provenance::Real)
                .event_id(step_id(job_id, "CANCELLED", &id))
                .set(outcome::Column::Scope, "DEVICE")
                .set(outcome::Column::Status, "CANCELLED")
                .set(outcome::Column::DeviceKey, id.as_str());
            events.push(of_job(draft, job).finish()?);
        }
        let counts = Counts::of(&standing.targets);
        events.push(moved(job, "CANCELLED", by, reason, now)?);
        events.push(ended(job, "CANCELLED", counts, now, Provenance::Real)?);
        Ok(events)
    })
    .await
}

/// Records how a job ended on a device, and with the last of them how it ended as a whole.
///
/// # Errors
/// When there is no such job, it has ended, or cannot be recorded.
pub async fn complete_device(
    ingest: &Ingest,
    job_id: &str,
    device_id: &str,
    result: &DeviceResult,
) -> Result<(), JobError> {
    decide(ingest, job_id, |standing, now| {
        let job = &standing.job;
        let Some(target) = standing
            .targets
            .iter()
            .find(|t| standing.device_id(t) == device_id)
        else {
            return Err(JobError::NoTarget);
        };
        if target.status.is_some() {
            return Ok(Vec::new());
        }
        let draft = Draft::new(Kind::JobOutcome, now, result.provenance)
            .event_id(step_id(job_id, "ENDED", device_id))
            .set(outcome::Column::Scope, "DEVICE")
            .set(outcome::Column::Status, result.status)
            .set(outcome::Column::DeviceKey, device_id)
            .set(
                outcome::Column::DurationMs,
                result.duration_ms.clamp(0, i64::from(i32::MAX)),
            )
            .set(outcome::Column::ErrorCode, result.error_code.as_deref())
            .set(
                outcome::Column::ErrorMessage,
                result.error_message.as_deref(),
            );
        let mut events = vec![of_job(draft, job).finish()?];
        let mut counts = Counts::of(&standing.targets);
        counts.add(Some(result.status));
        if counts.ended() < counts.targeted {
            if job.state == "QUEUED" {
                events.push(moved(job, "RUNNING", "executor", None, now)?);
            }
            return Ok(events);
        }
        let state = if counts.failed == 0 {
            "COMPLETED"
        } else {
            "FAILED"
        };
        events.push(moved(job, state, "executor", None, now)?);
        events.push(ended(job, state, counts, now, result.provenance)?);
        Ok(events)
    })
    .await
}

/// A job as it was read, with the version that was read before it.
struct Standing<'a> {
    ingest: &'a Ingest,
    job: JobRow,
    targets: Vec<TargetRow>,
}

impl Standing<'_> {
    fn device_id(&self, target: &TargetRow) -> String {
        let id = self.ingest.store().names().id(target.device_key);
        id.map_or_else(String::new, |id| id.to_string())
    }
}

/// Decides on a job as it stands and appends what was decided; decides anew when somebody else has
/// moved the job meanwhile.
async fn decide(
    ingest: &Ingest,
    job_id: &str,
    decide: impl Fn(&Standing<'_>, Instant) -> Result<Vec<NewEvent>, JobError>,
) -> Result<(), JobError> {
    let store = ingest.store();
    let mut tries = 0;
    loop {
        // the version first: what is read after it is at least as new
        let version = store.version(&entity_of(job_id)).await?;
        let job = jobs::job(store, job_id).await?.ok_or(JobError::Unknown)?;
        if !matches!(job.state.as_str(), "QUEUED" | "RUNNING") {
            return Err(JobError::Ended { state: job.state });
        }
        let targets = jobs::targets(store, job_id).await?;
        let standing = Standing {
            ingest,
            job,
            targets,
        };
        let events = decide(&standing, ingest.clock().now())?;
        if events.is_empty() {
            return Ok(());
        }
        let expect = Expect {
            entity: entity_of(job_id),
            version,
        };
        match ingest.command(events, Some(expect)).await {
            Ok(appended) => {
                let refused = appended
                    .outcomes
                    .into_iter()
                    .find_map(|outcome| match outcome {
                        Outcome::Rejected(refusal) => Some(refusal),
                        Outcome::Recorded(_) | Outcome::Duplicate(_) | Outcome::Conflict(_) => None,
                    });
                return refused.map_or(Ok(()), |refusal| Err(refusal.into()));
            }
            Err(AppendError::Stale { .. }) if tries < DECISIONS_MAX => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The devices that a job is for: those named, and those at the sites named, in order of their ids.
///
/// # Errors
/// The first id that is not registered.
pub async fn resolve_targets(
    ingest: &Ingest,
    devices: &[String],
    sites: &[String],
) -> Result<Result<Vec<String>, String>, StoreError> {
    use crate::history::fleet::{DeviceFilter, IdPage, devices_page};
    let store = ingest.store();
    let mut targets = std::collections::BTreeSet::new();
    for device in devices {
        if store.names().key(EntityType::Device, device).is_none() {
            return Ok(Err(device.clone()));
        }
        targets.insert(device.clone());
    }
    for site in sites {
        let Some(site_key) = store.names().key(EntityType::Site, site) else {
            return Ok(Err(site.clone()));
        };
        let filter = DeviceFilter {
            site_key: Some(site_key),
            ..DeviceFilter::default()
        };
        let limit = u64::try_from(TARGETS_MAX + 1).unwrap_or(u64::MAX);
        let page = IdPage {
            limit,
            ..IdPage::default()
        };
        for row in devices_page(store, &filter, &page).await? {
            targets.insert(row.device.device_id.clone());
        }
    }
    Ok(Ok(targets.into_iter().collect()))
}

#[derive(Clone, Copy, Default)]
struct Counts {
    targeted: i64,
    succeeded: i64,
    failed: i64,
}

impl Counts {
    fn of(targets: &[TargetRow]) -> Self {
        let mut counts = Self::default();
        for target in targets {
            counts.targeted += 1;
            counts.add(target.status.as_deref());
        }
        counts
    }

    fn add(&mut self, status: Option<&str>) {
        match status {
            Some("COMPLETED") => self.succeeded += 1,
            Some(_) => self.failed += 1,
            None => {}
        }
    }

    const fn ended(&self) -> i64 {
        self.succeeded + self.failed
    }
}

fn entity_of(job_id: &str) -> String {
    format!("job/{job_id}")
}

/// Namespace of the ids of a job's events.
const STEPS: Uuid = Uuid::from_u128(0x2f0d_61de_51c1_4e0e_9ac2_70c8_6f0c_88aa);

fn step_id(job_id: &str, step: &str, device_id: &str) -> Uuid {
    Uuid::new_v5(&STEPS, format!("{job_id}/{step}/{device_id}").as_bytes())
}

fn of_job(draft: Draft, job: &JobRow) -> Draft {
    draft
        .set(outcome::Column::JobId, job.job_id.as_str())
        .set(outcome::Column::JobType, job.job_type.as_str())
        .set(outcome::Column::InitiatedBy, job.created_by.as_deref())
}

fn moved(
    job: &JobRow,
    state: &str,
    by: &str,
    reason: Option<&str>,
    now: Instant,
) -> Result<NewEvent, Refusal> {
    Draft::new(Kind::JobTransition, now, Provenance::Real)
        .event_id(step_id(&job.job_id, state, ""))
        .set(transition::Column::JobId, job.job_id.as_str())
        .set(transition::Column::JobType, job.job_type.as_str())
        .set(transition::Column::State, state)
        .set(transition::Column::ChangedBy, by)
        .given(transition::Column::Reason, reason)
        .finish()
}

fn ended(
    job: &JobRow,
    state: &str,
    counts: Counts,
    now: Instant,
    provenance: Provenance,
) -> Result<NewEvent, Refusal> {
    let duration_ms = (now.0 - job.created_at) / 1_000;
    let draft = Draft::new(Kind::JobOutcome, now, provenance)
        .event_id(step_id(&job.job_id, "JOB", ""))
        .set(outcome::Column::Scope, "JOB")
        .set(outcome::Column::Status, state)
        .set(
            outcome::Column::DurationMs,
            duration_ms.clamp(0, i64::from(i32::MAX)),
        )
        .set(outcome::Column::DevicesTargeted, Cell::Int(counts.targeted))
        .set(
            outcome::Column::DevicesSucceeded,
            Cell::Int(counts.succeeded),
        )
        .set(outcome::Column::DevicesFailed, Cell::Int(counts.failed));
    of_job(draft, job).finish()
}
