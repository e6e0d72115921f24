//! The hours of sites that hold now, as their events and as calendars.

use std::collections::HashMap;
use std::sync::Arc;

use entity::current_schedules;
use sea_orm::{EntityTrait, QueryFilter};

use super::{fleet, gathered};
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::schedule::Calendar;
use crate::store::{Allowance, Columns, Doing, List, Place, Store, StoreError, is_among};

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
    let rows = current_schedules(store, site_keys, allowance).await?;
    let place = |row: &current_schedules::Model| Place {
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

/// Sites whose hours are read together where there may be thousands: each may have those of some hundred
/// dates.
const SITES_AT_ONCE: usize = 100;

/// The calendars of however many sites, for the server itself: in parts, each with an allowance of its own, so
/// that those of a large fleet can be read too.
///
/// # Errors
/// When the tables cannot be read.
pub async fn calendars_of_many(
    store: &Store,
    site_keys: &[i64],
) -> Result<HashMap<i64, Calendar>, StoreError> {
    let mut all = HashMap::with_capacity(site_keys.len());
    for part in site_keys.chunks(SITES_AT_ONCE) {
        all.extend(calendars(store, part, &Store::own_allowance()).await?);
    }
    Ok(all)
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

/// The rows of sites' schedules that hold now: the day and the event that said so.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn current_schedules(
    store: &Store,
    site_keys: &[i64],
    allowance: &Allowance,
) -> Result<Vec<current_schedules::Model>, StoreError> {
    let keys = List::Int(site_keys.to_vec());
    let among = is_among(current_schedules::Column::SiteKey, keys, store.backend());
    let query = current_schedules::Entity::find().filter(among);
    let weight_bytes = |row: &current_schedules::Model| size_of_val(row) + row.day.len();
    let rows = query
        .stream(store.readers())
        .await
        .doing("read schedules")?;
    gathered(rows, (allowance, weight_bytes), "read schedules").await
}

/// The row of a site's schedule that holds now on a day.
///
/// # Errors
/// When the tables cannot be read.
pub async fn scheduled(
    store: &Store,
    site_key: i64,
    day: &str,
) -> Result<Option<current_schedules::Model>, StoreError> {
    current_schedules::Entity::find_by_id((site_key, day.to_owned()))
        .one(store.readers())
        .await
        .doing("read a schedule")
}
