//! Batches the reads of one request, so that what is nested costs one statement for all parents.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::{Error, Pos};
use dataloader::BatchFn;
use dataloader::non_cached::Loader;

use super::Api;
use super::budget::ROWS_MAX;
use super::connection::Asked;
use super::error::{ErrorCode, error};
use super::fleet::{DeviceRow, SiteRow, StateKey, devices_by_key, sites_by_key};
use super::hours::CalendarKey;
use super::insights::InsightLoaders;
use super::open_alerts::OpenAlertsKey;
use super::page_keys::{CountKey, PageKey, grouped};
use crate::clock::Clock;
use crate::event::{Event, Instant};
use crate::history::alerts::AlertRow;
use crate::history::fleet::{self, DeviceFilter, IdPage};
use crate::history::jobs::{self, TargetRow, TargetsPage};
use crate::history::{Within, configuration, readings, schedules};
use crate::kinds::Kind;
use crate::schedule::Calendar;
use crate::store::{Allowance, Columns, EntityType, Place, Store, StoreError};

pub(super) type Loaded<T> = Result<T, Arc<StoreError>>;

/// The loaders of one request.
pub(super) struct Loaders {
    pub(super) pages: Loader<PageKey, Loaded<Vec<Arc<Event>>>, Reads>,
    pub(super) counts: Loader<CountKey, Loaded<i64>, Reads>,
    pub(super) devices: Loader<DeviceKey, Loaded<Option<Arc<DeviceRow>>>, Reads>,
    pub(super) sites: Loader<SiteKey, Loaded<Option<Arc<SiteRow>>>, Reads>,
    pub(super) events: Loader<EventKey, Loaded<Option<Arc<Event>>>, Reads>,
    pub(super) readings: Loader<ReadingKey, Loaded<Option<Arc<Event>>>, Reads>,
    pub(super) states: Loader<StateKey, Loaded<Option<Instant>>, Reads>,
    pub(super) site_devices: Loader<SiteDevicesKey, Loaded<Vec<Arc<DeviceRow>>>, Reads>,
    pub(super) site_counts: Loader<SiteDevicesKey, Loaded<u64>, Reads>,
    pub(super) schedules: Loader<ScheduleKey, Loaded<Vec<Arc<Event>>>, Reads>,
    pub(super) calendars: Loader<CalendarKey, Loaded<Arc<Calendar>>, Reads>,
    pub(super) configurations: Loader<ConfigurationKey, Loaded<Vec<ValueRow>>, Reads>,
    pub(super) targets: Loader<TargetsKey, Loaded<Vec<TargetRow>>, Reads>,
    pub(super) names: Loader<NameKey, Loaded<()>, Reads>,
    pub(super) open_alerts: Loader<OpenAlertsKey, Loaded<Vec<AlertRow>>, Reads>,
    pub(super) insights: InsightLoaders,
    rows: AtomicUsize,
    /// When it was asked, in microseconds since 1970: "now" is the same everywhere in an answer.
    now: AtomicI64,
    clock: Clock,
    allowance: Arc<Allowance>,
    /// What of the fleet the caller reads, once it was looked up.
    within: Mutex<Option<Within>>,
    /// What connections under devices and sites are asked for, by their fields.
    asked: Mutex<HashMap<Pos, Arc<Asked>>>,
}

/// Keys at most that are read at once.
const BATCH_MAX: usize = 1_000;
/// How often a loader lets others go first before it reads. The fields of a request are polled in turn, so
/// that once is enough for those that stand side by side; the ten times of the library have all of them
/// polled ten times.
pub(super) const YIELDS: usize = 2;

pub(super) fn loader<K, V, B>(reads: B) -> Loader<K, V, B>
where
    K: Clone + std::fmt::Debug + Eq + Hash,
    V: Clone,
    B: BatchFn<K, V>,
{
    Loader::new(reads)
        .with_max_batch_size(BATCH_MAX)
        .with_yield_count(YIELDS)
}

impl Loaders {
    /// Loaders that read a log as long as the allowance lasts.
    pub(super) fn new(api: &Api, allowance: Arc<Allowance>) -> Self {
        let store = api.store();
        let reads = || Reads {
            store: store.clone(),
            allowance: Arc::clone(&allowance),
        };
        Self {
            pages: loader(reads()),
            counts: loader(reads()),
            devices: loader(reads()),
            sites: loader(reads()),
            events: loader(reads()),
            readings: loader(reads()),
            states: loader(reads()),
            site_devices: loader(reads()),
            site_counts: loader(reads()),
            schedules: loader(reads()),
            calendars: loader(reads()),
            configurations: loader(reads()),
            targets: loader(reads()),
            names: loader(reads()),
            open_alerts: loader(reads()),
            insights: InsightLoaders::new(store, &api.held, &api.groups),
            rows: AtomicUsize::new(0),
            now: AtomicI64::new(store.clock().now().0),
            clock: store.clock().clone(),
            allowance,
            within: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// When the request was asked, or the item of a stream begun.
    pub(super) fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Relaxed))
    }

    /// Bytes that may be read and rendered for this request.
    pub(super) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// What of the fleet the caller reads, as `look_up` finds it the first time.
    pub(super) async fn within<E>(
        &self,
        look_up: impl Future<Output = Result<Within, E>>,
    ) -> Result<Within, E> {
        let held = self.held_within().clone();
        if let Some(within) = held {
            return Ok(within);
        }
        let within = look_up.await?;
        *self.held_within() = Some(within.clone());
        Ok(within)
    }

    fn held_within(&self) -> MutexGuard<'_, Option<Within>> {
        self.within.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the connection of a field was found to be asked for.
    pub(super) fn asked(&self, field: Pos) -> Option<Arc<Asked>> {
        self.held_asked().get(&field).map(Arc::clone)
    }

    /// Keeps what the connection of a field is asked for: it is the same under each parent.
    pub(super) fn keep_asked(&self, field: Pos, asked: &Arc<Asked>) {
        self.held_asked().insert(field, Arc::clone(asked));
    }

    fn held_asked(&self) -> MutexGuard<'_, HashMap<Pos, Arc<Asked>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts rows that are answered, and refuses more than may be at once: what is beneath the
    /// devices of a job is not bounded by the sizes of pages alone.
    pub(super) fn count(&self, rows: usize) -> Result<(), Error> {
        let before = self.rows.fetch_add(rows, Ordering::Relaxed);
        if before.saturating_add(rows) > ROWS_MAX {
            let message = format!(
                "the request has come to more than {ROWS_MAX} rows, which are answered at once at \
                 most; give smaller pages by `first`"
            );
            return Err(error(ErrorCode::LimitExceeded, message));
        }
        Ok(())
    }

    /// Counts from the beginning: the next item of a stream is another answer.
    pub(super) fn begin(&self) {
        self.rows.store(0, Ordering::Relaxed);
        self.now.store(self.clock.now().0, Ordering::Relaxed);
        self.allowance.renew();
        // a device may have moved meanwhile
        *self.held_within() = None;
        self.held_asked().clear();
        self.insights.begin();
    }
}

/// A device, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DeviceKey(pub(super) i64);

/// A site, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SiteKey(pub(super) i64);

/// An event, by its kind and place, with some of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventKey(pub(super) Kind, pub(super) Place, pub(super) Columns);

/// What a device measured of itself at an instant, with some of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReadingKey(pub(super) i64, pub(super) Instant, pub(super) Columns);

/// Devices under a site: the site, which of its devices, and which page of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SiteDevicesKey(pub(super) i64, pub(super) Arc<(DeviceFilter, IdPage)>);

/// The schedule of a site, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScheduleKey(pub(super) i64);

/// The configuration of a thing, by its type and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ConfigurationKey(pub(super) &'static str, pub(super) String);

/// Devices of a job: the job, and which page of its devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TargetsKey(pub(super) String, pub(super) Arc<TargetsPage>);

/// A device or site by its id, that this process has not met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameKey(pub(super) EntityType, pub(super) Arc<str>);

/// What holds of a parameter.
pub(super) type ValueRow = configuration::Effective;

/// Reads for all parents at once.
pub(super) struct Reads {
    pub(super) store: Store,
    pub(super) allowance: Arc<Allowance>,
}

impl BatchFn<PageKey, Loaded<Vec<Arc<Event>>>> for Reads {
    async fn load(&mut self, keys: &[PageKey]) -> HashMap<PageKey, Loaded<Vec<Arc<Event>>>> {
        let mut loaded = HashMap::with_capacity(keys.len());
        for (of, parents) in grouped(keys.iter()) {
            let read = self
                .store
                .pages(of.shape.query(), (of.operand, &parents), &self.allowance)
                .await
                .map_err(Arc::new);
            let (mut pages, failed) = match read {
                Ok(pages) => (pages, None),
                Err(error) => (HashMap::new(), Some(error)),
            };
            for parent in parents {
                let events = if let Some(error) = &failed {
                    Err(Arc::clone(error))
                } else {
                    let events = pages.remove(&parent).unwrap_or_default();
                    Ok(events.into_iter().map(Arc::new).collect())
                };
                let key = PageKey {
                    parent,
                    ..of.clone()
                };
                loaded.insert(key, events);
            }
        }
        loaded
    }
}

impl BatchFn<CountKey, Loaded<i64>> for Reads {
    async fn load(&mut self, keys: &[CountKey]) -> HashMap<CountKey, Loaded<i64>> {
        let mut loaded = HashMap::with_capacity(keys.len());
        for (of, parents) in grouped(keys.iter().map(|CountKey(key)| key)) {
            let read = self
                .store
                .counts(of.shape.query(), (of.operand, &parents))
                .await
                .map_err(Arc::new);
            for parent in parents {
                let count = match &read {
                    Ok(counts) => Ok(counts.get(&parent).copied().unwrap_or(0)),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(
                    CountKey(PageKey {
                        parent,
                        ..of.clone()
                    }),
                    count,
                );
            }
        }
        loaded
    }
}

impl BatchFn<DeviceKey, Loaded<Option<Arc<DeviceRow>>>> for Reads {
    async fn load(
        &mut self,
        keys: &[DeviceKey],
    ) -> HashMap<DeviceKey, Loaded<Option<Arc<DeviceRow>>>> {
        let wanted: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let read = devices_by_key(&self.store, &wanted, &self.allowance).await;
        let read = read.map_err(Arc::new);
        answers(keys, &read, |rows, key| rows.get(&key.0).map(Arc::clone))
    }
}

impl BatchFn<SiteKey, Loaded<Option<Arc<SiteRow>>>> for Reads {
    async fn load(&mut self, keys: &[SiteKey]) -> HashMap<SiteKey, Loaded<Option<Arc<SiteRow>>>> {
        let wanted: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let read = sites_by_key(&self.store, &wanted, &self.allowance).await;
        let read = read.map_err(Arc::new);
        answers(keys, &read, |rows, key| rows.get(&key.0).map(Arc::clone))
    }
}

impl BatchFn<EventKey, Loaded<Option<Arc<Event>>>> for Reads {
    async fn load(&mut self, keys: &[EventKey]) -> HashMap<EventKey, Loaded<Option<Arc<Event>>>> {
        let mut events = HashMap::new();
        let mut groups: HashMap<(Kind, Columns), Vec<Place>> = HashMap::new();
        for EventKey(kind, place, columns) in keys {
            groups.entry((*kind, *columns)).or_default().push(*place);
        }
        for ((kind, columns), places) in groups {
            let read = self.store.at((kind, columns), &places, &self.allowance);
            match read.await {
                Ok(read) => {
                    let keyed = read
                        .into_iter()
                        .map(|event| (EventKey(kind, Place::of(&event), columns), Arc::new(event)));
                    events.extend(keyed);
                }
                Err(error) => return answers(keys, &Err(Arc::new(error)), |(), _| None),
            }
        }
        answers(keys, &Ok(events), |events, key| {
            events.get(key).map(Arc::clone)
        })
    }
}

impl BatchFn<ReadingKey, Loaded<Option<Arc<Event>>>> for Reads {
    async fn load(
        &mut self,
        keys: &[ReadingKey],
    ) -> HashMap<ReadingKey, Loaded<Option<Arc<Event>>>> {
        let mut groups: HashMap<Columns, Vec<(i64, Instant)>> = HashMap::new();
        for ReadingKey(device, at, columns) in keys {
            groups.entry(*columns).or_default().push((*device, *at));
        }
        let mut whole = HashMap::new();
        for (columns, readings) in groups {
            let kind = (Kind::DeviceMetrics, columns);
            let read = self.store.together(kind, &readings, &self.allowance);
            match read.await {
                Ok(parts) => {
                    let keyed = |of: (i64, Instant), event| {
                        (ReadingKey(of.0, of.1, columns), Arc::new(event))
                    };
                    let read = readings::merged(parts).into_iter();
                    whole.extend(read.map(|(of, event)| keyed(of, event)));
                }
                Err(error) => return answers(keys, &Err(Arc::new(error)), |(), _| None),
            }
        }
        answers(keys, &Ok(whole), |whole, key| {
            whole.get(key).map(Arc::clone)
        })
    }
}

/// Keys that ask for the same of sites, with the sites for which they ask.
fn of_sites(keys: &[SiteDevicesKey]) -> HashMap<&Arc<(DeviceFilter, IdPage)>, Vec<i64>> {
    let mut groups: HashMap<_, Vec<i64>> = HashMap::new();
    for SiteDevicesKey(site, asked) in keys {
        groups.entry(asked).or_default().push(*site);
    }
    groups
}

impl BatchFn<SiteDevicesKey, Loaded<Vec<Arc<DeviceRow>>>> for Reads {
    async fn load(
        &mut self,
        keys: &[SiteDevicesKey],
    ) -> HashMap<SiteDevicesKey, Loaded<Vec<Arc<DeviceRow>>>> {
        let mut loaded = HashMap::with_capacity(keys.len());
        for (asked, sites) in of_sites(keys) {
            let within = (sites.as_slice(), self.allowance.as_ref());
            let read = fleet::devices_pages(&self.store, &asked.0, &asked.1, within).await;
            let read = read.map_err(Arc::new);
            for site in sites {
                let rows = match &read {
                    Ok(pages) => Ok(pages.get(&site).cloned().unwrap_or_default()),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(SiteDevicesKey(site, Arc::clone(asked)), rows);
            }
        }
        loaded
    }
}

impl BatchFn<SiteDevicesKey, Loaded<u64>> for Reads {
    async fn load(&mut self, keys: &[SiteDevicesKey]) -> HashMap<SiteDevicesKey, Loaded<u64>> {
        let mut loaded = HashMap::with_capacity(keys.len());
        for (asked, sites) in of_sites(keys) {
            let read = fleet::devices_counts(&self.store, &asked.0, &sites).await;
            let read = read.map_err(Arc::new);
            for site in sites {
                let count = match &read {
                    Ok(counts) => Ok(counts.get(&site).copied().unwrap_or(0)),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(SiteDevicesKey(site, Arc::clone(asked)), count);
            }
        }
        loaded
    }
}

impl BatchFn<ScheduleKey, Loaded<Vec<Arc<Event>>>> for Reads {
    async fn load(
        &mut self,
        keys: &[ScheduleKey],
    ) -> HashMap<ScheduleKey, Loaded<Vec<Arc<Event>>>> {
        let sites: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let read = schedules::current(&self.store, &sites, &self.allowance).await;
        let read = read.map_err(Arc::new);
        let of = |key: &ScheduleKey| match &read {
            Ok(schedules) => Ok(schedules.get(&key.0).cloned().unwrap_or_default()),
            Err(error) => Err(Arc::clone(error)),
        };
        keys.iter().map(|key| (*key, of(key))).collect()
    }
}

impl BatchFn<ConfigurationKey, Loaded<Vec<ValueRow>>> for Reads {
    async fn load(
        &mut self,
        keys: &[ConfigurationKey],
    ) -> HashMap<ConfigurationKey, Loaded<Vec<ValueRow>>> {
        let mut loaded: HashMap<ConfigurationKey, Loaded<Vec<ValueRow>>> = keys
            .iter()
            .map(|key| (key.clone(), Ok(Vec::new())))
            .collect();
        for entity in ["DEVICE", "SITE", "SYSTEM"] {
            let of_type = keys.iter().filter(|key| key.0 == entity);
            let ids: Vec<&str> = of_type.map(|key| key.1.as_str()).collect();
            if ids.is_empty() {
                continue;
            }
            let read = configuration::effective(&self.store, (entity, &ids), &self.allowance);
            match read.await {
                Ok(values) => {
                    for (id, values) in values {
                        loaded.insert(ConfigurationKey(entity, id), Ok(values));
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for (_, answer) in loaded.iter_mut().filter(|(key, _)| key.0 == entity) {
                        *answer = Err(Arc::clone(&error));
                    }
                }
            }
        }
        loaded
    }
}

impl BatchFn<TargetsKey, Loaded<Vec<TargetRow>>> for Reads {
    async fn load(&mut self, keys: &[TargetsKey]) -> HashMap<TargetsKey, Loaded<Vec<TargetRow>>> {
        let mut groups: HashMap<&Arc<TargetsPage>, Vec<String>> = HashMap::new();
        for TargetsKey(job_id, page) in keys {
            groups.entry(page).or_default().push(job_id.clone());
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for (page, job_ids) in groups {
            let read = jobs::targets_pages(&self.store, &job_ids, page, &self.allowance).await;
            let mut read = read.map_err(Arc::new);
            for job_id in job_ids {
                let rows = match &mut read {
                    Ok(pages) => Ok(pages.remove(&job_id).unwrap_or_default()),
                    Err(error) => Err(Arc::clone(error)),
                };
                loaded.insert(TargetsKey(job_id, Arc::clone(page)), rows);
            }
        }
        loaded
    }
}

impl BatchFn<NameKey, Loaded<()>> for Reads {
    async fn load(&mut self, keys: &[NameKey]) -> HashMap<NameKey, Loaded<()>> {
        let names = keys.iter().map(|NameKey(ty, id)| (*ty, Arc::clone(id)));
        let met = self.store.meet(names).await.map_err(Arc::new);
        keys.iter().map(|key| (key.clone(), met.clone())).collect()
    }
}

pub(super) fn answers<K: Copy + Eq + Hash, R, T>(
    keys: &[K],
    read: &Loaded<R>,
    of: impl Fn(&R, &K) -> Option<T>,
) -> HashMap<K, Loaded<Option<T>>> {
    let answer = |key: &K| match read {
        Ok(rows) => (*key, Ok(of(rows, key))),
        Err(error) => (*key, Err(Arc::clone(error))),
    };
    keys.iter().map(answer).collect()
}
