//! Devices as of one instant after the other: what happened between them is read once.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::task::spawn_blocking;

use super::{Ask, DeviceRead, Held};
use crate::event::{Event, Instant, Provenance};
use crate::insights::device::{DeviceHour, DeviceState};
use crate::insights::input::Device;
use crate::insights::kept::told;
use crate::insights::sites::Sites;
use crate::kinds::Kind;
use crate::projections::insights::facts::{Asked, KINDS, read as read_facts};
use crate::store::{Columns, Doing, EntityType, Since, Sources, StoreError, next_of};

/// Devices that are read at once.
const AT_ONCE: usize = 64;
/// Events of a kind that are folded at once, unless they are of one device.
const EVENTS_MAX: usize = 100_000;
const DOING: &str = "read what happened to devices";

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
    sites: Arc<Sites>,
    /// Until when nothing happens to any of them, where that is known.
    silent_until: Option<i64>,
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
            let mut walk = Walk {
                held: self,
                provenance,
                at,
                devices,
                sites: Arc::default(),
                silent_until: None,
            };
            let tx = self.store.readers().snapshot().await.doing(DOING)?;
            walk.sites = self.cache.sites(&tx, self.store.names()).await?;
            tx.rollback().await.doing(DOING)?;
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
            if self.silent_until.is_some_and(|until| until > at.0) {
                return Ok(self.silent_to(at));
            }
            let tx = self.held.store.readers().snapshot().await.doing(DOING)?;
            let names = self.held.store.names();
            self.sites = self.held.cache.sites(&tx, names).await?;
            let mut stood = Vec::with_capacity(self.devices.len());
            let mut moved = Vec::with_capacity(self.devices.len());
            let mut is_silent = true;
            for some in self.devices.chunks(AT_ONCE) {
                for (walked, open) in self.some_to((&tx, some), at).await? {
                    is_silent &= open.is_none();
                    let open = open.unwrap_or_else(|| beginning(at));
                    stood.extend(self.stood((&walked, open), at));
                    moved.push(walked);
                }
            }
            (self.devices, self.at) = (moved, at);
            self.silent_until = None;
            if is_silent {
                // whoever was silent for long is mostly so for longer
                self.silent_until = Some(self.next(&tx).await?);
            }
            // nothing was written
            tx.rollback().await.doing(DOING)?;
            Ok(stood)
        })
    }

    /// Goes on where nothing happens.
    fn silent_to(&mut self, at: Instant) -> Vec<Stood> {
        self.at = at;
        let devices = self.devices.iter();
        let stood = devices.filter_map(|walked| self.stood((walked, beginning(at)), at));
        stood.collect()
    }

    /// When something happens to one of the devices next; nothing later than all time if nothing does.
    async fn next(&self, tx: &DatabaseTransaction) -> Result<i64, StoreError> {
        let archive = self.held.store.archive_of();
        let mut next = i64::MAX;
        for some in self.devices.chunks(AT_ONCE) {
            let since: Vec<[i64; 2]> = some.iter().map(|of| [of.key, self.at.0]).collect();
            let since = Since {
                kind: Kind::DeviceMetrics,
                columns: Columns::NONE,
                devices: &since,
                until: i64::MAX,
                upto: i64::MAX,
            };
            let of_each = next_of(tx, Some(&archive), (&KINDS, since)).await?;
            next = of_each.into_iter().flatten().fold(next, i64::min);
        }
        Ok(next)
    }

    /// Some devices as of an instant, each with what happened in the hour that begins then; without that where nothing
    /// happened since the instant before.
    async fn some_to(
        &self,
        (tx, devices): (&DatabaseTransaction, &[Walked]),
        at: Instant,
    ) -> Result<Vec<(Walked, Option<DeviceHour>)>, StoreError> {
        let mut moved = Vec::with_capacity(devices.len());
        let mut waiting = vec![devices];
        while let Some(devices) = waiting.pop() {
            let Some(events) = self.events(tx, devices, at).await? else {
                // what is too much for all of them is read of half of them, the first ones first
                let (first, others) = devices.split_at(devices.len() / 2);
                waiting.extend([others, first]);
                continue;
            };
            let tasks: Vec<(Walked, Vec<Event>)> = devices.iter().cloned().zip(events).collect();
            let sites = Arc::clone(&self.sites);
            let fold = move || {
                let tasks = tasks.into_iter();
                let moved = tasks.map(|(walked, events)| walked.fold(&events, (&sites, at)));
                moved.collect::<Vec<_>>()
            };
            let folded = spawn_blocking(fold).await;
            moved.extend(folded.map_err(|_| StoreError::Panicked)?);
        }
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
    fn stood(&self, (walked, open): (&Walked, DeviceHour), at: Instant) -> Option<Stood> {
        let device = self.sites.device(&walked.id, at)?;
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

/// An hour in which nothing happened.
fn beginning(start: Instant) -> DeviceHour {
    DeviceHour {
        start,
        ..DeviceHour::default()
    }
}

impl Walked {
    /// Folds what happened until an instant; what is of the hour that begins then is told beside it.
    fn fold(self, events: &[Event], (sites, at): (&Sites, Instant)) -> (Self, Option<DeviceHour>) {
        if events.is_empty() {
            return (self, None);
        }
        let Self { key, id, state } = self;
        let state = Arc::unwrap_or_clone(state);
        let (folded, open) = told((&id, state), sites, (events, at));
        let state = Arc::new(folded);
        (Self { key, id, state }, Some(open.hour()))
    }
}
