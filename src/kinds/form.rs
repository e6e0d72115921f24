//! What is said of a value that has not the form of its field: what was given, and what is wanted,
//! with an example.

use std::borrow::Cow;

use super::{Code, Refusal, Type, View};
use crate::event::Cell;

/// Characters at most that are shown of a value.
const SHOWN_MAX: usize = 40;

/// The form of an instant.
pub(super) const INSTANT: &str = "an RFC 3339 time such as 2026-11-23T20:01:56Z";
/// The form of an id of an event.
pub(super) const UUID: &str = "a UUID such as 01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7a";

/// The refusal of a field whose value has not its form.
pub(super) fn wrong(name: &'static str, given: &str, form: &str) -> Refusal {
    Refusal::of(
        name,
        Code::Invalid,
        format!("{name} is {given}, not {form}"),
    )
}

/// A value of the wire, cut so that it can be shown.
pub(super) fn shown(value: View<'_>) -> String {
    match value {
        View::Null => "null".to_owned(),
        View::Bool(truth) => truth.to_string(),
        View::Int(number) => number.to_string(),
        View::Float(number) => number.to_string(),
        View::Text(text) => quoted(text),
        View::Nested => "a list or an object".to_owned(),
    }
}

/// A value of an event, cut so that it can be shown.
pub(super) fn shown_cell(cell: &Cell) -> String {
    shown(match cell {
        Cell::Null => View::Null,
        Cell::Int(number) => View::Int(*number),
        Cell::Float(number) => View::Float(*number),
        Cell::Text(text) => View::Text(text),
        Cell::Reference(reference) => View::Text(&reference.id),
        Cell::Json(_) => View::Nested,
    })
}

fn quoted(text: &str) -> String {
    let mut letters = text.chars();
    let cut: String = letters.by_ref().take(SHOWN_MAX).collect();
    let rest = if letters.next().is_some() { "…" } else { "" };
    format!("{cut:?}{rest}")
}

/// The form that values of a type have.
pub(super) fn of(ty: Type) -> Cow<'static, str> {
    let form = match ty {
        Type::Enum(set) => {
            let words: Vec<_> = set.values.iter().map(|(word, _)| *word).collect();
            return Cow::from(format!("one of {}", words.join(", ")));
        }
        Type::Device | Type::Site | Type::NewDevice | Type::NewSite => "an id such as \"till-1\"",
        Type::Text { .. } => "a text",
        Type::Float { .. } => "a number such as 12.5",
        Type::Int { .. } => "a whole number such as 12",
        Type::Long { .. } => "a whole number of 64 bits such as \"12\"",
        Type::Money => "a decimal with at most four places such as \"1249.90\"",
        Type::Bool => "true or false",
        Type::Json { .. } => "a JSON value",
        Type::Date => "a date such as 2026-12-25",
        Type::LocalTime => "a time of day such as 08:30, 08:30:00 or 24:00",
        Type::TimeZone => "the name of an IANA time zone such as Europe/London",
        Type::Currency => "an ISO 4217 code such as EUR",
        Type::Windows => "a list of windows such as {start: \"12:00\", end: \"14:00\"}",
        Type::Services => "names with UP or DOWN such as {printer: UP}",
        Type::Tags => "a list of texts",
    };
    Cow::from(form)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{check, parse_any};
    use super::*;
    use crate::event::Instant;

    #[test]
    fn what_was_given_and_what_is_wanted_is_told() {
        for (kind, body, message) in [
            (
                "errorLog",
                json!({ "occurredAt": "yesterday" }),
                "occurredAt is \"yesterday\", not an RFC 3339 time such as 2026-11-23T20:01:56Z",
            ),
            (
                "errorLog",
                json!({ "eventId": 7 }),
                "eventId is 7, not a UUID such as 01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7a",
            ),
            (
                "errorLog",
                json!({ "category": "API", "severity": "BAD", "errorMessage": "e" }),
                "severity is \"BAD\", not one of CRITICAL, ERROR, WARNING, INFO",
            ),
            (
                "siteRegistration",
                json!({ "siteId": "s", "name": "s", "timeZone": "Mars" }),
                "timeZone is \"Mars\", not the name of an IANA time zone such as Europe/London",
            ),
            (
                "deviceMetrics",
                json!({ "transactionVolume": "1,5" }),
                "transactionVolume is \"1,5\", not a decimal with at most four places such as \"1249.90\"",
            ),
            (
                "deviceMetrics",
                json!({ "cpuPercent": [] }),
                "cpuPercent is a list or an object, not a number such as 12.5",
            ),
        ] {
            let event = parse_any(&json!({ kind: body }), Instant::OLDEST);
            let refusal = event
                .and_then(|mut event| check(&mut event.fact))
                .unwrap_err();
            assert_eq!(refusal.message, message);
            assert_eq!(refusal.code, Code::Invalid);
        }
    }

    #[test]
    fn a_long_value_is_shown_by_its_beginning() {
        let long = format!("it is\n{}", "x".repeat(1_000));
        let begins = format!("\"it is\\n{}\"…", "x".repeat(34));
        assert_eq!(shown(View::Text(&long)), begins);
        assert_eq!(shown(View::Text("é")), "\"é\"");
    }
}
