//! The groups of a provenance as they stand: what is folded, with what was recorded since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use super::counted::query;
use crate::event::{Event, Instant, Position, Provenance};
use crate::history::error_groups::{DecisionRow, decisions};
use crate::insights::errors::fingerprint::Fingerprint;
use crate::insights::errors::group::hour_of;
use crate::insights::errors::state::State;
use crate::insights::input::HOUR;
use crate::projections::checkpoint;
use crate::projections::groups::rows::{self, Kept};
use crate::projections::groups::{Changed, KINDS, NAME, told};
use crate::store::{Doing, Place, Store, StoreError};

/// Events that are read at once of those that are not folded, and such reads at most: what is not folded then is told
/// when it is.
const PAGE_EVENTS: usize = 2_000;
const PAGES_MAX: usize = 4;
/// Errors at most that are read of the hour in which an instant before lies.
const HOUR_EVENTS_MAX: usize = 20_000;

/// What is folded of a provenance, and the last event that had a part in it.
type Folded = (Position, Arc<State>);

/// Reads groups, and keeps in memory what is folded of them.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    kept: Arc<Mutex<BTreeMap<Provenance, Folded>>>,
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
    /// What is not folded.
    recent: Vec<Arc<Event>>,
    /// Errors of all provenances of the hour in which the end of a cut lies, up to that.
    pub(super) hour: Vec<Event>,
}

impl Moment {
    /// This moment of a log, for groups until an instant that is past, or until now.
    ///
    /// All that is read by other connections is read first: whoever holds one and waits for another may wait for others
    /// who do so too.
    pub(super) fn of(
        store: &Store,
        until: Option<Instant>,
    ) -> BoxFuture<'_, Result<Self, StoreError>> {
        Box::pin(async move {
            let hour = match until {
                Some(until) => hour(store, until).await?,
                None => Vec::new(),
            };
            let folded = checkpoint::position(store, NAME).await?;
            let recent = recent(store, folded).await?;
            // what is folded meanwhile is of both, and known by its position
            let tx = store.readers().snapshot().await;
            Ok(Self {
                tx: tx.doing("read the groups of errors at one moment")?,
                recent,
                hour,
            })
        })
    }

    /// What was recorded of a provenance after a position and is not folded.
    fn after(&self, provenance: Provenance, position: Position) -> Vec<&Event> {
        let recent = self.recent.iter().map(|event| &**event);
        recent
            .filter(|event| event.fact.provenance == provenance && event.position > position)
            .collect()
    }

    /// Ends it.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        // nothing was written
        let ended = self.tx.rollback().await;
        ended.doing("end the reading of groups of errors")
    }
}

/// The errors of the hour in which an instant lies, up to that.
async fn hour(store: &Store, until: Instant) -> Result<Vec<Event>, StoreError> {
    let from = Instant(i64::from(hour_of(until)) * HOUR);
    let (mut hour, allowance) = (Vec::new(), Store::own_allowance());
    let mut query = query((from, until));
    while hour.len() < HOUR_EVENTS_MAX {
        let page = store.page(&query, &allowance).await?;
        let is_last = page.len() < query.limit;
        query.after = page.last().map(Place::of);
        hour.extend(page);
        if is_last {
            break;
        }
    }
    Ok(hour)
}

/// What has a part in groups and is not folded.
async fn recent(store: &Store, folded: Position) -> Result<Vec<Arc<Event>>, StoreError> {
    let (mut recent, mut position) = (Vec::new(), folded);
    for _ in 0..PAGES_MAX {
        let slice = store.after_of(position, PAGE_EVENTS, KINDS).await?;
        recent.extend(slice.events);
        if slice.upto == position {
            break;
        }
        position = slice.upto;
    }
    Ok(recent)
}

impl Groups {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Provenance, Folded>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is folded of a provenance; nothing is read that is in memory as it is.
    async fn folded(
        &self,
        tx: &DatabaseTransaction,
        provenance: Provenance,
    ) -> Result<Folded, StoreError> {
        let Some(upto) = rows::head(tx, provenance).await? else {
            return Ok((Position::START, Arc::default()));
        };
        let held = self.held().get(&provenance).cloned();
        if let Some(held) = held.filter(|(position, _)| *position == upto.position) {
            return Ok(held);
        }
        let Kept { position, state } = rows::load(tx, provenance, upto).await?;
        let read = (position, Arc::new(state));
        self.held().insert(provenance, read.clone());
        Ok(read)
    }

    /// The groups of a provenance at a moment.
    pub(super) fn standing<'a>(
        &'a self,
        moment: &'a Moment,
        provenance: Provenance,
    ) -> BoxFuture<'a, Result<Standing, StoreError>> {
        Box::pin(async move {
            let (position, mut state) = self.folded(&moment.tx, provenance).await?;
            let mut fresh = Changed::default();
            for event in moment.after(provenance, position) {
                told::take(Arc::make_mut(&mut state), event, &mut fresh);
            }
            let decisions = decisions(&moment.tx, provenance).await?;
            Ok(Standing {
                provenance,
                decided: decided(&state, decisions),
                state,
                fresh,
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
