//! Sums events up in memory: what is then added to the tables, or to an answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::places::Places;
use super::tables::{
    DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS, Key, Level, SITE_DAYS, SITE_HOURS, SITE_MINUTES,
    SITE_QUARTERS, all,
};
use crate::event::Instant;
use crate::kinds::Kind;
use crate::rollups::packed::{Row, Wanted};
use crate::rollups::shape::{Reading, Shape};
use crate::rollups::sketch::Room;
use crate::store::{Archive, Happened, List, Sql, StoreError};

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
        let held = level.load(tx, kind, self.rows.keys()).await?;
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

/// Events that happened within some time, of those up to a position, archived or not; none if there are more
/// than a number. Where it is known since when the log is whole, it still is so then.
pub(crate) async fn recorded(
    db: &impl ConnectionTrait,
    shape: &Shape,
    who: Who<'_>,
    (time, upto): ((i64, i64), i64),
    max: usize,
) -> Result<Option<Vec<Reading>>, StoreError> {
    let Some(archive) = &shape.archive else {
        return in_table(db, shape, who, (time, upto), max).await;
    };
    let happened = Happened {
        kind: shape.kind,
        devices: who,
        time,
        upto,
    };
    for _ in 0..TRIES {
        let generation = archive.generation(db).await?;
        let of_table = in_table(db, shape, who, (time, upto), max).await?;
        let Some(mut readings) = of_table else {
            return Ok(None);
        };
        let archived = archive.events(db, (generation, happened), max).await?;
        if archive.generation(db).await? != generation {
            continue;
        }
        let is_whole = |since| {
            shape
                .whole_from
                .is_none_or(|at| whole_from(since, shape.kind) <= at)
        };
        if !is_whole(&archive.whole_since(db).await?) {
            // something was deleted since it was looked for
            break;
        }
        readings.extend(archived.iter().map(|event| shape.reading(event)));
        return Ok((readings.len() <= max).then_some(readings));
    }
    Err(StoreError::SegmentsMoved)
}

async fn in_table(
    db: &impl ConnectionTrait,
    shape: &Shape,
    who: Who<'_>,
    ((from, until), upto): ((i64, i64), i64),
    max: usize,
) -> Result<Option<Vec<Reading>>, StoreError> {
    let mut sql = select(shape);
    sql.push("t.occurred_at >= ").bind(from);
    sql.push(" AND t.occurred_at < ").bind(until);
    sql.push(" AND t.position <= ").bind(upto);
    let spec = shape.kind.spec();
    let device = spec.device_index().and_then(|index| spec.fields.get(index));
    if let (Some(device), Some(keys)) = (device, who) {
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
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    sql.push(" LIMIT ").bind(limit);
    let rows = all(db, sql).await?;
    if rows.len() > max {
        return Ok(None);
    }
    let readings = rows.iter().map(|row| shape.row(row));
    readings.collect::<Result<_, _>>().map(Some)
}

/// Events after a position and up to another, in their order.
pub(crate) async fn appended(
    db: &impl ConnectionTrait,
    shape: &Shape,
    (after, upto): (i64, i64),
) -> Result<Vec<Reading>, StoreError> {
    let mut sql = select(shape);
    sql.push("t.position > ").bind(after);
    sql.push(" AND t.position <= ").bind(upto);
    sql.push(" ORDER BY t.position");
    let rows = all(db, sql).await?;
    rows.iter().map(|row| shape.row(row)).collect()
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

/// The same, with what was archived and since when each is whole in the log.
pub(super) async fn shapes_in(
    db: &impl ConnectionTrait,
    archive: Option<&Archive>,
) -> Result<Vec<Shape>, StoreError> {
    let mut shapes = shapes();
    if let Some(archive) = archive {
        let since = archive.whole_since(db).await?;
        for shape in &mut shapes {
            shape.whole_from = Some(whole_from(&since, shape.kind));
            shape.archive = Some(archive.clone());
        }
    }
    Ok(shapes)
}

/// What is summed up of a kind, with since when it is whole in the log.
pub(crate) async fn whole(db: &impl ConnectionTrait, shape: &Shape) -> Result<Shape, StoreError> {
    let mut shape = shape.clone();
    if let Some(archive) = &shape.archive {
        let since = archive.whole_since(db).await?;
        shape.whole_from = Some(whole_from(&since, shape.kind));
    }
    Ok(shape)
}

/// The midnight that follows the last event of a kind that was deleted for good.
pub(super) fn whole_from(since: &HashMap<Kind, Instant>, kind: Kind) -> i64 {
    let since = since.get(&kind).map_or(0, |since| since.0);
    DEVICE_DAYS.bucket(since.saturating_add(DEVICE_DAYS.width - 1))
}
