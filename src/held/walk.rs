//! Devices as of one instant after the other: what happened between them is read once.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::task::spawn_blocking;

use super::{Ask, DeviceRead, Held};
use crate::event::{Event, Instant, Provenance};
use crate::insights::device::{DeviceHour, DeviceState};
use crate::insights::input::Device;
use crate::insights::kept::Kept;
use crate::insights::sites::Sites;
use crate::projections::insights::facts::{Asked, read as read_facts};
use crate::store::{Doing, EntityType, Sources, StoreError};

/// Devices that are read at once.
const AT_ONCE: usize = 64;
/// Events of a kind that are folded at once, unless they are of one device.
const EVENTS_MAX: usize = 100_000;

/// A device as of an instant of a walk, which is the beginning of an hour.
#[derive(Clone, Debug)]
pub(crate) struct Stood {
    /// Its key.
    pub(crate) key: i64,
    /// The key of the site at which it stood then.
    pub(crate) site_key: i64,
    /// Who it was.
    pub(crate) device: Device,
    /// What was kept of it, with all hours that were over then.
    pub(crate) state: Arc<DeviceState>,
    /// What happened at that very instant.
    pub(crate) open: DeviceHour,
}

/// Goes through what happened to some devices, from one instant to a later one.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    held: &'a Held,
    provenance: Provenance,
    at: Instant,
    devices: Vec<Walked>,
}

/// A device, as far as it was gone through.
#[derive(Clone, Debug)]
struct Walked {
    key: i64,
    id: Arc<str>,
    state: Arc<DeviceState>,
}

impl Held {
    /// Begins with devices as of the beginning of an hour; they are told in the order of their keys.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    pub(crate) fn walk<'a>(
        &'a self,
        keys: &'a [i64],
        (provenance, at): (Provenance, Instant),
    ) -> BoxFuture<'a, Result<(Walk<'a>, Vec<Stood>), StoreError>> {
        Box::pin(async move {
            let ask = Ask {
                as_of: at,
                provenance: Some(provenance),
            };
            let mut devices = Vec::with_capacity(keys.len());
            let mut stood = Vec::with_capacity(keys.len());
            for read in self.devices(keys, ask).await?.into_iter().flatten() {
                devices.push(Walked {
                    key: read.key,
                    id: Arc::from(read.device.id.as_str()),
                    state: Arc::clone(&read.state),
                });
                stood.push(Stood::of(&read));
            }
            let walk = Walk {
                held: self,
                provenance,
                at,
                devices,
            };
            Ok((walk, stood))
        })
    }
}

impl Stood {
    fn of(read: &DeviceRead) -> Self {
        Self {
            key: read.key,
            site_key: read.site_key,
            device: read.device.clone(),
            state: Arc::clone(&read.state),
            open: read.open.clone(),
        }
    }
}

impl Walk<'_> {
    /// Goes on to the beginning of a later hour; the devices as of then.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    pub(crate) fn to(&mut self, at: Instant) -> BoxFuture<'_, Result<Vec<Stood>, StoreError>> {
        Box::pin(async move {
            let mut stood = Vec::with_capacity(self.devices.len());
            let all = std::mem::take(&mut self.devices);
            for some in all.chunks(AT_ONCE) {
                for (walked, as_of) in self.some_to(some, at).await? {
                    self.devices.push(walked);
                    stood.extend(as_of);
                }
            }
            self.at = at;
            Ok(stood)
        })
    }

    async fn some_to(
        &self,
        devices: &[Walked],
        at: Instant,
    ) -> Result<Vec<(Walked, Option<Stood>)>, StoreError> {
        let doing = "read what happened to devices";
        let store = &self.held.store;
        let tx = store.readers().snapshot().await.doing(doing)?;
        let sites = self.held.cache.sites(&tx, store.names()).await?;
        let mut moved = Vec::with_capacity(devices.len());
        let mut waiting = vec![devices];
        while let Some(devices) = waiting.pop() {
            let Some(events) = self.events(&tx, devices, at).await? else {
                // what is too much for all of them is read of half of them, the first ones first
                let (first, others) = devices.split_at(devices.len() / 2);
                waiting.extend([others, first]);
                continue;
            };
            let tasks: Vec<(Walked, Vec<Event>)> = devices.iter().cloned().zip(events).collect();
            let known = Arc::clone(&sites);
            let fold = move || {
                let tasks = tasks.into_iter();
                let moved = tasks.map(|(walked, events)| walked.fold(&events, (&known, at)));
                moved.collect::<Vec<_>>()
            };
            let folded = spawn_blocking(fold).await;
            for (walked, open) in folded.map_err(|_| StoreError::Panicked)? {
                let stood = self.stood((&walked, open), (&sites, at));
                moved.push((walked, stood));
            }
        }
        // nothing was written
        tx.rollback().await.doing(doing)?;
        Ok(moved)
    }

    /// What happened to each of some devices since the instant before, and at the very instant; `None` if it is too
    /// much at once.
    async fn events(
        &self,
        tx: &DatabaseTransaction,
        devices: &[Walked],
        at: Instant,
    ) -> Result<Option<Vec<Vec<Event>>>, StoreError> {
        let archive = self.held.store.archive_of();
        let sources = Sources {
            names: self.held.store.names(),
            archive: Some(&archive),
        };
        let since: Vec<[i64; 2]> = devices.iter().map(|of| [of.key, self.at.0]).collect();
        let is_one = devices.len() <= 1;
        let asked = Asked {
            devices: &since,
            until: at.0.saturating_add(1),
            upto: i64::MAX,
            max: if is_one { usize::MAX } else { EVENTS_MAX },
        };
        let facts = read_facts(tx, sources, asked).await?;
        Ok(facts.map(|mut facts| {
            let whose = devices.iter().map(|of| (of.key, self.provenance));
            whose
                .map(|whose| facts.remove(&whose).unwrap_or_default())
                .collect()
        }))
    }

    /// A device as of an instant; `None` where it is not registered.
    fn stood(
        &self,
        (walked, open): (&Walked, DeviceHour),
        (sites, at): (&Sites, Instant),
    ) -> Option<Stood> {
        let device = sites.device(&walked.id, at)?;
        let names = self.held.store.names();
        let site_key = names.key(EntityType::Site, &device.site);
        Some(Stood {
            key: walked.key,
            site_key: site_key.unwrap_or_default(),
            device: device.clone(),
            state: Arc::clone(&walked.state),
            open,
        })
    }
}

impl Walked {
    /// Folds what happened until an instant; what is of the hour that begins then is told beside it.
    fn fold(self, events: &[Event], (sites, at): (&Sites, Instant)) -> (Self, DeviceHour) {
        let Self { key, id, state } = self;
        let mut kept = Kept::new(&id, Arc::unwrap_or_clone(state), sites);
        for event in events {
            kept.take(&event.fact, event.recorded_at, |_, _| {});
        }
        kept.close(at, |_, _| {});
        let (folded, open) = kept.ended(at);
        let state = Arc::new(folded);
        (Self { key, id, state }, open.hour())
    }
}
