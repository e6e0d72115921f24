//! Mutations by which people have devices do something, and what would come of one.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::command::{
    Reached, UserError, UserErrorCode, What, door, keyed_id, reached, tell_refused, unappended,
};
use super::fleet::Device;
use super::insights::JobBestWindow;
use super::job::Job;
use super::job_best::plan_best;
use super::job_input::{Asked, CreateJobInput};
use super::order::InOrder;
use super::scalars::{DateTime, JsonScalar, Long};
use super::words::{JobTypes, Word};
use super::{Api, access, api, of_failed};
use crate::configuration;
use crate::event::Instant;
use crate::identity::{Caller, Reach};
use crate::jobs::{self, JobError, NewJob, NotThere, Start, TARGETS_MAX, UPDATE_CONFIGURATION};
use crate::store::EntityType;

/// Devices at most that a preview shows.
const SHOWN_MAX: usize = 100;

/// A job to be stopped.
#[derive(Debug, InputObject)]
pub(super) struct CancelJobInput {
    /// The job.
    job_id: ID,
    /// Why.
    reason: Option<String>,
    /// Refused as CONFLICT when the job has another `version`.
    expected_version: Option<Long>,
}

/// A job to be paused, or to go on.
#[derive(Debug, InputObject)]
pub(super) struct PauseJobInput {
    /// The job.
    job_id: ID,
    /// Why.
    reason: Option<String>,
    /// Refused as CONFLICT when the job has another `version`.
    expected_version: Option<Long>,
}

/// A job whose failed devices are to be tried again.
#[derive(Debug, InputObject)]
pub(super) struct RetryJobInput {
    /// The job.
    job_id: ID,
    /// Refused as CONFLICT when the job has another `version`.
    expected_version: Option<Long>,
    /// A repeat with the same key makes no second job; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// The answer to a command on a job.
#[derive(Debug, SimpleObject)]
pub(super) struct JobPayload {
    /// The job as it stands now.
    job: Option<InOrder<Job>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// What would come of a job.
#[derive(Debug, SimpleObject)]
pub(super) struct JobPreview {
    /// Devices that it would be for.
    devices_targeted: i32,
    /// The first of them, in the order in which they would be given it; at most 100.
    devices: Vec<Device>,
    /// Of all of them, those that were last seen OFFLINE: they are given it when they return, within
    /// `timeToLiveSeconds`.
    devices_offline: i32,
    /// How many batches it would be given in; null when that is no number of a plan.
    batches: Option<i32>,
    /// When it would start at the earliest; null when it would not.
    starts_at: Option<DateTime>,
    /// Of a job that is done when it disturbs least: for each site when its devices would be given it, and why then.
    best_windows: Vec<InOrder<JobBestWindow>>,
    /// Why it would be refused; empty when it would not.
    user_errors: Vec<InOrder<UserError>>,
}

/// A type of job.
#[derive(Debug, SimpleObject)]
pub(super) struct JobTypeInfo {
    /// The type.
    job_type: Word<JobTypes>,
    /// What devices do.
    description: &'static str,
    /// JSON Schema (draft 2020-12) of the payload.
    payload_schema: JsonScalar,
}

/// What can be asked of jobs before they are made.
#[derive(Debug)]
pub(super) struct JobPlans;

#[Object]
impl JobPlans {
    /// The types of jobs, with the schemas of their payloads.
    async fn job_types(&self) -> Vec<InOrder<JobTypeInfo>> {
        let types = jobs::TYPES.iter().map(|one| {
            InOrder(JobTypeInfo {
                job_type: Word::known(one.word),
                description: one.description,
                payload_schema: JsonScalar(one.schema()),
            })
        });
        types.collect()
    }

    /// What would come of a job, without making it.
    async fn preview_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: CreateJobInput,
    ) -> Result<Option<InOrder<JobPreview>>, Error> {
        preview(ctx, &input)
            .await
            .map(|preview| Some(InOrder(preview)))
    }
}

/// How often a job is given windows anew when others were given some meanwhile.
const DECISIONS_MAX: usize = 8;

/// The commands on jobs.
#[derive(Debug)]
pub(super) struct JobCommands;

#[Object]
impl JobCommands {
    /// Makes a job. It starts at once, unless it is said when.
    async fn create_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: CreateJobInput,
    ) -> Result<InOrder<JobPayload>, Error> {
        let caller = access::caller(ctx);
        let job_id = keyed_id(caller, input.idempotency_key.as_deref(), "job");
        let deed = ("createJob", Some(job_id.to_string()));
        let mut made = Err(JobError::Contended);
        for _ in 0..DECISIONS_MAX {
            let Found {
                asked,
                targets,
                given,
                ..
            } = match find(ctx, &input).await? {
                Ok(found) => found,
                Err(error) => return refused(ctx, ("createJob", None), error).await,
            };
            let job = NewJob {
                job_id,
                job_type: asked.job_type,
                payload: input.payload.as_ref().map(|json| json.0.clone()),
                plan: asked.plan,
                targets,
                created_by: caller.name.to_string(),
                parent_job_id: None,
            };
            let door = door(ctx, &deed);
            made = match given {
                Some(given) => jobs::create_in_windows(&door, job, given).await,
                None => jobs::create(&door, job).await,
            };
            if !matches!(made, Err(JobError::Contended)) {
                break;
            }
        }
        job_payload(ctx, deed, made).await
    }

    /// Stops a job: on devices that have not ended it, it ends as CANCELLED. Stopping it again changes
    /// nothing.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and why.")] input: CancelJobInput,
    ) -> Result<InOrder<JobPayload>, Error> {
        let which = (input.job_id, input.expected_version);
        Command::Cancel.give(ctx, which, input.reason).await
    }

    /// Gives a job to no further device until it is resumed; devices that have it go on with it. Pausing it
    /// again changes nothing.
    async fn pause_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and why.")] input: PauseJobInput,
    ) -> Result<InOrder<JobPayload>, Error> {
        let which = (input.job_id, input.expected_version);
        Command::Pause.give(ctx, which, input.reason).await
    }

    /// Has a job that was paused go on. Resuming one that goes on changes nothing.
    async fn resume_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and why.")] input: PauseJobInput,
    ) -> Result<InOrder<JobPayload>, Error> {
        let which = (input.job_id, input.expected_version);
        Command::Resume.give(ctx, which, input.reason).await
    }

    /// Makes a job like one that has ended, for the devices on which that did not complete; it starts at
    /// once.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job.")] input: RetryJobInput,
    ) -> Result<InOrder<JobPayload>, Error> {
        let caller = access::caller(ctx);
        let retry_id = keyed_id(caller, input.idempotency_key.as_deref(), "retry");
        let deed = ("retryJob", Some(retry_id.to_string()));
        let within = access::within(ctx).await?;
        let which = (input.job_id.as_str(), input.expected_version.map(|v| v.0));
        let door = door(ctx, &deed);
        let made = match reached(ctx, &within, &input.job_id).await? {
            Reached::Wholly => {
                let by = (&*caller.name, sites_of(caller));
                jobs::retry(&door, which, (retry_id, by)).await
            }
            Reached::Partly => Err(JobError::Shared),
            Reached::Not => Err(JobError::Unknown),
        };
        job_payload(ctx, deed, made).await
    }
}

/// A command on a job that is there.
#[derive(Clone, Copy, Debug)]
enum Command {
    Cancel,
    Pause,
    Resume,
}

impl Command {
    const fn operation(self) -> &'static str {
        match self {
            Self::Cancel => "cancelJob",
            Self::Pause => "pauseJob",
            Self::Resume => "resumeJob",
        }
    }

    async fn give(
        self,
        ctx: &Context<'_>,
        (job_id, expected): (ID, Option<Long>),
        reason: Option<String>,
    ) -> Result<InOrder<JobPayload>, Error> {
        let deed = (self.operation(), Some(job_id.to_string()));
        let by = (&*access::caller(ctx).name, reason.as_deref());
        let within = access::within(ctx).await?;
        let door = door(ctx, &deed);
        let which = (job_id.as_str(), expected.map(|version| version.0));
        let done = match reached(ctx, &within, &job_id).await? {
            Reached::Wholly => match self {
                Self::Cancel => jobs::cancel(&door, which, by).await,
                Self::Pause => jobs::pause(&door, which, by).await,
                Self::Resume => jobs::resume(&door, which, by).await,
            },
            Reached::Partly => Err(JobError::Shared),
            Reached::Not => Err(JobError::Unknown),
        };
        job_payload(ctx, deed, done).await
    }
}

/// What is asked of a job.
#[derive(Debug)]
struct Found {
    asked: Asked,
    /// The devices that it is for.
    targets: Vec<String>,
    /// When the first of them is given it.
    starts_at: Instant,
    /// How many jobs had been given windows when those of this one were found, if it starts in such.
    given: Option<i64>,
}

async fn find(
    ctx: &Context<'_>,
    input: &CreateJobInput,
) -> Result<Result<Found, UserError>, Error> {
    let api = api(ctx);
    let mut asked = match input.read(api.ingest.clock().now()) {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(JsonScalar(payload)) = input
        .payload
        .as_ref()
        .filter(|_| asked.job_type == UPDATE_CONFIGURATION)
    {
        let refused = configuration::refused_by_hand(api.store(), payload).await;
        if let Some(why) = refused.map_err(|error| of_failed(api, &error))? {
            return Ok(Err(UserError::new("payload", UserErrorCode::Invalid, why)));
        }
    }
    let within = access::within(ctx).await?;
    let targets = asked.selection.resolve(api.store(), &within).await;
    let targets = match targets.map_err(|error| of_failed(api, &error))? {
        Ok(targets) => targets,
        Err(NotThere { list, id }) => {
            let message = format!("{id} is not registered");
            return Ok(Err(UserError::new(list, UserErrorCode::NotFound, message)));
        }
    };
    if targets.is_empty() || targets.len() > TARGETS_MAX {
        let error = if targets.is_empty() {
            JobError::NoTarget
        } else {
            JobError::TooManyTargets
        };
        return of_job(api, error).map(Err);
    }
    let caller = access::caller(ctx);
    asked.plan.reach = sites_of(caller);
    let key = input.idempotency_key.as_deref();
    let made = key.map(|key| keyed_id(caller, Some(key), "job"));
    let given = match plan_best(ctx, &mut asked, (&targets, made)).await? {
        Ok(given) => given,
        Err(refused) => return Ok(Err(refused)),
    };
    match starts_at(api, &asked, &targets).await {
        Ok(starts_at) => Ok(Ok(Found {
            asked,
            targets,
            starts_at,
            given,
        })),
        Err(error) => of_job(api, error).map(Err),
    }
}

/// The sites that a caller reaches, if these are not all.
fn sites_of(caller: &Caller) -> Option<Vec<String>> {
    match &caller.reach {
        Reach::Sites(sites) => Some(sites.iter().map(ToString::to_string).collect()),
        Reach::Whole | Reach::Device(_) => None,
    }
}

/// When the first of the devices of a job is given it.
async fn starts_at(api: &Api, asked: &Asked, targets: &[String]) -> Result<Instant, JobError> {
    let now = api.ingest.clock().now();
    match &asked.plan.start {
        Start::Now => Ok(now),
        Start::At(at) => Ok(*at),
        Start::InMaintenanceWindow => jobs::first_window(api.store(), targets, now).await,
        Start::Recurring(cron) => jobs::first_time(api.store(), cron, targets, now).await,
    }
}

async fn preview(ctx: &Context<'_>, input: &CreateJobInput) -> Result<JobPreview, Error> {
    let api = api(ctx);
    let Found {
        asked,
        targets,
        starts_at,
        ..
    } = match find(ctx, input).await? {
        Ok(found) => found,
        Err(error) => {
            return Ok(JobPreview {
                devices_targeted: 0,
                devices: Vec::new(),
                devices_offline: 0,
                batches: None,
                starts_at: None,
                best_windows: Vec::new(),
                user_errors: vec![InOrder(error)],
            });
        }
    };
    let (store, loaders) = (api.store(), super::loaders(ctx));
    let keys = targets
        .iter()
        .filter_map(|id| store.names().key(EntityType::Device, id));
    let keys: Vec<i64> = keys.collect();
    let rows = crate::history::fleet::devices_by_key(store, &keys, loaders.allowance()).await;
    let rows = rows.map_err(|error| of_failed(api, &error))?;
    let is_offline = |row: &&std::sync::Arc<crate::history::fleet::DeviceRow>| {
        let status = row.status.as_ref();
        status.and_then(|status| status.state.as_deref()) == Some("OFFLINE")
    };
    let mut devices = Vec::with_capacity(SHOWN_MAX);
    for key in keys.iter().take(SHOWN_MAX) {
        devices.extend(Device::load(ctx, *key).await?);
    }
    loaders.count(devices.len())?;
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let plan = &asked.plan;
    Ok(JobPreview {
        devices_targeted: count(targets.len()),
        devices,
        devices_offline: count(rows.values().filter(is_offline).count()),
        batches: plan.batch_size.map(|size| {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            count(targets.len().div_ceil(size))
        }),
        starts_at: Some(DateTime(starts_at)),
        best_windows: JobBestWindow::all(&plan.best_windows),
        user_errors: Vec::new(),
    })
}

/// The answer to a command on a job that was refused.
async fn refused(
    ctx: &Context<'_>,
    deed: What<'_>,
    error: UserError,
) -> Result<InOrder<JobPayload>, Error> {
    tell_refused(ctx, &deed, &error).await?;
    Ok(InOrder(JobPayload {
        job: None,
        user_errors: vec![InOrder(error)],
    }))
}

async fn job_payload(
    ctx: &Context<'_>,
    deed: What<'_>,
    done: Result<(), JobError>,
) -> Result<InOrder<JobPayload>, Error> {
    let mut user_errors = Vec::new();
    if let Err(error) = done {
        let shows_job = !matches!(error, JobError::OtherRepeat | JobError::Refused(_));
        let error = of_job(api(ctx), error)?;
        if !shows_job {
            return refused(ctx, deed, error).await;
        }
        tell_refused(ctx, &deed, &error).await?;
        user_errors.push(InOrder(error));
    }
    let job_id = deed.1.unwrap_or_default();
    let job = Job::of(ctx, &job_id).await?.map(InOrder);
    Ok(InOrder(JobPayload { job, user_errors }))
}

/// For what a command on a job was refused, unless it failed.
fn of_job(api: &Api, error: JobError) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        JobError::Unknown => ("jobId", UserErrorCode::NotFound),
        JobError::WrongState { .. } | JobError::Shared | JobError::Superseded { .. } => {
            ("jobId", UserErrorCode::WrongState)
        }
        JobError::Contended | JobError::Taken => ("jobId", UserErrorCode::Conflict),
        JobError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        JobError::NoTarget => ("deviceIds", UserErrorCode::NoTarget),
        JobError::TooManyTargets => ("deviceIds", UserErrorCode::TooMany),
        JobError::NeverStarts { .. } => ("start", UserErrorCode::NeverStarts),
        JobError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        JobError::Refused(refusal) => return Ok(UserError::of(refusal)),
        JobError::Store(error) => return Err(of_failed(api, &error)),
        JobError::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(field, code, told))
}
