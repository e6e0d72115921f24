//! Jobs as objects, and their progress as a stream.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, SimpleObject, Subscription};
use entity::{job_outcomes, job_transitions};
use futures_util::Stream;

use super::error::{ErrorCode, error};
use super::fleet::Device;
use super::order::InOrder;
use super::scalars::{DateTime, JsonScalar, Long};
use super::subscription::{SLICE_BYTES_MAX, resumed};
use super::words::{JobStates, JobStatuses, Word};
use super::{Api, access, api, cursor, ids, of_failed};
use crate::event::{Event, Instant, Position, json_bytes};
use crate::history::Within;
use crate::history::jobs::{self, JobPlace, JobRow, TargetRow};
use crate::kinds::Kind;
use crate::store::Allowance;

/// What a device of a job takes when it is rendered, roughly.
const TARGET_BYTES: usize = 256;

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    row: Arc<JobRow>,
    targets: Arc<[TargetRow]>,
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
        let store = api.store();
        if job_id.contains('\0') {
            // no id has it, and PostgreSQL takes no such text
            return Ok(None);
        }
        let row = jobs::job(store, job_id).await;
        let Some(row) = row.map_err(|error| of_failed(api, &error))? else {
            return Ok(None);
        };
        let targets = jobs::targets(store, &row.job_id).await;
        let mut targets = targets.map_err(|error| of_failed(api, &error))?;
        targets.retain(|target| within.reaches_device(store.names(), target.device_key));
        let is_seen = *within == Within::Whole || !targets.is_empty();
        Ok(is_seen.then(|| Self {
            targets: targets.into(),
            row: Arc::new(row),
        }))
    }

    /// Jobs with those of their devices that are within, which are read at once.
    pub(super) async fn all_with_targets(
        api: &Api,
        rows: Vec<JobRow>,
        (within, allowance): (&Within, &Allowance),
    ) -> Result<Vec<Self>, Error> {
        let store = api.store();
        let ids: Vec<&str> = rows.iter().map(|row| row.job_id.as_str()).collect();
        let targets = jobs::targets_of(store, &ids, allowance).await;
        let mut targets = targets.map_err(|error| of_failed(api, &error))?;
        targets.retain(|target| within.reaches_device(store.names(), target.device_key));
        let mut of_jobs: HashMap<String, Vec<TargetRow>> = HashMap::new();
        for target in targets {
            of_jobs
                .entry(target.job_id.clone())
                .or_default()
                .push(target);
        }
        let job = |row: JobRow| Self {
            targets: of_jobs.remove(&row.job_id).unwrap_or_default().into(),
            row: Arc::new(row),
        };
        Ok(rows.into_iter().map(job).collect())
    }

    /// Its place in the list of jobs.
    pub(super) fn place(&self) -> JobPlace {
        (self.row.created_at, self.row.job_id.clone())
    }

    /// What changes whenever it moves: its last transition, and how many devices have ended it.
    fn moves(&self) -> (i64, usize) {
        let ended = self.targets.iter().filter(|target| target.status.is_some());
        (self.row.position, ended.count())
    }

    fn count(&self, of: impl Fn(Option<&str>) -> bool) -> i32 {
        let count = self
            .targets
            .iter()
            .filter(|target| of(target.status.as_deref()))
            .count();
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// A device that a job is meant for.
#[derive(Clone, Debug)]
struct JobTarget(TargetRow);

/// A device that a job is meant for.
#[Object]
impl JobTarget {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.0.device_key).await
    }

    /// How the job ended on it; null while it has not. The first outcome counts that was recorded
    /// while the job ran.
    async fn status(&self) -> Option<Word<JobStatuses>> {
        self.0.status.as_deref().map(Word::known)
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

    /// What kind of job.
    async fn job_type(&self) -> &str {
        &self.row.job_type
    }

    /// Its state. It moves a moment after the outcome of a device that moves it.
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
        self.count(|_| true)
    }

    /// Devices on which it completed.
    async fn devices_succeeded(&self) -> i32 {
        self.count(|status| status == Some("COMPLETED"))
    }

    /// Devices on which it ended otherwise.
    async fn devices_failed(&self) -> i32 {
        self.count(|status| status.is_some_and(|status| status != "COMPLETED"))
    }

    /// Devices that have not ended it.
    async fn devices_pending(&self) -> i32 {
        self.count(|status| status.is_none())
    }

    /// The devices that it is for.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous")]
    async fn targets(&self, ctx: &Context<'_>) -> Result<Option<Vec<InOrder<JobTarget>>>, Error> {
        super::loaders(ctx).count(self.targets.len())?;
        super::take(ctx, self.targets.len() * TARGET_BYTES)?;
        let targets = self.targets.iter().cloned();
        let targets = targets.map(|target| InOrder(JobTarget(target)));
        Ok(Some(targets.collect()))
    }
}

/// A job that has moved.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct JobProgress {
    /// As `after`: what comes next.
    cursor: String,
    /// The job as it stands now.
    job: InOrder<Job>,
}

/// The streams of jobs.
#[derive(Debug)]
pub(super) struct JobStreams;

#[Subscription]
impl JobStreams {
    /// How a job goes on: first as it stands, then whenever it moves; ends when the job has ended.
    async fn job_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] job_id: ID,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<JobProgress>, Error>>, Error> {
        let api = api(ctx).clone();
        let loaders = super::loaders(ctx);
        let head = api.store().head();
        let after = resumed(ctx, after.as_deref()).map(str::to_owned);
        let from = match after.as_deref() {
            Some(text) => cursor::read_to_follow(&api, text).await?,
            None => head,
        };
        let within = access::within(ctx).await?;
        let first = Job::read(&api, &within, &job_id).await?;
        let first = first.ok_or_else(|| error(ErrorCode::NotFound, "there is no such job"))?;
        Ok(async_stream::stream! {
            let mut ended = has_ended(&first);
            let mut told = None;
            if after.is_none() || ended {
                told = Some(first.moves());
                let job = InOrder(first);
                yield Ok(InOrder(JobProgress { cursor: cursor_at(&api, head), job }));
                // it has been rendered when the next is asked for
                loaders.begin();
            }
            let kinds = &[Kind::JobTransition, Kind::JobOutcome];
            let mut tail = api.store().tail(from, Some(kinds)).in_slices_of(SLICE_BYTES_MAX);
            while !ended {
                let events = match tail.next().await {
                    Ok(events) => events,
                    Err(error) => {
                        yield Err(of_failed(&api, &error));
                        break;
                    }
                };
                let is_meant = events.iter().any(|event| is_of(event, &job_id));
                // nothing of them is held while the job is read and delivered
                drop(events);
                if !is_meant {
                    continue;
                }
                match Job::read(&api, &within, &job_id).await {
                    // what moved it may have been read with what came before
                    Ok(Some(job)) if told == Some(job.moves()) => {}
                    Ok(Some(job)) => {
                        told = Some(job.moves());
                        ended = has_ended(&job);
                        let (cursor, job) = (cursor_at(&api, tail.position()), InOrder(job));
                        yield Ok(InOrder(JobProgress { cursor, job }));
                        loaders.begin();
                    }
                    Ok(None) => break,
                    Err(error) => {
                        yield Err(error);
                        break;
                    }
                }
            }
        })
    }
}

fn cursor_at(api: &Api, position: Position) -> String {
    let place = crate::store::Place {
        position,
        occurred_at: Instant::default(),
    };
    cursor::write(api.store().identity(), place)
}

fn has_ended(job: &Job) -> bool {
    !matches!(job.row.state.as_str(), "QUEUED" | "RUNNING")
}

fn is_of(event: &Event, job_id: &str) -> bool {
    let of = event.fact.cell(job_transitions::Column::JobId);
    of.text()
        .or(event.fact.cell(job_outcomes::Column::JobId).text())
        == Some(job_id)
}
