//! Values that are secret: in the log they stand sealed, and wherever they are shown as `***`.
//!
//! A sealed value is an object with the one key [`SEALED`]. Whoever writes JSON for others writes it
//! [`masked`], so that neither the value nor what it was sealed to leaves this server.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

/// The key of a sealed value.
pub const SEALED: &str = "$sealed";
/// What is shown of one.
pub const MASK: &str = "***";

/// Whether a value is a sealed one.
#[must_use]
pub fn is_sealed(json: &Json) -> bool {
    let object = json.as_object();
    object.is_some_and(|object| object.len() == 1 && object.contains_key(SEALED))
}

/// Whether a sealed value stands anywhere in one.
#[must_use]
pub fn has_sealed(json: &Json) -> bool {
    match json {
        Json::Object(_) if is_sealed(json) => true,
        Json::Object(entries) => entries.values().any(has_sealed),
        Json::Array(items) => items.iter().any(has_sealed),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

/// Whether whoever sees a value of a sensitive parameter knows it: it is there, and neither sealed nor masked.
#[must_use]
pub fn is_readable(json: &Json) -> bool {
    !json.is_null() && !is_sealed(json) && json.as_str() != Some(MASK)
}

/// A value as it is shown.
#[must_use]
pub fn masked(json: &Json) -> Cow<'_, Json> {
    if has_sealed(json) {
        Cow::Owned(without_sealed(json))
    } else {
        Cow::Borrowed(json)
    }
}

fn without_sealed(json: &Json) -> Json {
    match json {
        _ if is_sealed(json) => Json::from(MASK),
        Json::Object(entries) => {
            let entries = entries.iter();
            let shown = entries.map(|(name, value)| (name.clone(), without_sealed(value)));
            Json::Object(shown.collect::<Map<_, _>>())
        }
        Json::Array(items) => Json::Array(items.iter().map(without_sealed).collect()),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => json.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_sealed_is_shown_as_a_mask_wherever_it_stands() {
        let sealed = json!({ SEALED: { "key": "k", "data": "d" } });
        let json = json!({ "a": [1, sealed], "b": { "c": sealed, "d": null } });
        let shown = json!({ "a": [1, "***"], "b": { "c": "***", "d": null } });
        assert_eq!(*masked(&json), shown);
        assert_eq!(*masked(&sealed), json!("***"));
        let plain = json!({ "a": { SEALED: 1, "b": 2 } });
        assert!(matches!(masked(&plain), Cow::Borrowed(_)));
    }
}
