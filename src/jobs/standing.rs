//! A job as it was read, with the version that was read before it.

use std::collections::HashMap;

use super::machine::{Ended, JobState, Machine, Step, Target};
use super::{JobError, Plan};
use crate::event::{Instant, Position};
use crate::history::jobs::{self, JobRow, TargetRow};
use crate::projections::jobs::entity_of;
use crate::store::{Expect, Store};

/// A job as it was read.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) version: i64,
    /// Position of its first step.
    pub(super) first: Position,
    pub(super) job: JobRow,
    pub(super) machine: Machine,
    /// The outcome of each device, in the order of the devices.
    pub(super) outcomes: Vec<Option<i64>>,
    /// Places of the devices by their keys.
    pub(super) places: HashMap<i64, usize>,
}

impl Standing {
    pub(super) async fn read(store: &Store, job_id: &str) -> Result<Self, JobError> {
        // the version first: what is read after it is at least as new
        let version = store.version(&entity_of(job_id)).await?;
        let job = jobs::job(store, job_id).await?.ok_or(JobError::Unknown)?;
        let first = jobs::first_step(store, job_id).await?;
        let targets = jobs::targets(store, job_id).await?;
        let now = store.clock().now();
        let outcomes = targets.iter().map(|row| row.outcome_position).collect();
        let places = targets.iter().map(|row| row.device_key).zip(0..).collect();
        let machine = Machine {
            state: state_of(&job),
            created_at: Instant(job.created_at).min(now),
            plan: Plan::of_text(job.plan.as_deref()),
            targets: targets.iter().map(|row| target_of(row, now)).collect(),
        };
        Ok(Self {
            version,
            first: first.unwrap_or(Position(job.position)),
            job,
            machine,
            outcomes,
            places,
        })
    }

    /// Refuses a job that is not what the caller has read.
    pub(super) fn is_as_read(&self, expected: Option<i64>) -> Result<(), JobError> {
        let version = self.job.position;
        match expected {
            Some(expected) if expected != version => Err(JobError::Stale { version }),
            _ => Ok(()),
        }
    }

    /// That a job cannot become what it was to be.
    pub(super) const fn cannot_be(&self, wanted: &'static str) -> JobError {
        JobError::WrongState {
            state: self.machine.state.word(),
            wanted,
        }
    }

    /// That nobody has moved the job since it was read.
    pub(super) fn unmoved(&self) -> Expect {
        Expect::reading(entity_of(&self.job.job_id), self.version)
    }
}

fn state_of(job: &JobRow) -> JobState {
    // the tables hold no other word
    JobState::of_word(&job.state).unwrap_or(JobState::Cancelled)
}

/// What a clock that was ahead has stamped counts from now on: it would hold up everything until then.
fn target_of(row: &TargetRow, now: Instant) -> Target {
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Target {
        device_key: row.device_key,
        attempt: number(row.attempt),
        step: Step::of_word(&row.step).unwrap_or(Step::Waiting),
        at: Instant(row.step_at).min(now),
        position: Position(row.step_position),
        ended: row.status.as_deref().and_then(Ended::of_word),
        failures: number(row.failures),
        failed_at: Instant(row.failed_at).min(now),
    }
}
