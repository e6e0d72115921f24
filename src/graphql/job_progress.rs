//! The progress of a job as a stream.

use std::collections::BTreeSet;
use std::time::Duration;

use async_graphql::{Context, Error, ID, SimpleObject, Subscription};
use futures_util::Stream;

use super::error::{ErrorCode, error};
use super::job::{Job, JobTarget};
use super::order::InOrder;
use super::subscription::{SLICE_BYTES_MAX, resumed};
use super::{Api, access, api, cursor, of_failed};
use crate::event::{Instant, Position};
use crate::history::Within;
use crate::history::jobs::{self, Counts};
use crate::jobs::job_of;
use crate::kinds::Kind;

/// Devices at most that are told with a step of a job.
const CHANGED_MAX: usize = 1_000;
/// How often a job that moves without pause is told at most.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// A job that has moved.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct JobProgress {
    /// As `after`: what comes next.
    cursor: String,
    /// The job as it stands now.
    job: InOrder<Job>,
    /// Devices of it that have moved since what was told before, as they stand now; at most 1000.
    changed: Vec<InOrder<JobTarget>>,
    /// Seconds that it will take, if the rest of the devices take as long as those that have ended it; null
    /// while none has, and when it does not run.
    seconds_left: Option<i32>,
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
            Some(text) => cursor::read_to_follow(&api, text, Some(&[])).await?,
            None => head,
        };
        let within = access::within(ctx).await?;
        let first = Job::read(&api, &within, &job_id).await?;
        let first = first.ok_or_else(|| error(ErrorCode::NotFound, "there is no such job"))?;
        Ok(async_stream::stream! {
            let (mut ended, mut told) = (first.has_ended(), None);
            if after.is_none() || ended {
                told = Some(moves(&first));
                let cursor = cursor_at(&api, head);
                yield Ok(InOrder(progress(&api, cursor, (first, Vec::new()))));
                // it has been rendered when the next is asked for
                loaders.begin();
            }
            let tail = api.store().tail(from, Some(KINDS));
            let mut tail = tail.in_slices_of(SLICE_BYTES_MAX);
            while !ended {
                let events = match tail.next().await {
                    Ok(events) => events,
                    Err(error) => {
                        yield Err(of_failed(&api, &error));
                        break;
                    }
                };
                let meant = events.iter().filter(|event| job_of(event) == Some(job_id.as_str()));
                let (mut is_meant, mut devices) = (false, BTreeSet::new());
                for event in meant {
                    is_meant = true;
                    devices.extend(event.fact.device_key());
                }
                // nothing of them is held while the job is read and delivered
                drop(events);
                if !is_meant {
                    continue;
                }
                match read(&api, &within, (&job_id, &devices)).await {
                    // what moved it may have been read with what came before
                    Ok(Some((job, _))) if told == Some(moves(&job)) => {}
                    Ok(Some(moved)) => {
                        told = Some(moves(&moved.0));
                        ended = moved.0.has_ended();
                        let cursor = cursor_at(&api, tail.position());
                        yield Ok(InOrder(progress(&api, cursor, moved)));
                        loaders.begin();
                        // what moves meanwhile is told together
                        tokio::time::sleep(TOLD_EVERY).await;
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

/// What moves jobs.
const KINDS: &[Kind] = &[
    Kind::JobTransition,
    Kind::CommandTransition,
    Kind::JobOutcome,
];

/// A job as it stands, with some of its devices.
type Moved = (Job, Vec<InOrder<JobTarget>>);

async fn read(
    api: &Api,
    within: &Within,
    (job_id, devices): (&str, &BTreeSet<i64>),
) -> Result<Option<Moved>, Error> {
    let Some(job) = Job::read(api, within, job_id).await? else {
        return Ok(None);
    };
    let store = api.store();
    let seen = devices.iter().copied();
    let seen = seen.filter(|key| within.reaches_device(store.names(), *key));
    let seen: Vec<i64> = seen.take(CHANGED_MAX).collect();
    let rows = jobs::targets_among(store, &[job_id.to_owned()], &seen).await;
    let rows = rows.map_err(|error| of_failed(api, &error))?;
    let changed = rows.into_iter().map(|row| InOrder(JobTarget(row)));
    Ok(Some((job, changed.collect())))
}

fn progress(api: &Api, cursor: String, (job, changed): Moved) -> JobProgress {
    JobProgress {
        cursor,
        seconds_left: seconds_left(&job, api.ingest.clock().now()),
        job: InOrder(job),
        changed,
    }
}

/// What changes whenever a job moves: its last transition, and how far its devices are.
fn moves(job: &Job) -> (i64, Counts) {
    (job.row().position, job.counts().clone())
}

/// As long as the job has run for the devices that have ended it, it will run for the others.
fn seconds_left(job: &Job, now: Instant) -> Option<i32> {
    let ended = i64::from(job.count(|status, _| status.is_some()));
    let left = i64::from(job.count(|status, _| status.is_none()));
    let since = now.0 - job.row().changed_at;
    let is_known = job.row().state == "RUNNING" && ended > 0;
    let micros = since.checked_mul(left)?.checked_div(ended)?;
    i32::try_from(micros / 1_000_000).ok().filter(|_| is_known)
}

fn cursor_at(api: &Api, position: Position) -> String {
    let place = crate::store::Place {
        position,
        occurred_at: Instant::default(),
    };
    cursor::write(api.store().identity(), place)
}
