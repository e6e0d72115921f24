//! Makes hours of sites again at which devices stood that were thought to be elsewhere, or the other way
//! round: from the rows of devices, also where events were deleted for good, and their minutes from the log.

use std::collections::BTreeMap;

use sea_orm::DatabaseTransaction;

use super::super::upsert::upsert;
use super::minutes;
use super::refold::{DAY, READ, READ_MAX, replace};
use super::tables::{DEVICE_DAYS, DEVICE_QUARTERS, SITE_DAYS, SITE_HOURS, SITE_QUARTERS, all, run};
use crate::rollups::shape::{Reading, Shape};
use crate::store::{Doing, Sql, StoreError};

const HOUR: i64 = SITE_HOURS.width;

pub(super) const INSERT_SITE: &str = "INSERT INTO rollup_moved_sites (site_key, day_at, hour_at)";
pub(super) const MERGE_SITE: &str =
    "ON CONFLICT (site_key, day_at) DO UPDATE SET hour_at = excluded.hour_at";

/// The next hours of a site on a day.
#[derive(Debug)]
pub(super) struct Hours {
    site: i64,
    day: i64,
    /// From one hour until before another.
    from: i64,
    until: i64,
    /// The events of minutes that are kept, by their hour and kind.
    read: BTreeMap<(i64, i64), Vec<Reading>>,
}

impl Hours {
    /// Reads what they are made of, of what was recorded up to a position.
    pub(super) async fn next(
        tx: &DatabaseTransaction,
        shapes: &[Shape],
        upto: i64,
    ) -> Result<Option<Self>, StoreError> {
        let Some([site, day, from]) = noted(tx).await? else {
            return Ok(None);
        };
        let mut hours = Self {
            site,
            day,
            from,
            until: from,
            read: BTreeMap::new(),
        };
        let mut events = 0;
        while hours.until < day + DAY && events < READ_MAX {
            for shape in by_site(shapes) {
                let of = (site, hours.until);
                if let Some(readings) = minutes::read(tx, shape, of, upto).await? {
                    events += readings.len();
                    let key = (hours.until, shape.kind.code());
                    hours.read.insert(key, readings);
                }
            }
            hours.until += HOUR;
        }
        Ok(Some(hours))
    }

    /// Makes them, as long as they are not of too many rows, and with the last of them the day; unless somebody
    /// else has.
    pub(super) async fn put(
        &self,
        tx: &DatabaseTransaction,
        shapes: &[Shape],
    ) -> Result<(), StoreError> {
        let (site, day) = (self.site, self.day);
        if noted(tx).await? != Some([site, day, self.from]) {
            return Ok(());
        }
        let mut devices = Vec::new();
        for shape in by_site(shapes) {
            devices.push((shape, summed_up(tx, shape, (site, day)).await?));
        }
        let (mut hour, mut read) = (self.from, 0);
        while hour < self.until && read < READ_MAX {
            for (shape, devices) in &devices {
                read += of_hour(tx, shape, (site, hour), devices).await?;
                if let Some(readings) = self.read.get(&(hour, shape.kind.code())) {
                    minutes::again(tx, shape, (site, hour), readings).await?;
                }
            }
            hour += HOUR;
        }
        if hour < day + DAY {
            let row = vec![site.into(), day.into(), hour.into()];
            return upsert(tx, INSERT_SITE, vec![row], MERGE_SITE).await;
        }
        for shape in by_site(shapes) {
            let (whose, time) = ((shape.kind.code(), site), (day, day + DAY));
            let rows = SITE_HOURS.within(tx, whose, time).await?;
            replace(tx, shape, SITE_DAYS, (whose, time), rows).await?;
        }
        let mut sql = Sql::new("DELETE FROM rollup_moved_sites WHERE site_key = ");
        sql.bind(site).push(" AND day_at = ").bind(day);
        run(tx, sql).await
    }
}

fn by_site(shapes: &[Shape]) -> impl Iterator<Item = &Shape> {
    shapes.iter().filter(|shape| shape.measured.by_site)
}

/// The first that is written down: a site, a day, and the hour from which on it is to be done.
async fn noted(tx: &DatabaseTransaction) -> Result<Option<[i64; 3]>, StoreError> {
    let sql = "SELECT site_key, day_at, hour_at FROM rollup_moved_sites \
        ORDER BY site_key, day_at LIMIT 1";
    let rows = all(tx, Sql::new(sql)).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let number = |index| row.try_get_by_index(index).doing(READ);
    Ok(Some([number(0)?, number(1)?, number(2)?]))
}

/// The devices that are summed up at a site on a day, wherever they are known to have stood by now.
async fn summed_up(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (site, day): (i64, i64),
) -> Result<Vec<i64>, StoreError> {
    let mut sql = Sql::new("SELECT DISTINCT device_key FROM device_rollups_1d WHERE kind = ");
    sql.bind(shape.kind.code());
    sql.push(" AND site_key = ").bind(site);
    sql.push(" AND bucket_at = ").bind(DEVICE_DAYS.bucket(day));
    let rows = all(tx, sql).await?;
    let keys = rows.iter().map(|row| row.try_get_by_index(0));
    keys.collect::<Result<_, _>>().doing(READ)
}

/// Makes the quarters of a site in an hour again from those of its devices, and the hour; answers of how many
/// rows.
async fn of_hour(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (site, hour): (i64, i64),
    devices: &[i64],
) -> Result<usize, StoreError> {
    let (kind, time) = (shape.kind.code(), (hour, hour + HOUR));
    let mut rows = DEVICE_QUARTERS.of_each(tx, (kind, devices), time).await?;
    rows.retain(|key, _| key.site == site);
    let (read, whose) = (rows.len(), (kind, site));
    replace(tx, shape, SITE_QUARTERS, (whose, time), rows).await?;
    let rows = SITE_QUARTERS.within(tx, whose, time).await?;
    replace(tx, shape, SITE_HOURS, (whose, time), rows).await?;
    Ok(read)
}
