//! What failure risk and health read of many devices: states that are held in memory, with the few events since that
//! are no measures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

use super::{Ask, DeviceRead, Held, Lean};
use crate::event::{Event, Instant, Provenance};
use crate::insights::device::DeviceHour;
use crate::insights::input::DAY;
use crate::insights::replay::{configuration, error, hour_of, state, told_before};
use crate::insights::sites::Sites;
use crate::kinds::Kind;
use crate::projections::insights::Horizon;
use crate::projections::insights::facts::{Facts, Whose, device_key};
use crate::projections::insights::rows::{self, Head};
use crate::store::{
    Columns, Doing, EntityType, List, Names, Since, Sources, Sql, StoreError, happened,
    happened_to_all,
};

const READ: &str = "read what is kept of devices";
/// Devices up to which what happened since is looked for device by device.
const SOME_MAX: usize = 1_000;
/// How far back it is looked for by time.
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
        sites,
        ask,
    };
    let devices = reader.devices(keys);
    let (past, present) = reader.heads(&devices).await?;
    let heads: Vec<Head> = present.values().copied().collect();
    let risks = held.cache.risks(&tx, &heads).await?;
    let behind = reader.behind(&present).await?;
    let since = reader.since((&devices, &present), &behind).await?;
    let mut lean: BTreeMap<i64, Lean> = BTreeMap::new();
    for (key, id) in &devices {
        let head = present.get(key);
        let whose = (*key, reader.provenance(*key, head, &since));
        let Some(one) = reader.one(whose, id) else {
            continue;
        };
        let risk = head.and_then(|head| risks.get(&head.whose)).map(Arc::clone);
        let risk = risk.unwrap_or_default();
        let heard = behind
            .heard
            .get(key)
            .filter(|at| head.is_some_and(|head| **at > head.upto));
        let upto = head.map_or(i64::MIN, |head| head.upto);
        let events = since.get(&whose).map_or(&[][..], Vec::as_slice);
        lean.insert(
            *key,
            Lean {
                risk: heard.map_or_else(
                    || Arc::clone(&risk),
                    |at| Arc::new(risk.heard(Instant(*at), Instant(i64::MIN))),
                ),
                open: reader.brought(events, upto),
                ..one
            },
        );
    }
    // nothing was written
    tx.rollback().await.doing(READ)?;
    for read in held.devices(&past, ask).await?.into_iter().flatten() {
        lean.insert(read.key, Lean::from(&*read));
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
            provenance: read.provenance,
            risk: Arc::new(read.state.risk.clone()),
            open: read.open.clone(),
        }
    }
}

/// How far the projection is behind.
#[derive(Default)]
struct Behind {
    /// Since when something may have happened that is not folded.
    from: i64,
    /// The devices of which hours that are over are still to be folded.
    due: BTreeSet<i64>,
    /// The hours in which readings came last, of devices of which hours that are over may not be folded yet.
    heard: BTreeMap<i64, i64>,
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
        let some: Vec<i64> = devices.keys().copied().collect();
        let some = (some.len() <= SOME_MAX).then_some(some);
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

    async fn behind(&self, present: &BTreeMap<i64, Head>) -> Result<Behind, StoreError> {
        let horizon = Horizon::of(self.tx).await?.map_or(0, |horizon| horizon.at);
        let due = rows::due(self.tx, None).await?;
        let uptos = due.keys().filter_map(|(key, _)| present.get(key));
        let earliest = uptos.map(|head| head.upto).min().unwrap_or(horizon);
        let far = self.ask.as_of.0 - BACK;
        let mut behind = Behind {
            from: earliest.min(horizon).max(far.min(horizon)),
            due: due.into_keys().map(|(key, _)| key).collect(),
            heard: BTreeMap::new(),
        };
        if horizon >= self.open() && behind.due.is_empty() {
            return Ok(behind);
        }
        let mut sql =
            Sql::new("SELECT device_key, metrics_at FROM device_status WHERE metrics_at >= ");
        sql.bind(behind.from);
        if present.len() <= SOME_MAX {
            let keys = present.keys().copied().collect();
            sql.push(" AND ").among("device_key", List::Int(keys));
        }
        let rows = self
            .tx
            .query_all_raw(sql.statement(self.tx.get_database_backend()));
        for row in rows.await.doing(READ)? {
            let at: i64 = row.try_get_by_index(1).doing(READ)?;
            let at = hour_of(Instant(at)).0.min(self.open());
            behind
                .heard
                .insert(row.try_get_by_index(0).doing(READ)?, at);
        }
        Ok(behind)
    }

    /// What happened since, from an instant on, or from when a device is folded where that is earlier.
    async fn since(
        &self,
        (devices, present): (&BTreeMap<i64, Arc<str>>, &BTreeMap<i64, Head>),
        behind: &Behind,
    ) -> Result<Facts, StoreError> {
        let from = behind.from;
        let end = self.ask.as_of.0.saturating_add(1);
        let is_some = devices.len() <= SOME_MAX;
        let upto = |key: &i64| present.get(key).map_or(from, |head| head.upto.min(from));
        let is_early = |key: &i64| behind.due.contains(key) && upto(key) < from;
        let alone = devices.keys().filter(|key| is_some || is_early(key));
        let alone: Vec<[i64; 2]> = alone.map(|key| [*key, upto(key)]).collect();
        let mut since = Facts::new();
        for kind in KINDS {
            let mut events = Vec::new();
            for devices in alone.chunks(SOME_MAX) {
                let asked = Since {
                    kind,
                    columns: Columns::SMALL,
                    devices,
                    until: end,
                    upto: i64::MAX,
                };
                let read = happened(self.tx, self.sources, (asked, usize::MAX)).await?;
                events.extend(read.unwrap_or_default());
            }
            if !is_some {
                let asked = (kind, Columns::SMALL, (from, end));
                events.extend(happened_to_all(self.tx, self.sources, asked).await?);
            }
            for event in events {
                if let Some(key) = device_key(&event) {
                    since
                        .entry((key, event.fact.provenance))
                        .or_default()
                        .push(event);
                }
            }
        }
        for events in since.values_mut() {
            events.sort_by(|left, right| told_before(&left.fact, &right.fact));
            // one that is looked for alone is met twice
            events.dedup_by_key(|event| event.position);
        }
        Ok(since)
    }

    /// From where what is read of a device comes.
    fn provenance(&self, key: i64, head: Option<&Head>, since: &Facts) -> Provenance {
        let folded = head.map(|head| head.whose.1);
        let asked = self.ask.provenance;
        let mut all = Provenance::ALL.into_iter();
        let first = all.find(|of| folded == Some(*of) || since.contains_key(&(key, *of)));
        asked.or(folded).or(first).unwrap_or_default()
    }

    /// A device of which nothing is known.
    fn one(&self, (key, provenance): Whose, id: &str) -> Option<Lean> {
        let as_of = self.ask.as_of;
        let device = self.sites.device(id, as_of)?;
        let site_key = self.names().key(EntityType::Site, &device.site);
        Some(Lean {
            key,
            site_key: site_key.unwrap_or_default(),
            device: device.clone(),
            zone: self.sites.local(id, as_of).zone,
            provenance,
            risk: Arc::default(),
            open: DeviceHour::default(),
        })
    }

    /// What events brought that are not folded.
    fn brought(&self, events: &[Event], upto: i64) -> DeviceHour {
        let facts = || events.iter().map(|event| &event.fact);
        let since = || facts().filter(|fact| fact.occurred_at.0 >= upto);
        let of = |kind: Kind| since().filter(move |fact| fact.kind == kind);
        DeviceHour {
            start: Instant(self.open()),
            errors: of(Kind::ErrorLog).map(error).collect(),
            states: of(Kind::DeviceStateChange).map(state).collect(),
            configs: of(Kind::ConfigurationChange).map(configuration).collect(),
            ..DeviceHour::default()
        }
    }
}
