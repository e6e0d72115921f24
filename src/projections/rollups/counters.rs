//! By how much counters grew.
//!
//! A counter counts from the midnight of its site, so it grew by what it shows if nothing was shown before on
//! the same day, or if it has fallen, or if it counts another currency; and else by what it shows more. That
//! is known for each reading from the one before it, so a reading that comes late changes what the one
//! after it says. Mostly none does, and then what was shown last is all that has to be known; else the day of
//! the device is read again, as far as its events were not deleted for good.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono_tz::Tz;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value as SqlValue};

use super::super::upsert::upsert;
use super::gather::{Growth, key_of, merge_packed, of_recorded};
use super::places::Places;
use super::refold::Outstanding;
use super::shows::Shows;
use super::spans::Spans;
use super::tables::{DEVICE_QUARTERS, Key, all};
use crate::kinds::Form;
use crate::rollups::cell::growth;
use crate::rollups::days::LastDay;
use crate::rollups::packed::Row;
use crate::rollups::shape::{Reading, Shape};
use crate::rollups::sketch::Room;
use crate::rollups::value::Value;
use crate::store::{Doing, List, Sql, StoreError};

/// Longer than any two clocks are apart.
pub(super) const APART: i64 = 26 * 3_600_000_000;

/// Bytes that it takes at most to find out by how much the counters of a reading grew.
pub(crate) const STEP_BYTES: usize = 4 * size_of::<Step>();

/// Whose counter it is: device, provenance and measure.
pub(super) type Whose = (i64, i64, usize);

/// What a counter showed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(super) at: i64,
    pub(super) units: i64,
    pub(super) currency: String,
}

impl Shown {
    /// Which units a counter showed when. In what it counted then is told by where it stood, as is known now.
    pub(super) fn of(whose: Whose, (at, units): (i64, i64), places: &Places) -> Self {
        Self {
            at,
            units,
            currency: places.currency(whose.0, at),
        }
    }

    /// By how much a counter grew from what it showed before, if anything, to this of a day that began then.
    pub(super) fn grown_since(&self, before: Option<&Self>, begin: i64) -> i128 {
        let is_other = |before: &Self| before.at < begin || before.currency != self.currency;
        let anew = before.is_none_or(is_other);
        let before = before.map(|before| i128::from(before.units));
        growth(before, i128::from(self.units), anew)
    }

    /// In order of time, and of one instant by units.
    pub(super) const fn order(&self) -> (i64, i64) {
        (self.at, self.units)
    }
}

/// What each counter of some devices showed last.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    /// When, and how many units.
    shown: BTreeMap<Whose, (i64, i64)>,
    /// Whether nothing comes after it, whatever it is.
    has_ended: bool,
}

impl Latest {
    /// Later than anything that is read: all of it is read again.
    pub(super) const fn ended() -> Self {
        Self {
            shown: BTreeMap::new(),
            has_ended: true,
        }
    }

    /// As it was kept.
    pub(crate) async fn of(
        db: &impl ConnectionTrait,
        shape: &Shape,
        devices: BTreeSet<i64>,
    ) -> Result<Self, StoreError> {
        if !shape.forms.contains(&Form::Counter) {
            return Ok(Self::default());
        }
        let mut sql = Sql::new(
            "SELECT device_key, provenance, measure, shown_at, units \
             FROM rollup_counters WHERE ",
        );
        sql.among("device_key", List::Int(devices.into_iter().collect()));
        let mut latest = Self::default();
        for row in all(db, sql).await? {
            let read = || {
                let measure: i64 = row.try_get_by_index(2)?;
                let shown = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
                let (device, provenance) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                Ok(((device, provenance, measure), shown))
            };
            let ((device, provenance, measure), shown) = read().doing("read counters")?;
            let measure = usize::try_from(measure).unwrap_or_default();
            latest.shown.insert((device, provenance, measure), shown);
        }
        Ok(latest)
    }

    /// Keeps it.
    pub(super) async fn put(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let rows = self.shown.into_iter().map(|(whose, shown)| {
            let (device, provenance, measure) = whose;
            let measure = i64::try_from(measure).unwrap_or_default();
            let (at, units) = shown;
            vec![
                SqlValue::from(device),
                provenance.into(),
                measure.into(),
                at.into(),
                units.into(),
            ]
        });
        upsert(tx, INSERT, rows.collect(), MERGE).await
    }
}

const INSERT: &str = "INSERT INTO rollup_counters \
    (device_key, provenance, measure, shown_at, units)";
const MERGE: &str = "ON CONFLICT (device_key, provenance, measure) DO UPDATE SET \
    shown_at = excluded.shown_at, units = excluded.units";

/// One value of a counter, and what must be known of where it was shown.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) shown: Shown,
    pub(super) zone: Tz,
    pub(super) key: Key,
}

impl Step {
    /// That of a reading that showed so many units.
    pub(super) fn of(shape: &Shape, (reading, units): (&Reading, i64), places: &Places) -> Self {
        let key = key_of(shape, reading, places);
        let place = places.at(reading.device, reading.at);
        let shown = Shown {
            at: reading.at,
            units,
            currency: key.currency.clone(),
        };
        let zone = place.map_or(Tz::UTC, |place| place.zone);
        Self { shown, zone, key }
    }
}

/// What the counters of a reading show.
pub(super) fn shown(shape: &Shape, reading: &Reading) -> impl Iterator<Item = (Whose, i64)> {
    let values = reading.values.iter().zip(&shape.forms).enumerate();
    values.filter_map(|(measure, (value, form))| match (value, form) {
        (Some(Value::Decimal(units)), Form::Counter) => {
            Some(((reading.device, reading.provenance, measure), *units))
        }
        _ => None,
    })
}

/// Where it is read again what counters showed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// In the log, as it was recorded up to a position.
    Log(i64),
    /// Here, of all the time that is asked for: it was read before.
    Held(&'a Shows),
}

type Steps = BTreeMap<Whose, Vec<Step>>;

fn steps(shape: &Shape, readings: &[Reading], places: &Places) -> Steps {
    let mut steps = Steps::new();
    for reading in readings {
        for (whose, units) in shown(shape, reading) {
            let step = Step::of(shape, (reading, units), places);
            steps.entry(whose).or_default().push(step);
        }
    }
    for steps in steps.values_mut() {
        steps.sort_by_key(|step| step.shown.order());
    }
    steps
}

/// Follows a counter from value to value.
#[derive(Debug, Default)]
pub(super) struct Chain {
    before: Option<Shown>,
    day: LastDay,
}

impl Chain {
    /// From what was shown before, if anything was.
    pub(super) fn after(before: Option<Shown>) -> Self {
        let day = LastDay::default();
        Self { before, day }
    }

    /// What it grew by to a value.
    pub(super) fn to(&mut self, step: &Step) -> i128 {
        let (begin, _) = self.day(step);
        let before = self.before.replace(step.shown.clone());
        step.shown.grown_since(before.as_ref(), begin)
    }

    /// Goes on to a value of which it is not asked what it grew by to it.
    pub(super) fn pass(&mut self, shown: Shown) {
        self.before = Some(shown);
    }

    fn day(&mut self, step: &Step) -> (i64, i64) {
        self.day.of(step.shown.at, step.zone)
    }
}

/// What counters grew by with some readings, which are in what is read again, beyond what is kept; and what they
/// show last is from then on known. On days that are still to be summed up anew what is kept stays until then:
/// it is of where the device was thought to be.
pub(crate) async fn grown(
    tx: &DatabaseTransaction,
    shape: &Shape,
    readings: &[Reading],
    (places, latest, source): (&Places, &mut Latest, Source<'_>),
) -> Result<Growth, StoreError> {
    let mut grown = Growth::new();
    let mut late = Late::new();
    let steps = steps(shape, readings, places);
    let mut chains = Vec::with_capacity(steps.len());
    for (whose, steps) in &steps {
        let known = latest.shown.get(whose).copied();
        let before = known.map(|known| Shown::of(*whose, known, places));
        let mut chain = Chain::after(before);
        let in_time =
            |step: &Step| !latest.has_ended && known.is_none_or(|known| step.shown.order() > known);
        let (fresh, behind): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|s| in_time(s));
        for step in behind {
            let days = late.entry((whose.0, whose.1)).or_default();
            days.insert(chain.day(step));
        }
        if let Some(last) = fresh.last() {
            latest.shown.insert(*whose, last.shown.order());
        }
        chains.push((whose, chain, fresh));
    }
    let outstanding = outstanding(tx, shape, &late).await?;
    // what is read again holds these as well
    let read_again = |whose: &Whose, at: i64| {
        let days = late.get(&(whose.0, whose.1));
        let days = days.filter(|_| !outstanding.has(whose.0, at));
        days.is_some_and(|days| {
            days.iter()
                .any(|day| within(widened(places, whose.0, *day).1, at))
        })
    };
    for (whose, mut chain, fresh) in chains {
        for step in fresh {
            let more = chain.to(step);
            if !read_again(whose, step.shown.at) {
                add(&mut grown, &step.key, whose.2, more);
            }
        }
    }
    let by = By {
        places,
        source,
        outstanding,
    };
    for ((device, provenance), days) in late {
        for window in joined(days.into_iter().map(|day| widened(places, device, day))) {
            let of = ((device, provenance), &steps);
            again(tx, shape, of, (&by, window), &mut grown).await?;
        }
    }
    for growth in grown.values_mut() {
        growth.retain(|_, more| *more != 0);
    }
    grown.retain(|_, growth| !growth.is_empty());
    Ok(grown)
}

/// Days of devices and provenances of which something has come late.
type Late = HashMap<(i64, i64), BTreeSet<(i64, i64)>>;

/// What of these devices is still to be summed up anew.
async fn outstanding(
    tx: &DatabaseTransaction,
    shape: &Shape,
    late: &Late,
) -> Result<Outstanding, StoreError> {
    if late.is_empty() {
        return Ok(Outstanding::default());
    }
    let devices = late.keys().map(|(device, _)| *device);
    Outstanding::of(tx, devices.collect(), shape.floor()).await
}

/// By what it is told how counters grew.
struct By<'a> {
    places: &'a Places,
    source: Source<'a>,
    outstanding: Outstanding,
}

fn add(grown: &mut Growth, key: &Key, measure: usize, more: i128) {
    let held = grown.entry(key.clone()).or_default();
    *held.entry(measure).or_default() += more;
}

const fn within((from, until): (i64, i64), at: i64) -> bool {
    from <= at && at < until
}

/// What is read to know what counters grew by on a day, and over which time that is then known. On a device
/// that has moved between zones the days of two readings may be others.
type Window = ((i64, i64), (i64, i64));

fn widened(places: &Places, device: i64, (begin, end): (i64, i64)) -> Window {
    if places.has_moved(device) {
        return ((begin - APART, end + APART), (begin, end + APART));
    }
    ((begin, end), (begin, end))
}

/// Windows that overlap as one.
fn joined(windows: impl Iterator<Item = Window>) -> Vec<Window> {
    let mut joined: Vec<Window> = Vec::new();
    for (read, known) in windows {
        match joined.last_mut().filter(|(_, last)| known.0 < last.1) {
            Some((last_read, last_known)) => {
                last_read.1 = last_read.1.max(read.1);
                last_known.1 = last_known.1.max(known.1);
            }
            None => joined.push((read, known)),
        }
    }
    joined
}

/// Adds by how much more the counters of a device grew over a window than is kept. Where events were deleted for
/// good what is kept stays, and what is new there is added to what its rows tell.
async fn again(
    tx: &DatabaseTransaction,
    shape: &Shape,
    ((device, provenance), new): ((i64, i64), &Steps),
    (by, (read, known)): (&By<'_>, Window),
    grown: &mut Growth,
) -> Result<(), StoreError> {
    let floor = shape.floor();
    let deleted = (read.0, read.1.min(floor));
    let mut spans = Spans::of(tx, shape, &[device], deleted).await?;
    let of_these = new.range((device, provenance, 0)..=(device, provenance, usize::MAX));
    for (whose, steps) in of_these {
        for step in steps.iter().filter(|step| within(deleted, step.shown.at)) {
            let changes = spans.insert(*whose, step).into_iter();
            for (key, more) in changes.filter(|_| within(known, step.shown.at)) {
                add(grown, &key, whose.2, more);
            }
        }
    }
    let read = (read.0.max(floor), read.1);
    let known = (known.0.max(floor), known.1);
    if known.0 >= known.1 {
        return Ok(());
    }
    let shows = shown_in(tx, shape, ((device, provenance), read), by.source).await?;
    let is_told = |at: i64| within(known, at) && !by.outstanding.has(device, at);
    let mut before: BTreeMap<Whose, Shown> = spans.before(floor).collect();
    for (whose, steps) in shows.steps(shape, by.places) {
        let mut chain = Chain::after(before.remove(&whose));
        for step in steps {
            let more = chain.to(&step);
            if is_told(step.shown.at) {
                add(grown, &step.key, whose.2, more);
            }
        }
    }
    let whose = (shape.kind.code(), device);
    let mut held = DEVICE_QUARTERS.within(tx, whose, known).await?;
    held.retain(|key, _| key.provenance == provenance && is_told(key.bucket));
    take(grown, shape, &held)
}

/// Takes off by how much counters grew as some rows tell.
fn take(
    grown: &mut Growth,
    shape: &Shape,
    rows: &BTreeMap<Key, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut room = Room::default();
    for (key, packed) in rows {
        let mut row = Row::new(shape.forms.len());
        merge_packed(&mut row, shape, (key, packed), &mut room)?;
        for (measure, cell) in row.cells.iter().enumerate() {
            if let Some(cell) = cell.as_ref().filter(|cell| cell.increase != 0) {
                add(grown, key, measure, -cell.increase);
            }
        }
    }
    Ok(())
}

/// What the counters of a device and a provenance showed within some time.
async fn shown_in(
    tx: &DatabaseTransaction,
    shape: &Shape,
    ((device, provenance), time): ((i64, i64), (i64, i64)),
    source: Source<'_>,
) -> Result<Shows, StoreError> {
    let upto = match source {
        Source::Held(shows) => return Ok(shows.of_device((device, provenance), time)),
        Source::Log(upto) => upto,
    };
    let add_to = |shows: &mut Shows, reading: Reading| {
        if reading.provenance == provenance {
            shows.add(shape, &reading);
        }
    };
    of_recorded(tx, shape, (Some(&[device]), time, upto), add_to).await
}
