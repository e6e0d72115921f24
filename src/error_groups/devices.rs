//! The devices of a group, those first that had the error most often.

use std::cmp::Reverse;

use futures_util::future::BoxFuture;

use super::GroupId;
use super::counted::{self, Cut};
use super::standing::Groups;
use crate::event::Instant;
use crate::history::Place;
use crate::history::error_groups::Devices;
use crate::projections::groups::NO_DEVICE;
use crate::store::{Store, StoreError};

/// A device of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceCount {
    /// Its key.
    pub(crate) key: i64,
    /// Its errors.
    pub(crate) events: i64,
    /// When the first of them was.
    pub(crate) first: Instant,
    /// When the last of them was.
    pub(crate) last: Instant,
}

impl DeviceCount {
    /// Its place in the list.
    pub(crate) fn place(&self) -> Place {
        (self.events, format!("{:020}", self.key))
    }
}

/// Which devices of a group.
#[derive(Debug)]
pub(crate) struct DevicesAsk<'a> {
    /// The group.
    pub(crate) id: GroupId,
    /// Of what, and until when.
    pub(crate) cut: &'a Cut,
    /// After this place.
    pub(crate) after: Option<Place>,
    /// Devices at most.
    pub(crate) rows: usize,
}

impl Groups {
    /// Devices of a group, and how many there are in all.
    pub(crate) fn devices<'a>(
        &'a self,
        store: &'a Store,
        ask: &'a DevicesAsk<'a>,
    ) -> BoxFuture<'a, Result<(Vec<DeviceCount>, usize), StoreError>> {
        Box::pin(async move {
            let moment = self.moment(store, ask.cut.until).await?;
            let standing = self.standing(&moment, ask.id.provenance).await?;
            let labels = standing.state.labels(ask.id.id);
            let rest = counted::rest(&moment, &standing);
            let of = ask.cut.on(Devices::Each);
            let cut = (&standing, ask.cut);
            let sums = counted::sums(&moment, cut, (Some(&labels), of), &rest).await?;
            moment.end().await?;
            let mut counts: Vec<DeviceCount> = Vec::new();
            let mut sums: Vec<_> = sums.into_iter().collect();
            // a group that operators joined has several labels
            sums.sort_by_key(|((_, device), _)| *device);
            for ((_, key), tally) in sums {
                if key == NO_DEVICE {
                    continue;
                }
                if let Some(held) = counts.last_mut().filter(|held| held.key == key) {
                    held.events += tally.events;
                    held.first = held.first.min(tally.first);
                    held.last = held.last.max(tally.last);
                    continue;
                }
                counts.push(DeviceCount {
                    key,
                    events: tally.events,
                    first: tally.first,
                    last: tally.last,
                });
            }
            let total = counts.len();
            counts.sort_by_cached_key(|count| Reverse(count.place()));
            counts.retain(|count| {
                ask.after
                    .as_ref()
                    .is_none_or(|after| count.place() < *after)
            });
            counts.truncate(ask.rows);
            Ok((counts, total))
        })
    }
}
