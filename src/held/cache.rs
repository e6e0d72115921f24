//! What is held in memory between two readings: what is registered, and states that were read already.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

use crate::insights::device::Encoded;
use crate::insights::risk::features;
use crate::insights::sites::Sites;
use crate::projections::insights::facts::Whose;
use crate::projections::insights::rows::{Head, risks};
use crate::store::{Doing, Names, Said, Sql, StoreError, all_said};

/// States that are held at most: of some kilobytes each, so that all together are of some hundred megabytes at most.
const STATES_MAX: usize = 20_000;
const READ: &str = "read what is registered";

/// What is registered, as far as it is read.
#[derive(Debug, Default)]
struct Registered {
    sites: Arc<Sites>,
    upto: i64,
}

/// A state that was read.
#[derive(Debug)]
struct Kept {
    mark: i64,
    state: Arc<features::State>,
    /// In which reading it was used last.
    used: u64,
}

#[derive(Debug, Default)]
struct States {
    kept: HashMap<Whose, Kept>,
    readings: u64,
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Cache {
    registered: Mutex<Registered>,
    states: Mutex<States>,
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// What is registered and filed, with all that a transaction sees of it.
    pub(super) fn sites<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        names: &'a Names,
    ) -> BoxFuture<'a, Result<Arc<Sites>, StoreError>> {
        Box::pin(async move {
            let newest = newest(tx).await?;
            let after = {
                let held = locked(&self.registered);
                if held.upto >= newest {
                    return Ok(Arc::clone(&held.sites));
                }
                held.upto
            };
            let mut events = Vec::new();
            for kind in Sites::KINDS {
                let said = Said {
                    kind,
                    of: None,
                    after,
                    upto: newest,
                };
                events.extend(all_said(tx, names, said).await?);
            }
            let sites = {
                let mut held = locked(&self.registered);
                // what another has read meanwhile is taken again
                if let Some(sites) = Arc::get_mut(&mut held.sites) {
                    sites.take(&events);
                    held.upto = held.upto.max(newest);
                    return Ok(Arc::clone(&held.sites));
                }
                Arc::clone(&held.sites)
            };
            // whoever reads has them as they were: they are copied while nobody waits for it
            let copy = move || {
                let mut sites = Sites::clone(&sites);
                sites.take(&events);
                Arc::new(sites)
            };
            let sites = tokio::task::spawn_blocking(copy).await;
            let sites = sites.map_err(|_| StoreError::Panicked)?;
            let mut held = locked(&self.registered);
            if held.upto < newest {
                held.sites = Arc::clone(&sites);
                held.upto = newest;
            }
            Ok(sites)
        })
    }

    /// What failure risk and health read of states in use.
    pub(super) fn risks<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        heads: &'a [Head],
    ) -> BoxFuture<'a, Result<BTreeMap<Whose, Arc<features::State>>, StoreError>> {
        Box::pin(async move {
            let (mut states, missing) = self.known(heads);
            if missing.is_empty() {
                return Ok(states);
            }
            let marks: HashMap<Whose, i64> =
                heads.iter().map(|head| (head.whose, head.mark)).collect();
            let read = risks(tx, &missing).await?;
            let decode = move || {
                let decoded = read.into_iter().map(|(whose, bytes)| {
                    let state = Encoded::decode_risk(&bytes).map_err(|_| StoreError::Row {
                        table: "device_insights",
                        column: "risk",
                    })?;
                    Ok((whose, Arc::new(state)))
                });
                decoded.collect::<Result<Vec<_>, StoreError>>()
            };
            let decoded = tokio::task::spawn_blocking(decode).await;
            let decoded = decoded.map_err(|_| StoreError::Panicked)??;
            let marked = decoded.iter().filter_map(|(whose, state)| {
                let mark = marks.get(whose).copied()?;
                Some((*whose, mark, Arc::clone(state)))
            });
            locked(&self.states).keep(marked.collect());
            states.extend(decoded);
            Ok(states)
        })
    }

    /// Those of some states that are held, and whose are not.
    fn known(&self, heads: &[Head]) -> (BTreeMap<Whose, Arc<features::State>>, Vec<Whose>) {
        let mut held = locked(&self.states);
        held.readings += 1;
        let used = held.readings;
        let (mut states, mut missing) = (BTreeMap::new(), Vec::new());
        for head in heads {
            match held.kept.get_mut(&head.whose) {
                Some(kept) if kept.mark == head.mark => {
                    kept.used = used;
                    states.insert(head.whose, Arc::clone(&kept.state));
                }
                _ => missing.push(head.whose),
            }
        }
        (states, missing)
    }
}

impl States {
    /// Keeps states as far as there is room for them: those give way that were not used in the last reading. All that
    /// are held are gone through once at most, however many are to be kept.
    fn keep(&mut self, states: Vec<(Whose, i64, Arc<features::State>)>) {
        let used = self.readings;
        if self.kept.len() + states.len() > STATES_MAX {
            self.kept.retain(|_, kept| kept.used + 1 >= used);
        }
        for (whose, mark, state) in states {
            if self.kept.len() < STATES_MAX || self.kept.contains_key(&whose) {
                self.kept.insert(whose, Kept { mark, state, used });
            }
        }
    }
}

/// The position of the newest registration or filing that a transaction sees.
async fn newest(tx: &DatabaseTransaction) -> Result<i64, StoreError> {
    let newest = Sites::KINDS.map(|kind| {
        let table = kind.spec().table;
        format!("SELECT max(position) AS newest FROM {table}")
    });
    let sql = Sql::new(format!(
        "SELECT max(newest) FROM ({}) AS n",
        newest.join(" UNION ALL ")
    ));
    let row = tx.query_one_raw(sql.statement(tx.get_database_backend()));
    let row = row.await.doing(READ)?;
    let newest: Option<Option<i64>> = row
        .map(|row| row.try_get_by_index(0))
        .transpose()
        .doing(READ)?;
    Ok(newest.flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Provenance;

    fn states(keys: std::ops::Range<i64>, mark: i64) -> Vec<(Whose, i64, Arc<features::State>)> {
        let state = Arc::default();
        let of = |key| ((key, Provenance::Real), mark, Arc::clone(&state));
        keys.map(of).collect()
    }

    #[test]
    fn of_a_large_fleet_as_many_states_are_held_as_there_is_room_for() {
        let mut held = States {
            readings: 1,
            ..States::default()
        };
        held.keep(states(0..100_000, 1));
        assert_eq!(held.kept.len(), STATES_MAX);
        // in the next reading those that changed are put in the place of what they were
        held.readings = 2;
        held.keep(states(0..100_000, 2));
        assert_eq!(held.kept.len(), STATES_MAX);
        assert!(held.kept.values().all(|kept| kept.mark == 2));
    }

    #[test]
    fn states_that_are_not_used_any_more_give_way() {
        let mut held = States {
            readings: 1,
            ..States::default()
        };
        held.keep(states(0..20_000, 1));
        held.readings = 2;
        held.keep(states(20_000..20_010, 1));
        assert_eq!(
            held.kept.len(),
            STATES_MAX,
            "they were used in the last reading"
        );
        held.readings = 3;
        held.keep(states(20_000..20_010, 1));
        assert_eq!(held.kept.len(), 10);
    }
}
