//! Where each device stood, from when until when, and what held there: the site, its time zone and its
//! currency.
//!
//! A registration that comes late may part a stay or change what a site was in the past. Then what was
//! summed up under another place is to be summed up anew, and the difference says what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono_tz::Tz;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};

use super::super::upsert::upsert;
use super::tables::{all, run};
use crate::store::{Doing, List, Sql, StoreError};

/// A time over which a device stood at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From then until just before the other: microseconds since 1970, UTC.
    pub(super) from: i64,
    pub(super) until: i64,
    pub(crate) site: i64,
    pub(crate) zone: Tz,
    pub(super) currency: String,
}

impl Place {
    fn is_like(&self, other: &Self) -> bool {
        let of = |place: &Self| (place.site, place.zone, place.currency.clone());
        of(self) == of(other)
    }
}

/// The places of some devices.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<i64, Vec<Place>>);

/// A device and the time over which it now stands elsewhere than was known.
pub(super) type Moved = (i64, (i64, i64));

impl Places {
    /// Those of some devices, as they were kept.
    pub(super) async fn of(
        db: &impl ConnectionTrait,
        devices: BTreeSet<i64>,
    ) -> Result<Self, StoreError> {
        let mut sql = Sql::new(
            "SELECT device_key, from_at, until_at, site_key, time_zone, currency \
             FROM rollup_places WHERE ",
        );
        sql.among("device_key", List::Int(devices.into_iter().collect()));
        sql.push(" ORDER BY device_key, from_at");
        let mut places = Self::default();
        for row in all(db, sql).await? {
            let (device, place) = kept(&row).doing("read where devices stood")?;
            places.0.entry(device).or_default().push(place);
        }
        Ok(places)
    }

    /// Those of some devices, by all that was said up to a position.
    pub(crate) async fn said(
        db: &impl ConnectionTrait,
        devices: &BTreeSet<i64>,
        upto: i64,
    ) -> Result<Self, StoreError> {
        said(db, devices, upto).await.map(Self)
    }

    /// Bytes that they take in memory, and took while they were read.
    pub(crate) fn weight_bytes(&self) -> usize {
        let places: usize = self.0.values().map(Vec::len).sum();
        3 * size_of::<Place>() * places
    }

    /// Where a device stood at an instant.
    pub(crate) fn at(&self, device: i64, at: i64) -> Option<&Place> {
        let places = self.0.get(&device)?;
        let next = places.partition_point(|place| place.from <= at);
        places.get(next.checked_sub(1)?)
    }

    /// The currency of the site where a device stood at an instant; empty if it had none.
    pub(super) fn currency(&self, device: i64, at: i64) -> String {
        let place = self.at(device, at);
        place.map_or_else(String::new, |place| place.currency.clone())
    }

    /// Whether a device stood anywhere else at any time.
    pub(super) fn has_moved(&self, device: i64) -> bool {
        self.0.get(&device).is_some_and(|places| places.len() > 1)
    }
}

fn kept(row: &QueryResult) -> Result<(i64, Place), sea_orm::DbErr> {
    let zone: String = row.try_get_by_index(4)?;
    let place = Place {
        from: row.try_get_by_index(1)?,
        until: row.try_get_by_index(2)?,
        site: row.try_get_by_index(3)?,
        zone: zone.parse().unwrap_or(Tz::UTC),
        currency: row.try_get_by_index(5)?,
    };
    Ok((row.try_get_by_index(0)?, place))
}

/// Makes the places anew of devices and of those at sites that were registered, from all registrations up to
/// a position; answers which devices now stand elsewhere, and when.
pub(super) async fn renew(
    tx: &DatabaseTransaction,
    (mut devices, sites): (BTreeSet<i64>, BTreeSet<i64>),
    upto: i64,
) -> Result<Vec<Moved>, StoreError> {
    if !sites.is_empty() {
        let mut sql = Sql::new("SELECT DISTINCT device_key FROM rollup_places WHERE ");
        sql.among("site_key", List::Int(sites.into_iter().collect()));
        for row in all(tx, sql).await? {
            devices.insert(row.try_get_by_index(0).doing("read where devices stood")?);
        }
    }
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let before = Places::of(tx, devices.clone()).await?;
    let after = said(tx, &devices, upto).await?;
    let mut moved = Vec::new();
    let (mut gone, mut rows) = (Vec::new(), Vec::new());
    for device in devices {
        let none = Vec::new();
        let old = before.0.get(&device).unwrap_or(&none);
        let new = after.get(&device).unwrap_or(&none);
        if old == new {
            continue;
        }
        moved.extend(differing(old, new).map(|time| (device, time)));
        gone.push(device);
        rows.extend(new.iter().map(|place| row_of(device, place)));
    }
    if !gone.is_empty() {
        let mut sql = Sql::new("DELETE FROM rollup_places WHERE ");
        sql.among("device_key", List::Int(gone));
        run(tx, sql).await?;
    }
    let insert = "INSERT INTO rollup_places \
        (device_key, from_at, until_at, site_key, time_zone, currency)";
    upsert(tx, insert, rows, "").await?;
    Ok(moved)
}

fn row_of(device: i64, place: &Place) -> Vec<Value> {
    vec![
        device.into(),
        place.from.into(),
        place.until.into(),
        place.site.into(),
        place.zone.name().into(),
        place.currency.clone().into(),
    ]
}

/// The times of which an old place is unlike the new one. What had no place had no events.
fn differing(old: &[Place], new: &[Place]) -> impl Iterator<Item = (i64, i64)> {
    old.iter().flat_map(move |was| {
        new.iter().filter_map(move |is| {
            let (from, until) = (was.from.max(is.from), was.until.min(is.until));
            (from < until && !was.is_like(is)).then_some((from, until))
        })
    })
}

/// What was said of one thing: from when on it holds.
type Timeline<T> = BTreeMap<i64, T>;

/// The places of devices by all that was said of them and of their sites.
async fn said(
    db: &impl ConnectionTrait,
    devices: &BTreeSet<i64>,
    upto: i64,
) -> Result<HashMap<i64, Vec<Place>>, StoreError> {
    let doing = "read where devices stood";
    let mut sql = Sql::new(
        "SELECT device_key, occurred_at, site_key FROM device_registrations WHERE position <= ",
    );
    sql.bind(upto).push(" AND ");
    sql.among("device_key", List::Int(devices.iter().copied().collect()));
    sql.push(" ORDER BY occurred_at, position");
    let mut stays: HashMap<i64, Timeline<i64>> = HashMap::new();
    let mut sites = BTreeSet::new();
    for row in all(db, sql).await? {
        let device = row.try_get_by_index(0).doing(doing)?;
        let (at, site) = (
            row.try_get_by_index(1).doing(doing)?,
            row.try_get_by_index(2).doing(doing)?,
        );
        sites.insert(site);
        // of one instant the last one holds
        stays.entry(device).or_default().insert(at, site);
    }
    let mut sql = Sql::new(
        "SELECT site_key, occurred_at, time_zone, currency FROM site_registrations \
         WHERE position <= ",
    );
    sql.bind(upto).push(" AND ");
    sql.among("site_key", List::Int(sites.into_iter().collect()));
    sql.push(" ORDER BY occurred_at, position");
    let mut held: HashMap<i64, Timeline<(Tz, String)>> = HashMap::new();
    for row in all(db, sql).await? {
        let site = row.try_get_by_index(0).doing(doing)?;
        let zone: Option<String> = row.try_get_by_index(2).doing(doing)?;
        let currency: Option<String> = row.try_get_by_index(3).doing(doing)?;
        let zone = zone.and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
        let said = (zone, currency.unwrap_or_default());
        let at = row.try_get_by_index(1).doing(doing)?;
        held.entry(site).or_default().insert(at, said);
    }
    let none = Timeline::new();
    let places = stays.into_iter().map(|(device, stays)| {
        let held = |site: i64| held.get(&site).unwrap_or(&none);
        (device, strung(&stays, held))
    });
    Ok(places.collect())
}

/// Each stay, parted where something else begins to hold at its site; alike neighbours are one. What was said
/// first holds for all time before as well.
fn strung<'a>(
    stays: &Timeline<i64>,
    held: impl Fn(i64) -> &'a Timeline<(Tz, String)>,
) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (from, until, site) in stretches(stays) {
        for (since, to, (zone, currency)) in stretches(held(*site)) {
            let place = Place {
                from: from.max(since),
                until: until.min(to),
                site: *site,
                zone: *zone,
                currency: currency.clone(),
            };
            if place.from >= place.until {
                continue;
            }
            match places.last_mut().filter(|last| last.is_like(&place)) {
                Some(last) => last.until = place.until,
                None => places.push(place),
            }
        }
    }
    places
}

/// The times over which each thing holds: all time, without a gap.
fn stretches<T>(timeline: &Timeline<T>) -> impl Iterator<Item = (i64, i64, &T)> {
    let ends = timeline.keys().skip(1).copied().chain([i64::MAX]);
    let all = timeline.iter().zip(ends).enumerate();
    all.map(|(ordinal, ((from, what), until))| (if ordinal == 0 { 0 } else { *from }, until, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(from: i64, until: i64, site: i64) -> Place {
        Place {
            from,
            until,
            site,
            zone: Tz::UTC,
            currency: String::new(),
        }
    }

    #[test]
    fn stays_are_parted_by_what_holds_at_their_sites_and_alike_ones_are_one() {
        let stays = Timeline::from([(10, 1), (20, 2), (30, 2)]);
        let euro = |zone| (zone, "EUR".to_owned());
        let one = Timeline::from([(5, euro(Tz::UTC))]);
        let two = Timeline::from([(12, euro(Tz::UTC)), (25, euro(Tz::Europe__Rome))]);
        let places = strung(&stays, |site| if site == 1 { &one } else { &two });
        let shown: Vec<(i64, i64, i64, Tz)> = places
            .iter()
            .map(|place| (place.from, place.until, place.site, place.zone))
            .collect();
        assert_eq!(
            shown,
            [
                (0, 20, 1, Tz::UTC),
                (20, 25, 2, Tz::UTC),
                (25, i64::MAX, 2, Tz::Europe__Rome)
            ]
        );
    }

    #[test]
    fn only_what_is_elsewhere_has_moved() {
        let old = [place(0, 50, 1), place(50, i64::MAX, 2)];
        let new = [place(0, 30, 1), place(30, 40, 3), place(40, i64::MAX, 2)];
        let moved: Vec<(i64, i64)> = differing(&old, &new).collect();
        assert_eq!(moved, [(30, 40), (40, 50)]);
    }
}
