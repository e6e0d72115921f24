//! The input of `setSiteSchedule`: what the kind has fields for, without what is an event's. A
//! command holds from now on, is from the one who gives it, and is known again by its key.

use std::borrow::Cow;

use async_graphql::registry::Registry;
use async_graphql::{InputType, InputValueError, InputValueResult, ScalarType, Value};

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

impl InputType for SetSiteScheduleInput {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let mut fields = inputs_of_fields(Kind::SiteSchedule.spec());
        let description =
            "A repeat with the same key records nothing further; 1 to 255 characters.";
        fields.push(input(KEY, "String", description));
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
        let key = match hours.shift_remove(KEY) {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) if (1..=KEY_CHARACTERS_MAX).contains(&key.chars().count()) => {
                Some(key)
            }
            Some(_) => {
                let message = "idempotencyKey is not a text of 1 to 255 characters";
                return Err(InputValueError::custom(message));
            }
        };
        let expected_version = match hours.shift_remove(VERSION) {
            None | Some(Value::Null) => None,
            Some(version) => {
                let version = <Long as ScalarType>::parse(version);
                Some(version.map_err(InputValueError::propagate)?.0)
            }
        };
        let spec = Kind::SiteSchedule.spec();
        if let Some(name) = hours.keys().find(|name| spec.index_of(name).is_none()) {
            let message = format!("there is no field {name}");
            return Err(InputValueError::custom(message));
        }
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
