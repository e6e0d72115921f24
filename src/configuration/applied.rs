//! Records that a device has applied what it was told, when it says so: the value before and the new one, who
//! set it, and what the device measured in the hour before.

use std::collections::HashMap;

use entity::configuration_history::Column;
use serde_json::Value as Json;
use uuid::Uuid;

use super::EFFECTIVE_AT_ONCE;
use super::evidence::hour;
use super::sealed::{Keyring, unopened};
use crate::event::{Instant, NewEvent, Provenance, own_id};
use crate::history::configuration::{self as held, SettingRow};
use crate::history::jobs::{self, JobRow};
use crate::history::parameters;
use crate::ingest::Ingest;
use crate::jobs::CommandId;
use crate::kinds::masked::{MASK, is_readable};
use crate::kinds::{Draft, Kind};
use crate::store::{EntityType, Store, StoreError};

/// How often at most a job may be tried again so that who commanded it is still found.
const PARENTS_MAX: usize = 16;
/// Namespace of the ids of changes.
const CHANGES: Uuid = Uuid::from_u128(0x1f8b_7c52_d0a6_4e3b_86c9_9e4d_21b7_f05a);

/// What comes of it when a device has done a command that told it values.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// What is recorded.
    pub(crate) events: Vec<NewEvent>,
    /// Parameters that it was not told, since they do not open for it.
    pub(crate) untold: Vec<String>,
}

/// What is recorded when a device has done a command that told it values, but for those that it was not told.
/// What it has applied before is no change.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn applied(
    ingest: &Ingest,
    (id, keyring): (&CommandId, Option<&Keyring>),
    (now, provenance): (Instant, Provenance),
) -> Result<Applied, StoreError> {
    let store = ingest.store();
    let Some(job) = jobs::job(store, &id.job_id).await? else {
        return Ok(Applied::default());
    };
    let key = store.key(EntityType::Device, &id.device_id).await?;
    let payload = job.payload.as_deref().map(held::json).unwrap_or_default();
    let parameters = payload.get("parameters").and_then(Json::as_object);
    let (Some(key), Some(parameters)) = (key, parameters) else {
        return Ok(Applied::default());
    };
    let device = (id.device_id.as_str(), key);
    let untold = keyring.map(|keyring| unopened(store, keyring, device, &payload));
    let untold = untold.unwrap_or_default();
    let by = commanded(store, &job).await?;
    let allowance = Store::own_allowance();
    let names: Vec<String> = parameters.keys().cloned().collect();
    let of = (vec![id.device_id.clone()], names.clone());
    let before = held::applied(store, of, &allowance).await?;
    let secrets = parameters::sensitive(store, Some(names)).await?;
    let kept = |parameter: &str, value: Json| {
        if is_readable(&value) && secrets.iter().any(|name| name == parameter) {
            // it was told before the parameter was registered
            Json::from(MASK)
        } else {
            value
        }
    };
    let command = id.to_string();
    let mut events = Vec::with_capacity(parameters.len() + 1);
    for (parameter, value) in parameters {
        if untold.contains(parameter) {
            continue;
        }
        let old = before.get(&(id.device_id.clone(), parameter.clone()));
        let since = old.map_or(0, |row| row.occurred_at + 1);
        let old = old.map(|row| held::json(&row.value));
        if old.as_ref().unwrap_or(&Json::Null) == value {
            continue;
        }
        // it holds from now on, also when the value before is from a clock that is ahead
        let at = now.max(Instant(since));
        let values = (
            old.map(|old| kept(parameter, old)),
            kept(parameter, value.clone()),
        );
        let how = (at, provenance);
        let changed = change((id, &job), (parameter, values), by.get(parameter), how);
        // a job that was made by hand may name what no parameter can be called
        events.extend(changed.finish().ok());
    }
    if !events.is_empty() {
        let of = (command.as_str(), id.device_id.as_str(), key);
        let evidence = hour(store, of, ("BEFORE", now, provenance)).await?;
        events.extend(evidence.finish().ok());
    }
    Ok(Applied { events, untold })
}

/// That a device got another value of a parameter by a command, which a setting has told it.
fn change(
    (id, job): (&CommandId, &JobRow),
    (parameter, (old, new)): (&str, (Option<Json>, Json)),
    setting: Option<&SettingRow>,
    (at, provenance): (Instant, Provenance),
) -> Draft {
    let command = id.to_string();
    let maker = job.created_by.as_deref().unwrap_or("nobody");
    let by = setting.map_or(maker, |row| &row.changed_by);
    let reason = setting.and_then(|row| row.reason.as_deref());
    let change_type = setting.and_then(|row| row.change_type.as_deref());
    Draft::new(Kind::ConfigurationChange, at, provenance)
        .event_id(own_id(
            &CHANGES,
            format!("{command}/{parameter}").as_bytes(),
        ))
        .set(Column::EntityType, "DEVICE")
        .given(Column::EntityId, Some(&id.device_id))
        .given(Column::ParameterName, Some(parameter))
        .set(Column::OldValue, old)
        .set(Column::NewValue, new)
        .set(Column::ChangedBy, by)
        .given(Column::Reason, reason)
        .set(Column::ChangeType, change_type)
        .set(Column::JobId, job.job_id.as_str())
        .set(Column::CommandId, command.as_str())
}

/// Of what a job tells some devices, a device and a parameter for which something else is set by now.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) async fn superseded(
    store: &Store,
    job: &JobRow,
    devices: &[String],
) -> Result<Option<(String, String)>, StoreError> {
    let payload = job.payload.as_deref().map(held::json).unwrap_or_default();
    let Some(parameters) = payload.get("parameters").and_then(Json::as_object) else {
        return Ok(None);
    };
    let ids: Vec<&str> = devices.iter().map(String::as_str).collect();
    for ids in ids.chunks(EFFECTIVE_AT_ONCE) {
        let allowance = Store::own_allowance();
        for (device, values) in held::effective(store, ("DEVICE", ids), &allowance).await? {
            let other = values.into_iter().find(|one| {
                let told = parameters.get(&one.parameter);
                one.is_applied().is_some() && told.is_some_and(|told| *told != one.value)
            });
            if let Some(other) = other {
                return Ok(Some((device, other.parameter)));
            }
        }
    }
    Ok(None)
}

/// Who had devices told by a job, by parameter: the command that made it, or the job that it tries again.
async fn commanded(store: &Store, job: &JobRow) -> Result<HashMap<String, SettingRow>, StoreError> {
    let mut ids = vec![job.job_id.clone()];
    let mut parent = job.parent_job_id.clone();
    while let Some(id) = parent.filter(|_| ids.len() < PARENTS_MAX) {
        parent = jobs::job(store, &id)
            .await?
            .and_then(|job| job.parent_job_id);
        ids.push(id);
    }
    let rows = held::settings_of_job(store, ids).await?;
    let keyed = |row: SettingRow| (row.parameter_name.clone(), row);
    Ok(rows.into_iter().map(keyed).collect())
}
