//! Folds what is due in parts: some devices at once, of a day at most, so that what was archived of a day is read for
//! all of them. What a part is made of is read before its transaction, so that nobody who writes waits for that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::task::spawn_blocking;

use super::super::rollups::tables::all;
use super::days::Day;
use super::due::{EVER, Horizon, begin_anew, put as put_due};
use super::facts::{Asked, Facts, KINDS, Whose, read, sites};
use super::plan::{Change, Due, Start, Task};
use super::rows::{self, Base, InUse};
use super::{FOLD, Told};
use crate::event::{Position, Provenance};
use crate::insights::device::Encoded;
use crate::insights::input::{DAY, HOUR};
use crate::insights::sites::Sites;
use crate::kinds::Kind;
use crate::store::{
    Archive, Columns, Doing, Names, Part, Since, Sources, Sql, StoreError, next_of,
};

/// Devices of which a part is at most.
const DEVICES_MAX: usize = 256;
/// Events of a kind of which a part is at most, unless they are of one device and one hour.
const EVENTS_MAX: usize = 10_000;

/// How many devices are tried at once: as many as went into the last part, or some more.
#[derive(Debug)]
pub(super) struct AtOnce(AtomicUsize);

impl Default for AtOnce {
    fn default() -> Self {
        Self(AtomicUsize::new(DEVICES_MAX / 2))
    }
}

/// A part, with what it is made of.
#[derive(Debug)]
pub(super) struct Piece {
    archive: Option<Archive>,
    /// Of the list of segments of which its events were read.
    generation: Option<i64>,
    what: What,
    told: Told,
}

#[derive(Debug)]
enum What {
    /// What is kept is of another form.
    Anew(Horizon),
    /// From which hours on devices are due, and what becomes of them.
    Folded(BTreeMap<Whose, i64>, Vec<Change>),
}

/// Reads what the next part is made of, from what was recorded up to a position.
pub(super) async fn next(
    tx: &DatabaseTransaction,
    sources: Sources<'_>,
    (upto, at_once): (Position, &AtOnce),
) -> Result<Option<Piece>, StoreError> {
    let Some(horizon) = Horizon::of(tx).await? else {
        return Ok(None);
    };
    let noted = noted(tx).await?;
    if noted.is_empty() {
        return Ok(None);
    }
    let reader = Reader {
        tx,
        sources,
        horizon: horizon.at,
        upto: upto.0,
    };
    let first = noted.values().min().copied();
    let what = if !horizon.is_of_this_version() {
        What::Anew(horizon)
    } else if first == Some(EVER) {
        let mut noted = noted;
        noted.retain(|_, from| *from == EVER);
        let changes = reader.firsts(&noted).await?;
        What::Folded(noted, changes)
    } else {
        let changes = reader.fold(&noted, at_once).await?;
        What::Folded(noted, changes)
    };
    Ok(Some(Piece {
        archive: sources.archive.cloned(),
        generation: generation(tx, sources.archive).await?,
        what,
        told: Told::default(),
    }))
}

/// The devices that are due from the earliest hours on.
async fn noted(tx: &DatabaseTransaction) -> Result<BTreeMap<Whose, i64>, StoreError> {
    let sql = format!(
        "SELECT device_key FROM insight_due ORDER BY from_at, device_key, provenance LIMIT {DEVICES_MAX}"
    );
    let mut devices: BTreeSet<i64> = BTreeSet::new();
    for row in all(tx, Sql::new(sql)).await? {
        devices.insert(row.try_get_by_index(0).doing(FOLD)?);
    }
    let devices: Vec<i64> = devices.into_iter().collect();
    rows::due(tx, Some(&devices)).await
}

/// The generation of the list of segments. What is deleted for good or erased raises it as well.
async fn generation(
    tx: &DatabaseTransaction,
    archive: Option<&Archive>,
) -> Result<Option<i64>, StoreError> {
    match archive {
        Some(archive) => archive.generation(tx).await.map(Some),
        None => Ok(None),
    }
}

/// Reads what a part is made of.
struct Reader<'a> {
    tx: &'a DatabaseTransaction,
    sources: Sources<'a>,
    /// Before when hours are over.
    horizon: i64,
    upto: i64,
}

impl Reader<'_> {
    /// Finds out with which hour devices begin of which all is to be folded.
    async fn firsts(&self, noted: &BTreeMap<Whose, i64>) -> Result<Vec<Change>, StoreError> {
        let devices: BTreeSet<i64> = noted.keys().map(|(key, _)| *key).collect();
        let devices: Vec<[i64; 2]> = devices.into_iter().map(|key| [key, EVER]).collect();
        let next = self.next_of(&devices).await?;
        let change = |whose: &Whose| Change {
            whose: *whose,
            in_use: None,
            days: BTreeMap::new(),
            gone: Vec::new(),
            due: next.get(&whose.0).map(|next| next.div_euclid(HOUR) * HOUR),
        };
        Ok(noted.keys().map(change).collect())
    }

    /// When something happens to devices next, in an hour that is over.
    async fn next_of(&self, devices: &[[i64; 2]]) -> Result<BTreeMap<i64, i64>, StoreError> {
        let since = Since {
            kind: Kind::DeviceMetrics,
            columns: Columns::NONE,
            devices,
            until: self.horizon,
            upto: self.upto,
        };
        let next = next_of(self.tx, self.sources.archive, (&KINDS, since)).await?;
        let keys = devices.iter().map(|[key, _]| *key);
        let next = keys.zip(next);
        Ok(next.filter_map(|(key, next)| Some((key, next?))).collect())
    }

    /// Reads and folds some devices, of those that are due.
    async fn fold(
        &self,
        noted: &BTreeMap<Whose, i64>,
        at_once: &AtOnce,
    ) -> Result<Vec<Change>, StoreError> {
        let mut starts = self.starts(noted).await?;
        starts.sort_by_key(|(due, start)| (start.at, due.whose));
        let Some(front) = starts.first().map(|(_, start)| start.at) else {
            return Ok(Vec::new());
        };
        let mut until = ((front.div_euclid(DAY) + 1) * DAY).min(self.horizon);
        // one of which nothing is left to be folded is due no more
        let horizon = self.horizon;
        starts.retain(|(_, start)| start.at < until || start.at >= horizon);
        starts.truncate(at_once.0.load(Ordering::Relaxed).max(1));
        let events = loop {
            match self.events(&starts, until).await? {
                Some(events) => break events,
                None if starts.len() > 1 => starts.truncate(starts.len() / 2),
                None => until = front + ((until - front) / 2).div_euclid(HOUR).max(1) * HOUR,
            }
        };
        let count: usize = events.values().map(Vec::len).sum();
        let next = if count < EVENTS_MAX / 4 {
            2 * starts.len()
        } else {
            starts.len()
        };
        at_once
            .0
            .store(next.clamp(1, DEVICES_MAX), Ordering::Relaxed);
        self.change(starts, events, until).await
    }

    /// From where on each device is folded.
    async fn starts(&self, noted: &BTreeMap<Whose, i64>) -> Result<Vec<(Due, Start)>, StoreError> {
        let devices: BTreeSet<i64> = noted.keys().map(|(key, _)| *key).collect();
        let devices: Vec<i64> = devices.into_iter().collect();
        let heads = rows::heads(self.tx, Some(&devices)).await?;
        let heads: BTreeMap<Whose, rows::Head> =
            heads.into_iter().map(|head| (head.whose, head)).collect();
        let mut days = rows::days(self.tx, &devices).await?;
        let whole_since = match self.sources.archive {
            Some(archive) => archive.whole_since(self.tx).await?,
            None => HashMap::new(),
        };
        let since = KINDS.iter().filter_map(|kind| whole_since.get(kind));
        let since = since.map(|since| since.0).max().unwrap_or(i64::MIN);
        let starts = noted.iter().map(|(whose, from)| {
            let due = Due {
                whose: *whose,
                from: *from,
                head: heads.get(whose).copied(),
                days: days.remove(whose).unwrap_or_default(),
            };
            let start = due.start(since);
            (due, start)
        });
        Ok(starts.collect())
    }

    /// What happened to devices from where they are folded on and before an instant; `None` if it is too much.
    async fn events(
        &self,
        starts: &[(Due, Start)],
        until: i64,
    ) -> Result<Option<Facts>, StoreError> {
        let mut from: BTreeMap<i64, i64> = BTreeMap::new();
        for (due, start) in starts {
            let held = from.entry(due.whose.0).or_insert(start.at);
            *held = start.at.min(*held);
        }
        let devices: Vec<[i64; 2]> = from.into_iter().map(|(key, from)| [key, from]).collect();
        let is_least =
            starts.len() == 1 && starts.iter().all(|(_, start)| until - start.at <= HOUR);
        let asked = Asked {
            devices: &devices,
            until,
            upto: self.upto,
            max: if is_least { usize::MAX } else { EVENTS_MAX },
        };
        read(self.tx, self.sources, asked).await
    }

    /// What becomes of devices when they are folded up to an instant.
    async fn change(
        &self,
        starts: Vec<(Due, Start)>,
        mut events: Facts,
        until: i64,
    ) -> Result<Vec<Change>, StoreError> {
        let bases: Vec<Base> = starts.iter().filter_map(|(_, start)| start.base).collect();
        let mut bases = rows::states(self.tx, &bases).await?;
        let devices: BTreeSet<i64> = starts.iter().map(|(due, _)| due.whose.0).collect();
        let devices: Vec<i64> = devices.into_iter().collect();
        let sites = sites(self.tx, self.sources.names, (&devices, self.upto)).await?;
        let after: Vec<[i64; 2]> = devices.iter().map(|key| [*key, until]).collect();
        let next = self.next_of(&after).await?;
        let mut tasks = Vec::with_capacity(starts.len());
        for (due, start) in starts {
            let (key, _) = due.whose;
            let mut events = events.remove(&due.whose).unwrap_or_default();
            // of two provenances one may begin earlier
            events.retain(|event| event.fact.occurred_at.0 >= start.at);
            let task = Task {
                base: start.base.and_then(|base| bases.remove(&base)),
                next: next.get(&key).copied(),
                due,
                start,
                events,
            };
            tasks.push((id_of(self.sources.names, key), task));
        }
        folded(tasks, (sites, until)).await
    }
}

/// The id of a device, as its events have it.
fn id_of(names: &Names, key: i64) -> Arc<str> {
    names.id(key).unwrap_or_else(|| Arc::from(key.to_string()))
}

/// Folds where that holds nobody up.
async fn folded(
    tasks: Vec<(Arc<str>, Task)>,
    (sites, until): (Sites, i64),
) -> Result<Vec<Change>, StoreError> {
    let fold = move || {
        let tasks = tasks.into_iter();
        let changes = tasks.map(|(id, task)| task.fold((&id, &sites), until));
        changes.collect::<Result<Vec<Change>, StoreError>>()
    };
    spawn_blocking(fold)
        .await
        .map_err(|_| StoreError::Panicked)?
}

impl Piece {
    /// The same, which tells how much is left when it is done.
    pub(super) fn telling(self, told: &Told) -> Self {
        Self {
            told: told.clone(),
            ..self
        }
    }
}

impl Part for Piece {
    fn put<'a>(&'a self, tx: &'a DatabaseTransaction) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if generation(tx, self.archive.as_ref()).await? != self.generation {
                return Ok(());
            }
            match &self.what {
                What::Anew(horizon) => begin_anew(tx, *horizon).await?,
                What::Folded(noted, changes) => put(tx, noted, changes).await?,
            }
            self.told.look(tx).await
        })
    }
}

/// Puts what becomes of devices, unless somebody else has.
async fn put(
    tx: &DatabaseTransaction,
    noted: &BTreeMap<Whose, i64>,
    changes: &[Change],
) -> Result<(), StoreError> {
    let devices: BTreeSet<i64> = changes.iter().map(|change| change.whose.0).collect();
    let devices: Vec<i64> = devices.into_iter().collect();
    let due = rows::due(tx, Some(&devices)).await?;
    let is_same = |change: &Change| due.get(&change.whose) == noted.get(&change.whose);
    if !changes.iter().all(is_same) {
        return Ok(());
    }
    let code = |(key, provenance): (i64, Provenance)| [key, provenance.code()];
    let gone = changes.iter().flat_map(|change| {
        let [key, provenance] = code(change.whose);
        change
            .gone
            .iter()
            .map(move |until| [key, provenance, *until])
    });
    let gone: Vec<[i64; 3]> = gone.collect();
    let days = ["device_key", "provenance", "until_at"];
    rows::delete(tx, ("device_insight_days", days), &gone).await?;
    let mut days: Vec<(Whose, Day, &Encoded)> = Vec::new();
    for change in changes {
        let of_device = change.days.iter();
        days.extend(of_device.map(|(day, state)| (change.whose, *day, state)));
    }
    rows::put_days(tx, &days).await?;
    let in_use = changes.iter().filter_map(|change| change.in_use.as_ref());
    let in_use: Vec<&InUse> = in_use.collect();
    rows::put_in_use(tx, &in_use).await?;
    let done: Vec<[i64; 2]> = changes.iter().map(|change| code(change.whose)).collect();
    rows::delete(tx, ("insight_due", ["device_key", "provenance"]), &done).await?;
    let due = changes
        .iter()
        .filter_map(|change| Some((code(change.whose), change.due?)));
    put_due(tx, due.collect()).await
}
