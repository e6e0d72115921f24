//! How an event of the simulation is written: the one-of object of the wire.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use uuid::Uuid;

/// An instant as the wire has it: RFC 3339, UTC, milliseconds.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An event of a kind; what is null in the body is left out.
///
/// Device metrics have no id, since device and instant are their key.
pub(super) fn event(kind: &str, at: DateTime<Utc>, id: Option<Uuid>, mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        fields.insert("occurredAt".to_owned(), Value::String(instant(at)));
        fields.insert(
            "provenance".to_owned(),
            Value::String("SIMULATED".to_owned()),
        );
        if let Some(id) = id {
            fields.insert("eventId".to_owned(), Value::String(id.to_string()));
        }
    }
    // Not `json!`, which would copy the body.
    Value::Object([(kind.to_owned(), body)].into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn event_is_a_one_of_object_without_nulls() {
        let body = json!({ "deviceId": "pos-01-01", "reason": null });
        let written = event("deviceStateChange", DateTime::UNIX_EPOCH, None, body);
        let expected = json!({ "deviceStateChange": {
            "deviceId": "pos-01-01",
            "occurredAt": "1970-01-01T00:00:00.000Z",
            "provenance": "SIMULATED",
        }});
        assert_eq!(written, expected);
    }
}
