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
            let mut held = locked(&self.registered);
            // what another has read meanwhile is taken again
            Arc::make_mut(&mut held.sites).take(&events);
            held.upto = held.upto.max(newest);
            Ok(Arc::clone(&held.sites))
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
            let mut held = locked(&self.states);
            for (whose, state) in decoded.map_err(|_| StoreError::Panicked)?? {
                let Some(mark) = marks.get(&whose).copied() else {
                    continue;
                };
                held.keep(whose, (mark, Arc::clone(&state)));
                states.insert(whose, state);
            }
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
    /// Keeps a state if there is room for it: those give way that were not used in the last reading.
    fn keep(&mut self, whose: Whose, (mark, state): (i64, Arc<features::State>)) {
        let used = self.readings;
        if self.kept.len() >= STATES_MAX && !self.kept.contains_key(&whose) {
            self.kept.retain(|_, kept| kept.used + 1 >= used);
            if self.kept.len() >= STATES_MAX {
                return;
            }
        }
        self.kept.insert(whose, Kept { mark, state, used });
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
