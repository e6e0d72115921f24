//! Sets on a thing what was set on it at an earlier version, as a new version.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;

use super::set::{Deed, Done, Own, Values, event_id};
use super::{ConfigurationError, DECISIONS_MAX, Thing, parameters};
use crate::history::configuration::{self as held, SettingRow};
use crate::ingest::Ingest;
use crate::kinds::masked::is_sealed;
use crate::projections::settings::CONFIGURED;
use crate::store::Store;

/// What is to be as it was.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// On what.
    pub thing: Thing,
    /// The version; 0 is before anything was set.
    pub to_version: i64,
    /// Who has it so.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Key under which a repeat is known.
    pub command: Option<Uuid>,
    /// The version of the thing that the caller has read.
    pub expected: Option<i64>,
}

/// Sets what was set at a version, and unsets what was not. What is so already changes nothing.
///
/// # Errors
/// When there was no such version, a value is against the schema that its parameter has by now, or nothing
/// can be recorded.
pub async fn rollback(ingest: &Ingest, rollback: Rollback) -> Result<Done, ConfigurationError> {
    let (store, thing) = (ingest.store(), &rollback.thing);
    for _ in 0..DECISIONS_MAX {
        // the version first: what is read after it is at least as new
        let configured = store.version(CONFIGURED).await?;
        let own = Own::read(store, thing).await?;
        let past = Past::read(store, &rollback, own.version).await?;
        if let Some(first) = past.by_command {
            return repeated(store, &rollback, first).await;
        }
        own.is_as_read(rollback.expected)?;
        if !(0..=own.version).contains(&rollback.to_version) {
            return Err(ConfigurationError::NoVersion(rollback.to_version));
        }
        let values = differing(&own, &past.then);
        if values.is_empty() {
            let version = own.version;
            let jobs = Vec::new();
            return Ok(Done { version, jobs });
        }
        are_values_still(store, (thing, &values)).await?;
        let deed = Deed {
            thing,
            by: &rollback.by,
            reason: rollback.reason.as_deref(),
            change_type: "MANUAL",
            rolled_back_to: Some(rollback.to_version),
            command: rollback.command.unwrap_or_else(Uuid::now_v7),
        };
        if let Some(done) = deed.decide(ingest, (configured, &own), values).await? {
            return Ok(done);
        }
    }
    Err(ConfigurationError::Contended)
}

/// What was set on a thing before.
#[derive(Default)]
struct Past {
    /// What was set at the version: what the commands up to there left.
    then: Values,
    /// The first of what the command has set, if it was given before.
    by_command: Option<SettingRow>,
}

impl Past {
    /// Reads all that was set on a thing, and keeps what is asked for: the past may be long.
    async fn read(
        store: &Store,
        rollback: &Rollback,
        version: i64,
    ) -> Result<Self, ConfigurationError> {
        let (thing, mut past) = (&rollback.thing, Self::default());
        let of = (thing.entity_type.as_str(), thing.entity_id.as_str());
        let look = |row: SettingRow| {
            let id = |command| event_id(command, &row.parameter_name);
            let is_own = rollback.command.is_some() && row.event_id == rollback.command.map(id);
            if row.version <= rollback.to_version {
                let value = row.value.as_deref().map(held::json);
                past.then.insert(row.parameter_name.clone(), value);
            }
            if is_own && past.by_command.is_none() {
                past.by_command = Some(row);
            }
        };
        held::each_setting(store, (of, (0, version)), look).await?;
        Ok(past)
    }
}

/// What is to be set and unset so that it is as it was.
fn differing(own: &Own, then: &Values) -> Values {
    let names = own.rows.keys().chain(then.keys());
    let values = names.map(|name| (name.clone(), then.get(name).cloned().flatten()));
    let values: BTreeMap<String, Option<Json>> = values.collect();
    let differs = |(name, value): &(String, Option<Json>)| own.value(name) != *value;
    values.into_iter().filter(differs).collect()
}

/// Checks by the parameters as they are registered by now. What is sealed was held against the schema when it
/// was, and is not opened for this.
async fn are_values_still(
    store: &Store,
    (thing, values): (&Thing, &Values),
) -> Result<(), ConfigurationError> {
    let names: Vec<String> = values.keys().cloned().collect();
    let known = parameters(store, Some(&names), &Store::own_allowance()).await?;
    for (name, value) in values {
        // to unset it is always possible
        let Some(value) = value else { continue };
        let parameter = known.iter().find(|one| one.name == *name);
        let checked = match parameter {
            None => Err("it is not registered".to_owned()),
            Some(parameter) if !parameter.is_for(&thing.entity_type) => {
                let scopes = parameter.scopes.join(", ");
                Err(format!("it is set on {scopes} by now"))
            }
            Some(_) if is_sealed(value) => Ok(()),
            Some(parameter) if parameter.sensitive => {
                Err("it is sensitive by now, and was not".to_owned())
            }
            Some(parameter) => parameter.check(value, "value"),
        };
        checked.map_err(|why| ConfigurationError::NoValue {
            parameter: name.clone(),
            why,
        })?;
    }
    Ok(())
}

/// What came of the command when it was given before, by the first of what it has set.
async fn repeated(
    store: &Store,
    rollback: &Rollback,
    first: SettingRow,
) -> Result<Done, ConfigurationError> {
    if first.rolled_back_to != Some(rollback.to_version) {
        return Err(ConfigurationError::OtherRepeat);
    }
    let jobs = match &first.job_id {
        Some(job) => held::jobs_of(store, job).await?,
        None => Vec::new(),
    };
    let version = first.version;
    Ok(Done { version, jobs })
}
