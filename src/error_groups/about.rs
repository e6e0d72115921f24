//! A group as it is decided about: all of it, and the devices on which it was seen.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use super::standing::{Groups, Standing};
use super::{GroupError, GroupId};
use crate::history::error_groups;
use crate::insights::errors::group::Group;
use crate::projections::groups::ALL_DEVICES;
use crate::store::Store;

impl Groups {
    /// A group that is decided about, by its id or that of one that went into it.
    pub(crate) fn decided_about<'a>(
        &'a self,
        store: &'a Store,
        id: GroupId,
    ) -> BoxFuture<'a, Result<About, GroupError>> {
        Box::pin(async move {
            let moment = self.moment(store, None).await?;
            let standing = self.standing(&moment, id.provenance).await?;
            let whole = standing.state.label(id.id);
            let whole = whole.and_then(|label| standing.state.current(label));
            let Some(whole) = whole else {
                moment.end().await?;
                return Err(GroupError::Unknown);
            };
            let written = standing.written(&whole.labels);
            let of = (standing.provenance, written.as_slice());
            let devices = error_groups::devices_of(&moment.tx, of).await?;
            let mut devices: BTreeSet<i64> = devices.into_iter().collect();
            let fresh = standing.fresh.hours.keys();
            let fresh = fresh.filter(|(label, _, _)| whole.labels.contains(label));
            devices.extend(
                fresh
                    .map(|(_, device, _)| *device)
                    .filter(|key| *key != ALL_DEVICES),
            );
            moment.end().await?;
            let version = version(&standing, &whole.labels);
            let template = standing.state.template(whole.founder, &whole.group);
            Ok(About {
                id: GroupId {
                    provenance: id.provenance,
                    id: whole.id(),
                },
                template,
                group: whole.group,
                version,
                devices,
            })
        })
    }
}

/// A group that is decided about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) id: GroupId,
    pub(crate) template: String,
    pub(crate) group: Group,
    pub(crate) version: i64,
    /// The devices on which it was seen; 0 stands for errors that name none.
    pub(crate) devices: BTreeSet<i64>,
}

impl About {
    /// Whether it was seen on devices alone that somebody reaches, and whether on any of them.
    pub(crate) fn reached(&self, reaches: impl Fn(i64) -> bool) -> (bool, bool) {
        let reached = |key: &i64| reaches(*key);
        let some = self.devices.iter().any(reached);
        (self.devices.iter().all(reached), some)
    }
}

fn version(standing: &Standing, labels: &[u64]) -> i64 {
    standing
        .decisions_of(labels)
        .last()
        .map_or(0, |row| row.position)
}
