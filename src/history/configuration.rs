//! Configuration as it stands: what is set on things, what holds from that, and what devices have applied.

use std::collections::{BTreeMap, HashMap};

use entity::{
    configuration_desired, configuration_evidence_due, configuration_settings,
    configuration_values, devices, job_targets, jobs,
};
use futures_util::TryStreamExt;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::Value as Json;

use super::device_keys::SERVING;
use super::gathered;
use super::parameters::{self, ParameterRow};
use crate::event::Instant;
use crate::store::{Allowance, Doing, EntityType, List, Store, StoreError, is_among};

/// A parameter that was set on something.
pub type DesiredRow = configuration_desired::Model;
/// One parameter of one command, as it is in the log.
pub type SettingRow = configuration_settings::Model;
/// A change of which the hour after is yet to be told.
pub type DueRow = configuration_evidence_due::Model;

/// Id of the system, where a thing has one.
pub const SYSTEM: &str = "system";

/// What is set on things, also what was unset: of each type the ids.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn desired(
    store: &Store,
    things: impl IntoIterator<Item = (&str, Vec<String>)>,
    allowance: &Allowance,
) -> Result<Vec<DesiredRow>, StoreError> {
    let mut any = Condition::any();
    for (entity_type, ids) in things {
        let id = configuration_desired::Column::EntityId;
        let of_type = configuration_desired::Column::EntityType.eq(entity_type);
        let among = is_among(id, List::Text(ids), store.backend());
        any = any.add(Condition::all().add(of_type).add(among));
    }
    let query = configuration_desired::Entity::find()
        .filter(any)
        .order_by_asc(configuration_desired::Column::ParameterName);
    let rows = query.stream(store.readers()).await;
    gathered(rows.doing(DESIRED)?, (allowance, desired_bytes), DESIRED).await
}

const DESIRED: &str = "read what is configured";

fn desired_bytes(row: &DesiredRow) -> usize {
    let value = row.value.as_ref().map_or(0, String::len);
    size_of_val(row) + row.entity_id.len() + row.parameter_name.len() + value
}

/// What is set of some parameters, on things with some ids or wherever.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn desired_of(
    store: &Store,
    (names, ids): (&[String], Option<Vec<String>>),
    allowance: &Allowance,
) -> Result<Vec<DesiredRow>, StoreError> {
    let name = configuration_desired::Column::ParameterName;
    let among = is_among(name, List::Text(names.to_vec()), store.backend());
    let ids = ids.map(|ids| {
        let id = configuration_desired::Column::EntityId;
        is_among(id, List::Text(ids), store.backend())
    });
    let query = configuration_desired::Entity::find();
    let query = query.filter(Condition::all().add(among).add_option(ids));
    let rows = query.stream(store.readers()).await;
    gathered(rows.doing(DESIRED)?, (allowance, desired_bytes), DESIRED).await
}

/// The type and id of a thing, and of its commands those after one version and up to another.
pub type Commands<'a> = ((&'a str, &'a str), (i64, i64));

/// Commands on a thing, in their order.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn settings(
    store: &Store,
    commands: Commands<'_>,
    allowance: &Allowance,
) -> Result<Vec<SettingRow>, StoreError> {
    let weight_bytes = |row: &SettingRow| {
        let texts = [&row.value, &row.reason, &row.job_id];
        let texts = texts.into_iter().flatten().map(String::len);
        size_of_val(row) + row.parameter_name.len() + row.changed_by.len() + texts.sum::<usize>()
    };
    let rows = settings_of(commands).stream(store.readers()).await;
    gathered(rows.doing(DESIRED)?, (allowance, weight_bytes), DESIRED).await
}

/// Looks at commands on a thing, one after another in their order.
///
/// # Errors
/// When the tables cannot be read.
pub async fn each_setting(
    store: &Store,
    commands: Commands<'_>,
    mut look: impl FnMut(SettingRow),
) -> Result<(), StoreError> {
    let rows = settings_of(commands).stream(store.readers()).await;
    let mut rows = std::pin::pin!(rows.doing(DESIRED)?);
    while let Some(row) = rows.try_next().await.doing(DESIRED)? {
        look(row);
    }
    Ok(())
}

fn settings_of(commands: Commands<'_>) -> Select<configuration_settings::Entity> {
    let ((entity_type, entity_id), (after, upto)) = commands;
    configuration_settings::Entity::find()
        .filter(configuration_settings::Column::EntityType.eq(entity_type))
        .filter(configuration_settings::Column::EntityId.eq(entity_id))
        .filter(configuration_settings::Column::Version.gt(after))
        .filter(configuration_settings::Column::Version.lte(upto))
        .order_by_asc(configuration_settings::Column::Version)
        .order_by_asc(configuration_settings::Column::Position)
}

/// The command of which one of some jobs tells devices.
///
/// # Errors
/// When the tables cannot be read.
pub async fn settings_of_job(
    store: &Store,
    job_ids: Vec<String>,
) -> Result<Vec<SettingRow>, StoreError> {
    let job = configuration_settings::Column::JobId;
    let query = configuration_settings::Entity::find();
    let query = query.filter(is_among(job, List::Text(job_ids), store.backend()));
    query.all(store.readers()).await.doing(DESIRED)
}

/// Ids of the jobs that a job has the first of, itself before all.
///
/// # Errors
/// When the tables cannot be read.
pub async fn jobs_of(store: &Store, first: &str) -> Result<Vec<String>, StoreError> {
    let query = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::JobId)
        .filter(jobs::Column::ParentJobId.eq(first))
        .filter(jobs::Column::JobType.eq("UPDATE_POS_CONFIG"))
        .order_by_asc(jobs::Column::Position)
        .into_tuple::<String>();
    let further = query.all(store.readers()).await.doing("read jobs")?;
    Ok([first.to_owned()].into_iter().chain(further).collect())
}

/// A device that takes configuration: its key, its id, and the key of its site.
pub type Serving = (i64, String, i64);

/// The ids of those of some devices that take configuration, in their order.
///
/// # Errors
/// When the tables cannot be read.
pub async fn serving_among(store: &Store, device_keys: &[i64]) -> Result<Vec<String>, StoreError> {
    let keys = List::Int(device_keys.to_vec());
    let query = devices::Entity::find()
        .select_only()
        .column(devices::Column::DeviceId)
        .filter(devices::Column::Lifecycle.is_in(SERVING))
        .filter(is_among(devices::Column::DeviceKey, keys, store.backend()))
        .order_by_asc(devices::Column::DeviceId)
        .into_tuple::<String>();
    query.all(store.readers()).await.doing("read devices")
}

/// What some devices are being told by jobs that are open: by their keys, the payloads in the order in which
/// they were told.
///
/// # Errors
/// When the tables cannot be read.
pub async fn telling(
    store: &Store,
    device_keys: &[i64],
) -> Result<Vec<(i64, Option<String>)>, StoreError> {
    let keys = List::Int(device_keys.to_vec());
    let device = job_targets::Column::DeviceKey;
    let query = job_targets::Entity::find()
        .select_only()
        .column(device)
        .column(jobs::Column::Payload)
        .inner_join(jobs::Entity)
        .filter(jobs::Column::JobType.eq("UPDATE_POS_CONFIG"))
        .filter(job_targets::Column::Status.is_null())
        .filter(is_among(device, keys, store.backend()))
        .order_by_asc(jobs::Column::CreatedAt)
        .order_by_asc(jobs::Column::Position)
        .into_tuple::<(i64, Option<String>)>();
    query.all(store.readers()).await.doing("read jobs")
}

/// The devices that take configuration, at a site or all, in the order of their ids.
///
/// # Errors
/// When the tables cannot be read.
pub async fn serving(store: &Store, site_key: Option<i64>) -> Result<Vec<Serving>, StoreError> {
    let mut query = devices::Entity::find()
        .select_only()
        .column(devices::Column::DeviceKey)
        .column(devices::Column::DeviceId)
        .column(devices::Column::SiteKey)
        .filter(devices::Column::Lifecycle.is_in(SERVING))
        .order_by_asc(devices::Column::DeviceId);
    if let Some(key) = site_key {
        query = query.filter(devices::Column::SiteKey.eq(key));
    }
    let query = query.into_tuple::<Serving>();
    query.all(store.readers()).await.doing("read devices")
}

/// What devices have applied, by device and parameter.
pub type AppliedValues = HashMap<(String, String), configuration_values::Model>;

/// What some devices have applied of some parameters.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn applied(
    store: &Store,
    (device_ids, names): (Vec<String>, Vec<String>),
    allowance: &Allowance,
) -> Result<AppliedValues, StoreError> {
    let id = configuration_values::Column::EntityId;
    let name = configuration_values::Column::ParameterName;
    let query = configuration_values::Entity::find()
        .filter(configuration_values::Column::EntityType.eq("DEVICE"))
        .filter(is_among(id, List::Text(device_ids), store.backend()))
        .filter(is_among(name, List::Text(names), store.backend()));
    let weight_bytes = |row: &configuration_values::Model| {
        size_of_val(row) + row.entity_id.len() + row.parameter_name.len() + row.value.len()
    };
    let rows = query.stream(store.readers()).await.doing(APPLIED)?;
    let rows = gathered(rows, (allowance, weight_bytes), APPLIED).await?;
    let keyed = |row: configuration_values::Model| {
        let key = (row.entity_id.clone(), row.parameter_name.clone());
        (key, row)
    };
    Ok(rows.into_iter().map(keyed).collect())
}

const APPLIED: &str = "read what devices have applied";

/// Changes that were applied up to an instant, of which the hour after is yet to be told; the oldest first.
///
/// # Errors
/// When the tables cannot be read.
pub async fn due(store: &Store, upto: Instant, limit: u64) -> Result<Vec<DueRow>, StoreError> {
    let at = configuration_evidence_due::Column::AppliedAt;
    let query = configuration_evidence_due::Entity::find()
        .filter(at.lte(upto.0))
        .order_by_asc(at)
        .limit(limit);
    query.all(store.readers()).await.doing("read changes")
}

/// Where the value that holds on a thing comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set on the device.
    Device,
    /// Set on the site.
    Site,
    /// Set on the system.
    System,
    /// The default of the parameter.
    Default,
    /// Nobody set it: it is what was last told of the thing.
    Reported,
}

/// What holds on a thing of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The parameter.
    pub parameter: String,
    /// Its value; secrets stand sealed.
    pub value: Json,
    /// Where that comes from.
    pub source: Source,
    /// With which version of that it was set; 0 when nobody did.
    pub version: i64,
    /// Since when, in microseconds since 1970.
    pub since: i64,
    /// What was last told of the thing itself, and when.
    pub applied: Option<(Json, i64)>,
}

impl Effective {
    /// Whether a device of which this holds has applied it; `None` when it is not to.
    #[must_use]
    pub fn is_applied(&self) -> Option<bool> {
        match (self.source, &self.applied) {
            (Source::Reported, _) | (Source::Default, None) => None,
            (_, None) => Some(false),
            (_, Some((applied, _))) => Some(*applied == self.value),
        }
    }

    /// Bytes that it takes in memory, roughly.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let applied = self.applied.as_ref();
        let applied = applied.map_or(0, |(value, _)| crate::event::json_bytes(value));
        let value = crate::event::json_bytes(&self.value);
        size_of::<Self>() + self.parameter.len() + value + applied
    }
}

/// A text of the tables as JSON.
#[must_use]
pub fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_default()
}

/// What holds on a thing: of what is set on it and on what it inherits from, in this order, the first; then
/// the defaults; then what was told of it.
#[must_use]
pub fn resolve(
    levels: &[(Source, &[DesiredRow])],
    parameters: &[ParameterRow],
    told: &[configuration_values::Model],
) -> Vec<Effective> {
    let mut found: BTreeMap<&str, Effective> = BTreeMap::new();
    for (source, rows) in levels {
        for row in *rows {
            let Some(value) = &row.value else { continue };
            found
                .entry(&row.parameter_name)
                .or_insert_with(|| Effective {
                    parameter: row.parameter_name.clone(),
                    value: json(value),
                    source: *source,
                    version: row.version,
                    since: row.occurred_at,
                    applied: None,
                });
        }
    }
    for row in parameters {
        let Some(default) = &row.default_value else {
            continue;
        };
        found
            .entry(&row.parameter_name)
            .or_insert_with(|| Effective {
                parameter: row.parameter_name.clone(),
                value: json(default),
                source: Source::Default,
                version: 0,
                since: row.registered_at,
                applied: None,
            });
    }
    for row in told {
        let value = json(&row.value);
        let effective = found
            .entry(&row.parameter_name)
            .or_insert_with(|| Effective {
                parameter: row.parameter_name.clone(),
                value: value.clone(),
                source: Source::Reported,
                version: 0,
                since: row.occurred_at,
                applied: None,
            });
        effective.applied = Some((value, row.occurred_at));
    }
    // a device that was told that nothing holds any more has said so
    found.retain(|_, one| one.source != Source::Reported || !one.value.is_null());
    found.into_values().collect()
}

/// What holds on things of one type, by their ids.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn effective(
    store: &Store,
    (entity_type, ids): (&str, &[&str]),
    allowance: &Allowance,
) -> Result<HashMap<String, Vec<Effective>>, StoreError> {
    let mut sites: HashMap<&str, String> = HashMap::new();
    if entity_type == "DEVICE" {
        for id in ids {
            let key = store.key(EntityType::Device, id).await?;
            let site = key.and_then(|key| store.names().site_of_device(key));
            if let Some(site) = site {
                sites.extend(store.id(site).await?.map(|site| (*id, site.to_string())));
            }
        }
    }
    let mut site_ids: Vec<String> = sites.values().cloned().collect();
    site_ids.sort_unstable();
    site_ids.dedup();
    let own = ids.iter().map(ToString::to_string).collect();
    let things = [
        (entity_type, own),
        ("SITE", site_ids),
        ("SYSTEM", vec![SYSTEM.to_owned()]),
    ];
    let set = by_thing(desired(store, things, allowance).await?);
    let parameters = parameters::registered(store, None, allowance).await?;
    let told = super::fleet::configurations(store, (entity_type, ids), allowance).await?;
    let mut told_of: HashMap<String, Vec<configuration_values::Model>> = HashMap::new();
    for row in told {
        told_of.entry(row.entity_id.clone()).or_default().push(row);
    }
    let own_source = match entity_type {
        "DEVICE" => Source::Device,
        "SITE" => Source::Site,
        _ => Source::System,
    };
    let rows = |entity_type: &str, id: &str| {
        let key = (entity_type.to_owned(), id.to_owned());
        set.get(&key).map_or(&[][..], Vec::as_slice)
    };
    let resolved = ids.iter().map(|id| {
        let site = sites.get(id).map_or("", String::as_str);
        let levels = [
            (own_source, rows(entity_type, id)),
            (Source::Site, rows("SITE", site)),
            (Source::System, rows("SYSTEM", SYSTEM)),
        ];
        let told = told_of.get(*id).map_or(&[][..], Vec::as_slice);
        let values = resolve(&levels, &parameters, told);
        // what things inherit is there for each of them
        allowance.take(values.iter().map(Effective::weight_bytes).sum())?;
        Ok(((*id).to_owned(), values))
    });
    resolved.collect()
}

/// What is set, by the type and id of the thing.
fn by_thing(rows: Vec<DesiredRow>) -> HashMap<(String, String), Vec<DesiredRow>> {
    let mut by_thing: HashMap<(String, String), Vec<DesiredRow>> = HashMap::new();
    for row in rows {
        let thing = (row.entity_type.clone(), row.entity_id.clone());
        by_thing.entry(thing).or_default().push(row);
    }
    by_thing
}
