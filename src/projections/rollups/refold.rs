//! Sums up anew what devices measured while they stood elsewhere than was known: a registration has come
//! late, or says something else of a site for a time that is past.
//!
//! Extrema and first values cannot be taken back out of a row, so the rows of the devices are made again from
//! the log, a day at a time, and those above them from the rows below. That is rare, and costs what it touches.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DatabaseTransaction;

use super::counters::{Latest, grown};
use super::gather::{Sums, merge_packed, recorded};
use super::minutes;
use super::places::{Moved, Places};
use super::tables::{
    DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS, Key, Level, SITE_DAYS, SITE_HOURS, SITE_QUARTERS,
    all,
};
use crate::rollups::packed::Row;
use crate::rollups::shape::Shape;
use crate::rollups::sketch::Room;
use crate::store::{Doing, Sql, StoreError};

const DAY: i64 = 86_400 * 1_000_000;
/// Counters of a day are those of clocks that are at most so far ahead or behind.
const MARGIN: i64 = 3 * DAY;

/// Days, by the midnight of UTC with which they begin.
type DaysOf = BTreeMap<i64, BTreeSet<i64>>;

/// Sums up anew what devices that have moved recorded, up to a position.
pub(super) async fn moved(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (moved, upto): (&[Moved], i64),
) -> Result<(), StoreError> {
    let mut sites = DaysOf::new();
    for (device, time) in moved {
        let whose = (shape.kind.code(), *device);
        let Some((first, last)) = summed_up(tx, shape, *device).await? else {
            continue;
        };
        let from = DEVICE_QUARTERS.bucket(time.0).max(first);
        let until = time.1.min(last + 1);
        let mut day = from - from.rem_euclid(DAY);
        while day < until {
            let keys = of_day(tx, shape, *device, (day, upto)).await?;
            for key in keys {
                sites.entry(key.site).or_default().insert(day);
            }
            raise(tx, shape, whose, day).await?;
            day += DAY;
        }
    }
    if shape.measured.by_site {
        for (site, days) in sites {
            for day in days {
                site_day(tx, shape, (site, day)).await?;
                let of_day = ((day, day + DAY), upto);
                minutes::again(tx, shape, site, of_day).await?;
            }
        }
    }
    Ok(())
}

/// The first and the last bucket of a device.
async fn summed_up(
    tx: &DatabaseTransaction,
    shape: &Shape,
    device: i64,
) -> Result<Option<(i64, i64)>, StoreError> {
    let table = DEVICE_QUARTERS.table;
    let mut sql = Sql::new(format!(
        "SELECT min(bucket_at), max(bucket_at) FROM {table} WHERE kind = "
    ));
    sql.bind(shape.kind.code());
    sql.push(" AND device_key = ").bind(device);
    let rows = all(tx, sql).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let read = |index| row.try_get_by_index::<Option<i64>>(index);
    let (first, last) = (read(0).doing(READ)?, read(1).doing(READ)?);
    Ok(first.zip(last))
}

const READ: &str = "read a rollup";

/// Makes the quarters of a device on a day again; answers which there were and are.
async fn of_day(
    tx: &DatabaseTransaction,
    shape: &Shape,
    device: i64,
    (day, upto): (i64, i64),
) -> Result<BTreeSet<Key>, StoreError> {
    let (whose, time) = ((shape.kind.code(), device), (day, day + DAY));
    let mut keys: BTreeSet<Key> = DEVICE_QUARTERS
        .within(tx, whose, time)
        .await?
        .into_keys()
        .collect();
    if keys.is_empty() {
        return Ok(keys);
    }
    let readings = recorded(tx, shape, Some(&[device]), (time, upto)).await?;
    let places = Places::of(tx, BTreeSet::from([device])).await?;
    DEVICE_QUARTERS.delete(tx, whose, time).await?;
    let mut sums = Sums::of(shape, &readings, &places);
    // all of them are behind what is known, so the counters of the day are read again
    let mut latest = Latest::ended();
    sums.growth = grown(tx, shape, &readings, (&places, &mut latest, upto)).await?;
    keys.extend(sums.rows.keys().cloned());
    keys.extend(sums.growth.keys().cloned());
    sums.add_to(tx, shape, DEVICE_QUARTERS).await?;
    Ok(keys)
}

/// Makes the hours of a device again, on a day and on those around it, whose counters may have changed.
async fn raise(
    tx: &DatabaseTransaction,
    shape: &Shape,
    whose: (i64, i64),
    day: i64,
) -> Result<(), StoreError> {
    let time = (day - MARGIN, day + MARGIN);
    let rows = DEVICE_QUARTERS.within(tx, whose, time).await?;
    replace(tx, shape, DEVICE_HOURS, (whose, time), rows).await?;
    let rows = DEVICE_HOURS.within(tx, whose, time).await?;
    replace(tx, shape, DEVICE_DAYS, (whose, time), rows).await
}

/// Makes the rows of a site on a day, and on those around it, again from those of its devices.
async fn site_day(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (site, day): (i64, i64),
) -> Result<(), StoreError> {
    let kind = shape.kind.code();
    let time = (day - MARGIN, day + MARGIN);
    let mut sql = Sql::new("SELECT DISTINCT device_key FROM rollup_places WHERE site_key = ");
    sql.bind(site);
    let mut rows = BTreeMap::new();
    for row in all(tx, sql).await? {
        let device: i64 = row.try_get_by_index(0).doing(READ)?;
        let of_device = DEVICE_QUARTERS.within(tx, (kind, device), time).await?;
        rows.extend(of_device.into_iter().filter(|(key, _)| key.site == site));
    }
    let whose = (kind, site);
    replace(tx, shape, SITE_QUARTERS, (whose, time), rows).await?;
    let rows = SITE_QUARTERS.within(tx, whose, time).await?;
    replace(tx, shape, SITE_HOURS, (whose, time), rows).await?;
    let rows = SITE_HOURS.within(tx, whose, time).await?;
    replace(tx, shape, SITE_DAYS, (whose, time), rows).await
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
