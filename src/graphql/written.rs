//! Answers as text. The rows of a page stand in an answer as the text that they are sent as: it is written
//! once, straight from the events, and not a tree of values first. (Measured on pages of 100 rows by 8 fields of
//! SQLite, together with reading no more columns than are asked for: a fifth less of the processors.)
//!
//! To the library such a text is a value of the type `Binary`, which no scalar of this schema is.

use std::borrow::Cow;
use std::io::Write;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Response, Value};
use serde::Serialize;
use serde_json::value::RawValue;

/// The text of an answer, as JSON.
#[must_use]
pub fn json(answer: &Response) -> String {
    let mut text = Vec::with_capacity(1_024);
    text.extend_from_slice(br#"{"data":"#);
    value(&mut text, &answer.data);
    let mut separator = br#","extensions":{"#.as_slice();
    for (key, extension) in &answer.extensions {
        text.extend_from_slice(separator);
        plain(&mut text, key);
        text.push(b':');
        value(&mut text, extension);
        separator = b",";
    }
    if !answer.extensions.is_empty() {
        text.push(b'}');
    }
    if !answer.errors.is_empty() {
        text.extend_from_slice(br#","errors":"#);
        plain(&mut text, &answer.errors);
    }
    text.push(b'}');
    String::from_utf8(text).unwrap_or_else(|error| {
        // rows are written from texts, so that this is a fault of ours
        tracing::error!(%error, "an answer is no text");
        NO_TEXT.to_owned()
    })
}

/// What is answered when rows were written that are no text.
const NO_TEXT: &str = r#"{"data":null,"errors":[{"message":"internal error","extensions":{"code":"INTERNAL","retryable":false}}]}"#;

/// Writes a value.
pub(super) fn value(text: &mut Vec<u8>, of: &Value) {
    match of {
        Value::Null | Value::Number(_) | Value::String(_) | Value::Boolean(_) | Value::Enum(_) => {
            plain(text, of);
        }
        Value::Binary(written) => text.extend_from_slice(written),
        Value::List(items) => {
            text.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                value(text, item);
            }
            text.push(b']');
        }
        Value::Object(entries) => {
            text.push(b'{');
            for (at, (key, entry)) in entries.iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                plain(text, key);
                text.push(b':');
                value(text, entry);
            }
            text.push(b'}');
        }
    }
}

/// Writes what is no row and has none in it.
pub(super) fn plain(text: &mut Vec<u8>, of: &(impl Serialize + ?Sized)) {
    // memory takes all that is written, and what is written has only texts as keys
    let _ = serde_json::to_writer(text, of);
}

/// Writes a text that needs no escapes, such as a number or an instant.
pub(super) fn quoted(text: &mut Vec<u8>, of: impl std::fmt::Display) {
    let _ = write!(text, "\"{of}\"");
}

/// Adds a value under a key; objects of the same key are merged, as the language has it.
pub(super) fn put(object: &mut IndexMap<Name, Value>, key: Name, value: Value) {
    match object.get_mut(&key) {
        Some(held) => merge(held, value),
        None => {
            object.insert(key, value);
        }
    }
}

/// Merges the values of fields that stand under one key.
pub(super) fn merge(held: &mut Value, more: Value) {
    match (held, more) {
        (Value::Binary(held), Value::Binary(more)) => {
            let mut text = String::with_capacity(held.len() + more.len());
            merge_texts(
                &mut text,
                &String::from_utf8_lossy(held),
                &String::from_utf8_lossy(&more),
            );
            *held = text.into();
        }
        (Value::Object(held), Value::Object(more)) => {
            for (key, value) in more {
                put(held, key, value);
            }
        }
        (Value::List(held), Value::List(more)) => {
            for (held, more) in held.iter_mut().zip(more) {
                merge(held, more);
            }
        }
        // one field, asked for twice
        _ => {}
    }
}

/// The entries of an object as they are written, none of them read further.
type Entries<'a> = IndexMap<Cow<'a, str>, &'a RawValue>;

/// Merges two rows, or what stands in them, as texts: of each no more is read than what differs.
fn merge_texts(into: &mut String, held: &str, more: &str) {
    if held == more {
        return into.push_str(held);
    }
    let objects = (
        serde_json::from_str::<Entries<'_>>(held),
        serde_json::from_str(more),
    );
    if let (Ok(held), Ok(more)) = objects {
        let more: Entries<'_> = more;
        let added = more.iter().filter(|(key, _)| !held.contains_key(*key));
        for (at, (key, value)) in held.iter().chain(added).enumerate() {
            into.push(if at == 0 { '{' } else { ',' });
            into.push_str(&serde_json::Value::from(key.as_ref()).to_string());
            into.push(':');
            match more.get(key) {
                Some(more) => merge_texts(into, value.get(), more.get()),
                None => into.push_str(value.get()),
            }
        }
        return into.push('}');
    }
    let lists = (
        serde_json::from_str::<Vec<&RawValue>>(held),
        serde_json::from_str::<Vec<&RawValue>>(more),
    );
    let (Ok(held), Ok(more)) = lists else {
        // one field, asked for twice
        return into.push_str(held);
    };
    into.push('[');
    for (at, (held, more)) in held.iter().zip(more).enumerate() {
        if at > 0 {
            into.push(',');
        }
        merge_texts(into, held.get(), more.get());
    }
    into.push(']');
}

#[cfg(test)]
mod tests {
    use async_graphql::ServerError;
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn row(text: &'static str) -> Value {
        Value::Binary(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn an_answer_is_written_as_the_library_writes_it() {
        let data = json!({
            "a": [1, -2.5, 1e300, true, null, "with \"quotes\" and \u{1}", []], "b": {}, "c": { "d": "é" }
        });
        let mut answer = Response::new(Value::from_json(data).unwrap());
        assert_eq!(json(&answer), serde_json::to_string(&answer).unwrap());
        answer.errors.push(ServerError::new("broken", None));
        answer = answer
            .extension("cost", Value::from(7))
            .extension("x", Value::Null);
        assert_eq!(json(&answer), serde_json::to_string(&answer).unwrap());
    }

    #[test]
    fn a_row_that_is_no_text_is_an_error() {
        let answer = Response::new(Value::Binary(Bytes::from_static(b"\"\xff\"")));
        let told: serde_json::Value = serde_json::from_str(&json(&answer)).unwrap();
        let internal = json!({ "code": "INTERNAL", "retryable": false });
        assert_eq!(told["errors"][0]["extensions"], internal);
    }

    #[test]
    fn a_row_is_written_as_it_stands_and_merged_with_one_of_its_key() {
        let name = Name::new;
        let nodes = |text| Value::List(vec![row(text), Value::Null]);
        let mut object = IndexMap::new();
        put(&mut object, name("nodes"), nodes(r#"{"a":1,"in":{"b":2}}"#));
        let mut text = Vec::new();
        value(&mut text, &Value::Object(object.clone()));
        assert_eq!(text, br#"{"nodes":[{"a":1,"in":{"b":2}},null]}"#);
        put(&mut object, name("nodes"), nodes(r#"{"in":{"c":3},"a":1}"#));
        put(&mut object, name("nodes"), nodes(r#"{"d":4}"#));
        let mut text = Vec::new();
        value(&mut text, &Value::Object(object));
        let merged = r#"{"nodes":[{"a":1,"in":{"b":2,"c":3},"d":4},null]}"#;
        assert_eq!(String::from_utf8(text).unwrap(), merged);
        let mut text = String::new();
        merge_texts(
            &mut text,
            r#"{"l":[{"a":[1]},{}],"n":null}"#,
            r#"{"l":[{"b":2},{"c":3}],"n":null}"#,
        );
        assert_eq!(text, r#"{"l":[{"a":[1],"b":2},{"c":3}],"n":null}"#);
    }
}
