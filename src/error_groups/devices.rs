//! The devices of a group, those first that had the error most often.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::GroupId;
use super::counted::{self, Cut, Rest};
use super::standing::{Groups, Moment, Standing};
use crate::event::{Instant, Provenance};
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DevicesAsk {
    /// The group.
    pub(crate) id: GroupId,
    /// Of what, and until when.
    pub(crate) cut: Arc<Cut>,
    /// After this place.
    pub(crate) after: Option<Place>,
    /// Devices at most.
    pub(crate) rows: usize,
}

/// Devices of a group, and how many there are in all.
pub(crate) type DevicesFound = (Vec<DeviceCount>, usize);

impl Groups {
    /// Devices of each of some groups, all that are until one instant read of one moment.
    pub(crate) fn devices<'a>(
        &'a self,
        store: &'a Store,
        asks: &'a [DevicesAsk],
    ) -> BoxFuture<'a, Result<HashMap<DevicesAsk, Arc<DevicesFound>>, StoreError>> {
        Box::pin(async move {
            let mut by_moment: BTreeMap<Option<Instant>, BTreeMap<Provenance, Vec<&DevicesAsk>>> =
                BTreeMap::new();
            for ask in asks {
                let of_moment = by_moment.entry(ask.cut.until).or_default();
                of_moment.entry(ask.id.provenance).or_default().push(ask);
            }
            let mut all = HashMap::with_capacity(asks.len());
            for (until, by_provenance) in by_moment {
                let moment = self.moment(store, until).await?;
                for (provenance, asks) in by_provenance {
                    let standing = self.undecided(&moment, provenance).await?;
                    let rest = counted::rest(&moment, &standing);
                    for ask in asks {
                        let found = found(&moment, (&standing, &rest), ask).await?;
                        all.insert(ask.clone(), Arc::new(found));
                    }
                }
                moment.end().await?;
            }
            Ok(all)
        })
    }
}

/// Devices of a group at a moment.
async fn found(
    moment: &Moment,
    (standing, rest): (&Standing, &Rest),
    ask: &DevicesAsk,
) -> Result<DevicesFound, StoreError> {
    let labels = standing.state.labels(ask.id.id);
    let of = ask.cut.on(Devices::Each);
    let sums = counted::sums(moment, (standing, &ask.cut), (Some(&labels), of), rest).await?;
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
}
