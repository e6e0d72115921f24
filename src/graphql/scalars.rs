//! Scalars of the schema. Each is strict in what it takes: what it refuses fails the request.

use async_graphql::registry::Registry;
use async_graphql::{InputType, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use serde_json::Value as Json;

use crate::event::{Instant, Money};
use crate::kinds;
use crate::kinds::masked::masked;

/// The scalar of a text of which something holds; anything else is not of its type.
fn text_that<T: InputType>(
    value: Value,
    holds: impl FnOnce(&str) -> bool,
    scalar: impl FnOnce(String) -> T,
) -> InputValueResult<T> {
    if let Value::String(text) = value {
        if holds(&text) {
            return Ok(scalar(text));
        }
        return Err(InputValueError::expected_type(Value::String(text)));
    }
    Err(InputValueError::expected_type(value))
}

/// An instant as RFC 3339 in UTC with up to microseconds, such as `2026-11-23T08:30:00.25Z`. Any
/// offset is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DateTime(pub(super) Instant);

/// An instant as RFC 3339 in UTC with up to microseconds, such as `2026-11-23T08:30:00.25Z`. Any
/// offset is taken.
#[Scalar(
    name = "DateTime",
    specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html"
)]
impl ScalarType for DateTime {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        // what is taken can be told again
        Instant::parse(text)
            .filter(|at| at.is_told())
            .map(Self)
            .ok_or_else(|| InputValueError::custom("not an RFC 3339 time"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A calendar date, `YYYY-MM-DD`.
#[derive(Clone, Debug)]
pub(super) struct Date(pub(super) String);

/// A calendar date, `YYYY-MM-DD`.
#[Scalar(
    name = "Date",
    specified_by_url = "https://scalars.graphql.org/andimarek/local-date.html"
)]
impl ScalarType for Date {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        text_that(value, kinds::is_date, Self)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A time of day without a zone, `HH:MM` or `HH:MM:SS`; `24:00` is the end of the day.
#[derive(Clone, Debug)]
pub(super) struct LocalTime(pub(super) String);

/// A time of day without a zone, `HH:MM` or `HH:MM:SS`; `24:00` is the end of the day.
#[Scalar(
    name = "LocalTime",
    specified_by_url = "https://www.iso.org/iso-8601-date-and-time-format.html"
)]
impl ScalarType for LocalTime {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        text_that(value, kinds::is_time_of_day, Self)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// The name of an IANA time zone, such as `Europe/London`.
#[derive(Clone, Debug)]
pub(super) struct TimeZone(pub(super) String);

/// The name of an IANA time zone, such as `Europe/London`.
#[Scalar(
    name = "TimeZone",
    specified_by_url = "https://www.iana.org/time-zones"
)]
impl ScalarType for TimeZone {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        text_that(value, |text| text.parse::<chrono_tz::Tz>().is_ok(), Self)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A UUID in its usual form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uuid(pub(super) uuid::Uuid);

/// A UUID in its usual form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[Scalar(
    name = "UUID",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc9562"
)]
impl ScalarType for Uuid {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        uuid::Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| InputValueError::custom("not a UUID"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A decimal number with at most four places, as a string: money is never a float.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal(pub(super) Money);

/// A decimal number with at most four places, as a string: money is never a float.
#[Scalar(
    name = "Decimal",
    specified_by_url = "https://www.w3.org/TR/xmlschema11-2/#decimal"
)]
impl ScalarType for Decimal {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        let parsed = match &value {
            Value::String(text) => Money::parse(text),
            Value::Number(number) => Money::parse(&number.to_string()),
            Value::Null | Value::Boolean(_) | Value::Binary(_) => None,
            Value::Enum(_) | Value::List(_) | Value::Object(_) => None,
        };
        parsed
            .map(Self)
            .ok_or_else(|| InputValueError::custom("not a decimal with four places"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A whole number of 64 bits, as a string, since JSON numbers of many clients lose digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long(pub(super) i64);

/// A whole number of 64 bits, as a string, since JSON numbers of many clients lose digits.
#[Scalar(
    name = "Long",
    specified_by_url = "https://www.w3.org/TR/xmlschema11-2/#long"
)]
impl ScalarType for Long {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        let parsed = match &value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            Value::Null | Value::Boolean(_) | Value::Binary(_) => None,
            Value::Enum(_) | Value::List(_) | Value::Object(_) => None,
        };
        parsed
            .map(Self)
            .ok_or_else(|| InputValueError::custom("not a whole number of 64 bits"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Any JSON value. What is sealed in it is shown masked.
#[derive(Clone, Debug)]
pub(super) struct JsonScalar(pub(super) Json);

/// Any JSON value.
#[Scalar(
    name = "JSON",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259"
)]
impl ScalarType for JsonScalar {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value.into_json()?))
    }

    fn to_value(&self) -> Value {
        Value::from_json(masked(&self.0).into_owned()).unwrap_or_default()
    }
}

/// Adds all scalars to the schema, for types that name them only by their names.
pub(super) fn register(registry: &mut Registry) {
    <DateTime as InputType>::create_type_info(registry);
    <Date as InputType>::create_type_info(registry);
    <LocalTime as InputType>::create_type_info(registry);
    <TimeZone as InputType>::create_type_info(registry);
    <Uuid as InputType>::create_type_info(registry);
    <Decimal as InputType>::create_type_info(registry);
    <Long as InputType>::create_type_info(registry);
    <JsonScalar as InputType>::create_type_info(registry);
    <async_graphql::ID as InputType>::create_type_info(registry);
    <String as InputType>::create_type_info(registry);
    <f64 as InputType>::create_type_info(registry);
    <i32 as InputType>::create_type_info(registry);
    <bool as InputType>::create_type_info(registry);
}
