//! The hours of sites that hold now, as their events and as calendars.

use std::collections::HashMap;
use std::sync::Arc;

use super::fleet;
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::schedule::Calendar;
use crate::store::{Allowance, Columns, Place, Store, StoreError};

/// The events that say the hours that hold now, by the keys of their sites, in two statements. A site
/// without any is absent.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn current(
    store: &Store,
    site_keys: &[i64],
    allowance: &Allowance,
) -> Result<HashMap<i64, Vec<Arc<Event>>>, StoreError> {
    let rows = fleet::current_schedules(store, site_keys, allowance).await?;
    let place = |row: &entity::current_schedules::Model| Place {
        position: Position(row.position),
        occurred_at: Instant(row.occurred_at),
    };
    let places: Vec<Place> = rows.iter().map(place).collect();
    let sites: HashMap<i64, i64> = rows.iter().map(|r| (r.position, r.site_key)).collect();
    let mut schedules: HashMap<i64, Vec<Arc<Event>>> = HashMap::new();
    if places.is_empty() {
        return Ok(schedules);
    }
    let kind = (Kind::SiteSchedule, Columns::ALL);
    for event in store.at(kind, &places, allowance).await? {
        if let Some(site) = sites.get(&event.position.0) {
            schedules.entry(*site).or_default().push(Arc::new(event));
        }
    }
    Ok(schedules)
}

/// The calendars of sites, by their keys, in three statements however many they are. A site without any
/// hours has a calendar of which nothing is known; one that is not registered is absent.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn calendars(
    store: &Store,
    site_keys: &[i64],
    allowance: &Allowance,
) -> Result<HashMap<i64, Calendar>, StoreError> {
    let sites = fleet::sites_by_key(store, site_keys, allowance).await?;
    let rows = current(store, site_keys, allowance).await?;
    let calendar = |(key, site): (i64, Arc<fleet::SiteRow>)| {
        let rows = rows.get(&key).into_iter().flatten();
        (key, Calendar::new(&site.time_zone, rows.map(Arc::as_ref)))
    };
    Ok(sites.into_iter().map(calendar).collect())
}
