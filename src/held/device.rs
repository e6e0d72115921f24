//! Devices as of an instant: from the newest state that is kept of what was before, with what happened since.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sea_orm::DatabaseTransaction;
use tokio::task::spawn_blocking;

use super::changes::Newest;
use super::known::{Known, Limit, Start, known};
use super::{Ask, DeviceRead, Held};
use crate::event::{Event, Instant, Provenance};
use crate::insights::device::Encoded;
use crate::insights::input::{ConfigSeen, DAY, HOUR};
use crate::insights::kept::told;
use crate::insights::replay::{configuration, hour_of};
use crate::insights::sites::Sites;
use crate::kinds::Kind;
use crate::projections::insights::facts::{Asked, Facts, KINDS, Whose, read as read_facts};
use crate::projections::insights::rows::{Base, decoded, states};
use crate::store::{
    Archive, Columns, Doing, EntityType, Names, Since, Sources, StoreError, each_since, next_of,
};

/// Devices that are read at once.
const AT_ONCE: usize = 64;
/// Events of a kind that are folded at once in memory, unless they are of one hour: a month of a device that reports
/// every 30 seconds has fewer.
const EVENTS_MAX: usize = 100_000;
/// How far back changes of the configuration are read.
const BACK: i64 = 45 * DAY;

/// Reads devices.
pub(super) async fn read(
    held: &Held,
    keys: &[i64],
    ask: Ask,
) -> Result<Vec<Option<Arc<DeviceRead>>>, StoreError> {
    let doing = "read what is kept of devices";
    let archive = held.store.archive_of();
    let names = held.store.names();
    let mut read: HashMap<i64, Arc<DeviceRead>> = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(AT_ONCE) {
        let tx = held.store.readers().snapshot().await.doing(doing)?;
        let sites = held.cache.sites(&tx, names).await?;
        let reader = Reader {
            tx: &tx,
            names,
            archive: &archive,
            sites,
            ask,
        };
        let mut waiting = vec![reader.registered(keys).await?];
        while let Some(devices) = waiting.pop() {
            if let Some(devices) = reader.devices(&devices).await? {
                let devices = devices.into_iter();
                read.extend(devices.map(|device| (device.key, Arc::new(device))));
            } else {
                // what is too much for all of them is read of half of them
                let (some, others) = devices.split_at(devices.len() / 2);
                waiting.extend([some.to_vec(), others.to_vec()]);
            }
        }
        // nothing was written
        tx.rollback().await.doing(doing)?;
    }
    let found = keys.iter().map(|key| read.get(key).map(Arc::clone));
    Ok(found.collect())
}

/// A device by its key and its id.
type Named = (i64, Arc<str>);

/// Reads devices in one transaction.
struct Reader<'a> {
    tx: &'a DatabaseTransaction,
    names: &'a Names,
    archive: &'a Archive,
    sites: Arc<Sites>,
    ask: Ask,
}

/// A device with all that its reading is made of.
struct Task {
    named: Named,
    provenance: Provenance,
    site_key: i64,
    base: Option<Encoded>,
    events: Vec<Event>,
    configs: Vec<ConfigSeen>,
}

impl Reader<'_> {
    fn sources(&self) -> Sources<'_> {
        Sources {
            names: self.names,
            archive: Some(self.archive),
        }
    }

    /// Those of some keys that are of devices.
    async fn registered(&self, keys: &[i64]) -> Result<Vec<Named>, StoreError> {
        let nameless = |key: &&i64| self.names.id(**key).is_none();
        let unknown: Vec<i64> = keys.iter().filter(nameless).copied().collect();
        self.names.look_up_keys(self.tx, &unknown).await?;
        let named = keys.iter().filter_map(|key| {
            let id = self.names.id(*key)?;
            let is_device = self.names.key(EntityType::Device, &id) == Some(*key);
            let device = self.sites.device(&id, self.ask.as_of);
            device.filter(|_| is_device).map(|_| (*key, id))
        });
        Ok(named.collect())
    }

    /// The next instant: nothing of it is read.
    fn end(&self) -> i64 {
        self.ask.as_of.0.saturating_add(1)
    }

    /// Reads devices; `None` if what is to be folded of all of them is too much at once.
    async fn devices(&self, devices: &[Named]) -> Result<Option<Vec<DeviceRead>>, StoreError> {
        let keys: Vec<i64> = devices.iter().map(|(key, _)| *key).collect();
        let known = known(self.tx, &keys).await?;
        let started = |key: &i64, limit| (*key, self.start(&known, *key, limit));
        let mut starts: BTreeMap<i64, Start> =
            keys.iter().map(|key| started(key, Limit::Sound)).collect();
        let facts = match self.facts(&starts).await? {
            Some(facts) => facts,
            None if devices.len() > 1 => return Ok(None),
            None => {
                // what comes late is still to be folded: the state in use is without it
                starts = keys.iter().map(|key| started(key, Limit::InUse)).collect();
                self.facts_of_one(&mut starts).await?
            }
        };
        let tasks = self.tasks(devices, (starts, facts)).await?;
        let (sites, as_of) = (Arc::clone(&self.sites), self.ask.as_of);
        let fold = move || {
            let tasks = tasks.into_iter();
            let read = tasks.map(|task| task.fold(&sites, as_of));
            read.collect::<Result<Vec<Option<DeviceRead>>, StoreError>>()
        };
        let read = spawn_blocking(fold).await;
        let read = read.map_err(|_| StoreError::Panicked)??;
        Ok(Some(read.into_iter().flatten().collect()))
    }

    /// From where on a device is folded: of the provenance that is asked for, as far as it is known before what
    /// happened is read.
    fn start(&self, known: &BTreeMap<Whose, Known>, key: i64, limit: Limit) -> Start {
        let as_of = self.ask.as_of;
        let begun = self.provenances().filter_map(|provenance| {
            let known = known.get(&(key, provenance))?;
            known.has_begun(as_of).then_some((provenance, known))
        });
        let begun: Vec<(Provenance, &Known)> = begun.collect();
        let measured = begun.iter().find(|(_, known)| known.is_measured());
        if let Some((provenance, known)) = measured.or(begun.first()) {
            return known.start((key, *provenance), as_of, limit);
        }
        // of one of which nothing is folded yet nothing happened before what is folded of others
        let others = Provenance::ALL.into_iter();
        let others = others.filter_map(|of| known.get(&(key, of))?.upto());
        Start {
            base: None,
            provenance: None,
            is_measured: false,
            at: others.max().unwrap_or_default(),
        }
    }

    /// The provenances that are asked for, the preferred one first.
    fn provenances(&self) -> impl Iterator<Item = Provenance> + use<> {
        let asked = self.ask.provenance;
        let all = Provenance::ALL.into_iter();
        all.filter(move |of| asked.is_none_or(|asked| asked == *of))
    }

    /// What happened to devices since they start; `None` if it is too much.
    async fn facts(&self, starts: &BTreeMap<i64, Start>) -> Result<Option<Facts>, StoreError> {
        self.facts_within(starts, (self.end(), EVENTS_MAX)).await
    }

    async fn facts_within(
        &self,
        starts: &BTreeMap<i64, Start>,
        (until, max): (i64, usize),
    ) -> Result<Option<Facts>, StoreError> {
        let devices = starts.iter().map(|(key, start)| [*key, start.at]);
        let devices: Vec<[i64; 2]> = devices.collect();
        let asked = Asked {
            devices: &devices,
            until,
            upto: i64::MAX,
            max,
        };
        read_facts(self.tx, self.sources(), asked).await
    }

    /// The same of one device of which that is very much: as much of it as is folded at once, and the last hour.
    async fn facts_of_one(&self, starts: &mut BTreeMap<i64, Start>) -> Result<Facts, StoreError> {
        if let Some(facts) = self.facts(starts).await? {
            return Ok(facts);
        }
        let open = hour_of(self.ask.as_of).0;
        let mut until = self.end();
        for (key, start) in starts.iter_mut() {
            let since = Since {
                kind: Kind::DeviceMetrics,
                columns: Columns::NONE,
                devices: &[[*key, start.at]],
                until,
                upto: i64::MAX,
            };
            let next = next_of(self.tx, Some(self.archive), (&KINDS, since)).await?;
            let next = next.into_iter().flatten().min();
            start.at = next.map_or(start.at, |next| hour_of(Instant(next)).0);
        }
        let at = starts.values().map(|start| start.at).min().unwrap_or(open);
        let mut facts = loop {
            until = at + ((until - at) / 2).div_euclid(HOUR).max(1) * HOUR;
            let max = if until - at > HOUR {
                EVENTS_MAX
            } else {
                usize::MAX
            };
            if let Some(facts) = self.facts_within(starts, (until, max)).await? {
                break facts;
            }
        };
        let opened = starts.iter().map(|(key, start)| {
            let at = open.max(until);
            (*key, Start { at, ..*start })
        });
        let opened = opened.collect();
        let last = self.facts_within(&opened, (self.end(), usize::MAX)).await?;
        for (whose, events) in last.unwrap_or_default() {
            facts.entry(whose).or_default().extend(events);
        }
        Ok(facts)
    }

    /// The newest changes of the configuration of devices, by their keys.
    async fn configs(
        &self,
        devices: &[Named],
    ) -> Result<BTreeMap<i64, Vec<ConfigSeen>>, StoreError> {
        let from = self.ask.as_of.0.saturating_sub(BACK);
        let devices: Vec<[i64; 2]> = devices.iter().map(|(key, _)| [*key, from]).collect();
        let since = Since {
            kind: Kind::ConfigurationChange,
            columns: Columns::SMALL,
            devices: &devices,
            until: self.end(),
            upto: i64::MAX,
        };
        let mut newest: BTreeMap<i64, Newest> = BTreeMap::new();
        let mut each = |event: &Event| -> Result<(), StoreError> {
            if let Some(key) = event.fact.device_key() {
                let newest = newest.entry(key).or_default();
                newest.take(event.position, configuration(&event.fact));
            }
            Ok(())
        };
        each_since(self.tx, self.sources(), since, &mut each).await?;
        let newest = newest.into_iter();
        Ok(newest.map(|(key, newest)| (key, newest.end())).collect())
    }

    /// The provenance that is read, by what is known of a device and what happened to it since: of those in which
    /// anything was measured the preferred one. What people do to a made up device is real.
    fn chosen<'e>(
        &self,
        start: &Start,
        since: impl Fn(Provenance) -> Option<&'e Vec<Event>>,
    ) -> Option<Provenance> {
        let is_known = |of: Provenance| start.provenance == Some(of);
        let is_measured = |of: &Provenance| {
            let mut events = since(*of).into_iter().flatten();
            let has_readings = events.any(|event| event.fact.kind == Kind::DeviceMetrics);
            has_readings || is_known(*of) && start.is_measured
        };
        let measured = self.provenances().find(is_measured);
        let mut all = self.provenances();
        measured.or_else(|| all.find(|of| is_known(*of) || since(*of).is_some()))
    }

    /// Puts together what each reading is made of.
    async fn tasks(
        &self,
        devices: &[Named],
        (starts, mut facts): (BTreeMap<i64, Start>, Facts),
    ) -> Result<Vec<Task>, StoreError> {
        let bases: Vec<Base> = starts.values().filter_map(|start| start.base).collect();
        let mut bases = states(self.tx, &bases).await?;
        let mut configs = self.configs(devices).await?;
        let tasks = devices.iter().filter_map(|(key, id)| {
            let start = starts.get(key)?;
            let chosen = self.chosen(start, |of| facts.get(&(*key, of)));
            let provenance = chosen.or(self.ask.provenance).unwrap_or_default();
            let whose = (*key, provenance);
            let base = start.base.filter(|_| start.provenance == chosen);
            let device = self.sites.device(id, self.ask.as_of)?;
            let site_key = self.names.key(EntityType::Site, &device.site);
            Some(Task {
                named: (*key, Arc::clone(id)),
                provenance,
                site_key: site_key.unwrap_or_default(),
                base: base.and_then(|base| bases.remove(&base)),
                events: facts.remove(&whose).unwrap_or_default(),
                configs: configs.remove(key).unwrap_or_default(),
            })
        });
        Ok(tasks.collect())
    }
}

impl Task {
    /// Folds what happened; `None` for a device that is not registered.
    fn fold(self, sites: &Sites, as_of: Instant) -> Result<Option<DeviceRead>, StoreError> {
        let (key, id) = self.named;
        let Some(device) = sites.device(&id, as_of) else {
            return Ok(None);
        };
        let base = self.base.as_ref().map(decoded).transpose()?;
        let base = base.unwrap_or_default();
        let (folded, open) = told((&id, base), sites, (&self.events, as_of));
        let local = sites.local(&id, as_of);
        Ok(Some(DeviceRead {
            key,
            site_key: self.site_key,
            device: device.clone(),
            zone: local.zone,
            schedule: local.schedule,
            provenance: self.provenance,
            state: Arc::new(folded),
            open: open.hour(),
            samples: open.samples,
            configs: self.configs,
            as_of,
        }))
    }
}
