//! Devices on which a job ends before they have ended it, as CANCELLED: those that are retired by now; and, when
//! their turn comes, those that are at a site by now that the job's maker does not reach, and those for which
//! something else is set by now than it would tell them.

use super::JobError;
use super::machine::Target;
use super::retold::{DEVICES_AT_ONCE, Retold};
use super::standing::Standing;
use crate::configuration;
use crate::event::Instant;
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
        let Standing {
            job,
            machine,
            places: place_of,
            ..
        } = &self.standing;
        let within = machine.plan.within(store).await?;
        let keys = places
            .iter()
            .filter_map(|place| machine.targets.get(*place));
        let keys = keys.map(|target| target.device_key);
        let (left, out): (Vec<i64>, Vec<i64>) =
            keys.partition(|key| within.reaches_device(store.names(), *key));
        let mut superseded = Vec::new();
        if machine.plan.is_configuration {
            superseded = configuration::superseded_among(store, job, &left).await?;
        }
        let out = out.into_iter().map(|key| (key, Bar::OutOfReach));
        let superseded = superseded.into_iter().map(|key| (key, Bar::Superseded));
        let barred = out.chain(superseded);
        let mut barred: Vec<(usize, Bar)> = barred
            .filter_map(|(key, bar)| Some((*place_of.get(&key)?, bar)))
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
                let why = Some((bar.code(), bar.message()));
                events.extend(self.stopped(ingest, (*place, why), now).await?);
            }
            self.record(ingest, events, vec![self.standing.unmoved()])
                .await?;
        }
        Ok(())
    }
}
