//! Minutes of sites, which are kept of the last days only.

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::gather::{Sums, devices, recorded, shapes};
use super::places::Places;
use super::tables::{SITE_MINUTES, all, run};
use crate::event::Event;
use crate::rollups::shape::{Reading, Shape};
use crate::store::{Doing, Sql, StoreError};

const HOUR: i64 = 3_600_000_000;
/// For how long minutes are kept.
const KEPT: i64 = 7 * 24 * HOUR;
const READ: &str = "read since when minutes are kept";

/// Since when every minute is there; `None` before anything was folded.
pub(crate) async fn since(db: &impl ConnectionTrait) -> Result<Option<i64>, StoreError> {
    let rows = all(
        db,
        Sql::new("SELECT from_at FROM rollup_minutes WHERE id = 1"),
    )
    .await?;
    let from = rows.first().map(|row| row.try_get_by_index(0));
    from.transpose().doing(READ)
}

/// Forgets what is too old once an event is folded; answers since when minutes are kept from then on. That
/// follows from when the event was recorded alone, however the log is cut into batches.
pub(super) async fn forget(tx: &DatabaseTransaction, event: &Event) -> Result<i64, StoreError> {
    let recorded = event.recorded_at.0;
    let from = recorded - recorded.rem_euclid(HOUR) - KEPT;
    let held = since(tx).await?;
    if let Some(held) = held.filter(|held| *held >= from) {
        return Ok(held);
    }
    let mut sql = Sql::new("INSERT INTO rollup_minutes (id, from_at) VALUES (1, ");
    sql.bind(from);
    sql.push(") ON CONFLICT (id) DO UPDATE SET from_at = excluded.from_at");
    run(tx, sql).await?;
    for shape in shapes().iter().filter(|shape| shape.measured.by_site) {
        // each is a range of the key
        let mut sql = Sql::new(format!("DELETE FROM {} WHERE kind = ", SITE_MINUTES.table));
        sql.bind(shape.kind.code());
        sql.push(" AND site_key IN (SELECT site_key FROM sites UNION ALL SELECT 0)");
        sql.push(" AND provenance IN (0, 1, 2) AND bucket_at < ")
            .bind(from);
        run(tx, sql).await?;
    }
    Ok(from)
}

/// Reads what the minutes of a site within an hour are made of, up to a position, if they are kept and whole in
/// the log.
pub(super) async fn read(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (site, hour): (i64, i64),
    upto: i64,
) -> Result<Option<Vec<Reading>>, StoreError> {
    let kept = since(tx).await?.unwrap_or(i64::MAX);
    if hour < kept.max(shape.floor()) {
        return Ok(None);
    }
    let mut sql = Sql::new("SELECT DISTINCT device_key FROM rollup_places WHERE site_key = ");
    sql.bind(site);
    let rows = all(tx, sql).await?;
    let devices = rows.iter().map(|row| row.try_get_by_index(0));
    let devices: Vec<i64> = devices.collect::<Result<_, _>>().doing(READ)?;
    let time = (hour, hour + HOUR);
    recorded(tx, shape, Some(&devices), (time, upto))
        .await
        .map(Some)
}

/// Makes the minutes of a site within an hour again, from all that its devices said in it.
pub(super) async fn again(
    tx: &DatabaseTransaction,
    shape: &Shape,
    (site, hour): (i64, i64),
    readings: &[Reading],
) -> Result<(), StoreError> {
    let places = Places::of(tx, devices(readings)).await?;
    let (whose, time) = ((shape.kind.code(), site), (hour, hour + HOUR));
    SITE_MINUTES.delete(tx, whose, time).await?;
    let mut sums = Sums::minutes(shape, readings, (&places, hour));
    sums.rows.retain(|key, _| key.site == site);
    sums.add_to(tx, shape, SITE_MINUTES).await
}
