//! Sums up anew what devices measured while they stood elsewhere than was known: a registration has come
//! late, or says something else of a site for a time that is past.
//!
//! Extrema and first values cannot be taken back out of a row, so the rows of the devices are made again from
//! the log, a day at a time, and those above them from the rows below. Where events were deleted for good rows
//! stay as they are: as what was known when they were summed up.
//!
//! One registration may be of years of many devices. So what is to be made again is written down, and worked
//! off in parts that are transactions of their own, while what comes is folded on. Days of devices come first,
//! then the hours of the sites at which they stood. Until then rows are as they were known before.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;

use super::super::upsert::upsert;
use super::counters::{Latest, grown};
use super::gather::{Sums, merge_packed, recorded};
use super::minutes;
use super::places::{Moved, Places};
use super::tables::{
    DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS, Key, Level, SITE_DAYS, SITE_HOURS, SITE_QUARTERS,
    all, run,
};
use crate::rollups::packed::Row;
use crate::rollups::shape::Shape;
use crate::rollups::sketch::Room;
use crate::store::{Doing, Sql, StoreError};

const DAY: i64 = DEVICE_DAYS.width;
const HOUR: i64 = SITE_HOURS.width;
/// Events and rows after which a part ends, and days of a device.
const READ_MAX: usize = 20_000;
const DAYS_MAX: usize = 31;
const READ: &str = "read what is summed up anew";

/// In which it is written down.
pub(super) const TABLES: [&str; 2] = ["rollup_moves", "rollup_moved_sites"];

/// Writes down which devices have stood elsewhere than was known, and when.
pub(super) async fn note(tx: &DatabaseTransaction, moved: &[Moved]) -> Result<(), StoreError> {
    let mut times: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (device, (from, until)) in moved {
        let held = times.entry((*device, *from)).or_insert(*until);
        *held = (*held).max(*until);
    }
    let rows = times.into_iter();
    let rows = rows.map(|((device, from), until)| vec![device.into(), from.into(), until.into()]);
    upsert(tx, INSERT_MOVE, rows.collect(), MERGE_MOVE).await
}

const INSERT_MOVE: &str = "INSERT INTO rollup_moves (device_key, from_at, until_at)";
const MERGE_MOVE: &str = "ON CONFLICT (device_key, from_at) DO UPDATE SET until_at = CASE WHEN \
    excluded.until_at > rollup_moves.until_at THEN excluded.until_at ELSE rollup_moves.until_at END";

/// Does a part of what is written down, from what was recorded up to a position.
pub(super) async fn go_on(
    tx: &DatabaseTransaction,
    shapes: &[Shape],
    upto: i64,
) -> Result<(), StoreError> {
    let next = "SELECT device_key, from_at, until_at FROM rollup_moves \
        ORDER BY device_key, from_at LIMIT 1";
    if let Some([device, from, until]) = first(tx, next).await? {
        return days(tx, shapes, (device, (from, until)), upto).await;
    }
    // all devices that stood at a site are behind it, so that its rows are sums of theirs
    let next = "SELECT site_key, day_at, hour_at FROM rollup_moved_sites \
        ORDER BY site_key, day_at LIMIT 1";
    if let Some(of) = first(tx, next).await? {
        return hours(tx, shapes, of, upto).await;
    }
    Ok(())
}

/// The numbers of the first row of a statement.
async fn first(tx: &DatabaseTransaction, sql: &str) -> Result<Option<[i64; 3]>, StoreError> {
    let rows = all(tx, Sql::new(sql)).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let number = |index| row.try_get_by_index(index).doing(READ);
    Ok(Some([number(0)?, number(1)?, number(2)?]))
}

/// Makes the next days of a device again, of those over which it stood elsewhere.
async fn days(
    tx: &DatabaseTransaction,
    shapes: &[Shape],
    (device, (from, until)): (i64, (i64, i64)),
    upto: i64,
) -> Result<(), StoreError> {
    let (mut next, mut read) = (from, 0);
    let mut sites = BTreeSet::new();
    for _ in 0..DAYS_MAX {
        let Some(day) = day_of(tx, shapes, device, (next, until)).await? else {
            next = until;
            break;
        };
        for shape in shapes.iter().filter(|shape| shape.floor() <= day) {
            let (keys, events) = of_day(tx, shape, device, (day, upto)).await?;
            let touched = keys.iter().map(|key| DEVICE_DAYS.bucket(key.bucket));
            for day in touched.collect::<BTreeSet<i64>>() {
                raise(tx, shape, (device, day)).await?;
            }
            if shape.measured.by_site {
                let keys = keys.iter();
                sites.extend(keys.map(|key| (key.site, DEVICE_DAYS.bucket(key.bucket))));
            }
            read += events;
        }
        next = day + DAY;
        if read >= READ_MAX {
            break;
        }
    }
    let rows = sites.into_iter();
    let rows = rows.map(|(site, day)| vec![site.into(), day.into(), day.into()]);
    upsert(tx, INSERT_SITE, rows.collect(), MERGE_SITE).await?;
    let mut sql = Sql::new("DELETE FROM rollup_moves WHERE device_key = ");
    sql.bind(device).push(" AND from_at = ").bind(from);
    run(tx, sql).await?;
    if next < until {
        note(tx, &[(device, (next, until))]).await?;
    }
    Ok(())
}

const INSERT_SITE: &str = "INSERT INTO rollup_moved_sites (site_key, day_at, hour_at)";
const MERGE_SITE: &str = "ON CONFLICT (site_key, day_at) DO UPDATE SET hour_at = excluded.hour_at";

/// The first day within some time of which anything of a device is summed up that is whole in the log.
async fn day_of(
    tx: &DatabaseTransaction,
    shapes: &[Shape],
    device: i64,
    (from, until): (i64, i64),
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

/// Makes the quarters of a device on a day again; answers which have changed, and of how many events they are.
async fn of_day(
    tx: &DatabaseTransaction,
    shape: &Shape,
    device: i64,
    (day, upto): (i64, i64),
) -> Result<(BTreeSet<Key>, usize), StoreError> {
    let (whose, time) = ((shape.kind.code(), device), (day, day + DAY));
    let mut keys: BTreeSet<Key> = DEVICE_QUARTERS
        .within(tx, whose, time)
        .await?
        .into_keys()
        .collect();
    if keys.is_empty() {
        return Ok((keys, 0));
    }
    let readings = recorded(tx, shape, Some(&[device]), (time, upto)).await?;
    let places = Places::of(tx, BTreeSet::from([device])).await?;
    DEVICE_QUARTERS.delete(tx, whose, time).await?;
    let mut sums = Sums::of(shape, &readings, &places);
    // all of them are behind what is known, so the counters of the day are read again
    let mut latest = Latest::ended();
    sums.growth = grown(tx, shape, &readings, (&places, &mut latest, upto)).await?;
    keys.extend(sums.rows.keys().cloned());
    // a counter may count on over midnight
    keys.extend(sums.growth.keys().cloned());
    sums.add_to(tx, shape, DEVICE_QUARTERS).await?;
    Ok((keys, readings.len()))
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

/// Makes the next hours of a site on a day again, and with the last of them the day.
async fn hours(
    tx: &DatabaseTransaction,
    shapes: &[Shape],
    [site, day, hour]: [i64; 3],
    upto: i64,
) -> Result<(), StoreError> {
    let by_site = || shapes.iter().filter(|shape| shape.measured.by_site);
    let by_site = || by_site().filter(|shape| shape.floor() <= day);
    let (mut hour, mut read) = (hour, 0);
    while hour < day + DAY && read < READ_MAX {
        for shape in by_site() {
            read += of_hour(tx, shape, (site, hour)).await?;
            read += minutes::again(tx, shape, (site, hour), upto).await?;
        }
        hour += HOUR;
    }
    if hour < day + DAY {
        let row = vec![site.into(), day.into(), hour.into()];
        return upsert(tx, INSERT_SITE, vec![row], MERGE_SITE).await;
    }
    for shape in by_site() {
        let (whose, time) = ((shape.kind.code(), site), (day, day + DAY));
        let rows = SITE_HOURS.within(tx, whose, time).await?;
        replace(tx, shape, SITE_DAYS, (whose, time), rows).await?;
    }
    let mut sql = Sql::new("DELETE FROM rollup_moved_sites WHERE site_key = ");
    sql.bind(site).push(" AND day_at = ").bind(day);
    run(tx, sql).await
}

/// Makes the quarters of a site in an hour again from those of its devices, and the hour; answers of how many
/// rows.
async fn of_hour(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (site, hour): (i64, i64),
) -> Result<usize, StoreError> {
    let (whose, time) = ((shape.kind.code(), site), (hour, hour + HOUR));
    let rows = DEVICE_QUARTERS.at_site(tx, whose, time).await?;
    let read = rows.len();
    replace(tx, shape, SITE_QUARTERS, (whose, time), rows).await?;
    let rows = SITE_QUARTERS.within(tx, whose, time).await?;
    replace(tx, shape, SITE_HOURS, (whose, time), rows).await?;
    Ok(read)
}

/// Puts the sums of rows in the place of those that a level has for some time.
async fn replace(
    tx: &DatabaseTransaction,
    shape: &Shape,
    level: Level,
    (whose, time): ((i64, i64), (i64, i64)),
    below: BTreeMap<Key, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut room = Room::default();
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for (key, packed) in &below {
        let row = rows.entry(level.above(key));
        let row = row.or_insert_with(|| Row::new(shape.forms.len()));
        merge_packed(row, shape, (key, packed), &mut room)?;
    }
    level.delete(tx, whose, time).await?;
    let packed = rows.into_iter().map(|(key, row)| {
        let bytes = row.pack(&shape.forms, key.bucket);
        (key, bytes)
    });
    level.put(tx, whose.0, packed).await
}
