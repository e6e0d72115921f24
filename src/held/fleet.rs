//! What the fleet of a provenance comes to, as it was summed up at the last midnight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use entity::{insight_fleets, insight_models};
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::models::{Which, model, rows};
use super::{Held, ModelRead};
use crate::event::{Instant, Provenance};
use crate::insights::anomaly::Pools;
use crate::insights::fleet::{FleetState, Outages, VERSION};
use crate::insights::reliability::fleet::Prior;
use crate::insights::reliability::intervals::Failures;
use crate::insights::risk;
use crate::insights::risk::model::{Model, Settings, train};
use crate::store::{Doing, Store, StoreError};

/// Fleets that are kept in memory: those of now, and some of the past that were asked for.
const FLEETS_MAX: usize = 8;

/// A fleet as it was at the last midnight (UTC) before an instant, and what was learned from it until then.
#[derive(Clone, Debug)]
pub struct FleetRead {
    /// The midnight at which it was summed up; as of when it is asked for where it was not by then.
    pub as_of: Instant,
    /// The midnight at which it was summed up, if it was.
    pub summed_at: Option<Instant>,
    /// Rates of failures and errors, and levels.
    pub risk: risk::fleet::Fleet,
    /// The model of failures that was in force then.
    pub model: Arc<Model>,
    /// What is usual of each measure over all devices.
    pub pools: Pools,
    /// The same of each site, by its key; of the last nights.
    pub site_pools: BTreeMap<i64, Pools>,
    outages: Outages,
    /// Of outages, of failures, of times offline.
    priors: [Prior; 3],
}

impl FleetRead {
    /// How often devices have what counts as a failure, and how they differ in that, for 30 days ahead.
    #[must_use]
    pub const fn prior(&self, failures: Failures) -> &Prior {
        let [any, error, offline] = &self.priors;
        match failures {
            Failures::Any => any,
            Failures::Error => error,
            Failures::Offline => offline,
        }
    }

    /// The same for so many hours ahead.
    #[must_use]
    pub fn prior_for(&self, failures: Failures, horizon_hours: f64) -> Prior {
        self.outages.of(failures).prior_for(horizon_hours)
    }

    fn new(as_of: Instant, summed: Option<FleetState>, trained: Option<Model>) -> Self {
        let summed_at = summed.as_ref().map(|_| as_of);
        let FleetState {
            risk,
            outages,
            pools,
            site_pools,
        } = summed.unwrap_or_default();
        // what is thought before anything was learned
        let model = trained.unwrap_or_else(|| train(&[], &risk, as_of, Settings::default()));
        Self {
            as_of,
            summed_at,
            model: Arc::new(model),
            risk,
            pools,
            site_pools,
            priors: [Failures::Any, Failures::Error, Failures::Offline]
                .map(|failures| outages.of(failures).prior()),
            outages,
        }
    }
}

/// A midnight at which a fleet was summed up, and when that was done.
pub(crate) type SummedAt = (i64, i64);
/// Of whose, when it was summed up, and when the model was trained.
type Key = (i64, Option<SummedAt>, Option<i64>);

/// The fleets that were read last.
#[derive(Debug, Default)]
pub(super) struct Fleets(Mutex<BTreeMap<Key, Arc<FleetRead>>>);

impl Fleets {
    fn get(&self, key: Key) -> Option<Arc<FleetRead>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&key).map(Arc::clone)
    }

    /// Holds a fleet, in place of the one of the oldest midnight if there are too many.
    fn put(&self, key: Key, fleet: &Arc<FleetRead>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(key, Arc::clone(fleet));
        if held.len() > FLEETS_MAX {
            let oldest = held.keys().copied().min_by_key(|(_, day, _)| *day);
            oldest.and_then(|oldest| held.remove(&oldest));
        }
    }
}

impl Held {
    /// What the fleet of a provenance comes to: the sums of the last midnight (UTC) until an instant at which it was
    /// summed up, and the model that was in force then. Before the first there is what is thought beforehand.
    ///
    /// # Errors
    /// When the tables cannot be read.
    #[must_use]
    pub fn fleet(
        &self,
        provenance: Provenance,
        as_of: Instant,
    ) -> BoxFuture<'_, Result<Arc<FleetRead>, StoreError>> {
        Box::pin(async move {
            let summed_at = summed_at(&self.store, provenance, as_of).await?;
            let learned_at = learned_at(&self.store, provenance, as_of).await?;
            let key = (provenance.code(), summed_at, learned_at);
            if let Some(fleet) = self.fleets.get(key) {
                return Ok(fleet);
            }
            let day = summed_at.map_or(as_of, |(day, _)| Instant(day));
            let state = match summed_at {
                Some(_) => summed(&self.store, provenance, day).await?,
                None => None,
            };
            let trained = match learned_at {
                Some(_) => model(&self.store, provenance, (Which::InForce, as_of)).await?,
                None => None,
            };
            let trained = trained.map(|ModelRead { model, .. }| model);
            let fleet = Arc::new(FleetRead::new(day, state, trained));
            if summed_at.is_some() {
                self.fleets.put(key, &fleet);
            }
            Ok(fleet)
        })
    }
}

/// The fleets as of an instant, each read once.
#[derive(Debug)]
pub struct FleetsAt<'a> {
    held: &'a Held,
    as_of: Instant,
    read: BTreeMap<Provenance, Arc<FleetRead>>,
}

impl<'a> FleetsAt<'a> {
    /// None was read.
    #[must_use]
    pub const fn new(held: &'a Held, as_of: Instant) -> Self {
        Self {
            held,
            as_of,
            read: BTreeMap::new(),
        }
    }

    /// That of a provenance.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn of(
        &mut self,
        provenance: Provenance,
    ) -> BoxFuture<'_, Result<Arc<FleetRead>, StoreError>> {
        Box::pin(async move {
            if let Some(fleet) = self.read.get(&provenance) {
                return Ok(Arc::clone(fleet));
            }
            let fleet = self.held.fleet(provenance, self.as_of).await?;
            self.read.insert(provenance, Arc::clone(&fleet));
            Ok(fleet)
        })
    }
}

fn sums(provenance: Provenance, as_of: Instant) -> Select<insight_fleets::Entity> {
    insight_fleets::Entity::find()
        .filter(insight_fleets::Column::Provenance.eq(provenance.code()))
        .filter(insight_fleets::Column::Version.eq(VERSION))
        .filter(insight_fleets::Column::Day.lte(as_of.0))
        .order_by_desc(insight_fleets::Column::Day)
}

/// The last midnight until an instant at which a fleet was summed up, and when that was done.
pub(crate) fn summed_at(
    store: &Store,
    provenance: Provenance,
    as_of: Instant,
) -> BoxFuture<'_, Result<Option<SummedAt>, StoreError>> {
    Box::pin(async move {
        let store = store.of_primary();
        let query = sums(provenance, as_of)
            .select_only()
            .column(insight_fleets::Column::Day)
            .column(insight_fleets::Column::MadeAt)
            .into_tuple::<SummedAt>();
        let day = query.one(store.readers()).await;
        day.doing("read when a fleet was summed up")
    })
}

/// When the model was trained that was in force at an instant.
fn learned_at(
    store: &Store,
    provenance: Provenance,
    as_of: Instant,
) -> BoxFuture<'_, Result<Option<i64>, StoreError>> {
    Box::pin(async move {
        let store = store.of_primary();
        let query = rows(provenance, (Which::InForce, as_of))
            .select_only()
            .column(insight_models::Column::TrainedAt)
            .into_tuple::<i64>();
        let day = query.one(store.readers()).await;
        day.doing("read when a model was trained")
    })
}

/// A fleet as it was summed up at a midnight, if it was.
pub(crate) fn summed(
    store: &Store,
    provenance: Provenance,
    day: Instant,
) -> BoxFuture<'_, Result<Option<FleetState>, StoreError>> {
    Box::pin(async move {
        let store = store.of_primary();
        let query = sums(provenance, day).filter(insight_fleets::Column::Day.eq(day.0));
        let row = query.one(store.readers()).await.doing("read a fleet")?;
        let read = |row: insight_fleets::Model| {
            let fleet = FleetState::decode(&row.sums, row.site_pools.as_deref());
            fleet.map_err(|_| StoreError::Row {
                table: "insight_fleets",
                column: "sums",
            })
        };
        row.map(read).transpose()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_fleets_are_held_and_those_of_the_newest_midnights() {
        let fleets = Fleets::default();
        let fleet = FleetRead::new(Instant(0), None, None);
        let fleet = Arc::new(fleet);
        for day in 0..20 {
            fleets.put((0, Some((day, 0)), None), &fleet);
        }
        let held = (0..20).filter(|day| fleets.get((0, Some((*day, 0)), None)).is_some());
        assert_eq!(held.collect::<Vec<_>>(), (12..20).collect::<Vec<_>>());
    }
}
