//! An event as it lies in a text of JSON: what is read of it is borrowed from the text, and nothing is
//! built that an event does not keep. (A request of a thousand metrics is read about eight times as
//! fast as through a tree of maps, and takes a tenth of its memory.)

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value as Json};

use super::{View, WireValue, number_view};

/// Bytes at most of a list or an object inside an event: more than any kind keeps.
const NESTED_BYTES_MAX: usize = 1024 * 1024;

/// A value of an event.
#[derive(Debug)]
pub enum Tree<'a> {
    /// Null.
    Null,
    /// A truth.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text, borrowed unless something in it is escaped.
    Text(Cow<'a, str>),
    /// The event itself, or its body.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    /// A list or an object that is the value of a field, shared with the event that is read from it.
    Nested(Arc<Json>),
}

impl WireValue for Tree<'_> {
    fn view(&self) -> View<'_> {
        match self {
            Self::Null => View::Null,
            Self::Bool(truth) => View::Bool(*truth),
            Self::Number(number) => number_view(number),
            Self::Text(text) => View::Text(text),
            Self::Object(_) | Self::Nested(_) => View::Nested,
        }
    }

    fn entries<'s>(&'s self) -> Option<Box<dyn Iterator<Item = (&'s str, &'s Self)> + 's>> {
        let Self::Object(entries) = self else {
            return None;
        };
        let entries = entries.iter();
        Some(Box::new(entries.map(|(name, value)| (&**name, value))))
    }

    fn json(&self) -> Arc<Json> {
        Arc::new(match self {
            Self::Null => Json::Null,
            Self::Bool(truth) => Json::from(*truth),
            Self::Number(number) => Json::Number(number.clone()),
            Self::Text(text) => Json::from(&**text),
            Self::Object(entries) => {
                let entry = |(name, value): &(Cow<'_, str>, Self)| {
                    (name.to_string(), Arc::unwrap_or_clone(value.json()))
                };
                entries.iter().map(entry).collect()
            }
            Self::Nested(json) => return Arc::clone(json),
        })
    }
}

/// Reads `{"kind": {"field": …}}`.
impl<'de: 'a, 'a> Deserialize<'de> for Tree<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level::Event.deserialize(deserializer)
    }
}

/// Which of the two objects in each other that make an event.
#[derive(Clone, Copy)]
enum Level {
    Event,
    Body,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Tree<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "an event: an object with its kind as the key",
            Self::Body => "the body of an event: an object",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let mut entries = Vec::with_capacity(match self {
            Self::Event => 1,
            Self::Body => 16,
        });
        while let Some(Name(name)) = map.next_key()? {
            let value = match self {
                Self::Event => map.next_value_seed(Self::Body)?,
                Self::Body => field(map.next_value::<&'de RawValue>()?.get())?,
            };
            entries.push((name, value));
        }
        Ok(Tree::Object(entries))
    }
}

/// The value of a field. The text is one of JSON: only its numbers may be none of ours.
fn field<E: Error>(raw: &str) -> Result<Tree<'_>, E> {
    Ok(match raw.as_bytes().first() {
        Some(b'n') => Tree::Null,
        Some(b't') => Tree::Bool(true),
        Some(b'f') => Tree::Bool(false),
        Some(b'"') if raw.contains('\\') => {
            Tree::Text(Cow::Owned(serde_json::from_str(raw).map_err(E::custom)?))
        }
        Some(b'"') => Tree::Text(Cow::Borrowed(raw.trim_matches('"'))),
        Some(b'[' | b'{') if raw.len() > NESTED_BYTES_MAX => {
            let message = "a list or an object in an event is larger than a mebibyte";
            return Err(E::custom(message));
        }
        Some(b'[' | b'{') => {
            let json: Json = serde_json::from_str(raw).map_err(E::custom)?;
            Tree::Nested(Arc::new(json))
        }
        _ => number(raw).ok_or_else(|| E::custom(format!("{raw} is out of range")))?,
    })
}

fn number(raw: &str) -> Option<Tree<'_>> {
    let whole = raw.parse::<i64>().map(Number::from);
    let whole = whole.or_else(|_| raw.parse::<u64>().map(Number::from));
    let number = whole.ok().or_else(|| Number::from_f64(raw.parse().ok()?));
    number.map(Tree::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::event::{Cell, Instant, NewEvent};
    use crate::kinds::{Refusal, parse_any};

    fn scalar() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            any::<String>().prop_map(Json::from),
            Just(json!([1, { "a": [null, "\u{0}\"\\"] }])),
            Just(json!({ "payments": "UP" })),
            Just(json!("2026-11-23T10:00:00Z")),
        ]
    }

    fn name() -> impl Strategy<Value = String> {
        let known = [
            "deviceId",
            "occurredAt",
            "cpuPercent",
            "transactionVolume",
            "transactionCount",
            "services",
            "extra",
            "provenance",
            "eventId",
        ];
        prop_oneof![
            8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_from_a_tree_of_maps(
            body in proptest::collection::btree_map(name(), scalar(), 0..8),
        ) {
            let event = json!({ "deviceMetrics": body });
            let text = event.to_string();
            let tree: Tree<'_> = serde_json::from_str(&text).unwrap();
            let fact = |parsed: Result<NewEvent, Refusal>| parsed.map(|event| event.fact);
            let (read, expected) = (parse_any(&tree, Instant(1)), parse_any(&event, Instant(1)));
            prop_assert_eq!(fact(read), fact(expected));
            prop_assert_eq!(&*tree.json(), &serde_json::from_str::<Json>(&text).unwrap());
        }
    }

    #[test]
    fn json_in_an_event_is_not_copied() {
        let text = r#"{"errorLog": {"context": [1, {"a": 2}]}}"#;
        let tree: Tree<'_> = serde_json::from_str(text).unwrap();
        let event = parse_any(&tree, Instant(1)).unwrap();
        let cell = event.fact.cell(entity::error_logs::Column::Context);
        let mut bodies = tree.entries().unwrap();
        let context = bodies
            .next()
            .unwrap()
            .1
            .entries()
            .unwrap()
            .next()
            .unwrap()
            .1;
        let Cell::Json(json) = cell else {
            panic!("{cell:?}")
        };
        assert!(Arc::ptr_eq(json, &context.json()));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let deep = format!(
            "{{\"errorLog\":{{\"context\":{}1{}}}}}",
            "[".repeat(200),
            "]".repeat(200)
        );
        let long = format!(
            "{{\"errorLog\":{{\"context\":[{}1]}}}}",
            "1,".repeat(NESTED_BYTES_MAX)
        );
        for text in [
            "1",
            "[]",
            r#"{"deviceMetrics": 1}"#,
            r#"{"deviceMetrics": {"cpuPercent": 1e999}}"#,
            r#"{"deviceMetrics": {"deviceId": "\ud800"}}"#,
            deep.as_str(),
            long.as_str(),
        ] {
            assert!(serde_json::from_str::<Tree<'_>>(text).is_err());
        }
    }
}
