//! Devices on which a job ends before they have ended it, as CANCELLED: those that are retired by now; and, when
//! their turn comes, those that are at a site by now that the job's maker does not reach, and those for which
//! something else is set by now than it would tell them.

use std::collections::{HashMap, HashSet};

use entity::command_transitions as command;
use entity::job_outcomes::Column;

use super::JobError;
use super::machine::{Step, Target};
use super::retold::{BY, DEVICES_AT_ONCE, Retold};
use super::steps::{commanded, outcome_of};
use crate::configuration;
use crate::event::Instant;
use crate::history::Within;
use crate::ingest::Ingest;
use crate::store::Store;

/// Why a job ends on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    /// It is out of use for good.
    Retired,
    /// It is out of reach of the job's maker.
    OutOfReach,
    /// Something else is set for it.
    Superseded,
}

impl Bar {
    const fn code(self) -> &'static str {
        match self {
            Self::Retired => "RETIRED",
            Self::OutOfReach => "OUT_OF_REACH",
            Self::Superseded => "SUPERSEDED",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Retired => "The device is retired by now",
            Self::OutOfReach => {
                "The device is by now at a site that the job's maker does not reach"
            }
            Self::Superseded => "Something else is set for the device by now",
        }
    }
}

impl Retold {
    /// The devices that are retired and have not ended it, by their places.
    pub(super) fn retired(&self) -> Vec<(usize, Bar)> {
        let targets = self.standing.machine.targets.iter().enumerate();
        let is_it =
            |target: &Target| target.ended.is_none() && self.retired.contains(&target.device_key);
        let places = targets.filter(|(_, target)| is_it(target));
        places.map(|(place, _)| (place, Bar::Retired)).collect()
    }

    /// Those of some devices that are not given the job, by their places.
    pub(super) async fn barred(
        &self,
        store: &Store,
        places: &[usize],
    ) -> Result<Vec<(usize, Bar)>, JobError> {
        let plan = &self.standing.machine.plan;
        let within = plan.within(store).await?;
        let key = |place: &usize| {
            let target = self.standing.machine.targets.get(*place);
            target.map(|target| (target.device_key, *place))
        };
        let keys: HashMap<i64, usize> = places.iter().filter_map(key).collect();
        let is_out =
            |key: &i64| within != Within::Whole && !within.reaches_device(store.names(), *key);
        let out: HashSet<i64> = keys.keys().copied().filter(is_out).collect();
        let left = keys.keys().copied().filter(|key| !out.contains(key));
        let mut superseded = Vec::new();
        if plan.is_configuration {
            let left: Vec<i64> = left.collect();
            superseded = configuration::superseded_among(store, &self.standing.job, &left).await?;
        }
        let out = out.into_iter().map(|key| (key, Bar::OutOfReach));
        let superseded = superseded.into_iter().map(|key| (key, Bar::Superseded));
        let barred = out.chain(superseded);
        let mut barred: Vec<(usize, Bar)> = barred
            .filter_map(|(key, bar)| Some((*keys.get(&key)?, bar)))
            .collect();
        barred.sort_unstable_by_key(|(place, _)| *place);
        Ok(barred)
    }

    /// Ends the job on devices, and the commands that they have.
    pub(super) async fn pass_over(
        &self,
        ingest: &Ingest,
        barred: &[(usize, Bar)],
        now: Instant,
    ) -> Result<(), JobError> {
        for barred in barred.chunks(DEVICES_AT_ONCE) {
            let mut events = Vec::with_capacity(barred.len() * 2);
            for (place, bar) in barred {
                let Some((device_id, attempt, how)) = self.device(ingest, *place, now).await?
                else {
                    continue;
                };
                let of = self.of_job();
                let target = self.standing.machine.targets.get(*place);
                if target.is_some_and(|target| target.step != Step::Waiting) {
                    let device = (device_id.as_str(), attempt);
                    let told = commanded((of.job_id, of.job_type), device, "CANCELLED", how)
                        .set(command::Column::ErrorCode, bar.code())
                        .set(command::Column::ErrorMessage, bar.message())
                        .set(command::Column::ChangedBy, BY);
                    events.push(told.finish()?);
                }
                let outcome = outcome_of(&of, &device_id, "CANCELLED", how)
                    .set(Column::ErrorCode, bar.code())
                    .set(Column::ErrorMessage, bar.message());
                events.push(outcome.finish()?);
            }
            self.record(ingest, events, vec![self.standing.unmoved()])
                .await?;
        }
        Ok(())
    }
}
