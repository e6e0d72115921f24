//! The events of a large `recordEvents` request, read straight from its body.
//!
//! The library turns variables into a tree of its own, copies it, and holds every value in it against
//! the schema: for a thousand events that takes longer than to record them, and a hundred times the
//! memory of the body. So events that are given in a variable are read here, as any source's are, and
//! the library is handed the request without them. It has the last word all the same: an event that
//! has not the form which the schema asks for is given back to it, so that it can refuse the request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
};
use async_graphql::{Name, Request, Value, Variables};
use async_graphql_value::Value as InputValue;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use super::guard;
use crate::event::{Cell, Fact, Instant};
use crate::ingest::Given;
use crate::kinds::{Code, Kind, Origin, Refusal, Tree, Type, WireValue, check, parse_any};
use crate::store::EVENTS_MAX;

/// Bytes at most of variables that the library reads.
const PLAIN_BYTES_MAX: usize = 1024 * 1024;
/// Values at most in them: each takes up to a hundred times the memory of its text.
pub const VALUES_MAX: usize = 50_000;

/// Values at most in the events of a request: 200 for each of the most that there may be, where a
/// metric with everything in it has 20 and one more for each of its services, at most 64. In memory a
/// value takes up to 250 bytes, so the text alone is no bound.
const EVENT_VALUES_MAX: usize = 200_000;

/// Why a body was refused.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is no JSON of a GraphQL request.
    #[error("the variables cannot be read: {0}")]
    Malformed(String),
    /// It is large, and not for its events.
    #[error(
        "variables have at most {PLAIN_BYTES_MAX} bytes and {VALUES_MAX} values, apart from the \
         events of a single recordEvents that are given in a variable"
    )]
    TooLarge,
    /// Its events have more values than any are recorded with.
    #[error("the events of a request have at most {EVENT_VALUES_MAX} values")]
    TooManyValues,
    /// One of its many events has not the form that the schema asks for.
    #[error("{0}")]
    BadEvent(String),
}

/// The body of a request, as it came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Body<'a> {
    /// The document, unless it is known by a name.
    #[serde(borrow, default, deserialize_with = "text")]
    pub query: Option<Cow<'a, str>>,
    /// Name of a registered document.
    pub document_id: Option<String>,
    /// Which of its operations.
    pub operation_name: Option<String>,
    /// Values of its variables.
    #[serde(borrow, default, deserialize_with = "object")]
    pub variables: Option<&'a RawValue>,
    /// What extends the protocol; what nobody here knows is passed over.
    pub extensions: Option<Extensions>,
}

/// What extends the protocol.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extensions {
    /// The document, by its hash.
    pub persisted_query: Option<PersistedQuery>,
}

/// A document by its hash.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersistedQuery {
    /// Version of the extension.
    pub version: i64,
    /// SHA-256 of the document, in hexadecimal digits.
    pub sha256_hash: String,
}

/// A text, or nothing.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(source: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let given: Option<Text<'a>> = Deserialize::deserialize(source)?;
    Ok(given.map(|text| text.0))
}

/// An object as it is written, or nothing.
fn object<'de, D: Deserializer<'de>>(source: D) -> Result<Option<&'de RawValue>, D::Error> {
    let given: Option<&RawValue> = Deserialize::deserialize(source)?;
    match given.filter(|raw| raw.get() != "null") {
        Some(raw) if !raw.get().starts_with('{') => {
            Err(serde::de::Error::custom("variables are no object"))
        }
        given => Ok(given),
    }
}

/// Variables that are given as a text of their own.
///
/// # Errors
/// When they are no JSON object.
pub fn variables(text: &str) -> Result<Option<&RawValue>, serde_json::Error> {
    let mut source = serde_json::Deserializer::from_str(text);
    let variables = object(&mut source)?;
    source.end()?;
    Ok(variables)
}

/// Where in the variables the events are.
struct Place {
    variable: String,
    /// Whether the variable is the whole input, or its events alone.
    is_input: bool,
}

/// Events that were read before the request is executed, and are taken by it once.
#[derive(Debug, Default)]
pub(super) struct Prepared(Mutex<Option<Vec<Given>>>);

impl Prepared {
    /// Takes the events.
    pub(super) fn take(&self) -> Option<Vec<Given>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Makes the request of a body whose document, given or known, is parsed.
///
/// # Errors
/// [`BodyError`]; nothing was recorded.
pub fn request(
    (body, text): (&Body<'_>, &str),
    document: ExecutableDocument,
    now: Instant,
) -> Result<Request, BodyError> {
    let place = place(&document, body.operation_name.as_deref());
    let mut request = Request::new(text);
    request.operation_name.clone_from(&body.operation_name);
    request.set_parsed_query(document);
    let Some(raw) = body.variables else {
        return Ok(request);
    };
    if let Some(place) = place
        && let Some((variables, given)) = split(raw, &place, now)?
    {
        let prepared = Prepared(Mutex::new(Some(given)));
        return Ok(request.variables(variables).data(prepared));
    }
    if raw.get().len() > PLAIN_BYTES_MAX || values_in(raw.get()) > VALUES_MAX {
        return Err(BodyError::TooLarge);
    }
    let variables: Variables = parsed(raw)?;
    Ok(request.variables(variables))
}

/// Where the events are, of a document that does nothing but record the events of a variable.
fn place(document: &ExecutableDocument, name: Option<&str>) -> Option<Place> {
    let operation: &OperationDefinition = match (&document.operations, name) {
        (DocumentOperations::Single(operation), _) => &operation.node,
        (DocumentOperations::Multiple(operations), Some(name)) => &operations.get(name)?.node,
        (DocumentOperations::Multiple(_), None) => return None,
    };
    let [selection] = operation.selection_set.node.items.as_slice() else {
        return None;
    };
    let Selection::Field(field) = &selection.node else {
        return None;
    };
    let field = &field.node;
    let plain = operation.ty == OperationType::Mutation && field.directives.is_empty();
    if !plain || field.name.node != "recordEvents" {
        return None;
    }
    let input = &field.get_argument("input")?.node;
    let (given, is_input) = if let InputValue::Object(entries) = input {
        (entries.get("events")?, false)
    } else {
        (input, true)
    };
    let InputValue::Variable(variable) = given else {
        return None;
    };
    let variable = variable.to_string();
    Some(Place { variable, is_input })
}

/// Variables as they lie in the body.
type Raw<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// The variables without the events, and the events; nothing when the library must look at them.
fn split(
    raw: &RawValue,
    place: &Place,
    now: Instant,
) -> Result<Option<(Variables, Vec<Given>)>, BodyError> {
    let mut variables: Raw<'_> = parsed(raw)?;
    let Some(given) = variables.remove(place.variable.as_str()) else {
        return Ok(None);
    };
    let mut input = Raw::new();
    let events = if place.is_input {
        let Ok(entries) = serde_json::from_str::<Raw<'_>>(given.get()) else {
            return Ok(None);
        };
        input = entries;
        input.remove("events")
    } else {
        Some(given)
    };
    let Some(events) = events
        .map(|events| read(events, now))
        .transpose()?
        .flatten()
    else {
        return Ok(None);
    };
    let others = || {
        variables
            .values()
            .chain(input.values())
            .map(|raw| raw.get())
    };
    let is_plain = others().map(str::len).sum::<usize>() <= PLAIN_BYTES_MAX
        && others().map(values_in).sum::<usize>() <= VALUES_MAX;
    if !is_plain {
        return Err(BodyError::TooLarge);
    }
    let none = Value::List(Vec::new());
    let value = if place.is_input {
        let mut entries = values(input)?;
        entries.insert(Name::new("events"), none);
        Value::Object(entries)
    } else {
        none
    };
    let mut variables = values(variables)?;
    variables.insert(Name::new(&place.variable), value);
    Ok(Some((
        Variables::from_value(Value::Object(variables)),
        events,
    )))
}

fn values_in(json: &str) -> usize {
    guard::json_values(json.as_bytes())
}

fn values(raw: Raw<'_>) -> Result<async_graphql::indexmap::IndexMap<Name, Value>, BodyError> {
    let entry = |(name, raw): (Cow<'_, str>, &RawValue)| Ok((Name::new(name), parsed(raw)?));
    raw.into_iter().map(entry).collect()
}

/// Reads events. When one has not the form of the schema, the library is to say so; of a body that is
/// too large for it we say so ourselves.
fn read(raw: &RawValue, now: Instant) -> Result<Option<Vec<Given>>, BodyError> {
    if values_in(raw.get()) > EVENT_VALUES_MAX {
        return Err(BodyError::TooManyValues);
    }
    let is_large = raw.get().len() > PLAIN_BYTES_MAX;
    let read = if raw.get().starts_with('[') {
        Listing(now).deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
    } else {
        // one event is a list of itself, as the language has it
        serde_json::from_str(raw.get()).map(|tree| Listed::default().with(event(&tree, now)))
    };
    let fault = match read {
        Ok(Listed {
            fault: None,
            events,
        }) => return Ok(Some(events)),
        Ok(Listed {
            fault: Some(fault),
            events,
        }) => format!("events[{}]: {fault}", events.len()),
        Err(error) => format!("events: {error}"),
    };
    if is_large {
        return Err(BodyError::BadEvent(fault));
    }
    Ok(None)
}

/// Events in their order, up to the first that has not the form of the schema.
#[derive(Default)]
struct Listed {
    events: Vec<Given>,
    fault: Option<String>,
}

impl Listed {
    fn with(mut self, (given, fault): (Given, Option<String>)) -> Self {
        match fault {
            None => self.events.push(given),
            fault => self.fault = fault,
        }
        self
    }
}

/// Reads a list of events one by one, and one more than a request may have: that decides it.
struct Listing(Instant);

impl<'de> DeserializeSeed<'de> for Listing {
    type Value = Listed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Listed, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Listing {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed, A::Error> {
        let mut listed = Listed::default();
        while listed.events.len() <= EVENTS_MAX && listed.fault.is_none() {
            let Some(tree) = list.next_element::<Tree<'de>>()? else {
                return Ok(listed);
            };
            listed = listed.with(event(&tree, self.0));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(listed)
    }
}

/// An event, and what is wrong with its form.
fn event(tree: &Tree<'_>, now: Instant) -> (Given, Option<String>) {
    let entries = tree.entries();
    let kind = entries.and_then(|mut entries| Kind::of_wire(entries.next()?.0));
    match parse_any(tree, now) {
        Err(refusal) => {
            let fault = refusal.message.clone();
            ((kind, Err(refusal)), Some(fault))
        }
        Ok(mut event) => {
            let refused = check(&mut event.fact).err();
            let fault = refused.filter(|refusal| is_of_form(kind, refusal));
            let fault = fault.map(|refusal| refusal.message);
            let fault = fault.or_else(|| null_of(&event.fact));
            ((kind, Ok(event)), fault)
        }
    }
}

/// That a field is null for which the schema wants a value, where as JSON null is one too.
fn null_of(fact: &Fact) -> Option<String> {
    let mut fields = fact.spec().fields.iter().zip(&fact.cells);
    let (field, _) = fields.find(|(field, cell)| {
        let is_null = matches!(cell, Cell::Json(json) if json.is_null());
        is_null && field.origin == Origin::Required
    })?;
    Some(format!("{} is null", field.name))
}

/// Whether the schema rules out what is refused: then the request fails and not the event.
fn is_of_form(kind: Option<Kind>, refusal: &Refusal) -> bool {
    let field = kind.zip(refusal.field.as_deref()).and_then(|(kind, name)| {
        let index = kind.spec().index_of(name)?;
        kind.spec().fields.get(index)
    });
    // texts and JSON may be anything in the schema: what is refused in them is refused as data
    let is_typed = field.is_some_and(|field| {
        !matches!(
            field.ty,
            Type::Text { .. } | Type::Json { .. } | Type::Currency | Type::Services
        ) && !field.ty.is_reference()
    });
    refusal.code == Code::Missing || refusal.code == Code::Invalid && is_typed
}

fn parsed<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, BodyError> {
    serde_json::from_str(raw.get()).map_err(|error| BodyError::Malformed(error.to_string()))
}
