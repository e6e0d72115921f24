//! The groups of a provenance as they stand: what is folded, with what was recorded since.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::following::{Held, Recent, Stand};
use super::hour::{Hour, MOST};
use crate::event::{Instant, Position, Provenance};
use crate::history::error_groups::{DecisionRow, decisions};
use crate::insights::errors::fingerprint::Fingerprint;
use crate::insights::errors::state::State;
use crate::projections::checkpoint;
use crate::projections::groups::rows::{self, Kept};
use crate::projections::groups::{Changed, NAME, told};
use crate::store::{Doing, Store, StoreError};

/// Reads groups, and keeps in memory how they stand.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// Who leads it along, or reads anew what cannot be, is one at a time: the others wait for that, and need not do it.
    held: Arc<Mutex<Held>>,
}

/// The groups of a provenance.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(super) provenance: Provenance,
    pub(super) state: Arc<State>,
    /// What was counted since it was folded.
    pub(super) fresh: Changed,
    /// What people decided about them, in order, by the labels of those that it was about.
    decided: BTreeMap<u64, Vec<Arc<DecisionRow>>>,
}

/// One moment of the log, of which groups are read.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) tx: DatabaseTransaction,
    /// What is not folded, or not in memory.
    recent: Arc<Recent>,
    /// What was seen in the hour in which the end of a cut lies, up to that.
    pub(super) hour: Hour,
}

impl Moment {
    /// Ends it.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        // nothing was written
        let ended = self.tx.rollback().await;
        ended.doing("end the reading of groups of errors")
    }
}

/// Does what may take some milliseconds where no request waits behind it.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = spawn_blocking(work).await;
    done.map_err(|_| StoreError::Panicked)
}

impl Groups {
    /// This moment of a log, for groups until an instant that is past, or until now.
    ///
    /// All that is read by other connections is read first: whoever holds one and waits for another may wait for others
    /// who do so too.
    pub(super) fn moment<'a>(
        &'a self,
        store: &'a Store,
        until: Option<Instant>,
    ) -> BoxFuture<'a, Result<Moment, StoreError>> {
        Box::pin(async move {
            let hour = match until {
                Some(until) => Hour::read(store, until, (&store.allowance(), MOST)).await?,
                None => Hour::default(),
            };
            let held = self.held.lock().await.upto();
            let folded = checkpoint::position(store, NAME).await?;
            let recent = Recent::read(store, (held, folded)).await?;
            // what is folded meanwhile is of both, and known by its position
            let tx = store.readers().snapshot().await;
            Ok(Moment {
                tx: tx.doing("read the groups of errors at one moment")?,
                recent: Arc::new(recent),
                hour,
            })
        })
    }

    /// The groups of a provenance at a moment, as they are in memory, or as the tables have them. Whoever waits here has
    /// a connection, and who is waited for needs no other than its own.
    async fn stand(&self, moment: &Moment, provenance: Provenance) -> Result<Stand, StoreError> {
        let kept = rows::head(&moment.tx, provenance).await?;
        let head = kept.map_or((Position::START, 0), |kept| (kept.position, kept.chain));
        let mut held = Arc::clone(&self.held).lock_owned().await;
        let recent = Arc::clone(&moment.recent);
        let led = aside(move || {
            let stand = held.stand(&recent, (provenance, head));
            (held, stand)
        });
        let (mut held, stand) = led.await?;
        if let Some(stand) = stand {
            return Ok(stand);
        }
        let kept = match kept {
            Some(upto) => rows::load(&moment.tx, provenance, upto).await?,
            None => Kept::default(),
        };
        let recent = Arc::clone(&moment.recent);
        aside(move || held.begin(&recent, (provenance, kept))).await
    }

    /// The groups of a provenance at a moment, without what people decided about them.
    pub(super) fn undecided<'a>(
        &'a self,
        moment: &'a Moment,
        provenance: Provenance,
    ) -> BoxFuture<'a, Result<Standing, StoreError>> {
        Box::pin(async move {
            let (state, fresh) = self.stand(moment, provenance).await?;
            Ok(Standing {
                provenance,
                state,
                fresh,
                decided: BTreeMap::new(),
            })
        })
    }

    /// The groups of a provenance at a moment.
    pub(super) fn standing<'a>(
        &'a self,
        moment: &'a Moment,
        provenance: Provenance,
    ) -> BoxFuture<'a, Result<Standing, StoreError>> {
        Box::pin(async move {
            let undecided = self.undecided(moment, provenance).await?;
            let decisions = decisions(&moment.tx, provenance).await?;
            let of = Arc::clone(&undecided.state);
            Ok(Standing {
                decided: aside(move || decided(&of, decisions)).await?,
                ..undecided
            })
        })
    }
}

impl Standing {
    /// The label that rows of a group have by now which were written under another.
    pub(super) fn label(&self, written: u64) -> Option<u64> {
        self.state.label(Fingerprint(written))
    }

    /// The labels under which rows of groups are written: also those of groups that went into them since.
    pub(super) fn written(&self, labels: &[u64]) -> Vec<u64> {
        let mut written = labels.to_vec();
        let moved = self.fresh.moved_from();
        written.extend(moved.filter(|before| {
            let now = self.label(*before);
            now.is_some_and(|now| labels.contains(&now))
        }));
        written
    }

    /// The decisions about a group, by the labels of its parts, in order.
    pub(super) fn decisions_of(&self, labels: &[u64]) -> Vec<&DecisionRow> {
        let rows = labels.iter().filter_map(|label| self.decided.get(label));
        let rows: BTreeMap<i64, &DecisionRow> =
            rows.flatten().map(|row| (row.position, &**row)).collect();
        rows.into_values().collect()
    }
}

/// Decisions by the labels of the groups that they name.
fn decided(state: &State, decisions: Vec<DecisionRow>) -> BTreeMap<u64, Vec<Arc<DecisionRow>>> {
    let mut labels: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let mut decided: BTreeMap<u64, Vec<Arc<DecisionRow>>> = BTreeMap::new();
    for row in decisions {
        let row = Arc::new(row);
        let ids = [Some(&row.group_id), row.into_group_id.as_ref()];
        for id in ids.into_iter().flatten() {
            let label = labels.entry(id.clone()).or_insert_with(|| {
                let id = told::GroupId::read(id)?;
                state.label(id.id)
            });
            if let Some(label) = label {
                decided.entry(*label).or_default().push(Arc::clone(&row));
            }
        }
    }
    decided
}
