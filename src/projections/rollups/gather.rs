//! Sums events up in memory: what is then added to the tables, or to an answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::TryStreamExt;
use sea_orm::{ConnectionTrait, DatabaseTransaction, StreamTrait};

use super::others;
use super::places::Places;
use super::tables::{
    DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS, Key, Level, SITE_DAYS, SITE_HOURS, SITE_MINUTES,
    SITE_QUARTERS,
};
use crate::event::{Event, Instant};
use crate::kinds::Kind;
use crate::rollups::labels::Ranks;
use crate::rollups::packed::{Row, Wanted};
use crate::rollups::shape::{Reading, Shape};
use crate::rollups::sketch::Room;
use crate::store::{Archive, Doing, Happened, Lent, List, Sql, StoreError, label_secret};

/// How often events are read again when some were archived meanwhile.
const TRIES: usize = 8;

/// By how much a counter grew, more than is kept: of a row, for each measure.
pub(crate) type Growth = BTreeMap<Key, BTreeMap<usize, i128>>;

/// What is to be added to the quarters of devices, and all that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) rows: BTreeMap<Key, Row>,
    pub(crate) growth: Growth,
}

/// The row of the quarters of devices to which a reading belongs.
pub(crate) fn key_of(shape: &Shape, reading: &Reading, places: &Places) -> Key {
    let place = places.at(reading.device, reading.at);
    // nothing but what devices measure of themselves is money
    let currency = if shape.measured.by_site {
        places.currency(reading.device, reading.at)
    } else {
        String::new()
    };
    Key {
        owner: reading.device,
        provenance: reading.provenance,
        bucket: DEVICE_QUARTERS.bucket(reading.at),
        site: reading
            .site
            .or(place.map(|place| place.site))
            .unwrap_or_default(),
        currency,
        labels: reading.labels.clone(),
    }
}

impl Sums {
    /// The rows of some readings, without what counters grew by.
    pub(crate) fn of(shape: &Shape, readings: &[Reading], places: &Places) -> Self {
        let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
        for reading in readings {
            let row = rows.entry(key_of(shape, reading, places));
            let row = row.or_insert_with(|| Row::new(shape.forms.len()));
            row.add(&shape.forms, reading, Wanted::ALL);
        }
        Self {
            rows,
            growth: Growth::new(),
        }
    }

    /// The rows of some readings of sites, minute by minute, of those that happened since an instant. What
    /// counters grew by is not told of minutes.
    pub(super) fn minutes(
        shape: &Shape,
        readings: &[Reading],
        (places, since): (&Places, i64),
    ) -> Self {
        let mut sums = Self::default();
        for reading in readings.iter().filter(|reading| reading.at >= since) {
            let mut key = SITE_MINUTES.above(&key_of(shape, reading, places));
            key.bucket = SITE_MINUTES.bucket(reading.at);
            let row = sums.rows.entry(key);
            let row = row.or_insert_with(|| Row::new(shape.forms.len()));
            row.add(&shape.forms, reading, Wanted::ALL);
        }
        sums
    }

    /// The same for the rows of another level, which are sums of these.
    fn above(&self, level: Level) -> Self {
        let mut above = Self::default();
        for (key, row) in &self.rows {
            let held = above.rows.entry(level.above(key));
            match held {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(row.clone());
                }
                std::collections::btree_map::Entry::Occupied(mut held) => held.get_mut().merge(row),
            }
        }
        for (key, growth) in &self.growth {
            let held = above.growth.entry(level.above(key)).or_default();
            for (measure, more) in growth {
                *held.entry(*measure).or_default() += more;
            }
        }
        above
    }

    /// Adds it to the tables.
    pub(super) async fn add(
        self,
        tx: &DatabaseTransaction,
        shape: &Shape,
    ) -> Result<(), StoreError> {
        let hours = self.above(DEVICE_HOURS);
        let days = hours.above(DEVICE_DAYS);
        if shape.measured.by_site {
            let of_sites = [
                (self.above(SITE_QUARTERS), SITE_QUARTERS),
                (hours.above(SITE_HOURS), SITE_HOURS),
                (days.above(SITE_DAYS), SITE_DAYS),
            ];
            for (sums, level) in of_sites {
                sums.add_to(tx, shape, level).await?;
            }
        }
        days.add_to(tx, shape, DEVICE_DAYS).await?;
        hours.add_to(tx, shape, DEVICE_HOURS).await?;
        self.add_to(tx, shape, DEVICE_QUARTERS).await
    }

    /// Adds it to one table.
    pub(super) async fn add_to(
        mut self,
        tx: &DatabaseTransaction,
        shape: &Shape,
        level: Level,
    ) -> Result<(), StoreError> {
        let kind = shape.kind.code();
        for key in self.growth.keys() {
            if !self.rows.contains_key(key) {
                self.rows.insert(key.clone(), Row::new(shape.forms.len()));
            }
        }
        let mut held = level.load(tx, kind, self.rows.keys()).await?;
        others::bound(tx, (shape, level), &mut self.rows, &mut held).await?;
        let mut room = Room::default();
        let mut packed = Vec::with_capacity(self.rows.len());
        for (key, mut row) in self.rows {
            match held.get(&key) {
                Some(held) => merge_packed(&mut row, shape, (&key, held), &mut room)?,
                // what it grew by is told of a row that is still to be made
                None if row.events == 0 => continue,
                None => {}
            }
            for (measure, more) in self.growth.get(&key).into_iter().flatten() {
                if let Some(Some(cell)) = row.cells.get_mut(*measure) {
                    cell.increase += more;
                }
            }
            let bytes = row.pack(&shape.forms, key.bucket);
            packed.push((key, bytes));
        }
        level.put(tx, kind, packed.into_iter()).await
    }
}

/// Adds a row as it is kept.
pub(super) fn merge_packed(
    row: &mut Row,
    shape: &Shape,
    (key, packed): (&Key, &[u8]),
    room: &mut Room,
) -> Result<(), StoreError> {
    let of = (&*shape.forms, key.bucket);
    let merged = row.merge_packed(packed, of, Wanted::ALL, room);
    merged.map_err(|_| StoreError::Row {
        table: "a rollup",
        column: "cells",
    })
}

/// Of whom events are read: of these devices, and of none if 0 is among them; or of all.
pub(crate) type Who<'a> = Option<&'a [i64]>;

/// Which events are read one by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single<'a> {
    pub(crate) who: Who<'a>,
    /// From an instant until before another.
    pub(crate) time: (i64, i64),
    /// Up to this position.
    pub(crate) upto: i64,
    /// Of the table no more than so many and one.
    pub(crate) max: usize,
}

/// Hands single events over as they are met, archived or not, in no order, until one is refused. Whether all of
/// them are of one state of the log: in a transaction that sees one they are.
pub(crate) async fn each_recorded<E: From<StoreError>>(
    tx: &DatabaseTransaction,
    shape: &Shape,
    single: Single<'_>,
    mut each: impl FnMut(Reading) -> Result<(), E> + Send,
) -> Result<bool, E> {
    let Some(archive) = &shape.archive else {
        in_table(tx, shape, single, &mut each).await?;
        return Ok(true);
    };
    let generation = archive.generation(tx).await?;
    in_table(tx, shape, single, &mut each).await?;
    let happened = Happened {
        kind: shape.kind,
        devices: single.who,
        time: single.time,
        upto: single.upto,
        fields: &shape.fields(),
        has_source: false,
    };
    let archived = |event: &Event| each(shape.reading(event));
    archive.each(tx, (generation, happened), archived).await?;
    Ok(archive.generation(tx).await? == generation)
}

/// What is made of single events, anew if some were archived meanwhile. Where it is known since when the log is
/// whole, it still is so then.
pub(crate) async fn of_recorded<T: Default + Send>(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (who, time, upto): (Who<'_>, (i64, i64), i64),
    add: impl Fn(&mut T, Reading) + Send + Sync,
) -> Result<T, StoreError> {
    let max = usize::MAX;
    let single = Single {
        who,
        time,
        upto,
        max,
    };
    for _ in 0..TRIES {
        let mut made = T::default();
        let each = |reading| {
            add(&mut made, reading);
            Ok::<_, StoreError>(())
        };
        if !each_recorded(tx, shape, single, each).await? {
            continue;
        }
        if whole_in(tx, shape).await? > shape.whole_from {
            // something was deleted since it was looked for
            break;
        }
        return Ok(made);
    }
    Err(StoreError::SegmentsMoved)
}

/// All of them, of a time in which there are not too many.
pub(super) async fn recorded(
    tx: &DatabaseTransaction,
    shape: &Shape,
    who: Who<'_>,
    (time, upto): ((i64, i64), i64),
) -> Result<Vec<Reading>, StoreError> {
    of_recorded(tx, shape, (who, time, upto), Vec::push).await
}

async fn in_table<E: From<StoreError>>(
    tx: &DatabaseTransaction,
    shape: &Shape,
    single: Single<'_>,
    each: &mut (impl FnMut(Reading) -> Result<(), E> + Send),
) -> Result<(), E> {
    let (from, until) = single.time;
    let mut sql = select(shape);
    sql.push("t.occurred_at >= ").bind(from);
    sql.push(" AND t.occurred_at < ").bind(until);
    sql.push(" AND t.position <= ").bind(single.upto);
    let spec = shape.kind.spec();
    let device = spec.device_index().and_then(|index| spec.fields.get(index));
    if let (Some(device), Some(keys)) = (device, single.who) {
        let column = format!("t.{}", device.column.name());
        sql.push(" AND (");
        match keys {
            [key] if *key != 0 => sql.push(&column).push(" = ").bind(*key),
            keys => sql.among(&column, List::Int(keys.to_vec())),
        };
        if keys.contains(&0) {
            sql.push(" OR ").push(&column).push(" IS NULL");
        }
        sql.push(")");
    }
    let limit = i64::try_from(single.max).unwrap_or(i64::MAX);
    sql.push(" LIMIT ").bind(limit.saturating_add(1));
    streamed(tx, (shape, sql), each).await
}

/// Hands the rows of a statement over as they come.
async fn streamed<E: From<StoreError>>(
    tx: &DatabaseTransaction,
    (shape, sql): (&Shape, Sql),
    each: &mut (impl FnMut(Reading) -> Result<(), E> + Send),
) -> Result<(), E> {
    let statement = sql.statement(ConnectionTrait::get_database_backend(tx));
    let rows = tx.stream_raw(statement).await.doing(READ)?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.doing(READ)? {
        each(shape.row(&row)?)?;
    }
    Ok(())
}

const READ: &str = "read single events";

/// Events after a position and up to another, in their order, as long as there is room for them.
pub(crate) async fn appended(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (after, upto): (i64, i64),
    lent: &mut Lent<'_>,
) -> Result<Vec<Reading>, StoreError> {
    let mut sql = select(shape);
    sql.push("t.position > ").bind(after);
    sql.push(" AND t.position <= ").bind(upto);
    sql.push(" ORDER BY t.position");
    let mut readings = Vec::new();
    let mut each = |reading: Reading| {
        lent.take(reading.weight_bytes())?;
        readings.push(reading);
        Ok::<_, StoreError>(())
    };
    streamed(tx, (shape, sql), &mut each).await?;
    Ok(readings)
}

fn select(shape: &Shape) -> Sql {
    let (columns, table) = (shape.columns(), shape.kind.spec().table);
    Sql::new(format!("SELECT {columns} FROM {table} t WHERE "))
}

/// The devices that some readings name.
pub(crate) fn devices(readings: &[Reading]) -> BTreeSet<i64> {
    let devices = readings.iter().map(|reading| reading.device);
    devices.filter(|device| *device != 0).collect()
}

/// What of each kind is summed up.
pub(super) fn shapes() -> Vec<Shape> {
    Kind::all().filter_map(Shape::of).collect()
}

/// The same, with by what labels are ranked, what was archived and since when each is whole in the log.
pub(super) async fn shapes_in(
    db: &impl ConnectionTrait,
    archive: Option<&Archive>,
) -> Result<Vec<Shape>, StoreError> {
    let mut shapes = shapes();
    let ranks = ranks(db).await?;
    for shape in &mut shapes {
        shape.ranks = Some(ranks.clone());
    }
    if let Some(archive) = archive {
        let since = archive.whole_since(db).await?;
        for shape in &mut shapes {
            shape.whole_from = Some(whole_from(&since, shape.kind));
            shape.archive = Some(archive.clone());
        }
    }
    Ok(shapes)
}

/// By what labels are ranked in this log.
async fn ranks(db: &impl ConnectionTrait) -> Result<Ranks, StoreError> {
    let secret = label_secret(db).await?;
    Ranks::of(&secret).ok_or(StoreError::Row {
        table: "log_head",
        column: "label_secret",
    })
}

/// What is summed up of a kind, with by what its labels are ranked and since when it is whole in the log.
pub(crate) async fn whole(db: &impl ConnectionTrait, shape: &Shape) -> Result<Shape, StoreError> {
    let mut shape = shape.clone();
    shape.whole_from = whole_in(db, &shape).await?;
    if shape.open.is_some() {
        shape.ranks = Some(ranks(db).await?);
    }
    Ok(shape)
}

/// Since when a kind is whole in the log, where it is known what was archived.
async fn whole_in(db: &impl ConnectionTrait, shape: &Shape) -> Result<Option<i64>, StoreError> {
    let Some(archive) = &shape.archive else {
        return Ok(None);
    };
    let since = archive.whole_since(db).await?;
    Ok(Some(whole_from(&since, shape.kind)))
}

/// The midnight that follows the last event of a kind that was deleted for good.
pub(super) fn whole_from(since: &HashMap<Kind, Instant>, kind: Kind) -> i64 {
    let since = since.get(&kind).map_or(0, |since| since.0);
    DEVICE_DAYS.bucket(since.saturating_add(DEVICE_DAYS.width - 1))
}
