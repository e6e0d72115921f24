//! From when until when each device was in service, and where: the time in which something is expected of it,
//! and in which its state counts.
//!
//! A device is in service from its first registration on, at the site at which it is registered, save while it
//! is suspended or retired.

use std::collections::{BTreeMap, HashMap};

use sea_orm::ConnectionTrait;

use super::question::Scope;
use crate::projections::rollups::tables::all;
use crate::store::{Allowance, Doing, List, Sql, StoreError};

const READ: &str = "read where devices stood";
/// What a registration takes in memory while it is read.
const BYTES: usize = 96;

/// A time over which a device was in service at one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) device: i64,
    pub(super) site: i64,
    /// The currency of the site then; empty if it has none.
    pub(super) currency: String,
    /// From then until just before the other: microseconds since 1970, UTC.
    pub(super) from: i64,
    pub(super) until: i64,
}

/// What was said of a thing, from when on it holds.
type Timeline<T> = BTreeMap<i64, T>;

/// Those of the devices of a scope, at its sites, by all that was said up to a position; in the order of devices
/// and of time.
pub(super) async fn stays(
    db: &impl ConnectionTrait,
    (scope, upto): (&Scope, i64),
    allowance: &Allowance,
) -> Result<Vec<Stay>, StoreError> {
    let said = registrations(db, (scope, upto), allowance).await?;
    let currencies = currencies(db, upto).await?;
    let mut stays: Vec<Stay> = Vec::new();
    for (device, said) in said {
        let ends = said.keys().skip(1).copied().chain([i64::MAX]);
        for ((from, (site, is_served)), until) in said.iter().zip(ends) {
            let is_asked = scope
                .sites
                .as_ref()
                .is_none_or(|sites| sites.contains(site));
            if !is_served || !is_asked {
                continue;
            }
            for (from, until, currency) in parted((*from, until), currencies.get(site)) {
                let stay = Stay {
                    device,
                    site: *site,
                    currency,
                    from,
                    until,
                };
                match stays.last_mut().filter(|last| goes_on(last, &stay)) {
                    Some(last) => last.until = stay.until,
                    None => stays.push(stay),
                }
            }
        }
    }
    Ok(stays)
}

/// Whether a stay is one with the one before it.
fn goes_on(last: &Stay, next: &Stay) -> bool {
    let of = |stay: &Stay| (stay.device, stay.site, stay.currency.clone());
    last.until == next.from && of(last) == of(next)
}

/// The sites of devices and whether they are in service; of one instant what was said last holds.
async fn registrations(
    db: &impl ConnectionTrait,
    (scope, upto): (&Scope, i64),
    allowance: &Allowance,
) -> Result<BTreeMap<i64, Timeline<(i64, bool)>>, StoreError> {
    let mut sql = Sql::new(
        "SELECT device_key, occurred_at, site_key, lifecycle FROM device_registrations \
         WHERE position <= ",
    );
    sql.bind(upto);
    if let Some(devices) = &scope.devices {
        let devices = devices.iter().copied().collect();
        sql.push(" AND ").among("device_key", List::Int(devices));
    }
    sql.push(" ORDER BY device_key, occurred_at, position");
    let mut said: BTreeMap<i64, Timeline<(i64, bool)>> = BTreeMap::new();
    for row in all(db, sql).await? {
        allowance.take(BYTES)?;
        let device = row.try_get_by_index(0).doing(READ)?;
        let (at, site) = (
            row.try_get_by_index(1).doing(READ)?,
            row.try_get_by_index(2).doing(READ)?,
        );
        let lifecycle: Option<String> = row.try_get_by_index(3).doing(READ)?;
        let is_served = lifecycle.is_none_or(|lifecycle| lifecycle == "ACTIVE");
        said.entry(device)
            .or_default()
            .insert(at, (site, is_served));
    }
    Ok(said)
}

/// The currencies that sites have had.
async fn currencies(
    db: &impl ConnectionTrait,
    upto: i64,
) -> Result<HashMap<i64, Timeline<String>>, StoreError> {
    let mut sql = Sql::new(
        "SELECT site_key, occurred_at, currency FROM site_registrations WHERE position <= ",
    );
    sql.bind(upto).push(" ORDER BY occurred_at, position");
    let mut said: HashMap<i64, Timeline<String>> = HashMap::new();
    for row in all(db, sql).await? {
        let site = row.try_get_by_index(0).doing(READ)?;
        let at = row.try_get_by_index(1).doing(READ)?;
        let currency: Option<String> = row.try_get_by_index(2).doing(READ)?;
        let held = said.entry(site).or_default();
        held.insert(at, currency.unwrap_or_default());
    }
    Ok(said)
}

/// A time, parted where the currency of its site changes; what was said first holds for all time before as well.
fn parted(
    (from, until): (i64, i64),
    said: Option<&Timeline<String>>,
) -> impl Iterator<Item = (i64, i64, String)> {
    let said: Vec<(i64, String)> = said.map_or_else(
        || vec![(from, String::new())],
        |said| said.iter().map(|(at, text)| (*at, text.clone())).collect(),
    );
    let ends: Vec<i64> = said
        .iter()
        .skip(1)
        .map(|(at, _)| *at)
        .chain([i64::MAX])
        .collect();
    let parts = said.into_iter().zip(ends).enumerate();
    parts.filter_map(move |(ordinal, ((at, currency), end))| {
        let begin = if ordinal == 0 { from } else { at.max(from) };
        let end = end.min(until);
        (begin < end).then_some((begin, end, currency))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stay_is_parted_where_the_currency_of_its_site_changes() {
        let said = Timeline::from([(10, "DEM".to_owned()), (20, "EUR".to_owned())]);
        let parts = |from, until| parted((from, until), Some(&said)).collect::<Vec<_>>();
        let part = |from, until, currency: &str| (from, until, currency.to_owned());
        assert_eq!(parts(5, 15), [part(5, 15, "DEM")]);
        assert_eq!(parts(12, 30), [part(12, 20, "DEM"), part(20, 30, "EUR")]);
        assert_eq!(parts(25, 30), [part(25, 30, "EUR")]);
        let none: Vec<_> = parted((1, 2), None).collect();
        assert_eq!(none, [part(1, 2, "")]);
    }
}
