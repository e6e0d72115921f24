//! What happened to devices, as it is folded: of all kinds together, each provenance of a device apart, in the order
//! in which it is told.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use crate::event::{Event, Provenance};
use crate::insights::replay::told_before;
use crate::insights::sites::Sites;
use crate::kinds::Kind;
use crate::store::{Columns, Names, Said, Since, Sources, StoreError, all_said, happened};

/// The kinds that tell what happens to a device.
pub(crate) const KINDS: [Kind; 5] = [
    Kind::DeviceMetrics,
    Kind::ErrorLog,
    Kind::DeviceStateChange,
    Kind::ConfigurationChange,
    Kind::JobOutcome,
];

/// A device and a provenance.
pub(crate) type Whose = (i64, Provenance);

/// What happened, by whose it is, in the order in which it is told.
pub(crate) type Facts = BTreeMap<Whose, Vec<Event>>;

/// Which of what happened is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Devices by their keys, each with the instant from which on; none twice.
    pub(crate) devices: &'a [[i64; 2]],
    /// Before this instant.
    pub(crate) until: i64,
    /// Recorded up to this position.
    pub(crate) upto: i64,
    /// No more than so much of each kind.
    pub(crate) max: usize,
}

/// Whether an event tells what happens to a device.
pub(crate) fn is_of_device(event: &Event) -> bool {
    KINDS.contains(&event.fact.kind)
}

/// Reads what happened, each in the order in which it is told; `None` if it is too much.
pub(crate) fn read<'a>(
    tx: &'a DatabaseTransaction,
    sources: Sources<'a>,
    asked: Asked<'a>,
) -> BoxFuture<'a, Result<Option<Facts>, StoreError>> {
    Box::pin(async move {
        let mut facts = Facts::new();
        for kind in KINDS {
            let since = Since {
                kind,
                columns: Columns::SMALL,
                devices: asked.devices,
                until: asked.until,
                upto: asked.upto,
            };
            let Some(events) = happened(tx, sources, (since, asked.max)).await? else {
                return Ok(None);
            };
            for event in events {
                if let Some(device) = event.fact.device_key() {
                    let whose = (device, event.fact.provenance);
                    facts.entry(whose).or_default().push(event);
                }
            }
        }
        for events in facts.values_mut() {
            events.sort_by(|left, right| told_before(&left.fact, &right.fact));
        }
        Ok(Some(facts))
    })
}

/// Reads what was registered and filed, up to a position, of some devices and of the sites at which they ever stood.
pub(crate) fn sites<'a>(
    tx: &'a DatabaseTransaction,
    names: &'a Names,
    (devices, upto): (&'a [i64], i64),
) -> BoxFuture<'a, Result<Sites, StoreError>> {
    Box::pin(async move {
        let mut sites = Sites::default();
        let said = Said {
            kind: Kind::DeviceRegistration,
            of: Some(("device_key", devices)),
            after: 0,
            upto,
        };
        let registered = all_said(tx, names, said).await?;
        let index = Kind::DeviceRegistration.spec().site_index();
        let site = |event: &Event| event.fact.cells.get(index?)?.int();
        let keys: BTreeSet<i64> = registered.iter().filter_map(site).collect();
        let keys: Vec<i64> = keys.into_iter().collect();
        sites.take(&registered);
        for kind in [Kind::SiteRegistration, Kind::SiteSchedule] {
            let of = Some(("site_key", keys.as_slice()));
            sites.take(&all_said(tx, names, Said { kind, of, ..said }).await?);
        }
        Ok(sites)
    })
}
