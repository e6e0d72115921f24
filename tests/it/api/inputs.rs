//! Inputs of every kind, made from what the kinds say of themselves, so that a new kind is tested
//! without a line here.

use homepot_analytics::kinds::{Field, Identity, Kind, Origin, Spec, Type};
use serde_json::{Map, Value, json};

use super::app::{NOON, at};

/// The kinds that sources may record.
pub(super) fn recordable() -> impl Iterator<Item = &'static Spec> {
    let specs = Kind::ALL.iter().map(|kind| kind.spec());
    specs.filter(|spec| spec.recordable)
}

/// The fields of a kind that sources give.
pub(super) fn given(spec: &'static Spec) -> impl Iterator<Item = &'static Field> {
    let fields = spec.fields.iter();
    fields.filter(|field| field.origin != Origin::FilledIn)
}

/// The body of a valid event with as few fields as may be. Of two with different ordinals neither
/// is a repeat of the other.
pub(super) fn minimal(spec: &'static Spec, ordinal: usize) -> Map<String, Value> {
    let mut body = Map::new();
    for field in given(spec).filter(|field| field.origin == Origin::Required) {
        body.insert(field.name.to_owned(), plain(field, ordinal));
    }
    if spec.identity == Identity::DeviceAndTime {
        let minutes = i64::try_from(ordinal).unwrap();
        body.insert("occurredAt".to_owned(), json!(at(-minutes)));
    }
    if spec.kind == Kind::SiteSchedule {
        body.insert("dayOfWeek".to_owned(), json!("MONDAY"));
        body.insert("isClosed".to_owned(), json!(true));
    }
    body
}

/// A minimal event with one more value.
pub(super) fn with(spec: &'static Spec, ordinal: usize, name: &str, value: Value) -> Value {
    let mut body = minimal(spec, ordinal);
    body.insert(name.to_owned(), value);
    json!({ spec.wire: body })
}

/// A valid value of a field.
fn plain(field: &Field, ordinal: usize) -> Value {
    match field.ty {
        Type::Device => json!("till-1"),
        Type::NewDevice => json!(format!("new-device-{ordinal}")),
        Type::Site => json!("harbour"),
        Type::NewSite => json!(format!("new-site-{ordinal}")),
        Type::Text { .. } if field.name == "entityId" => json!("till-1"),
        Type::Text { .. } => json!(format!("{} {ordinal}", field.name)),
        Type::Enum(set) => json!(set.values[0].0),
        Type::Float { min, .. } => json!(min),
        Type::Int { min, .. } => json!(min),
        Type::Long { min, .. } => json!(min.to_string()),
        Type::Money => json!("12.3456"),
        Type::Bool => json!(false),
        Type::Json { .. } => json!({ "number": ordinal }),
        Type::Date => json!("2026-12-25"),
        Type::LocalTime => json!("08:30:00"),
        Type::TimeZone => json!("Europe/London"),
        Type::Currency => json!("EUR"),
        Type::Windows => json!([{ "start": "12:00:00", "end": "14:00:00" }]),
        Type::Services => json!({ "payments": "UP" }),
        Type::Tags => json!(["front"]),
    }
}

/// Values of a field that are refused as data, each with the code of the refusal.
pub(super) fn out_of_bounds(field: &Field) -> Vec<(Value, &'static str)> {
    let long = |characters: usize| json!("x".repeat(characters));
    let many = |item: Value, items: usize| Value::Array(vec![item; items]);
    match field.ty {
        Type::Device => vec![(json!("nobody"), "UNKNOWN_DEVICE"), (long(256), "TOO_LONG")],
        Type::Site => vec![(json!("nowhere"), "UNKNOWN_SITE"), (long(256), "TOO_LONG")],
        Type::NewDevice | Type::NewSite => vec![
            (json!(""), "MISSING"),
            (long(256), "TOO_LONG"),
            (json!("a\u{0}b"), "INVALID"),
        ],
        Type::Text { max } => vec![
            (long(max + 1), "TOO_LONG"),
            (json!("é".repeat(max + 1)), "TOO_LONG"),
            (json!("a\u{0}b"), "INVALID"),
        ],
        Type::Float { min, max } => vec![
            (json!(min - 0.001), "OUT_OF_RANGE"),
            (json!(max + 0.001), "OUT_OF_RANGE"),
            (json!(9_999_999_999.0), "OUT_OF_RANGE"),
        ],
        Type::Int { min, max } => {
            vec![
                (json!(min - 1), "OUT_OF_RANGE"),
                (json!(max + 1), "OUT_OF_RANGE"),
            ]
        }
        Type::Long { min, max } => vec![
            (json!((min - 1).to_string()), "OUT_OF_RANGE"),
            (json!((max + 1).to_string()), "OUT_OF_RANGE"),
        ],
        Type::Json { max_bytes } => vec![
            (long(max_bytes), "TOO_LONG"),
            (json!({ "text": "a\u{0}b" }), "INVALID"),
        ],
        Type::Currency => vec![(json!("eur"), "INVALID"), (json!("EURO"), "INVALID")],
        Type::Windows => vec![(
            many(json!({ "start": "12:00", "end": "14:00" }), 25),
            "TOO_LONG",
        )],
        Type::Services => {
            let services = |count: usize| -> Map<String, Value> {
                let service = |n: usize| (format!("s{n}"), json!("UP"));
                (0..count).map(service).collect()
            };
            vec![
                (json!(services(65)), "TOO_LONG"),
                (json!({ "payments": "SLOW" }), "INVALID"),
                (json!(["payments"]), "INVALID"),
            ]
        }
        Type::Tags => vec![
            (many(json!("tag"), 65), "TOO_LONG"),
            (json!([long(65)]), "TOO_LONG"),
        ],
        Type::Enum(_) | Type::Money | Type::Bool | Type::Date => Vec::new(),
        Type::LocalTime | Type::TimeZone => Vec::new(),
    }
}

/// Values that are not of the field's type, with which the language fails the whole request.
pub(super) fn wrong_types(field: &Field) -> Vec<Value> {
    match field.ty {
        Type::Device | Type::Site | Type::NewDevice | Type::NewSite => vec![json!(true)],
        Type::Text { .. } | Type::Currency => vec![json!(5), json!({ "a": 1 })],
        Type::Enum(_) => vec![json!("NO_SUCH_WORD"), json!(5)],
        Type::Float { .. } => vec![json!("12"), json!(true)],
        Type::Int { .. } => vec![json!("12"), json!(1.5), json!(true)],
        Type::Long { .. } => vec![json!("twelve"), json!(1.5)],
        Type::Money => vec![json!("a lot"), json!("1.23456"), json!(true)],
        Type::Bool => vec![json!("true"), json!(1)],
        Type::Date => vec![json!("2026-02-30"), json!("25.12.2026"), json!(5)],
        Type::LocalTime => vec![json!("25:00"), json!("noon"), json!(8)],
        Type::TimeZone => vec![json!("Mars/Olympus"), json!(1)],
        Type::Windows => vec![
            json!([{ "start": "12:00" }]),
            json!([{ "start": "12:00", "end": "half past" }]),
            json!([{ "start": "12:00", "end": "13:00", "more": 1 }]),
        ],
        Type::Tags => vec![json!([5]), json!([null]), json!({ "a": "b" })],
        Type::Json { .. } | Type::Services => Vec::new(),
    }
}

/// A row with most fields set, by a pattern that repeats values and leaves some out, so that
/// conditions hold for some rows and not for others.
pub(super) fn varied(spec: &'static Spec, row: usize) -> Value {
    let mut body = minimal(spec, row);
    for (index, field) in given(spec).enumerate() {
        let absent = field.origin != Origin::Required && (row + index).is_multiple_of(3);
        if absent || matches!(field.ty, Type::NewDevice | Type::NewSite) {
            continue;
        }
        body.insert(field.name.to_owned(), pooled(field, row * 7 + index * 3));
    }
    match spec.kind {
        Kind::SiteSchedule => {
            let day = body.remove(if row.is_multiple_of(2) {
                "date"
            } else {
                "dayOfWeek"
            });
            let name = if row.is_multiple_of(2) {
                "dayOfWeek"
            } else {
                "date"
            };
            let value = if name == "date" {
                json!("2026-12-24")
            } else {
                json!("FRIDAY")
            };
            body.entry(name).or_insert(value);
            drop(day);
            body.insert("openTime".to_owned(), json!("08:00"));
            body.insert("closeTime".to_owned(), json!("18:00"));
        }
        Kind::ConfigurationChange => {
            let (entity, id) = [
                ("DEVICE", "till-2"),
                ("SITE", "market"),
                ("SYSTEM", "system"),
            ][row % 3];
            body.insert("entityType".to_owned(), json!(entity));
            body.insert("entityId".to_owned(), json!(id));
        }
        Kind::UserActivity => {
            body.insert("name".to_owned(), json!(["open drawer", "close"][row % 2]));
        }
        _ => {}
    }
    // two rows for one instant, unless the instant is part of the key
    let minutes = i64::try_from(row).unwrap()
        / if spec.identity == Identity::DeviceAndTime {
            1
        } else {
            2
        };
    body.insert("occurredAt".to_owned(), json!(at(minutes * 13 % 50 - 60)));
    let provenance = ["REAL", "CONTROLLED", "SIMULATED"][row % 3];
    body.insert("provenance".to_owned(), json!(provenance));
    json!({ spec.wire: body })
}

fn pooled(field: &Field, choice: usize) -> Value {
    let numbers = [0.0, 12.5, 50.0, 99.75];
    let whole = [1, 7, 250, 404];
    match field.ty {
        Type::Device => json!(["till-1", "till-2", "till-3"][choice % 3]),
        Type::Site => json!(["harbour", "market"][choice % 2]),
        Type::Enum(set) => json!(set.values[choice % set.values.len()].0),
        Type::Float { .. } => json!(numbers[choice % numbers.len()]),
        Type::Int { min, .. } => json!(whole[choice % whole.len()].max(min)),
        Type::Long { .. } => json!(whole[choice % whole.len()].to_string()),
        Type::Money => json!(["0.0001", "-5", "12.5", "99999999999.9999"][choice % 4]),
        Type::Bool => json!(choice.is_multiple_of(2)),
        Type::Date => json!(["2026-12-25", "2027-01-01"][choice % 2]),
        Type::TimeZone => json!(["Europe/London", "UTC"][choice % 2]),
        Type::Currency => json!(["EUR", "GBP"][choice % 2]),
        Type::Text { .. } => json!(["alpha", "Alpha beta", "Éclair été", "100%_x"][choice % 4]),
        _ => plain(field, choice),
    }
}

/// An event of the past that is nobody's repeat.
pub(super) fn error(message: &str, severity: &str) -> Value {
    json!({ "errorLog": { "category": "DEVICE", "severity": severity, "errorMessage": message,
        "deviceId": "till-1", "occurredAt": NOON } })
}
