//! What is told of a job that has ended: its outcome as a whole, and those of the devices for which it was
//! stopped.

use std::collections::HashSet;

use entity::command_transitions as command;
use entity::job_outcomes::Column;

use super::JobError;
use super::machine::{Ended, JobState, Step, Target};
use super::retold::{BY, DEVICES_AT_ONCE, Retold};
use super::steps::{self, commanded, duration, outcome_of, step_id};
use crate::event::{Cell, Event, Instant, NewEvent, Position, Provenance};
use crate::history::jobs;
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind};
use crate::projections::jobs::entity_of;
use crate::store::{Expect, Store};

impl Retold {
    /// Reads again who made the job, who may have been erased since, and with which version: what is told of its end
    /// is told on that.
    pub(super) async fn name_anew(&mut self, store: &Store) -> Result<Expect, JobError> {
        let entity = entity_of(&self.standing.job.job_id);
        // the version first: what is read after it is at least as new
        let version = store.version(&entity).await?;
        let job = jobs::job(store, &self.standing.job.job_id).await?;
        self.standing.job.created_by = job.and_then(|job| job.created_by);
        Ok(Expect::reading(entity, version))
    }

    /// What remains to be recorded of a job that has ended: what became of the devices for which it was
    /// stopped, and of the job as a whole, as long as it is known by whom it was made.
    ///
    /// # Errors
    /// [`JobError::Contended`] when they may have been erased meanwhile: it is to be read anew.
    pub(super) async fn tell_of_end(
        &self,
        ingest: &Ingest,
        unmoved: &Expect,
    ) -> Result<(), JobError> {
        let at = Instant(self.standing.job.changed_at);
        let targets = self
            .standing
            .machine
            .targets
            .iter()
            .zip(&self.standing.outcomes);
        let stopped = |(target, outcome): (&Target, &Option<i64>)| {
            target.ended == Some(Ended::Cancelled) && outcome.is_none()
        };
        let places = targets.enumerate().filter(|(_, target)| stopped(*target));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        for places in places.chunks(DEVICES_AT_ONCE) {
            let mut events = Vec::with_capacity(places.len() * 2);
            for place in places {
                events.extend(self.stopped(ingest, (*place, None), at).await?);
            }
            self.record(ingest, events, vec![unmoved.clone()]).await?;
        }
        self.tell_as_a_whole((ingest, unmoved), at).await
    }

    /// What became of the job as a whole, at the instant at which it ended. What is told of it may have been deleted
    /// for good since, with what else happened then: it is not told again.
    async fn tell_as_a_whole(
        &self,
        (ingest, unmoved): (&Ingest, &Expect),
        at: Instant,
    ) -> Result<(), JobError> {
        let (store, job_id) = (ingest.store(), &self.standing.job.job_id);
        let state = self.standing.machine.state;
        let ended = self.ended(state, &[], at)?;
        let left = steps::unrecorded(store, job_id, vec![ended]).await?;
        // in this order: what was deleted until it was looked for is known to have been
        if left.is_empty() || !store.is_whole_since(Kind::JobOutcome, at).await? {
            return Ok(());
        }
        let outcomes = self.outcomes(ingest).await?;
        let ended = self.ended(state, &outcomes, at)?;
        self.record(ingest, vec![ended], vec![unmoved.clone()])
            .await
    }

    /// That a device, by its place, was stopped: with its command, if it has one, and with the code and the
    /// message of why, if there is more to be told than that its job was.
    pub(super) async fn stopped(
        &self,
        ingest: &Ingest,
        (place, why): (usize, Option<(&str, &str)>),
        at: Instant,
    ) -> Result<Vec<NewEvent>, JobError> {
        let Some((device_id, attempt, how)) = self.device(ingest, place, at).await? else {
            return Ok(Vec::new());
        };
        let (code, message) = why.unzip();
        let of = self.of_job();
        let mut events = Vec::with_capacity(2);
        let target = self.standing.machine.targets.get(place);
        if target.is_some_and(|target| target.step != Step::Waiting) {
            let device = (device_id.as_str(), attempt);
            let told = commanded((of.job_id, of.job_type), device, "CANCELLED", how)
                .set(command::Column::ErrorCode, code)
                .set(command::Column::ErrorMessage, message)
                .set(command::Column::ChangedBy, BY);
            events.push(told.finish()?);
        }
        let outcome = outcome_of(&of, &device_id, "CANCELLED", how)
            .set(Column::ErrorCode, code)
            .set(Column::ErrorMessage, message);
        events.push(outcome.finish()?);
        Ok(events)
    }

    /// The outcomes that count, but for those that were deleted for good.
    pub(super) async fn outcomes(&self, ingest: &Ingest) -> Result<Vec<Event>, JobError> {
        let positions = self.standing.outcomes.iter().flatten();
        let positions: Vec<Position> = positions.map(|position| Position(*position)).collect();
        let allowance = Store::own_allowance();
        Ok(jobs::outcomes(ingest.store(), &positions, &allowance).await?)
    }

    /// How the job ended as a whole. It took no less time than the slowest of its devices says it did.
    pub(super) fn ended(
        &self,
        state: JobState,
        outcomes: &[Event],
        at: Instant,
    ) -> Result<NewEvent, JobError> {
        let targets = &self.standing.machine.targets;
        let count = |count: usize| Cell::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let ends = targets.iter().filter_map(|target| target.ended);
        let succeeded = ends.clone().filter(|end| *end == Ended::Completed).count();
        let failed = ends.count() - succeeded;
        let slowest = outcomes
            .iter()
            .filter_map(|outcome| outcome.fact.cell(Column::DurationMs).int())
            .max();
        let took_ms = (at.0 - self.standing.job.created_at) / 1_000;
        let told = outcomes.iter().map(|outcome| outcome.fact.provenance);
        let provenance = most_real(told.chain(self.untold(outcomes)));
        let draft = Draft::new(Kind::JobOutcome, at, provenance)
            .event_id(step_id(&self.standing.job.job_id, "JOB", ""))
            .set(Column::Scope, "JOB")
            .set(Column::Status, state.word())
            .set(
                Column::DurationMs,
                duration(took_ms.max(slowest.unwrap_or(0))),
            )
            .set(Column::DevicesTargeted, count(targets.len()))
            .set(Column::DevicesSucceeded, count(succeeded))
            .set(Column::DevicesFailed, count(failed));
        Ok(self.of_job().named(draft).finish()?)
    }

    /// Whether the devices are real of which these outcomes do not tell it: those for which the job was stopped,
    /// and those whose outcomes were deleted for good.
    fn untold(&self, outcomes: &[Event]) -> impl Iterator<Item = Provenance> {
        let told: HashSet<i64> = outcomes.iter().map(|event| event.position.0).collect();
        let standing = &self.standing;
        let targets = standing.machine.targets.iter().zip(&standing.outcomes);
        let untold = targets.filter(move |(target, outcome)| {
            let is_gone = outcome.is_some_and(|position| !told.contains(&position));
            is_gone || target.ended == Some(Ended::Cancelled)
        });
        untold.filter_map(move |(target, _)| self.provenances.get(&target.device_key).copied())
    }
}

/// What concerns a real device is real, whatever else it concerns.
fn most_real(provenances: impl Iterator<Item = Provenance>) -> Provenance {
    let least = provenances.min_by_key(|provenance| provenance.code());
    least.unwrap_or(Provenance::Real)
}
