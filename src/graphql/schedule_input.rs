//! The input of `setSiteSchedule`: what the kind has fields for, without what is an event's. A
//! command holds from now on, is from the one who gives it, and is known again by its key.

use std::borrow::Cow;

use async_graphql::indexmap::IndexMap;
use async_graphql::registry::{MetaInputValue, Registry};
use async_graphql::{InputType, InputValueError, InputValueResult, Name, ScalarType, Value};

use super::meta::{Entries, input, input_object};
use super::scalars::Long;
use super::types::inputs_of_fields;
use crate::kinds::Kind;

const NAME: &str = "SetSiteScheduleInput";
const KEY: &str = "idempotencyKey";
const VERSION: &str = "expectedVersion";
const KEY_CHARACTERS_MAX: usize = 255;

/// The hours of a site on a day.
#[derive(Debug)]
pub(super) struct SetSiteScheduleInput {
    /// The hours, in the shape of their kind.
    pub(super) hours: Value,
    /// Key under which a repeat is known.
    pub(super) key: Option<String>,
    /// Position of the row that holds now, as the caller has read it.
    pub(super) expected_version: Option<i64>,
}

/// The entries of an input object.
pub(super) type Given = IndexMap<Name, Value>;

/// Takes the idempotency key out of an input.
pub(super) fn key_of(given: &mut Given) -> Result<Option<String>, &'static str> {
    match given.shift_remove(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=KEY_CHARACTERS_MAX).contains(&key.chars().count()) => {
            Ok(Some(key))
        }
        Some(_) => Err("idempotencyKey is not a text of 1 to 255 characters"),
    }
}

/// Refuses an input with an entry that is no field of the kind.
pub(super) fn all_known(given: &Given) -> Result<(), String> {
    let spec = Kind::SiteSchedule.spec();
    match given.keys().find(|name| spec.index_of(name).is_none()) {
        Some(name) => Err(format!("there is no field {name}")),
        None => Ok(()),
    }
}

/// The description of the idempotency key.
pub(super) fn key_input() -> MetaInputValue {
    let description = "A repeat with the same key records nothing further; 1 to 255 characters.";
    input(KEY, "String", description)
}

impl InputType for SetSiteScheduleInput {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let mut fields = inputs_of_fields(Kind::SiteSchedule.spec());
        fields.push(key_input());
        let description = "Refused as CONFLICT when the row that holds now has another `position`; \"0\" \
            where none holds.";
        fields.push(input(VERSION, "Long", description));
        let description = "The hours of a site on a day of the week, or on one date.";
        input_object(registry, NAME, description, fields, Entries::Any);
        Self::qualified_type_name()
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        let Some(Value::Object(mut hours)) = value else {
            return Err(InputValueError::expected_type(value.unwrap_or_default()));
        };
        let key = key_of(&mut hours).map_err(InputValueError::custom)?;
        let expected_version = match hours.shift_remove(VERSION) {
            None | Some(Value::Null) => None,
            Some(version) => {
                let version = <Long as ScalarType>::parse(version);
                Some(version.map_err(InputValueError::propagate)?.0)
            }
        };
        all_known(&hours).map_err(InputValueError::custom)?;
        let hours = Value::Object(hours);
        Ok(Self {
            hours,
            key,
            expected_version,
        })
    }

    fn to_value(&self) -> Value {
        self.hours.clone()
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
}
