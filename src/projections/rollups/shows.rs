//! What counters showed at single instants, held in few bytes until all of it is there: by how much a counter
//! grew to a value is known only once it is known what it showed before.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;

use super::counters::{APART, Chain, Shown, Step, Whose, shown};
use super::places::Places;
use super::spans::Spans;
use super::tables::{Key, all};
use crate::event::Event;
use crate::rollups::packed::Wanted;
use crate::rollups::shape::{Reading, Shape};
use crate::store::{Doing, Happened, List, Sql, StoreError};

/// Devices of which it is found in one statement what they showed last.
const LOOKS_MAX: usize = 1_000;
/// Devices of which rows are read in one statement.
const ROWS_OF_MAX: usize = 50;
const READ: &str = "read what counters showed before";

/// When, how many units, and its place among what was said beside.
type Show = (i64, i64, usize);

/// The site that a reading names, and its labels.
type Said = (Option<i64>, String);

/// What counters showed.
#[derive(Debug, Default)]
pub(crate) struct Shows {
    of: BTreeMap<Whose, Vec<Show>>,
    said: BTreeMap<Said, usize>,
}

/// What counters showed that is known beside the events of some time.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The last before that time, by events: when, and how many units.
    told: Told,
    /// By rows, where events were deleted for good: the last before that time, and before events are whole in it.
    summed_up: BTreeMap<Whose, Vec<Shown>>,
}

type Told = BTreeMap<Whose, (i64, i64)>;

impl Beside {
    /// What is known of a counter, in order of time. An event that is still there is in its row as well, which
    /// tells more of it.
    fn take(&mut self, whose: Whose, places: &Places) -> Vec<Shown> {
        let told = self.told.remove(&whose);
        let told = told.map(|shown| Shown::of(whose, shown, places));
        let summed_up = self.summed_up.remove(&whose).unwrap_or_default();
        let mut all: Vec<Shown> = told.into_iter().chain(summed_up).collect();
        all.sort_by_key(Shown::order);
        all
    }
}

/// The row of the quarter of a value, when it was shown, and by how much which measure grew to it.
pub(crate) type Grown = (i64, Key, (usize, i128));

impl Shows {
    /// Bytes that a value takes, while there may be room for as many more.
    pub(crate) const BYTES: usize = 2 * size_of::<Show>();

    /// Adds what a reading shows; answers how many counters that are.
    pub(crate) fn add(&mut self, shape: &Shape, reading: &Reading) -> usize {
        let mut added = 0;
        for (whose, units) in shown(shape, reading) {
            let next = self.said.len();
            let said = (reading.site, reading.labels.clone());
            let said = *self.said.entry(said).or_insert(next);
            let shows = self.of.entry(whose).or_default();
            shows.push((reading.at, units, said));
            added += 1;
        }
        added
    }

    /// Forgets what those of a device and of all behind it show.
    pub(super) fn forget_from(&mut self, device: i64) {
        self.of.retain(|(of, ..), _| *of < device);
    }

    /// What those of a device and a provenance show within some time.
    pub(super) fn of_device(
        &self,
        (device, provenance): (i64, i64),
        (from, until): (i64, i64),
    ) -> Self {
        let whose = (device, provenance, 0)..=(device, provenance, usize::MAX);
        let within = |shows: &Vec<Show>| {
            let shows = shows.iter();
            let shows = shows.filter(|(at, ..)| (from..until).contains(at));
            shows.copied().collect()
        };
        let of = self.of.range(whose);
        Self {
            of: of.map(|(whose, shows)| (*whose, within(shows))).collect(),
            said: self.said.clone(),
        }
    }

    /// The values of each counter, in order of time.
    pub(super) fn steps(
        self,
        shape: &Shape,
        places: &Places,
    ) -> impl Iterator<Item = (Whose, Vec<Step>)> {
        let said = self.said.into_iter().map(|(said, place)| (place, said));
        let said: BTreeMap<usize, Said> = said.collect();
        self.of.into_iter().map(move |(whose, mut shows)| {
            shows.sort_unstable();
            let step = |(at, units, place): &Show| {
                let (site, labels) = said.get(place).cloned().unwrap_or_default();
                let reading = Reading {
                    at: *at,
                    provenance: whose.1,
                    device: whose.0,
                    site,
                    is_part: false,
                    labels,
                    values: Vec::new(),
                };
                Step::of(shape, (&reading, *units), places)
            };
            (whose, shows.iter().map(step).collect())
        })
    }

    /// By how much counters grew to each of these values, which are all that there are of some time, beside what
    /// else is known.
    pub(crate) fn grown<E>(
        self,
        shape: &Shape,
        (places, mut beside): (&Places, Beside),
        mut each: impl FnMut(Grown) -> Result<(), E>,
    ) -> Result<(), E> {
        for (whose, steps) in self.steps(shape, places) {
            let mut beside = beside.take(whose, places).into_iter().peekable();
            let mut chain = Chain::default();
            for step in steps {
                let is_before = |shown: &Shown| shown.order() < step.shown.order();
                while let Some(shown) = beside.next_if(is_before) {
                    chain.pass(shown);
                }
                let more = chain.to(&step);
                each((step.shown.at, step.key, (whose.2, more)))?;
            }
        }
        Ok(())
    }

    /// What these counters showed beside these values, which are of some time and were recorded up to a position.
    pub(crate) async fn beside(
        &self,
        tx: &DatabaseTransaction,
        shape: &Shape,
        ((since, until), upto): ((i64, i64), i64),
    ) -> Result<Beside, StoreError> {
        let mut alike: BTreeMap<(i64, usize), Vec<i64>> = BTreeMap::new();
        for (device, provenance, measure) in self.of.keys() {
            let devices = alike.entry((*provenance, *measure)).or_default();
            devices.push(*device);
        }
        // nothing of the day before counts, and no day is longer
        let within = ((since - APART, since), upto);
        let mut beside = Beside::default();
        for (of, devices) in alike {
            for devices in devices.chunks(LOOKS_MAX) {
                last_of(tx, shape, (of, devices), within, &mut beside.told).await?;
            }
        }
        self.archived(tx, shape, within, &mut beside.told).await?;
        let floor = Some(shape.floor()).filter(|floor| since < *floor && *floor < until);
        for at in [since].into_iter().chain(floor) {
            let deleted = (at - APART, at.min(shape.floor()));
            for devices in self.devices().chunks(ROWS_OF_MAX) {
                let spans = Spans::of(tx, shape, devices, deleted).await?;
                for (whose, shown) in spans.before(at) {
                    beside.summed_up.entry(whose).or_default().push(shown);
                }
            }
        }
        Ok(beside)
    }

    /// The devices whose counters these are.
    fn devices(&self) -> Vec<i64> {
        let devices: BTreeSet<i64> = self.of.keys().map(|(device, ..)| *device).collect();
        devices.into_iter().collect()
    }

    /// Adds what was archived, where that is later.
    async fn archived(
        &self,
        tx: &DatabaseTransaction,
        shape: &Shape,
        (time, upto): ((i64, i64), i64),
        told: &mut Told,
    ) -> Result<(), StoreError> {
        let devices = self.devices();
        let (Some(archive), false) = (&shape.archive, devices.is_empty()) else {
            return Ok(());
        };
        let happened = Happened {
            kind: shape.kind,
            devices: Some(&devices),
            time,
            upto,
            fields: &shape.fields(),
            has_source: false,
        };
        let each = |event: &Event| {
            note(shape, &shape.reading(event), told);
            Ok::<_, StoreError>(())
        };
        let generation = archive.generation(tx).await?;
        archive.each(tx, (generation, happened), each).await
    }
}

/// Notes what a reading shows, if it is later than what is known.
fn note(shape: &Shape, reading: &Reading, told: &mut Told) {
    for (whose, units) in shown(shape, reading) {
        let held = told.entry(whose).or_insert((reading.at, units));
        *held = (reading.at, units).max(*held);
    }
}

/// Notes what a measure of some devices was last within some time, with one look at the index for each.
async fn last_of(
    tx: &DatabaseTransaction,
    shape: &Shape,
    ((provenance, measure), devices): ((i64, usize), &[i64]),
    ((from, until), upto): ((i64, i64), i64),
    told: &mut Told,
) -> Result<(), StoreError> {
    let spec = shape.kind.spec();
    let device = spec.device_index().and_then(|index| spec.fields.get(index));
    let (Some(device), Some(column)) = (device, shape.column_of(measure)) else {
        return Ok(());
    };
    let (table, device) = (spec.table, device.column.name());
    let mut sql = Sql::new(format!(
        "SELECT (SELECT t.position FROM {table} t WHERE t.{device} = k.value AND t.provenance = "
    ));
    sql.bind(provenance).push(" AND t.occurred_at >= ");
    sql.bind(from).push(" AND t.occurred_at < ");
    sql.bind(until).push(" AND t.position <= ").bind(upto);
    sql.push(&format!(
        " AND t.{column} IS NOT NULL ORDER BY t.occurred_at DESC, t.{column} DESC LIMIT 1) FROM "
    ));
    sql.each(devices);
    let mut positions: Vec<i64> = Vec::new();
    for row in all(tx, sql).await? {
        let position: Option<i64> = row.try_get_by_index(0).doing(READ)?;
        positions.extend(position);
    }
    if positions.is_empty() {
        return Ok(());
    }
    let shape = shape.only(Wanted {
        measures: 1 << measure,
        sketches: false,
        counts: false,
    });
    let columns = shape.columns();
    let mut sql = Sql::new(format!("SELECT {columns} FROM {table} t WHERE "));
    sql.among("t.position", List::Int(positions));
    sql.push(" AND t.occurred_at >= ").bind(from);
    sql.push(" AND t.occurred_at < ").bind(until);
    for row in all(tx, sql).await? {
        note(&shape, &shape.row(&row)?, told);
    }
    Ok(())
}
