//! Nothing out of bounds is stored: the check refuses it, and so do the tables themselves.

use homepot_analytics::event::Cell;
use homepot_analytics::kinds::{Code, Field, Kind, Origin, Type, check, parse_any};
use sea_orm::ConnectionTrait as _;
use serde_json::{Map, Value as Json, json};

use crate::support::{Database, at, contract, samples};

contract![tables_refuse_what_is_out_of_bounds];

/// A value that any field of a type may have.
fn right(field: &Field) -> Json {
    match field.ty {
        Type::Device | Type::NewDevice => json!("d1"),
        Type::Site | Type::NewSite => json!("s1"),
        // what is configured is the system, which is registered nowhere
        Type::Enum(set) => json!(set.values.last().unwrap().0),
        Type::Text { .. } => json!("a"),
        Type::Float { min, .. } => json!(min),
        Type::Int { min, .. } | Type::Long { min, .. } => json!(min),
        Type::Bool => json!(false),
        Type::Date => json!("2026-12-25"),
        Type::LocalTime => json!("08:00"),
        Type::TimeZone => json!("UTC"),
        Type::Currency => json!("EUR"),
        Type::Windows | Type::Tags => json!([]),
        Type::Money => json!("1"),
        Type::Json { .. } | Type::Services => json!({}),
    }
}

/// A body with all that is required, for any kind.
fn body(kind: Kind) -> Map<String, Json> {
    let required = kind
        .spec()
        .fields
        .iter()
        .filter(|field| field.origin == Origin::Required);
    let mut body: Map<String, Json> = required
        .map(|field| (field.name.to_owned(), right(field)))
        .collect();
    let at = json!("2026-11-23T09:00:00Z");
    body.insert("occurredAt".to_owned(), at);
    for (of, name, value) in [
        (Kind::SiteSchedule, "dayOfWeek", "MONDAY"),
        (Kind::SiteSchedule, "openTime", "08:00"),
        (Kind::SiteSchedule, "closeTime", "18:00"),
        (Kind::UserActivity, "name", "a"),
    ] {
        if kind == of {
            body.insert(name.to_owned(), json!(value));
        }
    }
    body
}

fn outcome(kind: Kind, body: &Map<String, Json>) -> Result<(), (Code, String)> {
    let wire = json!({ kind.spec().wire: body });
    let checked =
        parse_any(&wire, at("2026-11-23T10:00:00Z")).and_then(|mut event| check(&mut event.fact));
    checked.map_err(|refusal| (refusal.code, refusal.field.unwrap_or_default().into_owned()))
}

/// Values of a field that are to be refused, each with its code.
fn wrong(ty: Type) -> Vec<(Json, Code)> {
    let letters = |count: usize| Json::from("é".repeat(count));
    let nul = (Json::from("a\0b"), Code::Invalid);
    let items = |item: Json, count: usize| Json::from(vec![item; count]);
    match ty {
        Type::Float { min, max } => vec![
            (json!(min - 0.001), Code::OutOfRange),
            (json!(max + 0.001), Code::OutOfRange),
            (json!("1"), Code::Invalid),
        ],
        Type::Int { min, max } => vec![
            (json!(min - 1), Code::OutOfRange),
            (json!(max + 1), Code::OutOfRange),
            (json!(1.5), Code::Invalid),
        ],
        Type::Long { min, max } => vec![
            (json!(min - 1), Code::OutOfRange),
            (json!((max + 1).to_string()), Code::OutOfRange),
            (json!("9223372036854775808"), Code::Invalid),
        ],
        Type::Text { max } => vec![
            (letters(max + 1), Code::TooLong),
            nul,
            (json!(1), Code::Invalid),
        ],
        Type::Enum(_) => vec![
            (json!("NO_SUCH_WORD"), Code::Invalid),
            (json!("online"), Code::Invalid),
        ],
        Type::Money => vec![
            (json!("0.00001"), Code::Invalid),
            (json!("922337203685477.5808"), Code::Invalid),
            (json!("NaN"), Code::Invalid),
        ],
        Type::Bool => vec![(json!(1), Code::Invalid), (json!("true"), Code::Invalid)],
        Type::Device | Type::NewDevice | Type::Site | Type::NewSite => vec![
            (letters(256), Code::TooLong),
            (json!(""), Code::Missing),
            nul,
        ],
        Type::Json { max_bytes } => vec![
            (Json::from("x".repeat(max_bytes - 1)), Code::TooLong),
            (json!({"a": ["b\0"]}), Code::Invalid),
            (json!({"a\0": 1}), Code::Invalid),
        ],
        Type::Date => vec![
            (json!("2026-02-30"), Code::Invalid),
            (json!("26-01-01"), Code::Invalid),
        ],
        Type::LocalTime => vec![
            (json!("24:01"), Code::Invalid),
            (json!("8:30"), Code::Invalid),
        ],
        Type::TimeZone => vec![(json!("Mars/Olympus"), Code::Invalid), nul],
        Type::Currency => vec![
            (json!("eur"), Code::Invalid),
            (json!("EURO"), Code::Invalid),
        ],
        Type::Windows => vec![
            (
                items(json!({"start": "08:00", "end": "09:00"}), 25),
                Code::TooLong,
            ),
            (json!([{"start": "08:00"}]), Code::Invalid),
            (
                json!([{"start": "08:00", "end": "09:00", "note": "a"}]),
                Code::Invalid,
            ),
        ],
        Type::Services => vec![
            (json!({"a": "SLOW"}), Code::Invalid),
            (json!({"a\0": "UP"}), Code::Invalid),
            (
                (0..65)
                    .map(|i| (i.to_string(), json!("UP")))
                    .collect::<Map<_, _>>()
                    .into(),
                Code::TooLong,
            ),
        ],
        Type::Tags => vec![
            (items(json!("a"), 65), Code::TooLong),
            (json!(["é".repeat(65)]), Code::TooLong),
            (json!(["a\0"]), Code::Invalid),
            (json!([1]), Code::Invalid),
        ],
    }
}

fn recordable() -> impl Iterator<Item = Kind> {
    Kind::all().filter(|kind| kind.spec().recordable)
}

#[test]
fn each_bound_of_each_field_is_refused_with_its_code() {
    for kind in recordable() {
        assert_eq!(outcome(kind, &body(kind)), Ok(()), "{kind:?}");
        for field in kind
            .spec()
            .fields
            .iter()
            .filter(|f| f.origin != Origin::FilledIn)
        {
            for (value, code) in wrong(field.ty) {
                let mut body = body(kind);
                body.insert(field.name.to_owned(), value);
                let refused = Err((code, field.name.to_owned()));
                assert_eq!(outcome(kind, &body), refused, "{kind:?}");
            }
        }
    }
}

#[test]
fn each_required_field_that_is_missing_is_refused() {
    for kind in recordable() {
        for field in kind
            .spec()
            .fields
            .iter()
            .filter(|f| f.origin == Origin::Required)
        {
            let mut body = body(kind);
            body.remove(field.name);
            let refused = Err((Code::Missing, field.name.to_owned()));
            assert_eq!(outcome(kind, &body), refused, "{kind:?}");
        }
    }
}

#[test]
fn what_a_kind_fills_in_itself_is_no_input() {
    let mut body = body(Kind::ConfigurationChange);
    body.insert("deviceId".to_owned(), json!("d1"));
    let refused = Err((Code::UnknownField, "deviceId".to_owned()));
    assert_eq!(outcome(Kind::ConfigurationChange, &body), refused);
}

#[test]
fn extra_is_bounded() {
    for (value, code) in wrong(Type::Json { max_bytes: 65_536 }) {
        let mut body = body(Kind::ErrorLog);
        body.insert("extra".to_owned(), value);
        assert_eq!(
            outcome(Kind::ErrorLog, &body),
            Err((code, "extra".to_owned()))
        );
    }
}

/// Literals for a column that its table is to refuse.
fn wrong_in_table(field: &Field, sqlite: bool) -> Vec<String> {
    let long = |letters: usize| format!("'\"{}\"'", "x".repeat(letters));
    let json = |letters: usize| {
        let mut literals = vec![long(letters)];
        literals.extend(sqlite.then(|| "'nonsense'".to_owned()));
        literals
    };
    let mut literals = match field.ty {
        Type::Float { min, max } => vec![format!("{:?}", min - 0.5), format!("{:?}", max + 0.5)],
        Type::Int { min, max } | Type::Long { min, max } => {
            let beyond = [min.checked_sub(1), max.checked_add(1)];
            let beyond = beyond.into_iter().flatten();
            beyond.map(|number| number.to_string()).collect()
        }
        Type::Text { max } => vec![format!("'{}'", "é".repeat(max + 1))],
        Type::Enum(_) => vec!["'NO_SUCH_WORD'".to_owned()],
        Type::Bool => vec!["2".to_owned(), "-1".to_owned()],
        Type::Currency => vec!["'EURO'".to_owned()],
        Type::Date => vec!["'2026-1-1'".to_owned()],
        Type::LocalTime => vec!["'8:30'".to_owned()],
        Type::TimeZone => vec![format!("'{}'", "a".repeat(65))],
        Type::Json { max_bytes } => json(max_bytes),
        Type::Services => json(131_072),
        Type::Tags => json(32_768),
        Type::Windows => json(4_096),
        // references are checked by the log
        Type::Money | Type::Device | Type::NewDevice | Type::Site | Type::NewSite => vec![],
    };
    if field.origin == Origin::Required {
        literals.push("NULL".to_owned());
    }
    literals
}

async fn tables_refuse_what_is_out_of_bounds(database: Database) {
    let log = database.open().await.with_fleet().await;
    for kind in Kind::all() {
        log.record(samples(kind, 3, 1)).await;
    }
    let db = database.connect().await;
    let mut position = 1_000_000;
    for kind in Kind::all() {
        let spec = kind.spec();
        let mut cases = vec![
            ("provenance", vec!["3".to_owned(), "NULL".to_owned()]),
            (
                "occurred_at",
                vec!["946684799999999".to_owned(), "NULL".to_owned()],
            ),
            ("extra", vec![format!("'\"{}\"'", "x".repeat(65_536))]),
        ];
        // its column is older than its bounds, and SQLite adds no check to a table that is there
        let bounded = |field: &&Field| (kind, field.name) != (Kind::DeviceMetrics, "part");
        cases.extend(
            spec.fields
                .iter()
                .filter(bounded)
                .map(|f| (f.column.name(), wrong_in_table(f, database.is_sqlite()))),
        );
        for (wrong, literals) in cases {
            for literal in literals {
                position += 1;
                let fine = copied(kind, position, "extra", "'1'");
                let fine = db.execute_unprepared(&fine).await;
                assert!(fine.is_ok(), "{kind:?} {fine:?}");
                position += 1;
                let refused = db
                    .execute_unprepared(&copied(kind, position, wrong, &literal))
                    .await;
                let told = format!("{refused:?}").to_lowercase();
                let by_constraint = told.contains("check")
                    || told.contains("null")
                    || told.contains("no partition");
                assert!(refused.is_err() && by_constraint, "{kind:?} {wrong} {told}");
            }
        }
    }
    db.close().await.unwrap();
    log.close().await;
}

/// Copies a row of a kind to a new position, with one column changed.
fn copied(kind: Kind, position: i64, changed: &str, literal: &str) -> String {
    let spec = kind.spec();
    let mut columns = vec![
        ("position", position.to_string()),
        ("occurred_at", format!("occurred_at + {position}")),
        ("recorded_at", "recorded_at".to_owned()),
        ("provenance", "provenance".to_owned()),
        ("extra", "extra".to_owned()),
    ];
    let own = spec.fields.iter().map(|field| field.column.name());
    columns.extend(own.map(|name| (name, name.to_owned())));
    for (name, value) in &mut columns {
        if *name == changed {
            literal.clone_into(value);
        }
    }
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let (table, names, values) = (spec.table, names.join(", "), values.join(", "));
    format!("INSERT INTO {table} ({names}) SELECT {values} FROM {table} ORDER BY position LIMIT 1")
}

#[test]
fn a_sample_of_each_kind_passes_the_check() {
    for kind in Kind::all() {
        let events = samples(kind, 20, 2);
        let absent =
            |event: &homepot_analytics::event::NewEvent| event.fact.cells.iter().any(Cell::is_null);
        assert!(events.iter().any(absent), "{kind:?}");
    }
}
