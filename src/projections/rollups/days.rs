//! Makes days of devices again that stood elsewhere than was known: one day of many devices after the other,
//! so that what was archived of a day is read for all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;

use super::super::upsert::upsert;
use super::counters::{APART, Latest, Source, grown};
use super::gather::{Sums, of_recorded};
use super::hours::{INSERT_SITE, MERGE_SITE};
use super::places::{Moved, Places};
use super::refold::{DAY, READ, READ_MAX, note, replace};
use super::shows::Shows;
use super::tables::{DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS, Key, all, run};
use crate::kinds::Form;
use crate::rollups::shape::{Reading, Shape};
use crate::store::{Doing, List, Sql, StoreError};

/// Devices of which a part is, and days of all of them together after which it ends.
const DAYS_MAX: usize = 32;
/// Events that are read for a day, with those around it that tell what counters showed, unless they are of one
/// device.
const MET_MAX: usize = 100_000;

/// The next days of some devices, of those that are written down.
#[derive(Debug)]
pub(super) struct Days {
    /// What is written down of them, and what is left of that then.
    notes: Vec<Moved>,
    rests: Vec<Moved>,
    read: Vec<Day>,
}

impl Days {
    /// Reads them, of what was recorded up to a position.
    pub(super) async fn next(
        tx: &DatabaseTransaction,
        shapes: &[Shape],
        upto: i64,
    ) -> Result<Option<Self>, StoreError> {
        let notes = noted(tx).await?;
        if notes.is_empty() {
            return Ok(None);
        }
        let mut fronts = Vec::with_capacity(notes.len());
        for note in &notes {
            fronts.push(day_of(tx, shapes, *note).await?);
        }
        let (mut days, mut made, mut read) = (Vec::new(), 0, 0);
        while made < DAYS_MAX && read < READ_MAX {
            let Some(begin) = fronts.iter().flatten().min().copied() else {
                break;
            };
            let at_front = notes.iter().zip(&fronts);
            let at_front = at_front.filter(|(_, front)| **front == Some(begin));
            let devices = at_front.map(|((device, _), _)| *device).collect();
            let day = Day::read(tx, shapes, (begin, devices), upto).await?;
            for ((device, (_, until)), front) in notes.iter().zip(&mut fronts) {
                if *front == Some(begin) && day.devices.contains(device) {
                    *front = day_of(tx, shapes, (*device, (begin + DAY, *until))).await?;
                }
            }
            made += day.devices.len();
            read += day.events();
            days.push(day);
        }
        let rests = notes.iter().zip(fronts);
        let rests = rests.filter_map(|((device, (from, until)), front)| {
            front.map(|front| (*device, (front.max(*from), *until)))
        });
        let rests = rests.collect();
        Ok(Some(Self {
            notes,
            rests,
            read: days,
        }))
    }

    /// Makes them, unless somebody else has.
    pub(super) async fn put(
        &self,
        tx: &DatabaseTransaction,
        shapes: &[Shape],
    ) -> Result<(), StoreError> {
        if noted(tx).await? != self.notes {
            return Ok(());
        }
        for (device, (from, _)) in &self.notes {
            let mut sql = Sql::new("DELETE FROM rollup_moves WHERE device_key = ");
            sql.bind(*device).push(" AND from_at = ").bind(*from);
            run(tx, sql).await?;
        }
        note(tx, &self.rests).await?;
        let mut sites = BTreeSet::new();
        for day in &self.read {
            sites.extend(day.put(tx, shapes).await?);
        }
        let rows = sites.into_iter();
        let rows = rows.map(|(site, day)| vec![site.into(), day.into(), day.into()]);
        upsert(tx, INSERT_SITE, rows.collect(), MERGE_SITE).await
    }
}

/// What is written down of the earliest times.
async fn noted(tx: &DatabaseTransaction) -> Result<Vec<Moved>, StoreError> {
    let sql = format!(
        "SELECT device_key, from_at, until_at FROM rollup_moves \
         ORDER BY from_at, device_key LIMIT {DAYS_MAX}"
    );
    let mut notes = Vec::new();
    for row in all(tx, Sql::new(sql)).await? {
        let number = |index| row.try_get_by_index(index).doing(READ);
        notes.push((number(0)?, (number(1)?, number(2)?)));
    }
    Ok(notes)
}

/// The first day within some time of which anything of a device is summed up that is whole in the log.
async fn day_of(
    tx: &DatabaseTransaction,
    shapes: &[Shape],
    (device, (from, until)): Moved,
) -> Result<Option<i64>, StoreError> {
    let mut sql = Sql::new("SELECT min(d.day_at) FROM (");
    for (ordinal, shape) in shapes.iter().enumerate() {
        let from = DEVICE_DAYS.bucket(from).max(shape.floor());
        sql.push(if ordinal == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT min(bucket_at) AS day_at FROM device_rollups_1d WHERE kind = ");
        sql.bind(shape.kind.code());
        sql.push(" AND device_key = ").bind(device);
        sql.push(" AND provenance IN (0, 1, 2) AND bucket_at >= ")
            .bind(from);
        sql.push(" AND bucket_at < ").bind(until);
    }
    sql.push(") AS d");
    let rows = all(tx, sql).await?;
    let day = rows.first().map(|row| row.try_get_by_index(0));
    Ok(day.transpose().doing(READ)?.flatten())
}

/// A day of some devices.
#[derive(Debug)]
struct Day {
    begin: i64,
    devices: BTreeSet<i64>,
    /// What they said, of each kind of which they said anything that is whole in the log.
    read: Vec<Option<Read>>,
}

impl Day {
    /// Reads what was recorded up to a position, of so many of the devices as there is room for.
    async fn read(
        tx: &DatabaseTransaction,
        shapes: &[Shape],
        (begin, mut devices): (i64, BTreeSet<i64>),
        upto: i64,
    ) -> Result<Self, StoreError> {
        let mut read = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let keys = if shape.floor() <= begin {
                summed_up(tx, shape, (begin, &devices)).await?
            } else {
                Vec::new()
            };
            if keys.is_empty() {
                read.push(None);
                continue;
            }
            // days of zones begin and end that far from here, and as far from there a counter is followed
            let has_counters = shape.forms.contains(&Form::Counter);
            let around = if has_counters { 2 * APART } else { 0 };
            let time = (begin - around, begin + DAY + around);
            let add = |read: &mut Read, reading| read.add(shape, begin, reading);
            let of_kind: Read = of_recorded(tx, shape, (Some(&keys), time, upto), add).await?;
            if let Some(until) = of_kind.until {
                devices.retain(|device| *device < until);
            }
            read.push(Some(of_kind));
        }
        Ok(Self {
            begin,
            devices,
            read,
        })
    }

    /// How many events are of it.
    fn events(&self) -> usize {
        let of_kinds = self.read.iter().flatten();
        let readings = of_kinds.flat_map(|read| read.readings.values());
        readings.map(Vec::len).sum()
    }

    /// Makes it again; answers which days of which sites are to be made again.
    async fn put(
        &self,
        tx: &DatabaseTransaction,
        shapes: &[Shape],
    ) -> Result<BTreeSet<(i64, i64)>, StoreError> {
        let places = Places::of(tx, self.devices.clone()).await?;
        let mut sites = BTreeSet::new();
        for (shape, read) in shapes.iter().zip(&self.read) {
            let Some(read) = read else { continue };
            for device in &self.devices {
                let keys = self.of(tx, shape, (*device, read), &places).await?;
                let days = keys.iter().map(|key| DEVICE_DAYS.bucket(key.bucket));
                for day in days.collect::<BTreeSet<i64>>() {
                    raise(tx, shape, (*device, day)).await?;
                }
                if shape.measured.by_site {
                    let keys = keys.iter();
                    sites.extend(keys.map(|key| (key.site, DEVICE_DAYS.bucket(key.bucket))));
                }
            }
        }
        Ok(sites)
    }

    /// Makes the quarters of a device again; answers which have changed.
    async fn of(
        &self,
        tx: &DatabaseTransaction,
        shape: &Shape,
        (device, read): (i64, &Read),
        places: &Places,
    ) -> Result<BTreeSet<Key>, StoreError> {
        let (whose, time) = ((shape.kind.code(), device), (self.begin, self.begin + DAY));
        let held = DEVICE_QUARTERS.within(tx, whose, time).await?;
        let mut keys: BTreeSet<Key> = held.into_keys().collect();
        if keys.is_empty() {
            return Ok(keys);
        }
        let readings = read.readings.get(&device).map_or(&[][..], Vec::as_slice);
        DEVICE_QUARTERS.delete(tx, whose, time).await?;
        let mut sums = Sums::of(shape, readings, places);
        // all of them are behind what is known, so the counters of the day are followed again
        let mut latest = Latest::ended();
        let of = (places, &mut latest, Source::Held(&read.shows));
        sums.growth = grown(tx, shape, readings, of).await?;
        keys.extend(sums.rows.keys().cloned());
        // a counter may count on over midnight
        keys.extend(sums.growth.keys().cloned());
        sums.add_to(tx, shape, DEVICE_QUARTERS).await?;
        Ok(keys)
    }
}

/// Those of some devices of which anything of a kind is summed up on a day.
async fn summed_up(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (day, devices): (i64, &BTreeSet<i64>),
) -> Result<Vec<i64>, StoreError> {
    let mut sql = Sql::new("SELECT DISTINCT device_key FROM device_rollups_1d WHERE kind = ");
    sql.bind(shape.kind.code()).push(" AND ");
    sql.among("device_key", List::Int(devices.iter().copied().collect()));
    sql.push(" AND provenance IN (0, 1, 2) AND bucket_at = ")
        .bind(day);
    let rows = all(tx, sql).await?;
    let keys = rows.iter().map(|row| row.try_get_by_index(0));
    keys.collect::<Result<_, _>>().doing(READ)
}

/// Makes the hours of a device on a day again, and the day.
async fn raise(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (device, day): (i64, i64),
) -> Result<(), StoreError> {
    let (whose, time) = ((shape.kind.code(), device), (day, day + DAY));
    let rows = DEVICE_QUARTERS.within(tx, whose, time).await?;
    replace(tx, shape, DEVICE_HOURS, (whose, time), rows).await?;
    let rows = DEVICE_HOURS.within(tx, whose, time).await?;
    replace(tx, shape, DEVICE_DAYS, (whose, time), rows).await
}

/// What devices said of a kind on a day, and what their counters showed around it.
#[derive(Debug, Default)]
struct Read {
    readings: BTreeMap<i64, Vec<Reading>>,
    shows: Shows,
    /// How many events were met, of each and of all.
    met: BTreeMap<i64, usize>,
    met_all: usize,
    /// The first of the devices for which there was no room.
    until: Option<i64>,
}

impl Read {
    fn add(&mut self, shape: &Shape, begin: i64, reading: Reading) {
        let device = reading.device;
        if self.until.is_some_and(|until| device >= until) {
            return;
        }
        self.shows.add(shape, &reading);
        *self.met.entry(device).or_default() += 1;
        self.met_all += 1;
        if (begin..begin + DAY).contains(&reading.at) {
            self.readings.entry(device).or_default().push(reading);
        }
        while self.met_all > MET_MAX && self.met.len() > 1 {
            let Some((last, met)) = self.met.pop_last() else {
                break;
            };
            self.met_all -= met;
            self.readings.remove(&last);
            self.shows.forget_from(last);
            self.until = Some(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kind;

    #[test]
    fn what_there_is_no_room_for_is_of_whole_devices() {
        let shape = Shape::of(Kind::DeviceMetrics).unwrap();
        let mut read = Read::default();
        for _ in 0..=MET_MAX / 3 {
            for device in [3, 1, 2] {
                let reading = Reading {
                    at: DAY,
                    provenance: 0,
                    device,
                    site: None,
                    is_part: false,
                    labels: String::new(),
                    values: Vec::new(),
                };
                read.add(&shape, DAY, reading);
            }
        }
        assert_eq!(read.until, Some(3));
        assert_eq!(read.readings.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(read.met_all, 2 * (MET_MAX / 3 + 1));
    }
}
