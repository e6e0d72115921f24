//! What failure risk and health read of many devices: states that are held in memory, with the few events since that
//! are no measures.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::task::spawn_blocking;

use super::brought::{Brought, Heard, Told};
use super::heard::Readings;
use super::{Ask, DeviceRead, Held, Lean};
use crate::event::{Event, Provenance};
use crate::insights::device::DeviceHour;
use crate::insights::input::{DAY, HOUR};
use crate::insights::replay::hour_of;
use crate::insights::sites::Sites;
use crate::kinds::Kind;
use crate::projections::insights::Horizon;
use crate::projections::insights::facts::Whose;
use crate::projections::insights::rows::{self, Head};
use crate::store::{
    Columns, Doing, EntityType, Names, Since, Sources, StoreError, each_of_all, each_since,
};

const READ: &str = "read what is kept of devices";
/// Devices up to which what happened since is looked for device by device.
const SOME_MAX: usize = 1_000;
/// Devices of a past instant that are folded again before they are let go but for what is read of them.
const PAST_AT_ONCE: usize = 200;
/// How far back it is looked for of a device of which nothing is folded.
const BACK: i64 = 2 * DAY;
/// The kinds of which failure risk and health read beside what is measured.
const KINDS: [Kind; 3] = [
    Kind::ErrorLog,
    Kind::DeviceStateChange,
    Kind::ConfigurationChange,
];

/// Reads devices of some keys, or all.
pub(super) async fn read(
    held: &Held,
    keys: Option<&[i64]>,
    ask: Ask,
) -> Result<Vec<Lean>, StoreError> {
    let tx = held.store.readers().snapshot().await.doing(READ)?;
    let names = held.store.names();
    let sites = held.cache.sites(&tx, names).await?;
    let archive = held.store.archive_of();
    let reader = Reader {
        tx: &tx,
        sources: Sources {
            names,
            archive: Some(&archive),
        },
        sites: Arc::clone(&sites),
        ask,
    };
    let mut devices = reader.devices(keys);
    let (past, present) = reader.heads(&devices).await?;
    for key in &past {
        devices.remove(key);
    }
    let heads: Vec<Head> = present.values().copied().collect();
    let risks = held.cache.risks(&tx, &heads).await?;
    let behind = reader.behind((&devices, &present)).await?;
    let heard = reader.heard(&present, &behind).await?;
    let brought = reader.since((&devices, &present), &behind).await?;
    // nothing was written
    tx.rollback().await.doing(READ)?;
    let whose = |key: i64| (key, provenance(ask, (key, present.get(&key)), &brought));
    let devices: Vec<(Whose, Arc<str>)> = devices
        .into_iter()
        .map(|(key, id)| (whose(key), id))
        .collect();
    let told = spawn_blocking(move || brought.told(risks, &heard, ask.as_of)).await;
    let told = told.map_err(|_| StoreError::Panicked)?;
    let place = Place {
        names,
        sites: &sites,
        ask,
    };
    let mut lean = place.all(&devices, told);
    for keys in past.chunks(PAST_AT_ONCE) {
        for read in held.devices(keys, ask).await?.into_iter().flatten() {
            lean.insert(read.key, Lean::from(&*read));
        }
    }
    Ok(lean.into_values().collect())
}

/// What a whole reading has of it.
impl From<&DeviceRead> for Lean {
    fn from(read: &DeviceRead) -> Self {
        Self {
            key: read.key,
            site_key: read.site_key,
            device: read.device.clone(),
            zone: read.zone,
            schedule: Arc::clone(&read.schedule),
            provenance: read.provenance,
            risk: Arc::new(read.state.risk.clone()),
            open: read.open.clone(),
        }
    }
}

/// How far the projection is behind.
struct Behind {
    /// Since when something may have happened to whatever device that is not folded.
    horizon: i64,
    /// Since when what happened is read of all devices together, where they are many: since the hour that was over last
    /// if that is still to be folded of many of them.
    from: i64,
    /// Since when it is of devices of which hours that are over are still to be folded.
    due: BTreeMap<i64, i64>,
}

impl Behind {
    fn new(horizon: i64, due: BTreeMap<i64, i64>) -> Self {
        let before = horizon - HOUR;
        let last = due
            .values()
            .filter(|from| (before..horizon).contains(*from));
        let from = if last.count() > SOME_MAX {
            before
        } else {
            horizon
        };
        Self { horizon, from, due }
    }

    /// Since when something may have happened to a device that is not folded.
    fn folded(&self, key: i64) -> i64 {
        self.due
            .get(&key)
            .map_or(self.horizon, |due| self.horizon.min(*due))
    }

    /// The devices to which something happened before what is read of all, each with since when.
    fn early(&self) -> Vec<[i64; 2]> {
        let due = self.due.iter().map(|(key, from)| [*key, *from]);
        due.filter(|[_, from]| *from < self.from).collect()
    }
}

/// Reads many devices in one transaction.
struct Reader<'a> {
    tx: &'a DatabaseTransaction,
    sources: Sources<'a>,
    sites: Arc<Sites>,
    ask: Ask,
}

impl Reader<'_> {
    fn names(&self) -> &Names {
        self.sources.names
    }

    /// The hour in which the instant lies.
    fn open(&self) -> i64 {
        hour_of(self.ask.as_of).0
    }

    /// The devices that are asked for, by their keys, with their ids.
    fn devices(&self, keys: Option<&[i64]>) -> BTreeMap<i64, Arc<str>> {
        let Some(keys) = keys else {
            let all = self.sites.ids();
            let keyed = all.filter_map(|id| {
                let key = self.names().key(EntityType::Device, id)?;
                Some((key, Arc::from(id)))
            });
            return keyed.collect();
        };
        let named = keys.iter().filter_map(|key| {
            let id = self.names().id(*key)?;
            let is_device = self.names().key(EntityType::Device, &id) == Some(*key);
            is_device.then_some((*key, id))
        });
        named.collect()
    }

    /// Of each device the state in use, of the provenance that is asked for: those of which it has something that is
    /// later are told apart, by their keys.
    async fn heads(
        &self,
        devices: &BTreeMap<i64, Arc<str>>,
    ) -> Result<(Vec<i64>, BTreeMap<i64, Head>), StoreError> {
        let some: Option<Vec<i64>> =
            is_some(devices.len()).then(|| devices.keys().copied().collect());
        let mut present: BTreeMap<i64, Head> = BTreeMap::new();
        for head in rows::heads(self.tx, some.as_deref()).await? {
            let (key, provenance) = head.whose;
            let is_asked = self.ask.provenance.is_none_or(|asked| asked == provenance);
            let has_begun = head.first_at <= self.ask.as_of.0;
            if !is_asked || !has_begun || !devices.contains_key(&key) {
                continue;
            }
            // they come in the order in which they are preferred, if anything was measured
            let held = present.entry(key).or_insert(head);
            if held.measured_at == 0 && head.measured_at > 0 {
                *held = head;
            }
        }
        let open = self.open();
        let past = present.values().filter(|head| head.upto > open);
        let past: Vec<i64> = past.map(|head| head.whose.0).collect();
        present.retain(|_, head| head.upto <= open);
        Ok((past, present))
    }

    async fn behind(
        &self,
        (devices, present): (&BTreeMap<i64, Arc<str>>, &BTreeMap<i64, Head>),
    ) -> Result<Behind, StoreError> {
        let far = self.ask.as_of.0 - BACK;
        let horizon = Horizon::of(self.tx).await?;
        let horizon = horizon.map_or(far, |horizon| horizon.at);
        let keys: Option<Vec<i64>> =
            is_some(devices.len()).then(|| devices.keys().copied().collect());
        let mut due: BTreeMap<i64, i64> = BTreeMap::new();
        for ((key, provenance), from) in rows::due(self.tx, keys.as_deref()).await? {
            let head = present.get(&key);
            if !devices.contains_key(&key) || !self.is_read(head, provenance) {
                continue;
            }
            // before the first of what is due nothing happened that is not folded
            let from = head.map_or(from.max(far), |head| from.max(head.upto));
            let held = due.entry(key).or_insert(from);
            *held = from.min(*held);
        }
        Ok(Behind::new(horizon, due))
    }

    /// Whether what is of a provenance is read of a device.
    fn is_read(&self, head: Option<&Head>, provenance: Provenance) -> bool {
        let asked = self.ask.provenance;
        head.map_or_else(
            || asked.is_none_or(|asked| asked == provenance),
            |head| head.whose.1 == provenance,
        )
    }

    async fn heard(
        &self,
        present: &BTreeMap<i64, Head>,
        behind: &Behind,
    ) -> Result<BTreeMap<Whose, Heard>, StoreError> {
        let readings = Readings {
            tx: self.tx,
            present,
            is_some: is_some(present.len()),
            as_of: self.ask.as_of,
            folded: &|head: &Head| behind.folded(head.whose.0),
        };
        readings.heard().await
    }

    /// What happened since: of few devices to each since it is folded, of many since an instant, and before that to
    /// those that are due from an earlier one.
    fn since<'r>(
        &'r self,
        (devices, present): (&'r BTreeMap<i64, Arc<str>>, &'r BTreeMap<i64, Head>),
        behind: &'r Behind,
    ) -> BoxFuture<'r, Result<Brought, StoreError>> {
        let end = self.ask.as_of.0.saturating_add(1);
        let is_some = is_some(devices.len());
        let (alone, until): (Vec<[i64; 2]>, i64) = if is_some {
            let since = |key: &i64| {
                let folded = behind.folded(*key);
                let upto = present.get(key).map_or(folded, |head| head.upto);
                [*key, folded.min(upto)]
            };
            (devices.keys().map(since).collect(), end)
        } else {
            (behind.early(), end.min(behind.from))
        };
        Box::pin(async move {
            let mut brought = Brought::default();
            let mut each = |event: &Event| {
                let Some(key) = event.fact.device_key() else {
                    return Ok(());
                };
                let head = present.get(&key);
                let is_folded = head.is_some_and(|head| event.fact.occurred_at.0 < head.upto);
                let provenance = event.fact.provenance;
                if is_folded || !devices.contains_key(&key) || !self.is_read(head, provenance) {
                    return Ok(());
                }
                brought.take((key, provenance), event)
            };
            for kind in KINDS {
                for devices in alone.chunks(SOME_MAX) {
                    let since = Since {
                        kind,
                        columns: Columns::SMALL,
                        devices,
                        until,
                        upto: i64::MAX,
                    };
                    each_since(self.tx, self.sources, since, &mut each).await?;
                }
                if !is_some {
                    let asked = (kind, Columns::SMALL, (behind.from, end));
                    each_of_all(self.tx, self.sources, asked, &mut each).await?;
                }
            }
            Ok(brought)
        })
    }
}

/// Whether devices are so few that each is looked for by itself.
const fn is_some(devices: usize) -> bool {
    devices <= SOME_MAX
}

/// From where what is read of a device comes.
fn provenance(ask: Ask, (key, head): (i64, Option<&Head>), brought: &Brought) -> Provenance {
    let folded = head.map(|head| head.whose.1);
    let mut all = Provenance::ALL.into_iter();
    let first = all.find(|of| folded == Some(*of) || brought.has((key, *of)));
    ask.provenance.or(folded).or(first).unwrap_or_default()
}

/// Who devices are and where they stand as of an instant.
struct Place<'a> {
    names: &'a Names,
    sites: &'a Sites,
    ask: Ask,
}

impl Place<'_> {
    /// The devices that are registered, with what is told of them, by their keys.
    fn all(&self, devices: &[(Whose, Arc<str>)], mut told: Told) -> BTreeMap<i64, Lean> {
        let all = devices.iter().filter_map(|(whose, id)| {
            let one = self.one(*whose, id)?;
            let told = told.remove(whose);
            let (risk, open) = told.unwrap_or_else(|| (Arc::default(), one.open.clone()));
            Some((one.key, Lean { risk, open, ..one }))
        });
        all.collect()
    }

    /// A device of which nothing is known.
    fn one(&self, (key, provenance): Whose, id: &str) -> Option<Lean> {
        let as_of = self.ask.as_of;
        let device = self.sites.device(id, as_of)?;
        let site_key = self.names.key(EntityType::Site, &device.site);
        let local = self.sites.local(id, as_of);
        Some(Lean {
            key,
            site_key: site_key.unwrap_or_default(),
            device: device.clone(),
            zone: local.zone,
            schedule: local.schedule,
            provenance,
            risk: Arc::default(),
            open: DeviceHour {
                start: hour_of(as_of),
                ..DeviceHour::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_comes_back_is_read_alone_and_the_last_hour_of_many_together() {
        let horizon = 1_000 * HOUR;
        let some = |count: i64, hours: i64| {
            let due = (0..count).map(move |key| (key, horizon - hours * HOUR));
            due.collect::<BTreeMap<i64, i64>>()
        };
        let mut due = some(900, 1);
        due.insert(5_000, horizon - 72 * HOUR);
        let behind = Behind::new(horizon, due);
        assert_eq!((behind.from, behind.early().len()), (horizon, 901));
        assert_eq!(behind.folded(5_000), horizon - 72 * HOUR);
        assert_eq!(behind.folded(4_000), horizon);
        let mut due = some(1_100, 1);
        due.insert(5_000, horizon - 72 * HOUR);
        let behind = Behind::new(horizon, due);
        assert_eq!(behind.from, horizon - HOUR);
        assert_eq!(behind.early(), [[5_000, horizon - 72 * HOUR]]);
        // of many that are due from days ago what happened to others is not read
        let behind = Behind::new(horizon, some(1_100, 72));
        assert_eq!((behind.from, behind.early().len()), (horizon, 1_100));
    }
}
