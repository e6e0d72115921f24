//! What there is of devices in the tables, and from which of it on they are folded as of an instant.

use std::collections::BTreeMap;

use sea_orm::DatabaseTransaction;

use crate::event::{Instant, Provenance};
use crate::insights::replay::hour_of;
use crate::projections::insights::days::Day;
use crate::projections::insights::facts::Whose;
use crate::projections::insights::rows::{self, Base, Head};
use crate::store::StoreError;

/// What there is of a provenance of a device.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The state in use.
    pub(super) head: Option<Head>,
    /// What is kept beside it, in order.
    days: Vec<Day>,
    /// From which hour on something is still to be folded.
    due: Option<i64>,
}

/// From where on a device is folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// The state with which it begins; `None` where nothing is known before.
    pub(super) base: Option<Base>,
    /// Of which provenance that is; `None` where it is not known yet.
    pub(super) provenance: Option<Provenance>,
    /// Whether anything was measured of it.
    pub(super) is_measured: bool,
    /// The hour with which it begins.
    pub(super) at: i64,
}

/// Which states are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Those that have all that happened before them.
    Sound,
    /// Also those that lack what came late and is still to be folded.
    InUse,
}

/// What there is of some devices.
pub(super) async fn known(
    tx: &DatabaseTransaction,
    keys: &[i64],
) -> Result<BTreeMap<Whose, Known>, StoreError> {
    let mut known: BTreeMap<Whose, Known> = BTreeMap::new();
    for head in rows::heads(tx, Some(keys)).await? {
        known.entry(head.whose).or_default().head = Some(head);
    }
    for (whose, days) in rows::days(tx, keys).await? {
        known.entry(whose).or_default().days = days;
    }
    for (whose, from) in rows::due(tx, Some(keys)).await? {
        known.entry(whose).or_default().due = Some(from);
    }
    Ok(known)
}

impl Known {
    /// When the first of it happened, as far as that is folded or is to be.
    fn first(&self) -> Option<i64> {
        let folded = self.head.map(|head| head.first_at);
        [folded, self.due].into_iter().flatten().min()
    }

    /// Whether anything happened until an instant.
    pub(super) fn has_begun(&self, as_of: Instant) -> bool {
        self.first().is_some_and(|first| first <= as_of.0)
    }

    /// Whether anything was measured, as far as it is folded.
    pub(super) fn is_measured(&self) -> bool {
        self.head.is_some_and(|head| head.measured_at > 0)
    }

    /// Up to when it is folded in use.
    pub(super) fn upto(&self) -> Option<i64> {
        self.head.map(|head| head.upto)
    }

    /// From where on it is folded as of an instant: from the newest state that has nothing later.
    pub(super) fn start(&self, whose: Whose, as_of: Instant, limit: Limit) -> Start {
        let open = hour_of(as_of).0;
        let due = self.due.filter(|_| limit == Limit::Sound);
        let until = due.map_or(open, |due| due.min(open));
        let days = self.days.iter();
        let days = days.map(|day| (day.until, Base::Day(whose, day.until)));
        let in_use = self.head.map(|head| (head.upto, Base::InUse(whose)));
        let bases = days.chain(in_use).filter(|(upto, _)| *upto <= until);
        let newest = bases.max_by_key(|(upto, _)| *upto);
        Start {
            base: newest.map(|(_, base)| base),
            provenance: Some(whose.1),
            is_measured: self.is_measured(),
            at: newest.map_or_else(|| self.first().unwrap_or_default(), |(upto, _)| upto),
        }
    }
}
