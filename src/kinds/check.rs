//! The one place where bounds are checked: whoever makes an event, it passes here.

use serde_json::Value as Json;

use super::{Code, Field, Origin, Refusal, Type, View, form};
use crate::event::{Cell, Fact};

/// Bytes at most of `extra`, written without spaces.
pub(crate) const EXTRA_BYTES_MAX: usize = 65_536;
const SERVICES_MAX: usize = 64;
const TAGS_MAX: usize = 64;
const TAG_CHARACTERS_MAX: usize = 64;
const WINDOWS_MAX: usize = 24;
const NAME_CHARACTERS_MAX: usize = 255;

/// Checks each field, fills in what follows from others, and checks the rules of the kind.
///
/// # Errors
/// The first refusal, in the order of the fields.
pub fn check(fact: &mut Fact) -> Result<(), Refusal> {
    for (field, cell) in fact.spec().fields.iter().zip(&fact.cells) {
        check_field(field, cell)?;
    }
    if let Cell::Json(json) = &fact.extra {
        json_bytes("extra", json, EXTRA_BYTES_MAX)?;
    }
    (fact.spec().finish)(fact)
}

fn check_field(field: &Field, cell: &Cell) -> Result<(), Refusal> {
    let name = field.name;
    match (cell, field.ty) {
        (Cell::Null, _) if field.origin == Origin::Required => Err(Refusal::of(
            name,
            Code::Missing,
            format!("{name} is missing"),
        )),
        (Cell::Null, _) => Ok(()),
        (Cell::Float(value), Type::Float { min, max }) => {
            within(name, (min..=max).contains(value), &min, &max)
        }
        (Cell::Int(value), Type::Int { min, max } | Type::Long { min, max }) => {
            within(name, (min..=max).contains(value), &min, &max)
        }
        (Cell::Int(_), Type::Money) => Ok(()),
        (Cell::Int(0 | 1), Type::Bool) => Ok(()),
        (Cell::Text(text), Type::Text { .. })
            if text.is_empty() && field.origin == Origin::Required =>
        {
            let message = format!("{name} has no character");
            Err(Refusal::of(name, Code::Empty, message))
        }
        (Cell::Text(text), ty) => check_text(name, text, ty),
        (Cell::Json(json), ty) => check_json(name, json, ty),
        (Cell::Reference(reference), ty) if ty.is_reference() => {
            text_length(name, &reference.id, NAME_CHARACTERS_MAX)?;
            if reference.id.is_empty() {
                return Err(Refusal::of(name, Code::Missing, format!("{name} is empty")));
            }
            Ok(())
        }
        (Cell::Int(_) | Cell::Float(_) | Cell::Reference(_), ty) => {
            Err(form::wrong(name, &form::shown_cell(cell), &form::of(ty)))
        }
    }
}

fn within(
    name: &'static str,
    holds: bool,
    min: &dyn std::fmt::Display,
    max: &dyn std::fmt::Display,
) -> Result<(), Refusal> {
    if holds {
        return Ok(());
    }
    Err(Refusal::of(
        name,
        Code::OutOfRange,
        format!("{name} is not between {min} and {max}"),
    ))
}

fn check_text(name: &'static str, text: &str, ty: Type) -> Result<(), Refusal> {
    let has_form = match ty {
        Type::Text { max } => return text_length(name, text, max),
        Type::Enum(set) => set.values.iter().any(|(word, _)| *word == text),
        Type::Date => super::wire::date(text).is_some(),
        Type::LocalTime => super::wire::time_of_day(text).is_some(),
        Type::TimeZone => text.parse::<chrono_tz::Tz>().is_ok(),
        Type::Currency => text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()),
        Type::Device | Type::Site | Type::NewDevice | Type::NewSite | Type::Float { .. } => false,
        Type::Int { .. } | Type::Long { .. } | Type::Money | Type::Bool => false,
        Type::Json { .. } | Type::Windows | Type::Services | Type::Tags => false,
    };
    if has_form {
        return Ok(());
    }
    let given = form::shown(View::Text(text));
    Err(form::wrong(name, &given, &form::of(ty)))
}

fn text_length(name: &'static str, text: &str, max: usize) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::of(
            name,
            Code::Invalid,
            format!("{name} has the character U+0000"),
        ));
    }
    if text.len() > max && text.chars().count() > max {
        let message = format!("{name} is longer than {max} characters");
        return Err(Refusal::of(name, Code::TooLong, message));
    }
    Ok(())
}

fn check_json(name: &'static str, json: &Json, ty: Type) -> Result<(), Refusal> {
    match (ty, json) {
        (Type::Json { max_bytes }, _) => json_bytes(name, json, max_bytes),
        (Type::Services, Json::Object(services)) => {
            let valid = |(key, state): (&String, &Json)| {
                key.chars().count() <= NAME_CHARACTERS_MAX
                    && !key.contains('\0')
                    && matches!(state.as_str(), Some("UP" | "DOWN"))
            };
            count(name, services.len(), SERVICES_MAX)?;
            let all = services.iter().all(valid);
            all.then_some(()).ok_or_else(|| wrong_items(name, ty))
        }
        (Type::Tags, Json::Array(tags)) => {
            count(name, tags.len(), TAGS_MAX)?;
            let texts: Option<Vec<&str>> = tags.iter().map(Json::as_str).collect();
            let texts = texts.ok_or_else(|| wrong_items(name, ty))?;
            texts
                .into_iter()
                .try_for_each(|tag| text_length(name, tag, TAG_CHARACTERS_MAX))
        }
        (Type::Windows, Json::Array(windows)) => {
            count(name, windows.len(), WINDOWS_MAX)?;
            let time = |window: &Json, key: &str| {
                window
                    .get(key)
                    .and_then(Json::as_str)
                    .and_then(super::wire::time_of_day)
                    .is_some()
            };
            let two = |window: &Json| window.as_object().is_some_and(|keys| keys.len() == 2);
            windows
                .iter()
                .all(|w| two(w) && time(w, "start") && time(w, "end"))
                .then_some(())
                .ok_or_else(|| wrong_items(name, ty))
        }
        _ => Err(form::wrong(name, "a list or an object", &form::of(ty))),
    }
}

fn wrong_items(name: &'static str, ty: Type) -> Refusal {
    Refusal::of(
        name,
        Code::Invalid,
        format!("{name} is not {}", form::of(ty)),
    )
}

fn count(name: &'static str, items: usize, max: usize) -> Result<(), Refusal> {
    if items > max {
        return Err(Refusal::of(
            name,
            Code::TooLong,
            format!("{name} has more than {max} items"),
        ));
    }
    Ok(())
}

/// Levels at most of lists and objects in each other: whoever reads JSON has a limit, and what is
/// recorded must be readable by all.
const JSON_LEVELS_MAX: usize = 64;

fn json_bytes(name: &'static str, json: &Json, max: usize) -> Result<(), Refusal> {
    if is_deeper_than(json, JSON_LEVELS_MAX) {
        let message = format!("{name} has more than {JSON_LEVELS_MAX} levels of JSON");
        return Err(Refusal::of(name, Code::TooLong, message));
    }
    let text = json.to_string();
    if text.len() > max {
        let message = format!("{name} is longer than {max} bytes of JSON");
        return Err(Refusal::of(name, Code::TooLong, message));
    }
    if text.contains("\\u0000") && holds_nul(json) {
        return Err(Refusal::of(
            name,
            Code::Invalid,
            format!("{name} has the character U+0000"),
        ));
    }
    Ok(())
}

fn is_deeper_than(json: &Json, levels: usize) -> bool {
    let inner = |inner: &Json| match levels.checked_sub(1) {
        Some(levels) => is_deeper_than(inner, levels),
        None => true,
    };
    match json {
        Json::Array(items) => levels == 0 || items.iter().any(inner),
        Json::Object(entries) => levels == 0 || entries.values().any(inner),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

fn holds_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(holds_nul),
        Json::Object(entries) => entries
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}
