//! What jobs there are, and what devices are given to do each with: a JSON Schema for each type.

use std::fmt::Write;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Value as Json, json};

/// A type of job.
#[derive(Clone, Copy, Debug)]
pub struct JobType {
    /// Its word.
    pub word: &'static str,
    /// What devices do.
    pub description: &'static str,
    /// The schema of the payload.
    schema: fn() -> Json,
}

/// The type of jobs by which devices are told values of their configuration.
pub const UPDATE_CONFIGURATION: &str = "UPDATE_POS_CONFIG";
/// The type of jobs that have a name of their own.
const CUSTOM: &str = "CUSTOM";
/// Faults at most that are told of a payload.
const FAULTS_MAX: usize = 5;
/// Bytes at most that a regular expression of a schema takes when it is compiled, and in being matched.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The types of jobs.
pub static TYPES: [JobType; 7] = [
    JobType {
        word: UPDATE_CONFIGURATION,
        description: "Takes over values of its configuration; made by `setConfiguration`.",
        schema: || {
            of(
                &json!({ "parameters": { "type": "object", "minProperties": 1, "maxProperties": 100 } }),
                &["parameters"],
            )
        },
    },
    JobType {
        word: "FIRMWARE_UPDATE",
        description: "Installs a version of its firmware.",
        schema: || {
            of(
                &json!({
                    "version": { "type": "string", "minLength": 1, "maxLength": 255 },
                    "url": { "type": "string", "pattern": "^https?://", "maxLength": 2048 },
                    "sha256": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" },
                }),
                &["version"],
            )
        },
    },
    JobType {
        word: "RESTART",
        description: "Restarts.",
        schema: || {
            of(
                &json!({
                    "delaySeconds": { "type": "integer", "minimum": 0, "maximum": 86_400 },
                    "force": { "type": "boolean" },
                }),
                &[],
            )
        },
    },
    JobType {
        word: "HEALTH_CHECK",
        description: "Checks itself and tells what it found.",
        schema: || {
            of(
                &json!({
                    "checks": { "type": "array", "maxItems": 64, "items": { "type": "string", "maxLength": 64 } },
                }),
                &[],
            )
        },
    },
    JobType {
        word: "SECURITY_SCAN",
        description: "Scans itself for what is not secure, and tells what it found.",
        schema: || {
            of(
                &json!({
                    "profile": { "type": "string", "maxLength": 64 },
                    "paths": { "type": "array", "maxItems": 64, "items": { "type": "string", "maxLength": 1024 } },
                }),
                &[],
            )
        },
    },
    JobType {
        word: "LOG_COLLECTION",
        description: "Gives the newest lines of its logs.",
        schema: || {
            of(
                &json!({
                    "lines": { "type": "integer", "minimum": 1, "maximum": 10_000 },
                    "contains": { "type": "string", "maxLength": 255 },
                }),
                &[],
            )
        },
    },
    JobType {
        word: CUSTOM,
        description: "Something with a name of its own, on which people and devices have agreed.",
        schema: || json!(true),
    },
];

fn of(properties: &Json, required: &[&str]) -> Json {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

impl JobType {
    /// The type of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<&'static Self> {
        TYPES.iter().find(|one| one.word == word)
    }

    /// The schema of the payload.
    #[must_use]
    pub fn schema(&self) -> Json {
        (self.schema)()
    }

    /// Checks a payload; one that is left out is an empty object.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn check(&self, payload: Option<&Json>) -> Result<(), String> {
        let schema = self.schema();
        // a schema of this file is one: a test holds that
        let Ok(validator) = validator(&schema) else {
            return Err(format!("the schema of {} is none", self.word));
        };
        let named = ("payload", Shown::Plainly);
        faults_of(&validator, payload.unwrap_or(&json!({})), named).map_or(Ok(()), Err)
    }
}

/// A validator of a schema. Nothing that it refers to is fetched, and a regular expression is matched in
/// time linear in the text.
///
/// # Errors
/// Why it is no schema.
pub(crate) fn validator(schema: &Json) -> Result<Validator, String> {
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_pattern_options(patterns);
    options.build(schema).map_err(|error| error.to_string())
}

/// Whether values are shown where it is told what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As they are.
    Plainly,
    /// Not at all: they are secret.
    Masked,
}

/// What is wrong with a value, for people; `None` when nothing is.
pub(crate) fn faults_of(
    validator: &Validator,
    value: &Json,
    (name, shown): (&str, Shown),
) -> Option<String> {
    let mut told = String::new();
    for fault in validator.iter_errors(value).take(FAULTS_MAX) {
        let separator = if told.is_empty() { "" } else { "; " };
        // a text takes whatever is written to it
        let _ = match shown {
            Shown::Plainly => {
                let at = fault.instance_path().to_string().replace('/', ".");
                write!(told, "{separator}{name}{at}: {fault}")
            }
            // names in a secret may be secret too
            Shown::Masked => write!(told, "{separator}{name} is not of {}", fault.schema_path()),
        };
    }
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_are_schemas_and_each_takes_an_example() {
        let examples = [
            json!({ "parameters": { "volume": 3 } }),
            json!({ "version": "2.1", "url": "https://firmware.example/2.1" }),
            json!({ "delaySeconds": 5 }),
            json!({ "checks": ["printer"] }),
            json!({ "profile": "quick" }),
            json!({ "lines": 100 }),
            json!([1, 2]),
        ];
        for (one, example) in TYPES.iter().zip(examples) {
            assert_eq!(one.check(Some(&example)), Ok(()), "{}", one.word);
        }
    }

    #[test]
    fn a_payload_against_its_schema_is_told_with_its_place() {
        let update = JobType::of_word("FIRMWARE_UPDATE").unwrap();
        let told = update.check(Some(&json!({ "version": 2 }))).unwrap_err();
        assert_eq!(told, "payload.version: 2 is not of type \"string\"");
        let told = update.check(None).unwrap_err();
        assert_eq!(told, "payload: \"version\" is a required property");
    }
}
