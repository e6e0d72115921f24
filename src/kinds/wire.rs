//! The one wire shape of an event, read and written: GraphQL input, import lines and export alike.
//!
//! Reading turns words into cells and refuses what has the wrong form; bounds are checked after it.

use std::sync::Arc;

use chrono::NaiveDate;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::masked::masked;
use super::{Code, Field, Kind, Origin, Refusal, Spec, Type, form};
use crate::event::{Cell, Event, Fact, Instant, Money, NewEvent, Provenance};

/// A value of the wire, as far as its form goes.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// Null.
    Null,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text or a word.
    Text(&'a str),
    /// A list or an object.
    Nested,
}

/// A tree of values that can be read as an event.
pub trait WireValue {
    /// The value, if it is not nested.
    fn view(&self) -> View<'_>;
    /// The entries, if it is an object.
    fn entries<'a>(&'a self) -> Option<Box<dyn Iterator<Item = (&'a str, &'a Self)> + 'a>>;
    /// The same as JSON, which may be shared with what is read.
    fn json(&self) -> Arc<Json>;
}

impl WireValue for Json {
    fn view(&self) -> View<'_> {
        match self {
            Self::Null => View::Null,
            Self::Bool(truth) => View::Bool(*truth),
            Self::Number(number) => number_view(number),
            Self::String(text) => View::Text(text),
            Self::Array(_) | Self::Object(_) => View::Nested,
        }
    }

    fn entries<'a>(&'a self) -> Option<Box<dyn Iterator<Item = (&'a str, &'a Self)> + 'a>> {
        let entries = self.as_object()?.iter();
        Some(Box::new(entries.map(|(key, value)| (key.as_str(), value))))
    }

    fn json(&self) -> Arc<Json> {
        Arc::new(self.clone())
    }
}

/// How a JSON number is viewed.
pub(crate) fn number_view<'a>(number: &serde_json::Number) -> View<'a> {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => View::Int(whole),
        (None, Some(float)) => View::Float(float),
        (None, None) => View::Nested,
    }
}

/// Reads a one-of object such as `{"deviceMetrics": {…}}`.
///
/// # Errors
/// The refusal, when it is not such an object or a field has the wrong form.
pub fn parse_any<V: WireValue>(value: &V, now: Instant) -> Result<NewEvent, Refusal> {
    let whole = |message| Refusal::of_event(Code::Invalid, message);
    let mut entries = value
        .entries()
        .ok_or_else(|| whole("an event is an object with the kind as its key"))?;
    let (name, body) = entries.next().ok_or_else(|| whole("the event is empty"))?;
    if entries.next().is_some() {
        return Err(whole("an event has one kind, this one has several"));
    }
    let kind = Kind::of_wire(name)
        .filter(|kind| kind.spec().recordable)
        .ok_or_else(|| {
            Refusal::of_event(
                Code::UnknownKind,
                format!("there is no kind {}", shown(name)),
            )
        })?;
    parse(kind, body, now)
}

/// Reads the body of an event of a kind. An absent `occurredAt` becomes `now`.
///
/// # Errors
/// The refusal, when a field is unknown or has the wrong form.
pub fn parse<V: WireValue>(kind: Kind, body: &V, now: Instant) -> Result<NewEvent, Refusal> {
    let spec = kind.spec();
    let cells = vec![Cell::Null; spec.fields.len()].into_boxed_slice();
    let provenance = Provenance::Real;
    let fact = Fact {
        kind,
        event_id: None,
        occurred_at: now,
        provenance,
        cells,
        extra: Cell::Null,
    };
    let mut event = NewEvent {
        fact,
        occurred_at_given: false,
        refused_if_new: None,
    };
    let entries = body.entries().ok_or_else(|| {
        Refusal::of_event(
            Code::Invalid,
            format!("the body of {} is not an object", spec.wire),
        )
    })?;
    for (name, value) in entries {
        if !matches!(value.view(), View::Null) || says_null(spec, name) {
            read_entry(spec, &mut event, name, value)?;
        }
    }
    if kind.spec().identity == super::Identity::DeviceAndTime && !event.occurred_at_given {
        return Err(Refusal::of(
            "occurredAt",
            Code::Missing,
            "occurredAt is missing",
        ));
    }
    Ok(event)
}

/// Whether null is a value of a field, and not the same as to leave it out: that of any JSON which must be there, such
/// as the value of a parameter that is set no more.
fn says_null(spec: &Spec, name: &str) -> bool {
    let field = spec.index_of(name).and_then(|index| spec.fields.get(index));
    field.is_some_and(|field| {
        matches!(field.ty, Type::Json { .. }) && field.origin == Origin::Required
    })
}

fn read_entry<V: WireValue>(
    spec: &Spec,
    event: &mut NewEvent,
    name: &str,
    value: &V,
) -> Result<(), Refusal> {
    let fact = &mut event.fact;
    match name {
        "eventId" => fact.event_id = Some(uuid(value)?),
        "occurredAt" => {
            fact.occurred_at = instant(value)?;
            event.occurred_at_given = true;
        }
        "provenance" => fact.provenance = provenance(value)?,
        "extra" => fact.extra = Cell::Json(value.json()),
        _ => {
            let index = spec.index_of(name);
            let place =
                index.and_then(|index| spec.fields.get(index).zip(fact.cells.get_mut(index)));
            let (field, cell) = place
                .filter(|(field, _)| field.origin != Origin::FilledIn)
                .ok_or_else(|| unknown_field(spec, name))?;
            *cell = read(field, value)?;
        }
    }
    Ok(())
}

fn unknown_field(spec: &Spec, name: &str) -> Refusal {
    let name = shown(name);
    Refusal::of(
        name.clone(),
        Code::UnknownField,
        format!("{} has no field {name}", spec.wire),
    )
}

/// A name from outside, cut so that it can be shown.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn uuid<V: WireValue>(value: &V) -> Result<Uuid, Refusal> {
    let parsed = text_of(value).and_then(|text| Uuid::parse_str(text).ok());
    parsed.ok_or_else(|| form::wrong("eventId", &form::shown(value.view()), form::UUID))
}

fn instant<V: WireValue>(value: &V) -> Result<Instant, Refusal> {
    let parsed = text_of(value).and_then(Instant::parse);
    parsed.ok_or_else(|| form::wrong("occurredAt", &form::shown(value.view()), form::INSTANT))
}

fn provenance<V: WireValue>(value: &V) -> Result<Provenance, Refusal> {
    text_of(value).and_then(Provenance::of_word).ok_or_else(|| {
        let words = "one of REAL, CONTROLLED, SIMULATED";
        form::wrong("provenance", &form::shown(value.view()), words)
    })
}

fn text_of<V: WireValue>(value: &V) -> Option<&str> {
    match value.view() {
        View::Text(text) => Some(text),
        View::Null | View::Bool(_) | View::Int(_) | View::Float(_) | View::Nested => None,
    }
}

fn read<V: WireValue>(field: &Field, value: &V) -> Result<Cell, Refusal> {
    let cell = match (field.ty, value.view()) {
        (ty, View::Text(id)) if ty.is_reference() => Some(Cell::reference(id)),
        (ty, View::Int(id)) if ty.is_reference() => Some(Cell::reference(&id.to_string())),
        (Type::Text { .. } | Type::Enum(_) | Type::Date, View::Text(text)) => Some(text.into()),
        (Type::TimeZone | Type::Currency, View::Text(text)) => Some(text.into()),
        (Type::LocalTime, View::Text(text)) => Some(Cell::from(canonical_time(text).as_str())),
        (Type::Float { .. }, View::Float(number)) => Some(Cell::Float(number)),
        (Type::Float { .. }, View::Int(number)) => float_of(number).map(Cell::Float),
        (Type::Int { .. } | Type::Long { .. }, View::Int(number)) => Some(Cell::Int(number)),
        (Type::Int { .. }, View::Float(number)) => whole(number).map(Cell::Int),
        (Type::Long { .. }, View::Text(text)) => text.parse().ok().map(Cell::Int),
        (Type::Money, view) => money(view).map(|Money(units)| Cell::Int(units)),
        (Type::Bool, View::Bool(truth)) => Some(Cell::Int(i64::from(truth))),
        (Type::Json { .. }, _) => Some(Cell::Json(value.json())),
        (Type::Windows, View::Nested) => {
            let windows = Arc::unwrap_or_clone(value.json());
            Some(Cell::from(canonical_windows(windows)))
        }
        (Type::Services | Type::Tags, View::Nested) => Some(Cell::Json(value.json())),
        _ => None,
    };
    cell.ok_or_else(|| form::wrong(field.name, &form::shown(value.view()), &form::of(field.ty)))
}

/// A whole number as a float, exactly.
fn float_of(number: i64) -> Option<f64> {
    i32::try_from(number)
        .ok()
        .map(f64::from)
        .or_else(|| number.to_string().parse().ok())
}

/// A float that is a whole number of 53 bits.
fn whole(number: f64) -> Option<i64> {
    let text = (number.fract() == 0.0 && number.abs() < 9.0e15).then(|| format!("{number:.0}"))?;
    text.parse().ok()
}

/// A float is taken for money only where it holds four places without rounding.
fn money(view: View<'_>) -> Option<Money> {
    match view {
        View::Text(text) => Money::parse(text),
        View::Int(number) => Money::parse(&number.to_string()),
        View::Float(number) if number.abs() < 1.0e11 => Money::parse(&number.to_string()),
        View::Float(_) | View::Null | View::Bool(_) | View::Nested => None,
    }
}

/// Seconds since midnight; 24:00 is the end of the day.
pub(crate) fn time_of_day(text: &str) -> Option<u32> {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: &str, max: u32| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain
            .then(|| part.parse::<u32>().ok())
            .flatten()
            .filter(|number| *number <= max)
    };
    let (hour, minute, second) = match *parts.as_slice() {
        [hour, minute] => (number(hour, 24)?, number(minute, 59)?, 0),
        [hour, minute, second] => (number(hour, 24)?, number(minute, 59)?, number(second, 59)?),
        _ => return None,
    };
    Some(hour * 3_600 + minute * 60 + second).filter(|seconds| *seconds <= 86_400)
}

/// Whether a text is a time of day, such as `08:30`, `08:30:15` or `24:00`.
#[must_use]
pub fn is_time_of_day(text: &str) -> bool {
    time_of_day(text).is_some()
}

/// Whether a text is a calendar date, such as `2026-12-25`.
#[must_use]
pub fn is_date(text: &str) -> bool {
    date(text).is_some()
}

/// `08:30` becomes `08:30:00`; what is no time of day stays, to be refused.
fn canonical_time(text: &str) -> String {
    match time_of_day(text) {
        Some(_) if text.len() == 5 => format!("{text}:00"),
        _ => text.to_owned(),
    }
}

fn canonical_windows(mut windows: Json) -> Json {
    for window in windows.as_array_mut().into_iter().flatten() {
        for time in window.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(text) = time.as_str() {
                *time = Json::String(canonical_time(text));
            }
        }
    }
    windows
}

/// A calendar date.
pub(crate) fn date(text: &str) -> Option<NaiveDate> {
    (text.len() == 10)
        .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
        .flatten()
}

/// The event in the wire shape, with the fields that sources give.
#[must_use]
pub fn to_json(event: &Event) -> Json {
    let fact = &event.fact;
    let mut body = Map::new();
    if let Some(event_id) = fact.event_id {
        body.insert("eventId".to_owned(), json!(event_id));
    }
    body.insert("occurredAt".to_owned(), json!(fact.occurred_at.to_string()));
    body.insert("provenance".to_owned(), json!(fact.provenance.word()));
    for (field, cell) in fact.spec().fields.iter().zip(&fact.cells) {
        if field.origin != Origin::FilledIn && !is_left_out(field, cell) {
            body.insert(field.name.to_owned(), cell_json(field.ty, cell));
        }
    }
    if let Cell::Json(extra) = &fact.extra
        && !extra.is_null()
    {
        body.insert("extra".to_owned(), Json::clone(extra));
    }
    json!({ fact.spec().wire: body })
}

/// Whether a field says nothing: null does so too, unless it is a value of the field.
fn is_left_out(field: &Field, cell: &Cell) -> bool {
    let is_null = matches!(cell, Cell::Json(json) if json.is_null());
    cell.is_null() || is_null && field.origin != Origin::Required
}

/// A cell as its type is written on the wire.
pub(crate) fn cell_json(ty: Type, cell: &Cell) -> Json {
    match (ty, cell) {
        (_, Cell::Null) => Json::Null,
        (Type::Money, Cell::Int(units)) => Json::String(Money(*units).to_string()),
        (Type::Bool, Cell::Int(truth)) => Json::Bool(*truth != 0),
        (Type::Long { .. }, Cell::Int(number)) => Json::String(number.to_string()),
        (_, Cell::Int(number)) => json!(number),
        (_, Cell::Float(number)) => json!(number),
        (_, Cell::Text(text)) => Json::String(text.to_string()),
        (_, Cell::Json(json)) => masked(json).into_owned(),
        (_, Cell::Reference(reference)) => Json::String(Arc::clone(&reference.id).to_string()),
    }
}
