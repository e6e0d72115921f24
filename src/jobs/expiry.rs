//! Commands that run out of time, or of the maintenance window of their site.
//!
//! Another node may have heard from the device meanwhile, and this one not yet. So the devices are looked at
//! once more, and what is told of them is recorded only if none of them has answered since.

use std::collections::HashMap;

use entity::command_transitions as command;
use entity::job_outcomes::Column;

use super::JobError;
use super::machine::{Step, Target};
use super::retold::{BY, DEVICES_AT_ONCE, Retold};
use super::steps::{commanded, outcome_of};
use crate::event::{Instant, NewEvent, Provenance};
use crate::history::jobs::{self, TargetRow};
use crate::ingest::Ingest;
use crate::projections::jobs::answers_of;
use crate::store::{Expect, StoreError};

/// Why a command was taken back for a while.
const WINDOW_OVER: &str = "The maintenance window ended before the device took the command";

/// A device whose command runs out.
struct Late<'a> {
    target: &'a Target,
    device_id: String,
    how: (Instant, Provenance),
}

impl Retold {
    /// Ends commands that ran out of time, and the job on those devices that are not tried again.
    pub(super) async fn time_out(
        &self,
        ingest: &Ingest,
        places: &[usize],
        now: Instant,
    ) -> Result<(), JobError> {
        let timed_out = |late: &Late<'_>| self.timed_out(late);
        self.run_out(ingest, (places, now), timed_out).await
    }

    /// Takes commands back whose window is over.
    pub(super) async fn withdraw(
        &self,
        ingest: &Ingest,
        places: &[usize],
        now: Instant,
    ) -> Result<(), JobError> {
        let withdrawn = |late: &Late<'_>| self.withdrawn(late);
        self.run_out(ingest, (places, now), withdrawn).await
    }

    /// Records what becomes of the commands of those devices that have not answered meanwhile.
    async fn run_out(
        &self,
        ingest: &Ingest,
        (places, now): (&[usize], Instant),
        told: impl Fn(&Late<'_>) -> Result<Vec<NewEvent>, JobError>,
    ) -> Result<(), JobError> {
        for places in places.chunks(DEVICES_AT_ONCE) {
            let mut late = Vec::with_capacity(places.len());
            for place in places {
                let target = self.standing.machine.targets.get(*place);
                let device = self.device(ingest, *place, now).await?;
                late.extend(
                    target
                        .zip(device)
                        .map(|(target, (device_id, _, how))| Late {
                            target,
                            device_id,
                            how,
                        }),
                );
            }
            let mut expect = self.unanswered(ingest, &mut late).await?;
            expect.push(self.standing.unmoved());
            let mut events = Vec::with_capacity(late.len() * 2);
            for late in &late {
                events.extend(told(late)?);
            }
            self.record(ingest, events, expect).await?;
        }
        Ok(())
    }

    /// Leaves out the devices that have answered, and expects that the others do not.
    async fn unanswered(
        &self,
        ingest: &Ingest,
        late: &mut Vec<Late<'_>>,
    ) -> Result<Vec<Expect>, StoreError> {
        let store = ingest.store();
        let entities: Vec<String> = late.iter().map(|one| answers_of(&one.device_id)).collect();
        // the versions first: what is read after them is at least as new
        let versions = store.versions(entities.clone()).await?;
        let keys: Vec<i64> = late.iter().map(|one| one.target.device_key).collect();
        let jobs = [self.standing.job.job_id.clone()];
        let rows = jobs::targets_among(store, &jobs, &keys).await?;
        let rows: HashMap<i64, TargetRow> =
            rows.into_iter().map(|row| (row.device_key, row)).collect();
        late.retain(|one| {
            let row = rows.get(&one.target.device_key);
            row.is_some_and(|row| row.step_position == one.target.position.0)
        });
        let expect = entities.into_iter().map(|entity| {
            let version = versions.get(&entity).copied().unwrap_or(0);
            Expect::reading(entity, version)
        });
        Ok(expect.collect())
    }

    fn withdrawn(&self, late: &Late<'_>) -> Result<Vec<NewEvent>, JobError> {
        let of = self.of_job();
        let device = (late.device_id.as_str(), late.target.attempt);
        let told = commanded((of.job_id, of.job_type), device, "CANCELLED", late.how)
            .set(command::Column::ErrorCode, "WINDOW_OVER")
            .set(command::Column::ErrorMessage, WINDOW_OVER)
            .set(command::Column::ChangedBy, BY);
        Ok(vec![told.finish()?])
    }

    /// A command that was taken back before, and is too old to be given again, has ended: then the job ends on
    /// the device, and nothing more is told of the command.
    fn timed_out(&self, late: &Late<'_>) -> Result<Vec<NewEvent>, JobError> {
        let target = late.target;
        let (code, message) = if target.step == Step::Acknowledged {
            ("NO_ANSWER", "The device did not end the command in time")
        } else {
            ("NOT_TAKEN", "The device did not take the command in time")
        };
        let of = self.of_job();
        let mut events = Vec::with_capacity(2);
        if target.step != Step::Waiting {
            let device = (late.device_id.as_str(), target.attempt);
            let told = commanded((of.job_id, of.job_type), device, "TIMEOUT", late.how)
                .set(command::Column::ErrorCode, code)
                .set(command::Column::ErrorMessage, message)
                .set(command::Column::ChangedBy, BY);
            events.push(told.finish()?);
        }
        if target.step == Step::Waiting || target.failures >= self.standing.machine.plan.retries {
            let outcome = outcome_of(&of, &late.device_id, "TIMEOUT", late.how)
                .set(Column::ErrorCode, code)
                .set(Column::ErrorMessage, message)
                .set(Column::RetryCount, i64::from(target.failures));
            events.push(outcome.finish()?);
        }
        Ok(events)
    }
}
