//! Attributes of OTLP: what is said of a resource, a point or a record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::identity::Reach;
use crate::store::{EntityType, Names};

/// What an instance of a service is called.
const INSTANCE: &str = "service.instance.id";

/// By which attribute a device is named; the first that names one which is registered holds.
const OF_DEVICES: [&str; 5] = [
    "homepot.device.id",
    INSTANCE,
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
    of: (&'a [KeyValue], &'a [KeyValue]),
) -> Option<&'a str> {
    if let Reach::Device(own) = reach {
        return Some(own);
    }
    let is_registered = |id: &&str| names.key(EntityType::Device, id).is_some();
    named(of.0, of.1).find(is_registered).or_else(|| new(of))
}

/// How a device that is not registered is called. Programs give themselves a random id as instance of a
/// service at each start: any other name goes before such a one.
fn new<'a>((attributes, resource): (&'a [KeyValue], &'a [KeyValue])) -> Option<&'a str> {
    let lasts = |key: &&str| {
        let all = [text(attributes, key), text(resource, key)];
        let mut ids = all.into_iter().flatten();
        *key != INSTANCE || !ids.any(|id| Uuid::try_parse(id).is_ok())
    };
    let named = |key| text(attributes, key).or_else(|| text(resource, key));
    let mut lasting = OF_DEVICES.into_iter().filter(lasts);
    lasting
        .find_map(named)
        .or_else(|| OF_DEVICES.into_iter().find_map(named))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_device_has_the_first_name_that_outlives_a_start() {
        let called = |named: &[(&str, &str)]| {
            let attributes = named.iter().map(|(key, id)| KeyValue {
                key: (*key).to_owned(),
                value: Some(AnyValue {
                    value: Some(Value::StringValue((*id).to_owned())),
                }),
                ..KeyValue::default()
            });
            let attributes: Vec<KeyValue> = attributes.collect();
            new((&[], &attributes)).map(str::to_owned)
        };
        let random = (
            "service.instance.id",
            "0b7e5a7e-3f5c-4d0b-9a0c-0d3b9f1e2a55",
        );
        let of = |id: &str| Some(id.to_owned());
        assert_eq!(called(&[("host.name", "till-7"), random]), of("till-7"));
        assert_eq!(called(&[random]), of(random.1));
        let instance = ("service.instance.id", "till-8");
        assert_eq!(called(&[("host.name", "box"), instance]), of("till-8"));
        let own = ("homepot.device.id", random.1);
        assert_eq!(called(&[("host.name", "box"), own]), of(random.1));
        assert_eq!(called(&[]), None);
    }
}
