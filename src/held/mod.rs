//! Reads what is kept of devices for their insights, with what happened since, as of any instant.
//!
//! What is kept is folded from hours that are over (`projections::insights`). A reading ([`DeviceRead`]) is that, with
//! the hours folded in memory that the projection has not yet, and with what the hour brought in which the instant
//! lies: nothing of it is later than that. Of an instant that is past it is folded again from the last midnight before
//! it of which a state is kept, which takes longer. A list over the whole fleet reads less of each device ([`Lean`]).
//!
//! Nothing is written here, and nothing is judged: the readings go to the pure methods of [`insights`](crate::insights).

mod among;
mod brought;
mod cache;
mod changes;
mod device;
pub(crate) mod fleet;
mod heard;
mod jobs;
mod known;
mod lean;
pub(crate) mod models;
pub(crate) mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait as _, QueryResult};

use crate::event::{Instant, Provenance};
use crate::insights::device::{DeviceHour, DeviceState};
use crate::insights::input::{ConfigSeen, Device, Measure, Sample};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::replay::hour_of;
use crate::insights::risk::features;
use crate::kinds::Kind;
use crate::projections::insights::Horizon;
use crate::store::{Doing, Sql, Store, StoreError};
use cache::Cache;

pub use changes::Unchanged;
pub use fleet::{FleetRead, FleetsAt};
pub use jobs::JobsRead;
pub use models::ModelRead;

/// What a reading is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// As of when: nothing that happened later is read.
    pub as_of: Instant,
    /// From which provenance; `None` takes of each device what is real if anything real was measured of it, else what
    /// is controlled, else what is simulated.
    pub provenance: Option<Provenance>,
}

/// A device as of an instant.
#[derive(Clone, Debug)]
pub struct DeviceRead {
    /// The key of the device.
    pub key: i64,
    /// The key of the site at which it stood then.
    pub site_key: i64,
    /// Who it is, as it was registered then.
    pub device: Device,
    /// The zone of its site.
    pub zone: Tz,
    /// The hours of its site that were filed by then.
    pub schedule: Arc<Schedule>,
    /// From where what is read of it comes.
    pub provenance: Provenance,
    /// What is kept of it, with all hours that were over then. Of one of which very much is still to be folded it is
    /// what is folded so far; `upto` says how far that is.
    pub state: Arc<DeviceState>,
    /// What the hour brought in which the instant lies, until then; without rollups of measures, and without what
    /// errors say.
    pub open: DeviceHour,
    /// What was measured in that hour, in order of time.
    pub samples: BTreeMap<Measure, Vec<Sample>>,
    /// The changes of its configuration of the last 45 days, in order of time: of whatever provenance, since what people
    /// do to a made up device is real. Of very many they are the newest.
    pub configs: Vec<ConfigSeen>,
    /// As of when.
    pub as_of: Instant,
}

/// What failure risk and health read of a device, for lists over the whole fleet.
#[derive(Clone, Debug)]
pub struct Lean {
    /// The key of the device.
    pub key: i64,
    /// The key of the site at which it stands.
    pub site_key: i64,
    /// Who it is.
    pub device: Device,
    /// The zone of its site.
    pub zone: Tz,
    /// The hours of its site that were filed by then.
    pub schedule: Arc<Schedule>,
    /// From where what is read of it comes.
    pub provenance: Provenance,
    /// What is kept of it for failure risk and health.
    pub risk: Arc<features::State>,
    /// What happened since what is kept, without what was measured and without what errors say. Where errors were many
    /// they are in `risk`.
    pub open: DeviceHour,
}

/// Reads what is kept for insights.
#[derive(Clone, Debug)]
pub struct Held {
    store: Store,
    cache: Arc<Cache>,
    fleets: Arc<fleet::Fleets>,
}

impl Held {
    /// Reads of a log.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let (cache, fleets) = (Arc::default(), Arc::default());
        Self {
            store,
            cache,
            fleets,
        }
    }

    /// The same, by another handle on the log.
    #[must_use]
    pub fn on(&self, store: Store) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    /// Devices by their keys, in the order of these; `None` for one that is not registered. One of which nothing was
    /// heard has a state of which nothing is known.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    #[must_use]
    pub fn devices<'a>(
        &'a self,
        keys: &'a [i64],
        ask: Ask,
    ) -> BoxFuture<'a, Result<Vec<Option<Arc<DeviceRead>>>, StoreError>> {
        Box::pin(device::read(self, keys, ask))
    }

    /// The same of devices of these keys, or of all, with no more than failure risk and health read, in order of keys.
    /// What was measured since what is kept is not looked at, unless the instant is past.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    #[must_use]
    pub fn lean<'a>(
        &'a self,
        keys: Option<&'a [i64]>,
        ask: Ask,
    ) -> BoxFuture<'a, Result<Vec<Lean>, StoreError>> {
        Box::pin(lean::read(self, keys, ask))
    }

    /// Those of some devices on which a parameter was not changed in a time.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    #[must_use]
    pub fn unchanged<'a>(
        &'a self,
        keys: &'a [i64],
        asked: &'a Unchanged<'a>,
    ) -> BoxFuture<'a, Result<Vec<i64>, StoreError>> {
        Box::pin(changes::unchanged(self, keys, asked))
    }

    /// Whether more is folded than happened until an instant, so that devices are folded again as of it.
    ///
    /// # Errors
    /// When the tables cannot be read.
    #[must_use]
    pub fn is_past(&self, as_of: Instant) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let horizon = Horizon::of(self.store.readers()).await?;
            Ok(horizon.is_some_and(|horizon| horizon.at > hour_of(as_of).0))
        })
    }

    /// The instant of the first event of the log, as far as it is counted; `None` if there is none.
    ///
    /// # Errors
    /// When the tables cannot be read.
    #[must_use]
    pub fn first_event(&self) -> BoxFuture<'_, Result<Option<Instant>, StoreError>> {
        Box::pin(async move {
            let counted = "SELECT min(oldest_at) AS first_at FROM collection_counters".to_owned();
            let tables = Kind::all().map(|kind| {
                let table = kind.spec().table;
                format!("SELECT min(occurred_at) AS first_at FROM {table}")
            });
            let all: Vec<String> = std::iter::once(counted).chain(tables).collect();
            let sql = Sql::new(format!(
                "SELECT min(first_at) FROM ({}) AS f",
                all.join(" UNION ALL ")
            ));
            let doing = "look for the first event";
            let statement = sql.statement(self.store.backend());
            let row = self.store.readers().query_one_raw(statement).await;
            let first = |row: QueryResult| row.try_get_by_index::<Option<i64>>(0);
            let first = row.doing(doing)?.map(first).transpose().doing(doing)?;
            Ok(first.flatten().map(Instant))
        })
    }
}
