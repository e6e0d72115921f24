//! Attributes of OTLP: what is said of a resource, a point or a record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value as Json};

use crate::identity::Reach;
use crate::store::{EntityType, Names};

/// By which attribute a device is named; the first that names one which is registered holds.
const OF_DEVICES: [&str; 5] = [
    "homepot.device.id",
    "service.instance.id",
    "host.name",
    "host.id",
    // what Telegraf puts on each point
    "host",
];

/// The value of an attribute, if it is given and a text.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
        Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_) => None,
        Value::ArrayValue(_) | Value::KvlistValue(_) => None,
        Value::BytesValue(_) | Value::StringValueStrindex(_) => None,
    }
}

/// The value of the first attribute that is there.
pub(super) fn first<'a>(attributes: &'a [KeyValue], keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| text(attributes, key))
}

/// What is said of a resource.
pub(super) fn of_resource(resource: Option<&Resource>) -> &[KeyValue] {
    resource
        .map(|resource| resource.attributes.as_slice())
        .unwrap_or_default()
}

/// The names that a device may have, those of what is most exact first.
pub(super) fn named<'a>(
    attributes: &'a [KeyValue],
    resource: &'a [KeyValue],
) -> impl Iterator<Item = &'a str> {
    let named = |key| [text(attributes, key), text(resource, key)];
    OF_DEVICES.into_iter().flat_map(named).flatten()
}

/// The device of which something is said, whether it is registered or not. A key of a device is of that.
pub(super) fn device<'a>(
    names: &Names,
    reach: &'a Reach,
    (attributes, resource): (&'a [KeyValue], &'a [KeyValue]),
) -> Option<&'a str> {
    if let Reach::Device(own) = reach {
        return Some(own);
    }
    let is_registered = |id: &&str| names.key(EntityType::Device, id).is_some();
    let mut all = named(attributes, resource);
    all.find(is_registered)
        .or_else(|| named(attributes, resource).next())
}

/// A value as JSON.
pub(super) fn json(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(Value::StringValue(text)) => Json::from(text.as_str()),
        Some(Value::BoolValue(truth)) => Json::from(*truth),
        Some(Value::IntValue(number)) => Json::from(*number),
        Some(Value::DoubleValue(number)) => Json::from(*number),
        Some(Value::ArrayValue(list)) => list.values.iter().map(json).collect(),
        Some(Value::KvlistValue(entries)) => Json::Object(object(&entries.values)),
        Some(Value::BytesValue(bytes)) => Json::from(STANDARD.encode(bytes)),
        // an index into a table that only profiles have
        Some(Value::StringValueStrindex(_)) => Json::Null,
    }
}

/// Attributes as JSON.
pub(super) fn object(attributes: &[KeyValue]) -> Map<String, Json> {
    let entry = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().map_or(Json::Null, json);
        (attribute.key.clone(), value)
    };
    attributes.iter().map(entry).collect()
}
