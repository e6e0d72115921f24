//! What is read of devices for their insights: once for each device and request, and together for all that are asked
//! for side by side.
//!
//! A reading takes more time and room than a row, so that it is counted as several before it is made: what is asked for
//! under a list within a list is refused by that, and not by the time it takes.

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::{Context, Error, QueryPathSegment};
use dataloader::BatchFn;
use dataloader::non_cached::Loader;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::error_groups_of::{GroupReads, GroupsKey, OfOne};
use super::quality::RefusedReads;
use crate::error_groups::{DevicesAsk, DevicesFound, Groups, Times, TimesAsk};
use crate::event::{Instant, Provenance};
use crate::graphql::loaders::{Loaded, YIELDS, loader};
use crate::graphql::{api, loaders, of_failed, take};
use crate::held::{Ask, DeviceRead, FleetRead, Held, Lean};
use crate::history::collection::RefusedRow;
use crate::history::device_keys;
use crate::store::{Store, StoreError};

/// A device, and of what it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ReadKey {
    device: i64,
    as_of: Instant,
    provenance: Option<Provenance>,
}

impl ReadKey {
    const fn new(device: i64, ask: Ask) -> Self {
        Self {
            device,
            as_of: ask.as_of,
            provenance: ask.provenance,
        }
    }
}

/// How often a reading lets others go first before it is made. It costs a dozen statements, and what several fields of
/// many devices wait for is not all asked for in one turn.
const READING_YIELDS: usize = 8 * YIELDS;

/// What was begun to be read, for all that wait for it.
type Begun<T> = Shared<BoxFuture<'static, Loaded<T>>>;
/// What was begun to be read, by what it is of.
type Kept<K, T> = Mutex<HashMap<K, Begun<T>>>;

/// What was begun to be read under a key, or is now.
fn begun_once<K: Eq + Hash, T: Clone>(
    kept: &Kept<K, T>,
    key: K,
    begin: impl FnOnce() -> BoxFuture<'static, Loaded<T>>,
) -> Begun<T> {
    let mut kept = held(kept);
    kept.entry(key).or_insert_with(|| begin().shared()).clone()
}

fn held<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that a device takes of which failure risk and health read, roughly.
pub(in crate::graphql) const LEAN_BYTES: usize = 4 * 1024;

/// What was read, by the keys of the devices.
type Keyed<T> = Result<Vec<(i64, Arc<T>)>, StoreError>;

/// A reading of a device.
trait Read: Send + Sync + Sized + 'static {
    /// As how many rows of an answer it counts.
    const ROWS: usize;
    /// Bytes that it takes, roughly.
    const BYTES: usize;

    /// Reads devices by their keys.
    fn read<'a>(held: &'a Held, keys: &'a [i64], ask: Ask) -> BoxFuture<'a, Keyed<Self>>;

    /// Where those of a request are kept.
    fn kept(of: &InsightLoaders) -> &Once<Self>;
}

impl Read for Lean {
    const ROWS: usize = 1;
    const BYTES: usize = LEAN_BYTES;

    fn read<'a>(held: &'a Held, keys: &'a [i64], ask: Ask) -> BoxFuture<'a, Keyed<Self>> {
        Box::pin(async move {
            let mut keys = keys.to_vec();
            keys.sort_unstable();
            let read = held.lean(Some(&keys), ask).await?;
            Ok(read
                .into_iter()
                .map(|lean| (lean.key, Arc::new(lean)))
                .collect())
        })
    }

    fn kept(of: &InsightLoaders) -> &Once<Self> {
        &of.lean
    }
}

impl Read for DeviceRead {
    const ROWS: usize = 10;
    const BYTES: usize = 24 * 1024;

    fn read<'a>(held: &'a Held, keys: &'a [i64], ask: Ask) -> BoxFuture<'a, Keyed<Self>> {
        Box::pin(async move {
            let read = held.devices(keys, ask).await?;
            let read = read.into_iter().flatten();
            Ok(read.map(|read| (read.key, read)).collect())
        })
    }

    fn kept(of: &InsightLoaders) -> &Once<Self> {
        &of.devices
    }
}

/// Reads for all that ask of the same instant.
struct Reads<T> {
    held: Held,
    of: PhantomData<fn() -> T>,
}

impl<T: Read> BatchFn<ReadKey, Loaded<Option<Arc<T>>>> for Reads<T> {
    async fn load(&mut self, keys: &[ReadKey]) -> HashMap<ReadKey, Loaded<Option<Arc<T>>>> {
        let mut groups: HashMap<(Instant, Option<Provenance>), Vec<i64>> = HashMap::new();
        for key in keys {
            let of = (key.as_of, key.provenance);
            groups.entry(of).or_default().push(key.device);
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for ((as_of, provenance), devices) in groups {
            let ask = Ask { as_of, provenance };
            let read = T::read(&self.held, &devices, ask).await;
            let read: Loaded<HashMap<i64, Arc<T>>> = match read {
                Ok(read) => Ok(read.into_iter().collect()),
                Err(error) => Err(Arc::new(error)),
            };
            for device in devices {
                let of = match &read {
                    Ok(read) => Ok(read.get(&device).map(Arc::clone)),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(ReadKey::new(device, ask), of);
            }
        }
        loaded
    }
}

/// Readings of one form, each of which is made once.
struct Once<T: Read> {
    loader: Loader<ReadKey, Loaded<Option<Arc<T>>>, Reads<T>>,
    kept: Kept<ReadKey, Option<Arc<T>>>,
}

impl<T: Read> Once<T> {
    fn new(held: &Held) -> Self {
        let reads = Reads {
            held: held.clone(),
            of: PhantomData,
        };
        let loader = loader(reads).with_yield_count(READING_YIELDS);
        Self {
            loader,
            kept: Mutex::default(),
        }
    }

    fn begun(&self, key: ReadKey) -> Option<Begun<Option<Arc<T>>>> {
        held(&self.kept).get(&key).cloned()
    }

    fn begin(&self, key: ReadKey) -> Begun<Option<Arc<T>>> {
        let loader = self.loader.clone();
        begun_once(&self.kept, key, || {
            Box::pin(async move { loader.load(key).await })
        })
    }
}

/// The keys of the devices at sites.
struct SiteKeys {
    store: Store,
}

impl BatchFn<i64, Loaded<Arc<Vec<i64>>>> for SiteKeys {
    async fn load(&mut self, sites: &[i64]) -> HashMap<i64, Loaded<Arc<Vec<i64>>>> {
        let read: BoxFuture<'_, _> = Box::pin(device_keys::at_sites(&self.store, sites));
        let read = read.await.map_err(Arc::new);
        let of = |site: &i64| match &read {
            Ok(keys) => Ok(Arc::new(keys.get(site).cloned().unwrap_or_default())),
            Err(error) => Err(Arc::clone(error)),
        };
        sites.iter().map(|site| (*site, of(site))).collect()
    }
}

/// What is read for insights in one request.
pub(in crate::graphql) struct InsightLoaders {
    held: Held,
    lean: Once<Lean>,
    devices: Once<DeviceRead>,
    fleets: Kept<(Provenance, Instant), Arc<FleetRead>>,
    first_event: Kept<(), Option<Instant>>,
    site_keys: Loader<i64, Loaded<Arc<Vec<i64>>>, SiteKeys>,
    /// What was refused of devices, by their ids.
    pub(super) refused: Loader<Arc<str>, Loaded<Arc<Vec<RefusedRow>>>, RefusedReads>,
    /// The groups of errors of devices and sites.
    pub(super) groups: Loader<GroupsKey, Loaded<Arc<OfOne>>, GroupReads>,
    /// When groups of errors were seen.
    pub(super) group_times: Loader<TimesAsk, Loaded<Arc<Times>>, GroupReads>,
    /// The devices of groups of errors.
    pub(super) group_devices: Loader<DevicesAsk, Loaded<Arc<DevicesFound>>, GroupReads>,
}

impl InsightLoaders {
    /// Those of a request, which reads what is kept of a log.
    pub(in crate::graphql) fn new(store: &Store, held: &Held, groups: &Groups) -> Self {
        let site_keys = SiteKeys {
            store: store.clone(),
        };
        let refused = RefusedReads {
            store: store.clone(),
        };
        let groups = GroupReads {
            store: store.clone(),
            groups: groups.clone(),
        };
        Self {
            held: held.clone(),
            lean: Once::new(held),
            devices: Once::new(held),
            fleets: Mutex::default(),
            first_event: Mutex::default(),
            site_keys: loader(site_keys),
            refused: loader(refused),
            groups: loader(groups.clone()),
            group_times: loader(groups.clone()),
            group_devices: loader(groups),
        }
    }

    /// Forgets what was read: the next item of a stream is of another instant.
    pub(in crate::graphql) fn begin(&self) {
        held(&self.lean.kept).clear();
        held(&self.devices.kept).clear();
        held(&self.fleets).clear();
        held(&self.first_event).clear();
    }
}

fn read<'a, T: Read>(
    ctx: &'a Context<'a>,
    device: i64,
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Arc<T>>, Error>> {
    Box::pin(async move {
        let once = T::kept(&loaders(ctx).insights);
        let key = ReadKey::new(device, ask);
        let reading = if let Some(begun) = once.begun(key) {
            begun
        } else {
            loaders(ctx).count(T::ROWS)?;
            take(ctx, T::BYTES)?;
            once.begin(key)
        };
        reading.await.map_err(|error| of_failed(api(ctx), &error))
    })
}

/// Whether what is resolved stands in a list, so that there may be many of it.
fn is_listed(ctx: &Context<'_>) -> bool {
    let is_index = |segment: &QueryPathSegment<'_>| matches!(segment, QueryPathSegment::Index(_));
    ctx.path_node.as_ref().is_some_and(|path| {
        let mut parents = path.parents();
        is_index(&path.segment) || parents.any(|parent| is_index(&parent.segment))
    })
}

/// A device with what failure risk and health read; none that is not registered. In a list less is read for it: what was
/// measured since the last hour that is folded is left out.
pub(in crate::graphql) fn lean<'a>(
    ctx: &'a Context<'a>,
    device: i64,
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Arc<Lean>>, Error>> {
    if is_listed(ctx) {
        return listed(ctx, device, ask);
    }
    Box::pin(async move {
        let whole = read::<DeviceRead>(ctx, device, ask).await?;
        Ok(whole.map(|read| Arc::new(Lean::from(&*read))))
    })
}

/// The same of a device of a list.
pub(in crate::graphql) fn listed<'a>(
    ctx: &'a Context<'a>,
    device: i64,
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Arc<Lean>>, Error>> {
    read(ctx, device, ask)
}

/// A device with all that is read of it; none that is not registered.
pub(in crate::graphql) fn device<'a>(
    ctx: &'a Context<'a>,
    device: i64,
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Arc<DeviceRead>>, Error>> {
    read(ctx, device, ask)
}

/// The fleet of a provenance.
pub(in crate::graphql) fn fleet<'a>(
    ctx: &'a Context<'a>,
    provenance: Provenance,
    as_of: Instant,
) -> BoxFuture<'a, Result<Arc<FleetRead>, Error>> {
    Box::pin(async move {
        let of = &loaders(ctx).insights;
        let reading = begun_once(&of.fleets, (provenance, as_of), || {
            let kept = of.held.clone();
            Box::pin(async move { kept.fleet(provenance, as_of).await.map_err(Arc::new) })
        });
        reading.await.map_err(|error| of_failed(api(ctx), &error))
    })
}

/// The instant of the first event of the log, which is looked for once in a request.
pub(in crate::graphql) fn first_event<'a>(
    ctx: &'a Context<'_>,
) -> BoxFuture<'a, Result<Option<Instant>, Error>> {
    Box::pin(async move {
        let of = &loaders(ctx).insights;
        let reading = begun_once(&of.first_event, (), || {
            let kept = of.held.clone();
            Box::pin(async move { kept.first_event().await.map_err(Arc::new) })
        });
        reading.await.map_err(|error| of_failed(api(ctx), &error))
    })
}

/// The keys of the devices in use at a site.
pub(in crate::graphql) fn at_site<'a>(
    ctx: &'a Context<'a>,
    site: i64,
) -> BoxFuture<'a, Result<Arc<Vec<i64>>, Error>> {
    Box::pin(async move {
        let keys = loaders(ctx).insights.site_keys.load(site).await;
        keys.map_err(|error| of_failed(api(ctx), &error))
    })
}
