//! Jobs as objects.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, SimpleObject};

use super::fleet::Device;
use super::insights::JobBestWindow;
use super::job_input::JobPriority;
use super::listed::at_most;
use super::loaders::TargetsKey;
use super::order::InOrder;
use super::scalars::{DateTime, JsonScalar, Long};
use super::types::PAGE_MAX;
use super::words::{JobStates, JobStatuses, JobSteps, Word};
use super::{Api, access, api, ids, of_failed};
use crate::event::{Instant, json_bytes};
use crate::history::jobs::{self, Counts, JobRow, TargetRow, TargetsPage};
use crate::history::{Place, Within};
use crate::jobs::{Plan, Start};

/// What a device of a job takes when it is rendered, roughly.
const TARGET_BYTES: usize = 256;
/// Devices of a job when no number is given.
pub(super) const TARGETS_DEFAULT: usize = 900;

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    row: Arc<JobRow>,
    plan: Arc<Plan>,
    counts: Arc<Counts>,
}

impl Job {
    /// A job with those of its devices that the caller may see; none if that is none of them.
    pub(super) async fn of(ctx: &Context<'_>, job_id: &str) -> Result<Option<Self>, Error> {
        let within = access::within(ctx).await?;
        Self::read(api(ctx), &within, job_id).await
    }

    /// A job with those of its devices that are within; none if that is none of them.
    pub(super) async fn read(
        api: &Api,
        within: &Within,
        job_id: &str,
    ) -> Result<Option<Self>, Error> {
        if job_id.contains('\0') {
            // no id has it, and PostgreSQL takes no such text
            return Ok(None);
        }
        let row = jobs::job(api.store(), job_id).await;
        let Some(row) = row.map_err(|error| of_failed(api, &error))? else {
            return Ok(None);
        };
        let Some(job) = Self::all(api, vec![row], within).await?.pop() else {
            return Ok(None);
        };
        if *within == Within::Whole || job.count(|_, _| true) > 0 {
            return Ok(Some(job));
        }
        if !matches!(job.plan.start, Start::Recurring(_)) {
            return Ok(None);
        }
        // one that recurs has no devices of its own: it is seen by whoever reaches all that its maker did
        let reach = job.plan.within(api.store()).await;
        let reach = reach.map_err(|error| of_failed(api, &error))?;
        Ok(within.includes_sites(&reach).then_some(job))
    }

    /// Jobs with how far those of their devices are that are within.
    pub(super) async fn all(
        api: &Api,
        rows: Vec<JobRow>,
        within: &Within,
    ) -> Result<Vec<Self>, Error> {
        let ids: Vec<String> = rows.iter().map(|row| row.job_id.clone()).collect();
        let counts = jobs::counts_of(api.store(), &ids, within).await;
        let mut counts: HashMap<String, Counts> = counts.map_err(|error| of_failed(api, &error))?;
        let job = |row: JobRow| Self {
            counts: Arc::new(counts.remove(&row.job_id).unwrap_or_default()),
            plan: Arc::new(Plan::of_text(row.plan.as_deref())),
            row: Arc::new(row),
        };
        Ok(rows.into_iter().map(job).collect())
    }

    /// Its place in the list of jobs.
    pub(super) fn place(&self) -> Place {
        (self.row.created_at, self.row.job_id.clone())
    }

    /// Its row.
    pub(super) fn row(&self) -> &JobRow {
        &self.row
    }

    /// How far its devices are.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether nothing will move it any more.
    pub(super) fn has_ended(&self) -> bool {
        matches!(
            self.row.state.as_str(),
            "COMPLETED" | "FAILED" | "CANCELLED"
        )
    }

    /// Devices of which what they have ended with, and how far they are, is as asked.
    pub(super) fn count(&self, is_meant: impl Fn(Option<&str>, &str) -> bool) -> i32 {
        i32::try_from(self.counts.of(is_meant)).unwrap_or(i32::MAX)
    }

    fn at_step(&self, step: &str) -> i32 {
        self.count(|status, at| status.is_none() && at == step)
    }
}

/// A device that a job is meant for.
#[derive(Clone, Debug)]
pub(super) struct JobTarget(pub(super) TargetRow);

/// A device that a job is meant for.
#[Object]
impl JobTarget {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.0.device_key).await
    }

    /// Its place among the devices of the job, from 0; as `after`: those behind it.
    async fn ordinal(&self) -> i32 {
        i32::try_from(self.0.ordinal).unwrap_or(i32::MAX)
    }

    /// How the job ended on it; null while it has not. The first outcome counts that was recorded
    /// while the job ran.
    async fn status(&self) -> Option<Word<JobStatuses>> {
        self.0.status.as_deref().map(Word::known)
    }

    /// How far the command is that it was given last; null when the job has ended on it.
    async fn step(&self) -> Option<Word<JobSteps>> {
        let step = Word::known(&self.0.step);
        self.0.status.is_none().then_some(step)
    }

    /// How many commands of the job it was given: 0 when none yet, more than 1 when it was tried again.
    async fn attempts(&self) -> i32 {
        i32::try_from(self.0.attempt).unwrap_or(i32::MAX)
    }

    /// Since when it is so, by the clock of the server; null when it was given nothing yet.
    async fn changed_at(&self) -> Option<DateTime> {
        (self.0.step_at > 0).then_some(DateTime(Instant(self.0.step_at)))
    }
}

/// How a job is carried out.
#[derive(Debug, SimpleObject)]
struct JobPlan {
    /// In which order a device takes commands of several jobs.
    priority: JobPriority,
    /// When it starts, if that was said.
    start_at: Option<DateTime>,
    /// Whether it is given to each device while its site has a maintenance window.
    in_maintenance_window: bool,
    /// Of a job that is done when it disturbs least: for each site when its devices are given it, and why then, the
    /// first first; `startAt` is the first of them. Else empty.
    best_windows: Vec<InOrder<JobBestWindow>>,
    /// When it recurs, in the time of each site, as a cron expression.
    cron: Option<String>,
    /// Devices that have it at once; all of them when it is null.
    batch_size: Option<i32>,
    /// Seconds from the end of a batch to the next.
    batch_pause_seconds: i32,
    /// Devices that must complete it before any other is given it.
    canary_devices: i32,
    /// It is stopped when more devices than this have failed.
    failures_max: Option<i32>,
    /// It is stopped when more than this part of its devices has failed, in percent.
    failures_max_percent: Option<f64>,
    /// Seconds that a device has to end a command that it has acknowledged.
    timeout_seconds: i32,
    /// Seconds that a command waits for its device.
    time_to_live_seconds: i32,
    /// How often a device that failed or gave no answer is tried again.
    retries: i32,
    /// Seconds before the first retry; doubled with each further one.
    retry_backoff_seconds: i32,
}

impl JobPlan {
    fn of(plan: &Plan) -> Self {
        let int = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let (start_at, cron) = match &plan.start {
            Start::At(at) => (Some(DateTime(*at)), None),
            Start::Recurring(cron) => (None, Some(cron.clone())),
            Start::Now | Start::InMaintenanceWindow => (None, None),
        };
        Self {
            priority: plan.priority.into(),
            start_at,
            in_maintenance_window: plan.start == Start::InMaintenanceWindow,
            best_windows: JobBestWindow::all(&plan.best_windows),
            cron,
            batch_size: plan.batch_size.map(int),
            batch_pause_seconds: int(plan.batch_pause_seconds),
            canary_devices: int(plan.canary_devices),
            failures_max: plan.failures_max.map(int),
            failures_max_percent: plan.failures_max_percent,
            timeout_seconds: int(plan.timeout_seconds),
            time_to_live_seconds: int(plan.time_to_live_seconds),
            retries: int(plan.retries),
            retry_backoff_seconds: int(plan.retry_backoff_seconds),
        }
    }
}

/// A job: something that devices are to do.
#[Object]
impl Job {
    /// Opaque id, for `node`.
    async fn id(&self) -> ID {
        ID(ids::of_job(&self.row.job_id))
    }

    /// Its id, for `job` and for the outcomes that devices report.
    async fn job_id(&self) -> ID {
        ID(self.row.job_id.clone())
    }

    /// What kind of job; of a CUSTOM one its name.
    async fn job_type(&self) -> &str {
        &self.row.job_type
    }

    /// What people call it.
    async fn title(&self) -> Option<&str> {
        self.plan.title.as_deref()
    }

    /// Its state. It moves a moment after the answer of a device that moves it.
    async fn state(&self) -> Word<JobStates> {
        Word::known(&self.row.state)
    }

    /// Position of its last step, for `expectedVersion`.
    async fn version(&self) -> Long {
        Long(self.row.position)
    }

    /// What the devices are given to do it with.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous")]
    async fn payload(&self, ctx: &Context<'_>) -> Result<Option<JsonScalar>, Error> {
        let payload = self.row.payload.as_deref();
        let payload = payload.and_then(|text| serde_json::from_str(text).ok());
        super::take(ctx, payload.as_ref().map_or(0, json_bytes))?;
        Ok(payload.map(JsonScalar))
    }

    /// How it is carried out.
    async fn plan(&self) -> InOrder<JobPlan> {
        InOrder(JobPlan::of(&self.plan))
    }

    /// Id of the job that it comes from: one that recurs, or one whose failed devices it is for.
    async fn parent_job_id(&self) -> Option<ID> {
        self.row.parent_job_id.clone().map(ID)
    }

    /// Who made it.
    async fn created_by(&self) -> Option<&str> {
        self.row.created_by.as_deref()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(Instant(self.row.created_at))
    }

    /// When its state last changed.
    async fn changed_at(&self) -> DateTime {
        DateTime(Instant(self.row.changed_at))
    }

    /// Devices that it is for.
    async fn devices_targeted(&self) -> i32 {
        self.count(|_, _| true)
    }

    /// Devices on which it completed.
    async fn devices_succeeded(&self) -> i32 {
        self.count(|status, _| status == Some("COMPLETED"))
    }

    /// Devices on which it ended otherwise.
    async fn devices_failed(&self) -> i32 {
        self.count(|status, _| status.is_some_and(|status| status != "COMPLETED"))
    }

    /// Of these, devices on which it was cancelled.
    async fn devices_cancelled(&self) -> i32 {
        self.count(|status, _| status == Some("CANCELLED"))
    }

    /// Devices that have not ended it: those that wait, were given it, or work on it.
    async fn devices_pending(&self) -> i32 {
        self.count(|status, _| status.is_none())
    }

    /// Of these, devices that are yet to be given it, or to be given it again.
    async fn devices_waiting(&self) -> i32 {
        self.at_step("WAITING")
    }

    /// Of these, devices that were given it and have not acknowledged it.
    async fn devices_issued(&self) -> i32 {
        self.at_step("ISSUED")
    }

    /// Of these, devices that work on it.
    async fn devices_acknowledged(&self) -> i32 {
        self.at_step("ACKNOWLEDGED")
    }

    /// The devices that it is for, in the order in which they are given it.
    async fn targets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Devices at most; 900 when it is left out, 1000 at most.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Those behind this `ordinal`.")] after: Option<i32>,
        #[graphql(desc = "Those on which it ended so; null stands for those that have not ended.")]
        statuses: Option<Vec<Option<Word<JobStatuses>>>>,
    ) -> Result<Option<Vec<InOrder<JobTarget>>>, Error> {
        let first = match first {
            None => TARGETS_DEFAULT,
            Some(first) => at_most("first", first, PAGE_MAX)?,
        };
        let ended = statuses.map(|statuses| {
            let statuses = statuses.into_iter();
            statuses.map(|status| Some(status?.word())).collect()
        });
        let page = TargetsPage {
            within: access::within(ctx).await?,
            ended,
            after: after.map(i64::from),
            limit: u64::try_from(first).unwrap_or(u64::MAX),
        };
        let key = TargetsKey(self.row.job_id.clone(), Arc::new(page));
        let loaders = super::loaders(ctx);
        let rows = loaders.targets.load(key).await;
        let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
        loaders.count(rows.len())?;
        super::take(ctx, rows.len() * TARGET_BYTES)?;
        let targets = rows.into_iter();
        Ok(Some(targets.map(|row| InOrder(JobTarget(row))).collect()))
    }
}
