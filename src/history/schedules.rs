//! The hours of sites that hold now, as their events and as calendars.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{current_schedules, site_operating_schedules, sites};
use futures_util::TryStreamExt;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, JoinType, QueryFilter, QuerySelect,
    SelectModel, Selector,
};
use serde_json::Value as Json;

use super::gathered;
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::schedule::{Calendar, Dates, Said};
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
    let rows = current_schedules(store, site_keys, None, allowance).await?;
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

/// Sites whose calendars are read together. Those of any two years take a fraction of an allowance even if
/// each day of each has as many windows as it may have.
const SITES_AT_ONCE: usize = 100;

/// The days of the week are greater than every date, as a text.
const GREATER_THAN_DATES: &str = "A";

/// What is said of a day, as far as a calendar asks for it.
#[derive(Debug, FromQueryResult)]
struct DayRow {
    site_key: i64,
    day: String,
    position: i64,
    occurred_at: i64,
    is_closed: Option<i64>,
    open_time: Option<String>,
    close_time: Option<String>,
    peak_hours: Option<String>,
    maintenance_windows: Option<String>,
}

/// The calendars of however many sites, by their keys, for some dates: what takes memory is those dates,
/// however many rows a site has and whatever else they say. A site without any hours has a calendar of which
/// nothing is known; one that is not registered is absent.
///
/// # Errors
/// When the tables cannot be read.
pub async fn calendars(
    store: &Store,
    site_keys: &[i64],
    dates: Dates,
) -> Result<HashMap<i64, Calendar>, StoreError> {
    let mut all = HashMap::with_capacity(site_keys.len());
    for part in site_keys.chunks(SITES_AT_ONCE) {
        let zones = zones(store, part).await?;
        let allowance = Store::own_allowance();
        all.extend(calendars_of_zones(store, zones, dates, &allowance).await?);
    }
    Ok(all)
}

/// The calendars of sites, by their keys and time zones, for some dates, in one statement.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub(crate) async fn calendars_of_zones(
    store: &Store,
    zones: HashMap<i64, String>,
    dates: Dates,
    allowance: &Allowance,
) -> Result<HashMap<i64, Calendar>, StoreError> {
    let site_keys = zones.keys().copied().collect();
    let of_zone = |(key, zone): (i64, String)| (key, Calendar::of_zone(&zone));
    let mut calendars: HashMap<i64, Calendar> = zones.into_iter().map(of_zone).collect();
    let days = days(store, site_keys, dates);
    let mut rows = days.stream(store.readers()).await.doing("read schedules")?;
    while let Some(row) = rows.try_next().await.doing("read schedules")? {
        let windows = |text: Option<&String>| text.and_then(|t| serde_json::from_str(t).ok());
        let peaks: Option<Json> = windows(row.peak_hours.as_ref());
        let maintenance: Option<Json> = windows(row.maintenance_windows.as_ref());
        let times = row.open_time.as_deref().zip(row.close_time.as_deref());
        let said = Said {
            place: Place {
                position: Position(row.position),
                occurred_at: Instant(row.occurred_at),
            },
            is_closed: row.is_closed == Some(1),
            times,
            peaks: peaks.as_ref(),
            maintenance: maintenance.as_ref(),
        };
        if let Some(calendar) = calendars.get_mut(&row.site_key) {
            allowance.take(calendar.say(&row.day, said))?;
        }
    }
    Ok(calendars)
}

/// The time zones of sites.
async fn zones(store: &Store, site_keys: &[i64]) -> Result<HashMap<i64, String>, StoreError> {
    let keys = List::Int(site_keys.to_vec());
    let query = sites::Entity::find()
        .select_only()
        .column(sites::Column::SiteKey)
        .column(sites::Column::TimeZone)
        .filter(is_among(sites::Column::SiteKey, keys, store.backend()))
        .into_tuple::<(i64, String)>();
    let rows = query.all(store.readers()).await.doing("read time zones")?;
    Ok(rows.into_iter().collect())
}

/// What holds of sites on days of the week and on some dates.
fn days(store: &Store, site_keys: Vec<i64>, dates: Dates) -> Selector<SelectModel<DayRow>> {
    use site_operating_schedules::Column;
    let keys = List::Int(site_keys);
    let among = is_among(current_schedules::Column::SiteKey, keys, store.backend());
    let (first, last) = dates.texts();
    let day = current_schedules::Column::Day;
    let matters = Condition::any()
        .add(day.between(first, last))
        .add(day.gte(GREATER_THAN_DATES));
    let said = current_schedules::Entity::belongs_to(site_operating_schedules::Entity)
        .from(current_schedules::Column::Position)
        .to(Column::Position)
        .into();
    current_schedules::Entity::find()
        .select_only()
        .column(current_schedules::Column::SiteKey)
        .column(day)
        .column(current_schedules::Column::Position)
        .column(current_schedules::Column::OccurredAt)
        .column(Column::IsClosed)
        .column(Column::OpenTime)
        .column(Column::CloseTime)
        .column(Column::PeakHours)
        .column(Column::MaintenanceWindows)
        .join(JoinType::InnerJoin, said)
        .filter(among)
        .filter(matters)
        .into_model::<DayRow>()
}

/// The rows of sites' schedules that hold now, of all days or of some: the day and the event that said so.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn current_schedules(
    store: &Store,
    site_keys: &[i64],
    days: Option<&[String]>,
    allowance: &Allowance,
) -> Result<Vec<current_schedules::Model>, StoreError> {
    let keys = List::Int(site_keys.to_vec());
    let among = is_among(current_schedules::Column::SiteKey, keys, store.backend());
    let of_days = days.map(|days| {
        let days = List::Text(days.to_vec());
        is_among(current_schedules::Column::Day, days, store.backend())
    });
    let query = current_schedules::Entity::find()
        .filter(among)
        .filter(Condition::all().add_option(of_days));
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
