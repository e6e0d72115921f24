//! The groups of errors of devices and of sites, read for all parents at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_graphql::{Context, Error};
use chrono_tz::Tz;
use dataloader::BatchFn;
use futures_util::future::BoxFuture;

use super::as_of::as_of;
use super::error_groups::{
    ErrorGroupConnection, ErrorGroupFilter, ErrorGroupOrder, LIST, provenances,
};
use super::of::Of;
use super::ranked::PageOf;
use crate::error_groups::{Ask, By, Cut, Groups, Page, Parts, Which};
use crate::event::{Instant, Provenance};
use crate::graphql::loaders::Loaded;
use crate::graphql::order::InOrder;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{ErrorGroupStatuses, ErrorSeverities, Provenances, Shown, Word};
use crate::graphql::{access, api, loaders, of_failed};
use crate::history::device_keys::device_keys;
use crate::history::fleet::DeviceFilter;
use crate::history::{Part, Within};
use crate::store::{Store, StoreError};

/// Of what groups are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Parent {
    Device,
    Site,
}

/// What is asked of the groups of each of several parents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OfEach {
    parent: Parent,
    within: Within,
    provenances: Vec<Provenance>,
    as_of: Instant,
    until: Option<Instant>,
    which: Which,
    by: By,
    part: Part,
    rows: usize,
}

/// The groups of a device or site: its key, and what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::graphql) struct GroupsKey(i64, Arc<OfEach>);

/// The groups of a parent, and of which devices they are.
#[derive(Clone, Debug, Default)]
pub(in crate::graphql) struct OfOne {
    page: Page,
    cut: Arc<Cut>,
}

/// Reads the groups of devices and sites.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct GroupReads {
    pub(in crate::graphql) store: Store,
    pub(in crate::graphql) groups: Groups,
}

impl BatchFn<GroupsKey, Loaded<Arc<OfOne>>> for GroupReads {
    async fn load(&mut self, keys: &[GroupsKey]) -> HashMap<GroupsKey, Loaded<Arc<OfOne>>> {
        let mut parents: HashMap<&Arc<OfEach>, Vec<i64>> = HashMap::new();
        for GroupsKey(parent, asked) in keys {
            parents.entry(asked).or_default().push(*parent);
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for (asked, parents) in parents {
            let read = self.read(asked, &parents).await.map_err(Arc::new);
            for parent in parents {
                let of_one = match &read {
                    Ok(of_each) => Ok(of_each.get(&parent).cloned().unwrap_or_default()),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(GroupsKey(parent, Arc::clone(asked)), of_one);
            }
        }
        loaded
    }
}

impl GroupReads {
    /// The devices of parents, each with its parent.
    fn devices<'a>(
        &'a self,
        asked: &'a OfEach,
        parents: &'a [i64],
    ) -> BoxFuture<'a, Result<BTreeMap<i64, i64>, StoreError>> {
        Box::pin(async move {
            if asked.parent == Parent::Device {
                return Ok(parents.iter().map(|key| (*key, *key)).collect());
            }
            // who sees a site sees its devices, but for a device, which sees itself alone
            let within = match &asked.within {
                Within::Device { .. } => asked.within.clone(),
                Within::Whole | Within::Sites(_) => Within::Sites(parents.to_vec()),
            };
            let filter = DeviceFilter {
                within,
                ..DeviceFilter::default()
            };
            let names = self.store.names();
            let keys = device_keys(&self.store, &filter).await?.into_iter();
            let placed = keys.filter_map(|key| Some((key, names.site_of_device(key)?)));
            Ok(placed.filter(|(_, site)| parents.contains(site)).collect())
        })
    }

    fn read<'a>(
        &'a self,
        asked: &'a OfEach,
        parents: &'a [i64],
    ) -> BoxFuture<'a, Result<BTreeMap<i64, Arc<OfOne>>, StoreError>> {
        Box::pin(async move {
            let devices = self.devices(asked, parents).await?;
            let (until, names) = (asked.until, self.store.names());
            let sites = devices.keys().filter_map(|key| names.site_of_device(*key));
            let sites = sites.collect::<BTreeSet<i64>>().len();
            let ask = Ask {
                provenances: asked.provenances.clone(),
                as_of: asked.as_of,
                cut: Cut {
                    devices: Some(devices.keys().copied().collect()),
                    until,
                },
                fleet: (devices.len(), sites),
                which: asked.which.clone(),
                by: asked.by,
                part: asked.part.clone(),
                rows: asked.rows,
                zone: Tz::UTC,
            };
            let mut own: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for (device, parent) in &devices {
                own.entry(*parent).or_default().push(*device);
            }
            let parts = Parts::Apart(devices);
            let pages = self.groups.pages(&self.store, &ask, &parts).await?;
            let of_one = |(parent, page)| {
                let devices = own.remove(&parent);
                let cut = Arc::new(Cut { devices, until });
                (parent, Arc::new(OfOne { page, cut }))
            };
            Ok(pages.into_iter().map(of_one).collect())
        })
    }
}

/// What is asked of the groups of a device or site.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) statuses: Option<Vec<Word<ErrorGroupStatuses>>>,
    pub(super) severities: Option<Vec<Word<ErrorSeverities>>>,
    pub(super) order: Option<ErrorGroupOrder>,
    pub(super) as_of: Option<DateTime>,
    pub(super) provenance: Option<Shown<Provenances>>,
    pub(super) page: PageOf,
}

/// The groups of a device or site as a page.
pub(super) fn groups<'a>(
    ctx: &'a Context<'_>,
    of: Of,
    asked: Asked,
) -> BoxFuture<'a, Result<Option<InOrder<ErrorGroupConnection>>, Error>> {
    Box::pin(async move {
        let (parent, key) = match of {
            Of::Device(key) => (Parent::Device, key),
            Of::Site(key) => (Parent::Site, key),
            Of::All => return Ok(None),
        };
        let PageOf {
            first,
            after,
            last,
            before,
        } = asked.page;
        let (rows, part) = LIST.part((first, after), (last, before))?;
        let (now, as_of) = (loaders(ctx).now(), as_of(ctx, asked.as_of).await?);
        let filter = ErrorGroupFilter::of(asked.statuses, asked.severities);
        let by = asked.order.map_or_else(By::default, By::from);
        let of_each = OfEach {
            parent,
            within: access::within(ctx).await?,
            provenances: provenances(ctx, asked.provenance.as_ref()),
            as_of,
            until: (as_of < now).then_some(as_of),
            which: filter.which()?,
            by,
            part,
            rows,
        };
        let key = GroupsKey(key, Arc::new(of_each));
        let read = loaders(ctx).insights.groups.load(key).await;
        let read = read.map_err(|error| of_failed(api(ctx), &error))?;
        let page = read.page.clone();
        let connection = ErrorGroupConnection::of(ctx, page, (by, as_of), &read.cut)?;
        Ok(Some(InOrder(connection)))
    })
}
