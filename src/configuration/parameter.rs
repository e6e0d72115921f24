//! The parameters that there are: each with a JSON Schema of its values, registered by administrators.
//!
//! A schema is bounded, and refers to nothing, not even to itself: to check a value by it takes a time that
//! follows from the sizes of both.

use entity::parameter_registrations::Column;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{ConfigurationError, DECISIONS_MAX, recorded};
use crate::event::{Cell, Instant, NewEvent, Provenance, json_bytes};
use crate::history::configuration as held;
use crate::history::parameters::{self, ParameterRow};
use crate::ingest::Ingest;
use crate::jobs::{Shown, faults_of, validator};
use crate::kinds::{Draft, Kind};
use crate::projections::settings::CONFIGURED;
use crate::store::{Allowance, AppendError, Expect, Store, StoreError};

/// Bytes at most of a schema, written without spaces.
const SCHEMA_BYTES_MAX: usize = 32_768;
/// How deep a schema may be.
const SCHEMA_DEPTH_MAX: usize = 16;
/// Parameters at most that may be registered.
pub const PARAMETERS_MAX: usize = 1_000;
/// On what a parameter may be set.
pub const SCOPES: [&str; 3] = ["DEVICE", "SITE", "SYSTEM"];
/// Keywords by which a schema refers to another, or to itself.
const REFERRING: [&str; 4] = ["$ref", "$dynamicRef", "$recursiveRef", "$schema"];
/// The draft that schemas are of.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What may be set.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Which registration it is, from 1; 0 for one that every server knows.
    pub version: i64,
    /// JSON Schema of its values.
    pub schema: Json,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its values are secret.
    pub sensitive: bool,
    /// On what it may be set.
    pub scopes: Vec<String>,
}

impl From<&ParameterRow> for Parameter {
    fn from(row: &ParameterRow) -> Self {
        let scopes = held::json(&row.scopes);
        let words = scopes.as_array().into_iter().flatten();
        Self {
            name: row.parameter_name.clone(),
            version: row.version,
            schema: held::json(&row.schema),
            description: row.description.clone(),
            sensitive: row.sensitive != 0,
            scopes: words.filter_map(Json::as_str).map(str::to_owned).collect(),
        }
    }
}

/// What every server knows, unless it was registered otherwise: what the agent has.
fn built_in() -> Parameter {
    Parameter {
        name: "collectionIntervalSeconds".to_owned(),
        version: 0,
        schema: json!({ "type": "integer", "minimum": 1, "maximum": 3_600 }),
        description: Some("Seconds between two samples of a device.".to_owned()),
        sensitive: false,
        scopes: SCOPES.map(str::to_owned).to_vec(),
    }
}

/// The parameters that there are, by their names; only some when they are named.
///
/// # Errors
/// When the tables cannot be read, or the allowance does not suffice.
pub async fn parameters(
    store: &Store,
    names: Option<&[String]>,
    allowance: &Allowance,
) -> Result<Vec<Parameter>, StoreError> {
    let rows = parameters::registered(store, names, allowance).await?;
    let mut parameters = Vec::with_capacity(rows.len());
    for row in rows {
        let parameter = Parameter::from(&row);
        allowance.take(json_bytes(&parameter.schema))?;
        parameters.push(parameter);
    }
    let known = built_in();
    let is_asked = names.is_none_or(|names| names.contains(&known.name));
    if is_asked && !parameters.iter().any(|one| one.name == known.name) {
        parameters.push(known);
        parameters.sort_by(|left, right| left.name.cmp(&right.name));
    }
    Ok(parameters)
}

impl Parameter {
    /// Checks a value of it.
    ///
    /// # Errors
    /// What is wrong with it, for people; of a secret without the value.
    pub fn check(&self, value: &Json, name: &str) -> Result<(), String> {
        let shown = if self.sensitive {
            Shown::Masked
        } else {
            Shown::Plainly
        };
        let told = faults_of(&validator(&self.schema)?, value, (name, shown));
        told.map_or(Ok(()), Err)
    }

    /// Whether it may be set on a DEVICE, a SITE or the SYSTEM.
    #[must_use]
    pub fn is_for(&self, entity_type: &str) -> bool {
        self.scopes.iter().any(|scope| scope == entity_type)
    }
}

/// Why devices may not be told some values by a job that is made by hand, if so: a secret would stand in it
/// unsealed, and a value is checked wherever it comes from. What is no parameter is between people and devices.
///
/// # Errors
/// When the tables cannot be read.
pub async fn refused_by_hand(store: &Store, payload: &Json) -> Result<Option<String>, StoreError> {
    let Some(told) = payload.get("parameters").and_then(Json::as_object) else {
        return Ok(None);
    };
    let names: Vec<String> = told.keys().cloned().collect();
    let known = parameters(store, Some(&names), &Store::own_allowance()).await?;
    let refused = known.iter().find_map(|parameter| {
        let name = &parameter.name;
        let value = told.get(name)?;
        if parameter.sensitive {
            return Some(format!("{name} is sensitive: setConfiguration tells it"));
        }
        let checked = parameter.check(value, name);
        checked.err().filter(|_| !value.is_null())
    });
    Ok(refused)
}

/// A parameter to be registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The parameter; its version follows.
    pub parameter: Parameter,
    /// Who registers it.
    pub by: String,
    /// The version that the caller has read; 0 for none.
    pub expected: Option<i64>,
    /// Key under which a repeat is known.
    pub event_id: Option<Uuid>,
}

/// Registers a parameter, or registers it anew. Values that are set already stay.
///
/// # Errors
/// When the schema is none or too large, a bound is passed, or it cannot be recorded.
pub async fn register(
    ingest: &Ingest,
    registration: Registration,
) -> Result<Parameter, ConfigurationError> {
    let (store, mut parameter) = (ingest.store(), registration.parameter);
    check_schema(&mut parameter)?;
    for _ in 0..DECISIONS_MAX {
        if let Some(id) = registration.event_id
            && let Some(first) = recorded(store, id).await?
        {
            let version = first.cell(Column::Version).int().unwrap_or_default();
            parameter.version = version;
            let asked = event(&parameter, &registration.by, first.occurred_at)?.fact;
            let is_same = first.kind == asked.kind && first.cells == asked.cells;
            return is_same
                .then_some(parameter)
                .ok_or(ConfigurationError::OtherRepeat);
        }
        // the version first: what is read after it is at least as new
        let expect = Expect::changing(CONFIGURED.to_owned(), store.version(CONFIGURED).await?);
        let rows = parameters::registered(store, None, &Store::own_allowance()).await?;
        let held = rows.iter().find(|row| row.parameter_name == parameter.name);
        let version = held.map_or(0, |row| row.version);
        if registration
            .expected
            .is_some_and(|expected| expected != version)
        {
            return Err(ConfigurationError::Stale { version });
        }
        let was_sensitive = held.map(|row| row.sensitive != 0);
        let was_sensitive =
            was_sensitive.or_else(|| (parameter.name == built_in().name).then_some(false));
        if was_sensitive.is_some_and(|was| was != parameter.sensitive) {
            return Err(ConfigurationError::Sensitivity);
        }
        if held.is_none() && rows.len() >= PARAMETERS_MAX {
            return Err(ConfigurationError::TooManyParameters);
        }
        parameter.version = version + 1;
        let mut event = event(&parameter, &registration.by, ingest.clock().now())?;
        event.fact.event_id = registration.event_id;
        match ingest.command(vec![event], Some(expect)).await {
            Err(AppendError::Stale { .. }) => {}
            appended => {
                super::all_recorded(appended?)?;
                return Ok(parameter);
            }
        }
    }
    Err(ConfigurationError::Contended)
}

fn event(parameter: &Parameter, by: &str, at: Instant) -> Result<NewEvent, ConfigurationError> {
    let draft = Draft::new(Kind::ParameterRegistration, at, Provenance::Real)
        .given(Column::ParameterName, Some(&parameter.name))
        .set(Column::Version, parameter.version)
        .set(Column::Schema, parameter.schema.clone())
        .given(Column::Description, parameter.description.as_deref())
        .set(Column::Sensitive, i64::from(parameter.sensitive))
        .set(Column::Scopes, Cell::from(json!(parameter.scopes)))
        .set(Column::ChangedBy, by);
    draft.finish().map_err(ConfigurationError::Refused)
}

/// Checks a schema, and learns from it whether values are secret.
fn check_schema(parameter: &mut Parameter) -> Result<(), ConfigurationError> {
    let refused = |why: &str| Err(ConfigurationError::Schema(why.to_owned()));
    if parameter.scopes.is_empty() {
        let why = "scopes has none: it could be set nowhere; leave it out for all";
        return Err(ConfigurationError::Scopes(why));
    }
    let schema = &parameter.schema;
    if !schema.is_object() {
        return refused("schema is not an object");
    }
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return refused("schema has more than 32768 bytes");
    }
    if is_deeper(schema, SCHEMA_DEPTH_MAX) {
        return refused("schema is more than 16 levels deep");
    }
    if schema.get("$schema").is_some_and(|draft| draft != DRAFT) {
        return refused("schema is of the draft 2020-12");
    }
    let own = schema.as_object().into_iter().flatten();
    let own = own.filter(|(name, _)| *name != "$schema");
    if own.map(|(_, part)| part).any(refers) || schema.get("$ref").is_some() {
        return refused("schema refers to another schema or to itself: it is to be written out");
    }
    let says = |keyword: &str| schema.get(keyword) == Some(&Json::Bool(true));
    parameter.sensitive |= says("sensitive") || says("writeOnly");
    let checks = validator(schema).map_err(ConfigurationError::Schema)?;
    match schema.get("default") {
        Some(_) if parameter.sensitive => refused("a sensitive parameter has no default"),
        Some(default) => {
            let told = faults_of(&checks, default, ("default", Shown::Plainly));
            told.map_or(Ok(()), |told| Err(ConfigurationError::Schema(told)))
        }
        None => Ok(()),
    }
}

fn is_deeper(json: &Json, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else {
        return true;
    };
    match json {
        Json::Object(entries) => entries.values().any(|entry| is_deeper(entry, left)),
        Json::Array(items) => items.iter().any(|item| is_deeper(item, left)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

/// Whether one of the keywords by which schemas refer stands anywhere.
fn refers(json: &Json) -> bool {
    match json {
        Json::Object(entries) => entries
            .iter()
            .any(|(name, entry)| REFERRING.contains(&name.as_str()) || refers(entry)),
        Json::Array(items) => items.iter().any(refers),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(schema: Json) -> Result<bool, String> {
        let mut parameter = Parameter {
            schema,
            ..built_in()
        };
        check_schema(&mut parameter)
            .map(|()| parameter.sensitive)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_schema_is_bounded_and_refers_to_nothing() {
        let deep = (0..16).fold(json!({}), |inner, _| json!({ "items": inner }));
        for (schema, word) in [
            (json!(true), "not an object"),
            (json!({ "type": "nonsense" }), "nonsense"),
            (json!({ "pattern": "(" }), "regex"),
            (json!({ "pattern": "a{1000}{1000}" }), "regex"),
            (json!({ "pattern": "(?=a)" }), "regex"),
            (json!({ "$ref": "#" }), "refers"),
            (json!({ "$ref": "https://elsewhere.example/s" }), "refers"),
            (json!({ "items": { "$ref": "#/$defs/a" } }), "refers"),
            (
                json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
                "2020-12",
            ),
            (
                json!({ "enum": ["x".repeat(SCHEMA_BYTES_MAX)] }),
                "32768 bytes",
            ),
            (deep, "16 levels"),
            (json!({ "type": "integer", "default": "a" }), "default"),
            (json!({ "writeOnly": true, "default": 1 }), "no default"),
        ] {
            let told = checked(schema.clone()).unwrap_err();
            assert!(told.contains(word), "{schema}: {told}");
        }
        assert_eq!(
            checked(json!({ "$schema": DRAFT, "default": 7 })),
            Ok(false)
        );
        assert_eq!(checked(json!({ "writeOnly": true })), Ok(true));
        assert_eq!(checked(json!({ "sensitive": true })), Ok(true));
    }

    #[test]
    fn of_a_secret_it_is_told_that_it_is_wrong_and_not_what_it_is() {
        let secret = Parameter {
            schema: json!({ "type": "object", "additionalProperties": { "maxLength": 3 } }),
            sensitive: true,
            ..built_in()
        };
        let told = secret
            .check(&json!({ "name-7": "hunter2" }), "value")
            .unwrap_err();
        assert!(
            !told.contains("hunter2") && !told.contains("name-7"),
            "{told}"
        );
        assert_eq!(secret.check(&json!({ "a": "b" }), "value"), Ok(()));
    }
}
