//! Carries jobs out: gives devices their commands when their turn has come, ends those that run out of
//! time, and ends the jobs.
//!
//! It follows the log from a checkpoint with the machines of all open jobs in memory; whatever it
//! decides is recorded on the version of the job that it was decided on, under fixed ids. So it can be
//! killed anywhere and goes on, and to run on two nodes is to run once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use entity::{
    command_transitions as command, device_registrations as registration, job_outcomes as outcome,
    job_transitions as transition,
};
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

use super::JobError;
use super::away::Away;
use super::retold::{Retold, is_retired};
use crate::event::{Event, Position};
use crate::history::jobs;
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::projections::checkpoint;
use crate::store::{AppendError, Failing, StoreError};
use crate::telemetry::chain;
use crate::ticks;

/// Name of its checkpoint.
const CHECKPOINT: &str = "jobs_reconciled";
/// The checkpoint moves at least this often, also when nothing of jobs is recorded.
const UNMARKED_MAX: i64 = 10_000;
/// How often the checkpoint moves at most.
const MARKED_EVERY: Duration = Duration::from_secs(1);
/// How often it looks what has become due.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What it calls itself where faults are told.
pub(super) const SOURCE: &str = "the jobs";
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: SOURCE,
    effect: "jobs are not moved, will go on from the checkpoint",
    waits: Duration::from_secs(1),
};
/// How long a job is put off that takes too much to be decided on.
const PUT_OFF_MS: i64 = 60_000;
/// Jobs at most of which it knows that it has told that they cannot go on.
const TOLD_MAX: usize = 1_000;
/// What it follows.
const KINDS: &[Kind] = &[
    Kind::JobTransition,
    Kind::CommandTransition,
    Kind::JobOutcome,
    Kind::DeviceStateChange,
    Kind::DeviceRegistration,
];

/// Carries jobs out.
#[derive(Debug)]
pub struct Orchestrator {
    ingest: Ingest,
    /// The jobs that are open, or have ended and are not told yet.
    jobs: HashMap<String, Retold>,
    away: Away,
    /// Jobs of which it has told that they cannot go on.
    told: BTreeSet<String>,
}

impl Orchestrator {
    /// One that records through a door.
    #[must_use]
    pub fn new(ingest: Ingest) -> Self {
        Self {
            ingest,
            jobs: HashMap::new(),
            away: Away::default(),
            told: BTreeSet::new(),
        }
    }

    /// Carries jobs out until it is told to stop. After a failure of the log it goes on from its
    /// checkpoint; a job that cannot go on holds no other up.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            FAILING.failed(self.ingest.store(), &error, &stop).await;
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, JobError> {
        let store = &self.ingest.store().clone();
        self.jobs.clear();
        let mut marked = checkpoint::position(store, CHECKPOINT).await?;
        let mut tail = store.tail(marked, Some(KINDS));
        self.away = Away::read(store).await?;
        for job in jobs::open(store).await? {
            self.take_up(&job.job_id).await?;
        }
        let mut looks = ticks::every(LOOK_EVERY);
        let (mut marked_at, mut has_moved) = (Moment::now(), false);
        loop {
            let events = tokio::select! {
                biased;
                events = tail.next_looked_at() => events?,
                _ = looks.tick() => Vec::new(),
            };
            for event in &events {
                self.hear(event).await?;
                has_moved = true;
            }
            let position = tail.position();
            self.act(position).await?;
            let is_far = position.0 - marked.0 >= UNMARKED_MAX;
            let is_late = has_moved && marked_at.elapsed() >= MARKED_EVERY;
            // what remains to be told of a job that has ended is found by its end alone
            let is_told = !self.jobs.values().any(Retold::is_ending);
            if position > marked && is_told && (is_far || is_late) {
                checkpoint::advance(store, CHECKPOINT, position).await?;
                (marked, marked_at, has_moved) = (position, Moment::now(), false);
            }
        }
    }

    /// Reads a job, if there is such a one: outcomes are also recorded of jobs that others run.
    async fn take_up(&mut self, job_id: &str) -> Result<(), JobError> {
        match Retold::read(&self.ingest, job_id).await {
            Ok(job) => {
                self.jobs.insert(job_id.to_owned(), job);
                Ok(())
            }
            Err(JobError::Unknown) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves the machine of the job that an event is of.
    async fn hear(&mut self, event: &Arc<Event>) -> Result<(), JobError> {
        if event.fact.kind == Kind::DeviceStateChange {
            self.away.hear(event);
            return Ok(());
        }
        if event.fact.kind == Kind::DeviceRegistration {
            let key = event.fact.cell(registration::Column::DeviceKey).int();
            let of = key.filter(|key| self.jobs.values().any(|job| job.has_device(*key)));
            if let Some(key) = of {
                // the event may speak of a time before what holds
                let is_retired = is_retired(self.ingest.store(), key).await?;
                let jobs = self.jobs.values_mut();
                jobs.for_each(|job| job.hear_of_device(key, is_retired));
            }
            return Ok(());
        }
        let Some(job_id) = job_of(event) else {
            return Ok(());
        };
        if let Some(job) = self.jobs.get_mut(job_id) {
            job.hear(event, self.ingest.clock().now());
        } else if event.fact.kind == Kind::JobTransition {
            self.take_up(job_id).await?;
        }
        Ok(())
    }

    /// Does what is due for the jobs that have moved or whose time has come, as the log was known up to
    /// a position.
    async fn act(&mut self, known: Position) -> Result<(), JobError> {
        let now = self.ingest.clock().now();
        let due = self.jobs.iter().filter(|(_, job)| job.is_due(known, now));
        let due = due.map(|(id, job)| (job.standing.first, id.clone()));
        // in the order in which they were made: of two that tell a device different things the later one holds
        let due: BTreeSet<(Position, String)> = due.collect();
        for (_, job_id) in due {
            let Some(job) = self.jobs.get_mut(&job_id) else {
                continue;
            };
            match job.act((&self.ingest, &self.away), now).await {
                Ok(()) if job.is_over() => {
                    self.jobs.remove(&job_id);
                }
                Ok(()) => {}
                Err(JobError::Contended) => self.take_up(&job_id).await?,
                // the log is busy for all of them: soon again
                Err(JobError::Append(AppendError::Overloaded)) => {
                    return self.take_up(&job_id).await;
                }
                // one that takes too much to be decided on, or needs what cannot be read of what was
                // archived, holds no other up
                Err(
                    error @ JobError::Store(
                        StoreError::TooLarge { .. }
                        | StoreError::Files(_)
                        | StoreError::Columnar(_),
                    ),
                ) => {
                    job.put_off(now.plus_ms(PUT_OFF_MS));
                    self.cannot_go_on(&job_id, &error);
                }
                Err(error @ (JobError::Store(_) | JobError::Append(_))) => return Err(error),
                Err(error) => {
                    self.jobs.remove(&job_id);
                    self.cannot_go_on(&job_id, &error);
                }
            }
        }
        Ok(())
    }

    /// Tells it once of each job, which may be concerned again and again.
    fn cannot_go_on(&mut self, job_id: &str, error: &JobError) {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if self.told.insert(job_id.to_owned()) {
            let error = chain(error).to_string();
            tracing::error!(job.id = job_id, error, "a job cannot go on");
            let store = self.ingest.store();
            let message = format!("job {job_id} cannot go on: {error}");
            store.faults().tell(SOURCE, store.clock().now(), message);
        }
    }
}

/// The job that an event is of.
pub(crate) fn job_of(event: &Event) -> Option<&str> {
    let fact = &event.fact;
    let of = [
        fact.cell(transition::Column::JobId),
        fact.cell(command::Column::JobId),
        fact.cell(outcome::Column::JobId),
    ];
    of.into_iter().find_map(|cell| cell.text())
}
