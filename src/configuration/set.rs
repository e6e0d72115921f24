//! Sets parameters, several at once, all or none.

use std::collections::{BTreeMap, BTreeSet};

use entity::configuration_settings::Column;
use serde_json::Value as Json;
use uuid::Uuid;

use super::affected::{Telling, tell};
use super::sealed::Place;
use super::{
    ConfigurationError, DECISIONS_MAX, Keyring, Parameter, Thing, all_recorded, parameters,
    recorded,
};
use crate::event::{Cell, Instant, NewEvent, Provenance, own_id};
use crate::history::configuration::{self as held, DesiredRow};
use crate::ingest::Ingest;
use crate::kinds::masked::has_sealed;
use crate::kinds::{Draft, Kind};
use crate::projections::settings::CONFIGURED;
use crate::store::{AppendError, Expect, Store};

/// Parameters at most that are set at once.
pub const CHANGES_MAX: usize = 100;
/// Bytes at most of a value, written without spaces: what it is sealed to is longer by a third.
const VALUE_BYTES_MAX: usize = 32_768;
/// Namespace of the ids of settings and of their jobs.
const SETTINGS: Uuid = Uuid::from_u128(0x5d3c_9a07_91f4_4c0e_b7a2_1c64_a8f3_2e90);

/// A parameter that is to be set.
#[derive(Clone, Debug)]
pub struct ParameterChange {
    /// Its name.
    pub parameter: String,
    /// Its value; absent when it is to be unset, so that it is inherited.
    pub value: Option<Json>,
    /// The value that is set now, as the caller has read it; `Some(None)` when none is.
    pub expected_value: Option<Option<Json>>,
    /// The version with which it was set last, as the caller has read it; 0 for never.
    pub expected_version: Option<i64>,
}

/// Parameters that are to be set on a thing.
#[derive(Clone, Debug)]
pub struct Setting {
    /// On what.
    pub thing: Thing,
    /// The parameters.
    pub changes: Vec<ParameterChange>,
    /// Who sets them.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// How it came about.
    pub change_type: String,
    /// Key under which a repeat is known.
    pub command: Option<Uuid>,
    /// The version of the thing that the caller has read; 0 for none.
    pub expected: Option<i64>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The version of the thing now.
    pub version: i64,
    /// The jobs by which devices are told.
    pub jobs: Vec<String>,
}

/// Sets parameters: all of them, or none.
///
/// # Errors
/// When a parameter is not registered or not what was expected, a value is against its schema, or nothing
/// can be recorded.
pub async fn set(
    ingest: &Ingest,
    keyring: &Keyring,
    setting: Setting,
) -> Result<Done, ConfigurationError> {
    let count = setting.changes.len();
    if !(1..=CHANGES_MAX).contains(&count) {
        return Err(ConfigurationError::Changes);
    }
    each_once(&setting.changes)?;
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        if let Some(done) = repeated(store, keyring, &setting).await? {
            return Ok(done);
        }
        // the version first: what is read after it is at least as new
        let version = store.version(CONFIGURED).await?;
        let own = Own::read(store, &setting.thing).await?;
        own.is_as_read(setting.expected)?;
        let values = values(store, (keyring, &own), &setting).await?;
        let deed = Deed {
            thing: &setting.thing,
            by: &setting.by,
            reason: setting.reason.as_deref(),
            change_type: &setting.change_type,
            rolled_back_to: None,
            command: setting.command.unwrap_or_else(Uuid::now_v7),
        };
        if let Some(done) = deed.decide(ingest, (version, &own), values).await? {
            return Ok(done);
        }
    }
    Err(ConfigurationError::Contended)
}

fn each_once(changes: &[ParameterChange]) -> Result<(), ConfigurationError> {
    let mut met = BTreeSet::new();
    for (index, change) in changes.iter().enumerate() {
        if !met.insert(&change.parameter) {
            return Err(ConfigurationError::Change {
                index,
                field: "parameterName",
                why: "the parameter is set twice".to_owned(),
            });
        }
    }
    Ok(())
}

/// What is set on a thing, with its version.
pub(super) struct Own {
    pub(super) version: i64,
    pub(super) rows: BTreeMap<String, DesiredRow>,
}

impl Own {
    pub(super) async fn read(store: &Store, thing: &Thing) -> Result<Self, ConfigurationError> {
        let of = (thing.entity_type.as_str(), vec![thing.entity_id.clone()]);
        let rows = held::desired(store, [of], &Store::own_allowance()).await?;
        let version = rows.iter().map(|row| row.version).max().unwrap_or(0);
        let keyed = |row: DesiredRow| (row.parameter_name.clone(), row);
        let rows = rows.into_iter().map(keyed).collect();
        Ok(Self { version, rows })
    }

    pub(super) fn is_as_read(&self, expected: Option<i64>) -> Result<(), ConfigurationError> {
        let version = self.version;
        match expected {
            Some(expected) if expected != version => Err(ConfigurationError::Stale { version }),
            _ => Ok(()),
        }
    }

    /// The value that is set; absent when none is.
    pub(super) fn value(&self, parameter: &str) -> Option<Json> {
        let row = self.rows.get(parameter)?;
        row.value.as_deref().map(held::json)
    }

    fn check(&self, index: usize, change: &ParameterChange) -> Result<(), ConfigurationError> {
        let stale = |field| Err(ConfigurationError::StaleParameter { index, field });
        let row = self.rows.get(&change.parameter);
        let version = row.map_or(0, |row| row.version);
        if change
            .expected_version
            .is_some_and(|expected| expected != version)
        {
            return stale("expectedVersion");
        }
        let Some(expected) = &change.expected_value else {
            return Ok(());
        };
        let value = self.value(&change.parameter);
        if value.as_ref().is_some_and(has_sealed) {
            return Err(ConfigurationError::Change {
                index,
                field: "expectedValue",
                why: "of a sensitive parameter expectedVersion is given".to_owned(),
            });
        }
        if value == *expected {
            Ok(())
        } else {
            stale("expectedValue")
        }
    }
}

/// Values by parameter, as they stand in the log; absent when a parameter is unset.
pub(super) type Values = BTreeMap<String, Option<Json>>;

/// The values of a command, checked and sealed.
async fn values(
    store: &Store,
    (keyring, own): (&Keyring, &Own),
    setting: &Setting,
) -> Result<Values, ConfigurationError> {
    let changes = &setting.changes;
    let names: Vec<String> = changes.iter().map(|one| one.parameter.clone()).collect();
    let known = parameters(store, Some(&names), &Store::own_allowance()).await?;
    let mut values = Values::new();
    for (index, change) in changes.iter().enumerate() {
        let parameter = known.iter().find(|one| one.name == change.parameter);
        let is_set = own.rows.contains_key(&change.parameter);
        if parameter.is_none() && !(is_set && change.value.is_none()) {
            return Err(ConfigurationError::Unregistered { index });
        }
        own.check(index, change)?;
        let value = match (parameter, &change.value) {
            (Some(parameter), Some(value)) => {
                check(index, (parameter, value), &setting.thing)?;
                Some(stored(keyring, (parameter, value), &setting.thing)?)
            }
            _ => None,
        };
        values.insert(change.parameter.clone(), value);
    }
    Ok(values)
}

fn check(
    index: usize,
    (parameter, value): (&Parameter, &Json),
    thing: &Thing,
) -> Result<(), ConfigurationError> {
    let refused = |field, why| Err(ConfigurationError::Change { index, field, why });
    if !parameter.is_for(&thing.entity_type) {
        let scopes = parameter.scopes.join(", ");
        return refused("parameterName", format!("the parameter is set on {scopes}"));
    }
    if value.to_string().len() > VALUE_BYTES_MAX {
        let why = format!("the value has more than {VALUE_BYTES_MAX} bytes");
        return refused("value", why);
    }
    if has_sealed(value) || has_null_character(value) {
        return refused("value", "the value cannot be kept".to_owned());
    }
    parameter
        .check(value, "value")
        .or_else(|why| refused("value", why))
}

fn has_null_character(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_null_character),
        Json::Object(entries) => {
            let mut entries = entries.iter();
            entries.any(|(name, entry)| name.contains('\0') || has_null_character(entry))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// A value as it is kept.
fn stored(
    keyring: &Keyring,
    (parameter, value): (&Parameter, &Json),
    thing: &Thing,
) -> Result<Json, ConfigurationError> {
    if !parameter.sensitive {
        return Ok(value.clone());
    }
    let place = Place {
        entity_type: &thing.entity_type,
        entity_id: &thing.entity_id,
        parameter: &parameter.name,
    };
    Ok(keyring.seal(value, place)?)
}

/// A command, as far as it is the same for all its parameters.
pub(super) struct Deed<'a> {
    pub(super) thing: &'a Thing,
    pub(super) by: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) change_type: &'a str,
    pub(super) rolled_back_to: Option<i64>,
    pub(super) command: Uuid,
}

impl Deed<'_> {
    /// Records what is set together with the jobs that tell devices; `None` when something was configured
    /// since it was read.
    pub(super) async fn decide(
        &self,
        ingest: &Ingest,
        (configured, own): (i64, &Own),
        values: Values,
    ) -> Result<Option<Done>, ConfigurationError> {
        let (now, version) = (ingest.clock().now(), own.version + 1);
        let telling = Telling {
            title: self.title(version),
            by: self.by,
            command: self.command,
        };
        let told = (self.thing, &telling);
        let (jobs, steps) = tell(ingest.store(), told, (own, &values), now).await?;
        let job = jobs.first().map(String::as_str);
        let mut events = Vec::with_capacity(values.len() + steps.len());
        for (parameter, value) in values {
            events.push(self.event((version, now), (&parameter, value), job)?);
        }
        events.extend(steps);
        let expect = Expect::changing(CONFIGURED.to_owned(), configured);
        match ingest.command(events, Some(expect)).await {
            Err(AppendError::Stale { .. }) => Ok(None),
            appended => {
                all_recorded(appended?)?;
                Ok(Some(Done { version, jobs }))
            }
        }
    }

    fn title(&self, version: i64) -> String {
        let Thing {
            entity_type,
            entity_id,
        } = self.thing;
        format!("Configuration of {entity_type} {entity_id}, version {version}")
    }

    fn event(
        &self,
        (version, now): (i64, Instant),
        (parameter, value): (&str, Option<Json>),
        job: Option<&str>,
    ) -> Result<NewEvent, ConfigurationError> {
        let draft = Draft::new(Kind::ConfigurationSetting, now, Provenance::Real)
            .event_id(event_id(self.command, parameter))
            .set(Column::EntityType, self.thing.entity_type.as_str())
            .given(Column::EntityId, Some(&self.thing.entity_id))
            .set(Column::Version, version)
            .given(Column::ParameterName, Some(parameter))
            .set(Column::Value, value)
            .set(Column::ChangedBy, self.by)
            .given(Column::Reason, self.reason)
            .set(Column::ChangeType, self.change_type)
            .set(Column::RolledBackTo, self.rolled_back_to)
            .set(Column::JobId, job);
        Ok(draft.finish()?)
    }
}

/// The id of what a command says of a parameter.
pub(super) fn event_id(command: Uuid, parameter: &str) -> Uuid {
    own_id(&SETTINGS, format!("{command}/{parameter}").as_bytes())
}

/// The id of a job of a command.
pub(super) fn job_id(command: Uuid, ordinal: usize) -> Uuid {
    own_id(&SETTINGS, format!("{command}//{ordinal}").as_bytes())
}

/// What came of the command when it was given before; a repeat is known by what it sets.
async fn repeated(
    store: &Store,
    keyring: &Keyring,
    setting: &Setting,
) -> Result<Option<Done>, ConfigurationError> {
    let Some(command) = setting.command else {
        return Ok(None);
    };
    let thing = &setting.thing;
    let at = [(thing.entity_type.as_str(), thing.entity_id.as_str())];
    let ids = setting.changes.iter();
    let ids: Vec<Uuid> = ids.map(|one| event_id(command, &one.parameter)).collect();
    if store.positions(&ids).await?.is_empty() {
        return Ok(None);
    }
    let (mut done, mut first_job) = (None, None);
    for (id, change) in ids.into_iter().zip(&setting.changes) {
        let fact = recorded(store, id).await?;
        let fact = fact.ok_or(ConfigurationError::OtherRepeat)?;
        let value = match fact.cell(Column::Value) {
            Cell::Json(value) => keyring.open(value, &change.parameter, &at),
            Cell::Null | Cell::Int(_) | Cell::Float(_) | Cell::Text(_) | Cell::Reference(_) => None,
        };
        let is_same = fact.kind == Kind::ConfigurationSetting
            && fact.cell(Column::EntityType).text() == Some(&thing.entity_type)
            && fact.cell(Column::EntityId).text() == Some(&thing.entity_id)
            && value == change.value;
        if !is_same {
            return Err(ConfigurationError::OtherRepeat);
        }
        done = fact.cell(Column::Version).int();
        first_job = fact.cell(Column::JobId).text().map(str::to_owned);
    }
    let Some(version) = done else {
        return Ok(None);
    };
    let jobs = match first_job {
        Some(job) => held::jobs_of(store, &job).await?,
        None => Vec::new(),
    };
    Ok(Some(Done { version, jobs }))
}
