//! Which devices are to be told of a command, and what: those for which another value holds than before,
//! and those for which what is set here holds and which have not applied it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::set::{Own, Values, job_id};
use super::{ConfigurationError, Thing};
use crate::event::{Instant, NewEvent};
use crate::history::configuration::{self as held, AppliedValues, SYSTEM, Serving};
use crate::history::jobs::JobRow;
use crate::history::parameters::{self, ParameterRow};
use crate::jobs::{self, NewJob, Plan, TARGETS_MAX, UPDATE_CONFIGURATION};
use crate::store::{EntityType, Store, StoreError};

/// Jobs at most of a command.
const JOBS_MAX: usize = 200;
/// Bytes at most of the ids of a job's devices, as they are recorded.
const TARGETS_BYTES_MAX: usize = 1_000_000;
/// Bytes at most of the parameters of a job, as they are recorded: a payload has no more than 64 KiB.
const PAYLOAD_BYTES_MAX: usize = 60_000;
/// Devices at most of which it is read at once what they have applied.
const DEVICES_AT_ONCE: usize = 500;
/// Seconds that a device may be away before it is not told any more: a shop may be closed for weeks.
const TIME_TO_LIVE_SECONDS: u32 = 30 * 86_400;

/// On what behalf devices are told.
#[derive(Clone)]
pub(super) struct Telling<'a> {
    /// What people call it.
    pub(super) title: String,
    pub(super) by: &'a str,
    pub(super) command: Uuid,
}

/// The jobs by which devices are told, and the steps with which they are made.
pub(super) async fn tell(
    store: &Store,
    (thing, telling): (&Thing, &Telling<'_>),
    (own, values): (&Own, &Values),
    now: Instant,
) -> Result<(Vec<String>, Vec<NewEvent>), ConfigurationError> {
    let devices = within(store, thing).await?;
    if devices.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let names: Vec<String> = values.keys().cloned().collect();
    let are_all = thing.entity_id == SYSTEM;
    let levels = Levels::read(store, &names, (&devices, are_all)).await?;
    let change = Change { thing, own, values };
    let mut told = Told::default();
    for devices in devices.chunks(DEVICES_AT_ONCE) {
        let applied = change.applied(store, devices).await?;
        for device in devices {
            told.add(change.told(&levels, device, &applied), device.1.clone());
        }
    }
    jobs_of(telling, told.into_parts(), now)
}

/// What devices are to be told: those that are told the same have a job together.
#[derive(Default)]
pub(super) struct Told(BTreeMap<String, (Map<String, Json>, Vec<String>)>);

impl Told {
    /// Adds what a device is to be told.
    pub(super) fn add(&mut self, parameters: Map<String, Json>, device: String) {
        if !parameters.is_empty() {
            let text = json!(parameters).to_string();
            let of = self.0.entry(text);
            of.or_insert_with(|| (parameters, Vec::new()))
                .1
                .push(device);
        }
    }

    /// What is told to whom, in a fixed order.
    pub(super) fn into_parts(self) -> impl Iterator<Item = (Map<String, Json>, Vec<String>)> {
        self.0.into_values()
    }
}

/// The jobs by which devices are told what, and the steps with which they are made.
pub(super) fn jobs_of(
    telling: &Telling<'_>,
    told: impl IntoIterator<Item = (Map<String, Json>, Vec<String>)>,
    now: Instant,
) -> Result<(Vec<String>, Vec<NewEvent>), ConfigurationError> {
    let (mut ids, mut steps) = (Vec::<String>::new(), Vec::new());
    for (parameters, devices) in told {
        let (payloads, parts) = (in_payloads(parameters), in_jobs(devices));
        let all = payloads.iter();
        let all = all.flat_map(|payload| parts.iter().map(move |targets| (payload, targets)));
        for (payload, targets) in all {
            let id = job_id(telling.command, ids.len());
            let job = NewJob {
                job_id: id,
                job_type: UPDATE_CONFIGURATION.to_owned(),
                payload: Some(payload.clone()),
                plan: Plan {
                    title: Some(telling.title.clone()),
                    time_to_live_seconds: TIME_TO_LIVE_SECONDS,
                    is_configuration: true,
                    ..Plan::default()
                },
                targets: targets.clone(),
                created_by: telling.by.to_owned(),
                parent_job_id: ids.first().cloned(),
            };
            steps.push(jobs::first_step(job, now).map_err(ConfigurationError::Job)?);
            ids.push(id.to_string());
            if ids.len() > JOBS_MAX {
                return Err(ConfigurationError::TooManyJobs);
            }
        }
    }
    Ok((ids, steps))
}

/// Parameters as the payloads of jobs may have them.
fn in_payloads(parameters: Map<String, Json>) -> Vec<Json> {
    let mut payloads: Vec<Map<String, Json>> = Vec::new();
    let mut bytes = PAYLOAD_BYTES_MAX;
    for (name, value) in parameters {
        let written = json!([name, value]).to_string().len();
        bytes += written;
        match payloads.last_mut() {
            Some(payload) if bytes <= PAYLOAD_BYTES_MAX => {
                payload.insert(name, value);
            }
            _ => {
                bytes = written;
                payloads.push([(name, value)].into_iter().collect());
            }
        }
    }
    let payloads = payloads.into_iter();
    payloads
        .map(|parameters| json!({ "parameters": parameters }))
        .collect()
}

/// Devices as one job may have them.
fn in_jobs(devices: Vec<String>) -> Vec<Vec<String>> {
    let mut jobs: Vec<Vec<String>> = Vec::new();
    let mut bytes = TARGETS_BYTES_MAX;
    for device in devices {
        // as they are written: in quotes, with a comma, and at worst escaped
        let written = json!(device).to_string().len() + 1;
        bytes += written;
        match jobs.last_mut() {
            Some(job) if bytes <= TARGETS_BYTES_MAX && job.len() < TARGETS_MAX => job.push(device),
            _ => {
                bytes = written;
                jobs.push(vec![device]);
            }
        }
    }
    jobs
}

/// The devices for which what is set on a thing may hold.
async fn within(store: &Store, thing: &Thing) -> Result<Vec<Serving>, ConfigurationError> {
    let id = thing.entity_id.as_str();
    match thing.entity_type.as_str() {
        "DEVICE" => {
            let key = store.key(EntityType::Device, id).await?;
            let site = key.and_then(|key| store.names().site_of_device(key));
            let Some((key, site)) = key.zip(site) else {
                return Ok(Vec::new());
            };
            let at_site = held::serving(store, Some(site)).await?;
            Ok(at_site.into_iter().filter(|one| one.0 == key).collect())
        }
        "SITE" => match store.key(EntityType::Site, id).await? {
            Some(site) => Ok(held::serving(store, Some(site)).await?),
            None => Ok(Vec::new()),
        },
        _ => Ok(held::serving(store, None).await?),
    }
}

/// What is set of some parameters, on devices and on what they are parts of.
struct Levels {
    /// By type and id of the thing and parameter.
    set: HashMap<(String, String, String), Json>,
    /// Ids of sites by their keys.
    sites: HashMap<i64, String>,
    parameters: Vec<ParameterRow>,
}

/// A value instead of the one that is set on a thing.
type Instead<'a> = (&'a Thing, Option<&'a Json>);

impl Levels {
    /// What may hold on some devices; of all devices, all that is set is read.
    async fn read(
        store: &Store,
        names: &[String],
        (devices, are_all): (&[Serving], bool),
    ) -> Result<Self, StoreError> {
        let mut sites = HashMap::new();
        for (_, _, site) in devices {
            if !sites.contains_key(site) {
                sites.extend(store.id(*site).await?.map(|id| (*site, id.to_string())));
            }
        }
        let of_devices = devices.iter().map(|(_, id, _)| id);
        let things = of_devices.chain(sites.values()).cloned();
        let things = (!are_all).then(|| things.chain([SYSTEM.to_owned()]).collect());
        let mut set = HashMap::new();
        let allowance = Store::own_allowance();
        for row in held::desired_of(store, (names, things), &allowance).await? {
            if let Some(value) = &row.value {
                let key = (row.entity_type, row.entity_id, row.parameter_name);
                set.insert(key, held::json(value));
            }
        }
        Ok(Self {
            set,
            sites,
            parameters: parameters::registered(store, Some(names), &allowance).await?,
        })
    }

    /// The value that holds on a device, and whether it is the one that is taken instead of what is set.
    fn holds(
        &self,
        parameter: &str,
        (_, device, site): &Serving,
        instead: Option<Instead<'_>>,
    ) -> (Option<Json>, bool) {
        let site = self.sites.get(site).map_or("", String::as_str);
        for (entity_type, id) in [
            ("DEVICE", device.as_str()),
            ("SITE", site),
            ("SYSTEM", SYSTEM),
        ] {
            let is_it = |(thing, _): &Instead<'_>| {
                thing.entity_type == entity_type && thing.entity_id == id
            };
            if let Some((_, own)) = instead.filter(is_it) {
                if let Some(value) = own {
                    return (Some(value.clone()), true);
                }
                continue;
            }
            let [entity_type, id, parameter] = [entity_type, id, parameter].map(str::to_owned);
            if let Some(value) = self.set.get(&(entity_type, id, parameter)) {
                return (Some(value.clone()), false);
            }
        }
        let row = self
            .parameters
            .iter()
            .find(|row| row.parameter_name == parameter);
        let default = row.and_then(|row| row.default_value.as_deref());
        (default.map(held::json), false)
    }
}

/// A command on a thing: what is set there and what is to be.
struct Change<'a> {
    thing: &'a Thing,
    own: &'a Own,
    values: &'a Values,
}

impl Change<'_> {
    /// What some devices have applied of what is to be set.
    async fn applied(
        &self,
        store: &Store,
        devices: &[Serving],
    ) -> Result<AppliedValues, ConfigurationError> {
        let ids = devices.iter().map(|(_, id, _)| id.clone()).collect();
        let names = self.values.keys().cloned().collect();
        Ok(held::applied(store, (ids, names), &Store::own_allowance()).await?)
    }

    /// What a device is to be told.
    fn told(
        &self,
        levels: &Levels,
        device: &Serving,
        applied: &AppliedValues,
    ) -> Map<String, Json> {
        let mut told = Map::new();
        for (parameter, value) in self.values {
            let own = self.own.value(parameter);
            let holds =
                |value: Option<&Json>| levels.holds(parameter, device, Some((self.thing, value)));
            let (before, _) = holds(own.as_ref());
            let (after, is_own) = holds(value.as_ref());
            let key = (device.1.clone(), parameter.clone());
            let applied = applied.get(&key).map(|row| held::json(&row.value));
            let is_new = before != after || is_own && applied != after;
            if is_new {
                // null: nothing is set, and the device does as it is used to
                told.insert(parameter.clone(), after.unwrap_or_default());
            }
        }
        told
    }
}

/// Those of some devices, by their keys, for which something else holds by now than a job tells them.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn superseded_among(
    store: &Store,
    job: &JobRow,
    device_keys: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let payload = job.payload.as_deref().map(held::json).unwrap_or_default();
    let Some(parameters) = payload.get("parameters").and_then(Json::as_object) else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = parameters.keys().cloned().collect();
    let mut superseded = Vec::new();
    for keys in device_keys.chunks(DEVICES_AT_ONCE) {
        let mut devices = Vec::with_capacity(keys.len());
        for key in keys {
            let id = store.id(*key).await?;
            let site = store.names().site_of_device(*key);
            devices.extend(id.zip(site).map(|(id, site)| (*key, id.to_string(), site)));
        }
        let levels = Levels::read(store, &names, (&devices, false)).await?;
        superseded.extend(devices.iter().filter_map(|device| {
            let mut all = parameters.iter();
            let is_other = |(name, told): (&String, &Json)| {
                levels.holds(name, device, None).0.unwrap_or_default() != *told
            };
            // what of it still holds nobody else tells; what does not is told by a later job
            (!parameters.is_empty() && all.all(is_other)).then_some(device.0)
        }));
    }
    Ok(superseded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_parted_by_length() {
        let long = json!("x".repeat(32_000));
        let parameters: Map<String, Json> = (0..3)
            .map(|n| (format!("p{n}"), long.clone()))
            .chain([("short".to_owned(), json!(1))])
            .collect();
        let payloads = in_payloads(parameters.clone());
        let lengths: Vec<usize> = payloads.iter().map(|one| one.to_string().len()).collect();
        assert_eq!(payloads.len(), 3);
        assert!(lengths.iter().all(|bytes| *bytes <= 65_536), "{lengths:?}");
        let all = payloads
            .iter()
            .flat_map(|one| one["parameters"].as_object().unwrap());
        let all: Map<String, Json> = all.map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(all, parameters);
    }

    #[test]
    fn devices_are_parted_by_number_and_by_length() {
        let short: Vec<String> = (0..25_000).map(|n| format!("till-{n}")).collect();
        let lengths = |devices: &[String]| -> Vec<usize> {
            let jobs = in_jobs(devices.to_vec());
            assert_eq!(jobs.concat(), devices);
            jobs.iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(&short), [10_000, 10_000, 5_000]);
        let long: Vec<String> = (0..5_000).map(|n| format!("{n:0255}")).collect();
        let jobs = lengths(&long);
        assert!(
            jobs.len() == 2 && jobs[0] * 258 <= TARGETS_BYTES_MAX,
            "{jobs:?}"
        );
        assert!(lengths(&[]).is_empty());
    }
}
