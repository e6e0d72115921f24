//! Sites and devices as they are now, by key and in pages ordered by id.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{configuration_values, device_status, devices, sites};
use futures_util::{Stream, TryStreamExt};
use sea_orm::sea_query::{Expr, LikeExpr, Query};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, DbErr, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QueryResult, QuerySelect, QueryTrait, Select, StreamTrait,
};

use super::{Within, gathered};
use crate::event::{Instant, Position, Provenance};
use crate::kinds::Kind;
use crate::store::{Allowance, Columns, Doing, List, Place, Store, StoreError, is_among};

/// A site.
pub type SiteRow = sites::Model;

/// A device with what is newest of it.
#[derive(Clone, Debug)]
pub struct DeviceRow {
    /// As it is registered.
    pub device: devices::Model,
    /// What is newest of it, if it was ever heard of.
    pub status: Option<device_status::Model>,
}

impl DeviceRow {
    /// Whether it is out of use for good.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.device.lifecycle == "RETIRED"
    }

    /// Bytes that it takes in memory, roughly.
    fn weight_bytes(&self) -> usize {
        let device = &self.device;
        let texts = [
            &device.name,
            &device.model,
            &device.firmware,
            &device.os,
            &device.tags,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        size_of::<Self>() + device.device_id.len() + texts.sum::<usize>()
    }
}

/// Bytes that a site takes in memory, roughly.
fn site_weight_bytes(site: &Arc<SiteRow>) -> usize {
    let texts = [Some(&site.name), site.address.as_ref(), site.tags.as_ref()];
    let texts = texts.into_iter().flatten().map(String::len);
    size_of::<SiteRow>() + site.site_id.len() + texts.sum::<usize>()
}

/// Devices by their keys.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn devices_by_key(
    store: &Store,
    keys: &[i64],
    allowance: &Allowance,
) -> Result<HashMap<i64, Arc<DeviceRow>>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let keys = List::Int(keys.to_vec());
    let among = is_among(devices::Column::DeviceKey, keys, store.backend());
    let query = devices::Entity::find().find_also_related(device_status::Entity);
    let rows = query.filter(among).stream(store.readers()).await;
    let rows = gathered_devices(rows.doing("read devices")?, allowance).await?;
    let keyed = |row: Arc<DeviceRow>| (row.device.device_key, row);
    Ok(rows.into_iter().map(keyed).collect())
}

async fn gathered_devices(
    rows: impl Stream<Item = Result<(devices::Model, Option<device_status::Model>), DbErr>>,
    allowance: &Allowance,
) -> Result<Vec<Arc<DeviceRow>>, StoreError> {
    let rows = rows.map_ok(|(device, status)| Arc::new(DeviceRow { device, status }));
    let weight_bytes = |row: &Arc<DeviceRow>| row.weight_bytes();
    gathered(rows, (allowance, weight_bytes), "read devices").await
}

/// Where the newest reading of each of some devices comes from, or its registration when there is none.
///
/// # Errors
/// When the tables cannot be read.
pub async fn provenances(
    store: &Store,
    devices: impl Iterator<Item = &Arc<DeviceRow>>,
    allowance: &Allowance,
) -> Result<HashMap<i64, Provenance>, StoreError> {
    let (mut registered, mut measured) = (Vec::new(), Vec::new());
    for row in devices {
        registered.push(Place {
            position: Position(row.device.position),
            occurred_at: Instant(row.device.registered_at),
        });
        let status = row.status.as_ref();
        let metrics = status.and_then(|s| s.metrics_position.zip(s.metrics_at));
        measured.extend(metrics.map(|(position, at)| Place {
            position: Position(position),
            occurred_at: Instant(at),
        }));
    }
    let mut provenances = HashMap::with_capacity(registered.len());
    for (kind, places) in [
        (Kind::DeviceRegistration, registered),
        (Kind::DeviceMetrics, measured),
    ] {
        let device = kind.spec().device_index();
        let read = store.at((kind, Columns::SMALL), &places, allowance);
        for event in read.await? {
            let key = device.and_then(|index| event.fact.cells.get(index)?.int());
            provenances.extend(key.map(|key| (key, event.fact.provenance)));
        }
    }
    Ok(provenances)
}

/// Sites by their keys.
///
/// # Errors
/// When the tables cannot be read.
pub async fn sites_by_key(
    store: &Store,
    keys: &[i64],
    allowance: &Allowance,
) -> Result<HashMap<i64, Arc<SiteRow>>, StoreError> {
    let keys = List::Int(keys.to_vec());
    let among = is_among(sites::Column::SiteKey, keys, store.backend());
    let query = sites::Entity::find().filter(among);
    let rows = gathered_sites(store, query, allowance).await?;
    let keyed = |site: Arc<SiteRow>| (site.site_key, site);
    Ok(rows.into_iter().map(keyed).collect())
}

async fn gathered_sites(
    store: &Store,
    query: Select<sites::Entity>,
    allowance: &Allowance,
) -> Result<Vec<Arc<SiteRow>>, StoreError> {
    let rows = query.stream(store.readers()).await.doing("read sites")?;
    let rows = rows.map_ok(Arc::new);
    gathered(rows, (allowance, site_weight_bytes), "read sites").await
}

/// Which part of a list ordered by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdPage {
    /// After this id.
    pub after: Option<String>,
    /// Before this id.
    pub before: Option<String>,
    /// At this id or after it.
    pub from: Option<String>,
    /// At this id or before it.
    pub upto: Option<String>,
    /// Rows at most.
    pub limit: u64,
    /// Taken from the end of the list.
    pub from_end: bool,
}

/// Which devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceFilter {
    /// Of this part of the fleet.
    pub within: Within,
    /// At this site.
    pub site_key: Option<i64>,
    /// Of these ids.
    pub device_ids: Option<Vec<String>>,
    /// In one of these states.
    pub states: Option<Vec<String>>,
    /// Of one of these types.
    pub types: Option<Vec<String>>,
    /// In one of these lifecycles.
    pub lifecycles: Option<Vec<String>>,
    /// With this in id or name, upper and lower case of A to Z alike.
    pub search: Option<String>,
    /// With one of these tags.
    pub tags: Option<Vec<String>>,
    /// Of this model.
    pub model: Option<String>,
    /// With this firmware.
    pub firmware: Option<String>,
}

impl DeviceFilter {
    pub(super) fn condition(&self, backend: DbBackend) -> Condition {
        let one_of = |column: devices::Column, words: &Option<Vec<String>>| {
            words.as_ref().map(|words| column.is_in(words.clone()))
        };
        let search = self.search.as_ref().map(|text| {
            // by its bytes SQLite compares anyway
            let bytewise = if backend == DbBackend::Postgres {
                " COLLATE \"C\""
            } else {
                ""
            };
            let has = |column: &str| {
                Expr::cust(format!("lower(devices.{column}{bytewise})")).like(pattern(text))
            };
            Condition::any().add(has("device_id")).add(has("name"))
        });
        // a device of which no state was reported has no row, or one without a state
        let states = self.states.as_ref().map(|states| {
            let unknown = states.iter().any(|state| state == "UNKNOWN");
            Condition::any()
                .add(device_status::Column::State.is_in(states.clone()))
                .add_option(unknown.then(|| device_status::Column::State.is_null()))
        });
        let tagged = self.tags.as_ref().map(|tags| tagged(tags, backend));
        let is = |column: devices::Column, text: &Option<String>| {
            text.as_ref().map(|text| column.eq(text.as_str()))
        };
        Condition::all()
            .add(self.within.of_devices(backend))
            .add_option(tagged)
            .add_option(is(devices::Column::Model, &self.model))
            .add_option(is(devices::Column::Firmware, &self.firmware))
            .add_option(self.site_key.map(|key| devices::Column::SiteKey.eq(key)))
            .add_option(one_of(devices::Column::DeviceId, &self.device_ids))
            .add_option(one_of(devices::Column::DeviceType, &self.types))
            .add_option(one_of(devices::Column::Lifecycle, &self.lifecycles))
            .add_option(states)
            .add_option(search)
    }
}

/// A page of devices.
///
/// # Errors
/// When the tables cannot be read.
pub async fn devices_page(
    store: &Store,
    filter: &DeviceFilter,
    page: &IdPage,
    allowance: &Allowance,
) -> Result<Vec<Arc<DeviceRow>>, StoreError> {
    let column = devices::Column::DeviceId;
    let query = devices::Entity::find()
        .find_also_related(device_status::Entity)
        .filter(filter.condition(store.backend()))
        .filter(bounds(column, page))
        .limit(page.limit);
    let query = if page.from_end {
        query.order_by_desc(column)
    } else {
        query.order_by_asc(column)
    };
    let rows = query.stream(store.readers()).await.doing("read devices")?;
    gathered_devices(rows, allowance).await
}

/// The same page of devices for each of some sites, in two statements.
///
/// # Errors
/// When the tables cannot be read.
pub async fn devices_pages(
    store: &Store,
    filter: &DeviceFilter,
    page: &IdPage,
    (site_keys, allowance): (&[i64], &Allowance),
) -> Result<HashMap<i64, Vec<Arc<DeviceRow>>>, StoreError> {
    let way = if page.from_end { "DESC" } else { "ASC" };
    // a number within each site, since a limit would hold for all of them together
    let ordinal = Expr::cust(format!(
        "row_number() OVER (PARTITION BY devices.site_key ORDER BY devices.device_id {way})"
    ));
    let query = devices::Entity::find()
        .left_join(device_status::Entity)
        .select_only()
        .column(devices::Column::DeviceKey)
        .expr_as(ordinal, "ordinal")
        .filter(at_sites(store, site_keys))
        .filter(filter.condition(store.backend()))
        .filter(bounds(devices::Column::DeviceId, page));
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let within = Query::select()
        .column("device_key")
        .from_subquery(query.into_query(), "numbered")
        .and_where(Expr::col("ordinal").lte(limit))
        .to_owned();
    let found = store
        .readers()
        .stream(&within)
        .await
        .doing("read devices")?;
    let key = |row: QueryResult| row.try_get_by_index(0);
    let found = found.and_then(|row| std::future::ready(key(row)));
    let weight_bytes = |_: &i64| size_of::<i64>();
    let keys = gathered(found, (allowance, weight_bytes), "read devices").await?;
    let mut pages: HashMap<i64, Vec<Arc<DeviceRow>>> = HashMap::new();
    for row in devices_by_key(store, &keys, allowance).await?.into_values() {
        pages.entry(row.device.site_key).or_default().push(row);
    }
    for rows in pages.values_mut() {
        rows.sort_by(|left, right| left.device.device_id.cmp(&right.device.device_id));
        if page.from_end {
            rows.reverse();
        }
    }
    Ok(pages)
}

/// How many devices there are at each of some sites.
///
/// # Errors
/// When the tables cannot be read.
pub async fn devices_counts(
    store: &Store,
    filter: &DeviceFilter,
    site_keys: &[i64],
) -> Result<HashMap<i64, u64>, StoreError> {
    let query = devices::Entity::find()
        .left_join(device_status::Entity)
        .select_only()
        .column(devices::Column::SiteKey)
        .column_as(devices::Column::DeviceKey.count(), "devices")
        .filter(at_sites(store, site_keys))
        .filter(filter.condition(store.backend()))
        .group_by(devices::Column::SiteKey)
        .into_tuple::<(i64, i64)>();
    let counts = query.all(store.readers()).await.doing("count devices")?;
    let count = |(site, count)| (site, u64::try_from(count).unwrap_or(0));
    Ok(counts.into_iter().map(count).collect())
}

fn at_sites(store: &Store, site_keys: &[i64]) -> Expr {
    let keys = List::Int(site_keys.to_vec());
    is_among(devices::Column::SiteKey, keys, store.backend())
}

/// How many devices of a type were registered at a site since an instant, or registered anew.
///
/// # Errors
/// When the tables cannot be read.
pub async fn registered_since(
    store: &Store,
    (site_key, device_type): (i64, &str),
    since: Instant,
) -> Result<u64, StoreError> {
    devices::Entity::find()
        .filter(devices::Column::SiteKey.eq(site_key))
        .filter(devices::Column::DeviceType.eq(device_type))
        .filter(devices::Column::RegisteredAt.gt(since.0))
        .count(store.readers())
        .await
        .doing("count devices")
}

/// How many devices there are.
///
/// # Errors
/// When the tables cannot be read.
pub async fn devices_count(store: &Store, filter: &DeviceFilter) -> Result<u64, StoreError> {
    let query = devices::Entity::find()
        .find_also_related(device_status::Entity)
        .filter(filter.condition(store.backend()));
    query.count(store.readers()).await.doing("count devices")
}

/// A page of sites.
///
/// # Errors
/// When the tables cannot be read.
pub async fn sites_page(
    store: &Store,
    page: &IdPage,
    (within, allowance): (&Within, &Allowance),
) -> Result<Vec<Arc<SiteRow>>, StoreError> {
    let column = sites::Column::SiteId;
    let query = sites::Entity::find()
        .filter(within.of_sites(store.backend()))
        .filter(bounds(column, page))
        .limit(page.limit);
    let query = if page.from_end {
        query.order_by_desc(column)
    } else {
        query.order_by_asc(column)
    };
    gathered_sites(store, query, allowance).await
}

/// How many sites there are.
///
/// # Errors
/// When the tables cannot be read.
pub async fn sites_count(store: &Store, within: &Within) -> Result<u64, StoreError> {
    sites::Entity::find()
        .filter(within.of_sites(store.backend()))
        .count(store.readers())
        .await
        .doing("count sites")
}

/// Devices with one of some tags. These are a list of texts as JSON without spaces, so that a tag is in
/// it when it stands there in quotes behind its bracket or a comma.
fn tagged(tags: &[String], backend: DbBackend) -> Condition {
    let condition = if backend == DbBackend::Postgres {
        "strpos(devices.tags, $1) > 0"
    } else {
        "instr(devices.tags, ?) > 0"
    };
    let texts = tags
        .iter()
        .filter_map(|tag| serde_json::to_string(tag).ok());
    texts.fold(Condition::any(), |any, text| {
        ["[", ","].into_iter().fold(any, |any, before| {
            let values = [format!("{before}{text}")];
            any.add(Expr::cust_with_values(condition, values))
        })
    })
}

/// A text anywhere in another, upper and lower case of A to Z alike: SQLite knows no other, and
/// both databases are to find the same.
fn pattern(text: &str) -> LikeExpr {
    containing(&text.to_ascii_lowercase())
}

/// A text anywhere in another.
pub(super) fn containing(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}

pub(super) fn bounds(column: impl ColumnTrait, page: &IdPage) -> Condition {
    Condition::all()
        .add_option(page.after.as_ref().map(|id| column.gt(id.as_str())))
        .add_option(page.before.as_ref().map(|id| column.lt(id.as_str())))
        .add_option(page.from.as_ref().map(|id| column.gte(id.as_str())))
        .add_option(page.upto.as_ref().map(|id| column.lte(id.as_str())))
}

/// The value that a parameter of a thing has now; the thing is given by its type and id.
///
/// # Errors
/// When the tables cannot be read.
pub async fn configured(
    store: &Store,
    (entity_type, entity_id): (&str, &str),
    parameter: &str,
) -> Result<Option<configuration_values::Model>, StoreError> {
    let [entity_type, entity_id, parameter] =
        [entity_type, entity_id, parameter].map(str::to_owned);
    configuration_values::Entity::find_by_id((entity_type, entity_id, parameter))
        .one(store.readers())
        .await
        .doing("read a parameter")
}

/// The parameters of things of one type and their values now, by the names of the parameters.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn configurations(
    store: &Store,
    (entity_type, entity_ids): (&str, &[&str]),
    allowance: &Allowance,
) -> Result<Vec<configuration_values::Model>, StoreError> {
    let ids = entity_ids.iter().map(ToString::to_string).collect();
    let id = configuration_values::Column::EntityId;
    let query = configuration_values::Entity::find()
        .filter(configuration_values::Column::EntityType.eq(entity_type))
        .filter(is_among(id, List::Text(ids), store.backend()))
        .order_by_asc(configuration_values::Column::ParameterName);
    let weight_bytes = |row: &configuration_values::Model| {
        size_of_val(row) + row.parameter_name.len() + row.value.len()
    };
    let rows = query.stream(store.readers()).await;
    let rows = rows.doing("read configurations")?;
    gathered(rows, (allowance, weight_bytes), "read configurations").await
}
