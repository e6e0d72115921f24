//! What can be configured on a device, at a site and of the system, and what is configured.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Device,
    Site,
    System,
}

impl Scope {
    /// The word of the wire.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Device => "DEVICE",
            Self::Site => "SITE",
            Self::System => "SYSTEM",
        }
    }
}

/// A value that a parameter can take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Setting {
    Number(u32),
    Word(&'static str),
    Switch(bool),
}

impl Setting {
    pub(super) fn json(self) -> Value {
        match self {
            Self::Number(number) => Value::from(number),
            Self::Word(word) => Value::from(word),
            Self::Switch(switch) => Value::from(switch),
        }
    }
}

/// A parameter, with the values that people choose from; the first is what it starts with.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    pub(super) choices: &'static [Setting],
}

/// How much a device writes to its log: DEBUG costs processor time and fills the disk.
pub(super) const LOG_LEVEL: &str = "logLevel";

/// Seconds between two reports of a device.
pub(super) const INTERVAL: &str = "collectionIntervalSeconds";

/// Parameters that people and policies change from time to time.
pub(super) const PARAMETERS: [Parameter; 10] = [
    Parameter {
        name: LOG_LEVEL,
        scope: Scope::Device,
        choices: &[
            Setting::Word("INFO"),
            Setting::Word("DEBUG"),
            Setting::Word("WARN"),
        ],
    },
    Parameter {
        name: "cardReaderTimeoutMs",
        scope: Scope::Device,
        choices: &[
            Setting::Number(5_000),
            Setting::Number(3_000),
            Setting::Number(8_000),
        ],
    },
    Parameter {
        name: "receiptPrinting",
        scope: Scope::Device,
        choices: &[
            Setting::Word("ASK"),
            Setting::Word("ALWAYS"),
            Setting::Word("NEVER"),
        ],
    },
    Parameter {
        name: "screenBrightnessPercent",
        scope: Scope::Device,
        choices: &[
            Setting::Number(80),
            Setting::Number(60),
            Setting::Number(100),
        ],
    },
    Parameter {
        name: "offlineSaleLimit",
        scope: Scope::Device,
        choices: &[
            Setting::Number(50),
            Setting::Number(0),
            Setting::Number(100),
        ],
    },
    Parameter {
        name: "automaticRestart",
        scope: Scope::Device,
        choices: &[Setting::Switch(true), Setting::Switch(false)],
    },
    Parameter {
        name: "loyaltyProgramme",
        scope: Scope::Site,
        choices: &[Setting::Switch(false), Setting::Switch(true)],
    },
    Parameter {
        name: "receiptFooter",
        scope: Scope::Site,
        choices: &[
            Setting::Word("Thank you for your visit"),
            Setting::Word("Returns within 30 days with this receipt"),
            Setting::Word("See you soon"),
        ],
    },
    Parameter {
        name: "priceListUpdateHour",
        scope: Scope::Site,
        choices: &[Setting::Number(7), Setting::Number(5), Setting::Number(6)],
    },
    Parameter {
        name: "healthCheckTimeoutMs",
        scope: Scope::System,
        choices: &[
            Setting::Number(5_000),
            Setting::Number(3_000),
            Setting::Number(10_000),
        ],
    },
];

/// A parameter as it is registered.
#[derive(Clone, Debug)]
pub struct Configurable {
    /// Its name.
    pub name: &'static str,
    /// JSON Schema of its values.
    pub schema: Value,
    /// On what it may be set.
    pub scopes: &'static [&'static str],
}

/// The parameters of a fleet. How often a device reports every server knows.
#[must_use]
pub fn configurable() -> Vec<Configurable> {
    let of = |parameter: &Parameter| {
        let examples: Vec<Value> = parameter.choices.iter().map(|one| one.json()).collect();
        let schema = match parameter.choices.first() {
            Some(Setting::Number(_)) => {
                json!({ "type": "integer", "minimum": 0, "maximum": 100_000, "examples": examples })
            }
            Some(Setting::Switch(_)) => json!({ "type": "boolean" }),
            Some(Setting::Word(_)) | None => {
                json!({ "type": "string", "minLength": 1, "maxLength": 200, "examples": examples })
            }
        };
        Configurable {
            name: parameter.name,
            schema,
            scopes: match parameter.scope {
                Scope::Device => &["DEVICE", "SITE", "SYSTEM"],
                Scope::Site => &["SITE", "SYSTEM"],
                Scope::System => &["SYSTEM"],
            },
        }
    };
    PARAMETERS.iter().map(of).collect()
}

/// What was set on something; a parameter that was never set has the first of its choices.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// The value of a parameter; null for one that is not known and was never set.
    pub(super) fn get(&self, name: &str) -> Value {
        let set = self.0.get(name).cloned();
        set.unwrap_or_else(|| {
            let known = PARAMETERS.iter().find(|parameter| parameter.name == name);
            let first = known.and_then(|parameter| parameter.choices.first());
            first.map_or(Value::Null, |setting| setting.json())
        })
    }

    /// Sets a parameter and returns the value before.
    pub(super) fn set(&mut self, name: &str, value: Value) -> Value {
        let before = self.get(name);
        self.0.insert(name.to_owned(), value);
        before
    }

    /// Whether a parameter was set to this word.
    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.0.get(name).and_then(Value::as_str) == Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_returns_the_value_before() {
        let mut settings = Settings::default();
        assert_eq!(settings.set(LOG_LEVEL, "DEBUG".into()), Value::from("INFO"));
        assert_eq!(settings.set(LOG_LEVEL, "WARN".into()), Value::from("DEBUG"));
        assert_eq!(settings.set("unheardOf", 1.into()), Value::Null);
    }
}
