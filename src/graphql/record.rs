//! `recordEvents`: the mutation on which everything is recorded.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Error, Name, ObjectType, OutputType, Positioned,
    ServerResult, Value, Variables, parser::types::Field,
};
use async_graphql_value::Value as InputValue;
use serde_json::Value as Json;

use super::bulk::Prepared;
use super::error::{ErrorCode, bad_input, error};
use super::meta::{
    Entries, enumeration, field, field_with, input, input_object, object, object_type,
};
use super::rows::selected;
use super::written::put;
use super::{access, api, cursor, loaders, of_unrecorded};
use crate::event::{Instant, Position};
use crate::ingest::{Given, REQUEST_KEY_CHARACTERS_MAX, RequestKey};
use crate::kinds::{self, Code, Kind, View, WireValue};
use crate::store::{EVENTS_MAX, Identity, Outcome, Place};

impl WireValue for Value {
    fn view(&self) -> View<'_> {
        match self {
            Self::Null => View::Null,
            Self::Boolean(truth) => View::Bool(*truth),
            Self::Number(number) => kinds::number_view(number),
            Self::String(text) => View::Text(text),
            Self::Enum(name) => View::Text(name.as_str()),
            Self::List(_) | Self::Object(_) | Self::Binary(_) => View::Nested,
        }
    }

    fn entries<'a>(&'a self) -> Option<Box<dyn Iterator<Item = (&'a str, &'a Self)> + 'a>> {
        let Self::Object(entries) = self else {
            return None;
        };
        Some(Box::new(
            entries.iter().map(|(name, value)| (name.as_str(), value)),
        ))
    }

    fn json(&self) -> Arc<Json> {
        Arc::new(self.clone().into_json().unwrap_or_default())
    }
}

/// The part of the mutations that records.
#[derive(Debug)]
pub(super) struct Record;

impl ContainerType for Record {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        if ctx.item.node.name.node != "recordEvents" {
            return Ok(None);
        }
        let recorded = record(ctx).await;
        recorded
            .map(Some)
            .map_err(|e| ctx.set_error_path(e.into_server_error(ctx.item.pos)))
    }
}

async fn record(ctx: &Context<'_>) -> Result<Value, Error> {
    let api = api(ctx);
    let input = input_of(ctx)?;
    let key = match input.get("idempotencyKey").map(AsRef::as_ref) {
        Some(Value::String(key)) if !RequestKey::is_one(key) => {
            let message =
                format!("idempotencyKey has 1 to {REQUEST_KEY_CHARACTERS_MAX} characters");
            return Err(bad_input(message));
        }
        Some(Value::String(key)) => Some(key.clone()),
        _ => None,
    };
    let now = api.ingest.clock().now();
    let given = match ctx.data_opt::<Prepared>().and_then(Prepared::take) {
        Some(given) => given,
        None => read_all(&input, now)?,
    };
    at_most_max(given.len())?;
    let key = key.as_deref().map(RequestKey::of_all);
    let recorder = api.recorder(access::caller(ctx));
    let appended = recorder.record(given, key, loaders(ctx).allowance()).await;
    let appended = appended.map_err(|failed| of_unrecorded(api, &failed))?;
    let id = input.get("clientMutationId").map(AsRef::as_ref);
    Ok(payload(ctx, &appended.outcomes, id.unwrap_or(&Value::Null)))
}

fn read_all(input: &Input<'_>, now: Instant) -> Result<Vec<Given>, Error> {
    let events = match input.get("events").map(AsRef::as_ref) {
        Some(Value::List(events)) => events.as_slice(),
        // one event is a list of itself, as the language has it
        Some(event @ Value::Object(_)) => std::slice::from_ref(event),
        _ => return Err(bad_input("events is missing")),
    };
    at_most_max(events.len())?;
    Ok(events.iter().map(|event| read(event, now)).collect())
}

fn at_most_max(events: usize) -> Result<(), Error> {
    if events > EVENTS_MAX {
        let message = format!("a request has at most {EVENTS_MAX} events, this one has more");
        return Err(error(ErrorCode::LimitExceeded, message));
    }
    Ok(())
}

type Input<'a> = IndexMap<Name, Cow<'a, Value>>;

/// The argument `input`. What a variable gives is read where it lies: a copy of a thousand events
/// takes a tenth of the whole request.
fn input_of<'a>(ctx: &Context<'a>) -> Result<Input<'a>, Error> {
    let given = ctx.item.node.get_argument("input");
    let borrowed = given.and_then(|given| borrowed(&ctx.query_env.variables, &given.node));
    if let Some(input) = borrowed {
        return Ok(input);
    }
    let arguments = ctx.field().arguments();
    let arguments = arguments.map_err(|error| bad_input(error.message))?;
    let input = arguments.into_iter().find(|(name, _)| name == "input");
    let Some((_, Value::Object(input))) = input else {
        return Err(bad_input("input is missing"));
    };
    let owned = |(name, value)| (name, Cow::Owned(value));
    Ok(input.into_iter().map(owned).collect())
}

/// The entries of an argument, unless a default or a variable further in must be looked up.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
fn borrowed<'a>(variables: &'a Variables, given: &'a InputValue) -> Option<Input<'a>> {
    match given {
        InputValue::Variable(name) => match variables.get(name)? {
            Value::Object(input) => {
                let entries = input.iter();
                Some(
                    entries
                        .map(|(name, value)| (name.clone(), Cow::Borrowed(value)))
                        .collect(),
                )
            }
            _ => None,
        },
        InputValue::Object(input) => {
            let entry = |(name, value): (&'a Name, &'a InputValue)| {
                let value = match value {
                    InputValue::Variable(name) => Cow::Borrowed(variables.get(name)?),
                    literal => Cow::Owned(literal.clone().into_const()?),
                };
                Some((name.clone(), value))
            };
            input.iter().map(entry).collect()
        }
        _ => None,
    }
}

fn read(event: &Value, now: Instant) -> Given {
    let kind = event
        .entries()
        .and_then(|mut entries| Kind::of_wire(entries.next()?.0));
    (kind, kinds::parse_any(event, now))
}

fn payload(ctx: &Context<'_>, outcomes: &[Outcome], client_mutation_id: &Value) -> Value {
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    let fields = selected(&set, &ctx.item.node.selection_set.node, &|ty| {
        ty == "RecordEventsPayload"
    });
    let mut object = IndexMap::with_capacity(fields.len());
    for field in fields {
        let value = match field.node.name.node.as_str() {
            "outcomes" => outcomes_value(ctx, field, outcomes),
            "clientMutationId" => client_mutation_id.clone(),
            _ => Value::from("RecordEventsPayload"),
        };
        put(&mut object, field.node.response_key().node.clone(), value);
    }
    Value::Object(object)
}

fn outcomes_value(ctx: &Context<'_>, field: &Positioned<Field>, outcomes: &[Outcome]) -> Value {
    let set = ctx.with_selection_set(&field.node.selection_set);
    let fields = selected(&set, &field.node.selection_set.node, &|ty| {
        ty == "EventOutcome"
    });
    let identity = api(ctx).store().identity();
    let row = |(index, outcome): (usize, &Outcome)| {
        let mut object = IndexMap::with_capacity(fields.len());
        for field in &fields {
            let value = outcome_field(identity, field.node.name.node.as_str(), index, outcome);
            put(&mut object, field.node.response_key().node.clone(), value);
        }
        Value::Object(object)
    };
    Value::List(outcomes.iter().enumerate().map(row).collect())
}

fn outcome_field(identity: Identity, name: &str, index: usize, outcome: &Outcome) -> Value {
    let word = |word: &'static str| Value::Enum(Name::new(word));
    let position = outcome.position();
    match name {
        "index" => Value::from(index),
        "status" => word(outcome.word()),
        "position" => position.map_or(Value::Null, |position| Value::from(position.to_string())),
        "cursor" => position.map_or(Value::Null, |position| {
            Value::from(cursor_of(identity, position))
        }),
        "code" => outcome.code().map_or(Value::Null, |code| word(code.word())),
        "field" => outcome.field().map_or(Value::Null, Value::from),
        "message" => outcome.message().map_or(Value::Null, Value::from),
        _ => Value::from("EventOutcome"),
    }
}

/// The cursor of an outcome is for following the log; its place in time does not count there.
fn cursor_of(identity: Identity, position: Position) -> String {
    cursor::write(
        identity,
        Place {
            position,
            occurred_at: Instant::default(),
        },
    )
}

impl OutputType for Record {
    fn type_name() -> Cow<'static, str> {
        "RecordMutation".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Object, |registry| {
            register(registry);
            let description = "Records events. Each is answered, in order, with an outcome of its own: a bad event \
                does not hold back the good ones. A repeat is stored once, so a request that got no \
                answer is simply sent again.";
            let argument = input("input", "RecordEventsInput!", "What to record.");
            let field = field_with("recordEvents", "RecordEventsPayload", description, vec![argument]);
            object_type("RecordMutation", "", vec![field], false)
        })
    }

    async fn resolve(
        &self,
        _ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

impl ObjectType for Record {}

fn register(registry: &mut Registry) {
    let key = "Events without an id get one that follows from this key and their index, so that the whole \
        request can be repeated; 1 to 255 characters.";
    let fields = vec![
        input(
            "events",
            "[EventInput!]!",
            "The events, at most 1,000; either all in one commit or none.",
        ),
        input("idempotencyKey", "String", key),
        input("clientMutationId", "String", "Given back as it is."),
    ];
    input_object(
        registry,
        "RecordEventsInput",
        "What to record.",
        fields,
        Entries::Any,
    );
    register_payload(registry);
}

fn register_payload(registry: &mut Registry) {
    let statuses = [
        ("RECORDED", "It was recorded."),
        (
            "DUPLICATE",
            "It had been recorded before; `position` is that of the first.",
        ),
        (
            "CONFLICT",
            "Its key was recorded before with another body; `position` is that of the first.",
        ),
        (
            "REJECTED",
            "It was refused; `code`, `field` and `message` say why.",
        ),
    ];
    enumeration(
        registry,
        "OutcomeStatus",
        "What became of an event.",
        &statuses,
    );
    let codes: Vec<(&str, &str)> = Code::ALL
        .iter()
        .map(|(c, text)| (c.word(), *text))
        .collect();
    enumeration(
        registry,
        "OutcomeCode",
        "Why an event was not recorded.",
        &codes,
    );
    let fields = vec![
        field("index", "Int!", "Index of the event in the request."),
        field("status", "OutcomeStatus!", "What became of it."),
        field("position", "Long", "Its place in the log."),
        field(
            "cursor",
            "String",
            "As `after` of a subscription: what comes after it.",
        ),
        field(
            "code",
            "OutcomeCode",
            "Why it was not recorded, for programs.",
        ),
        field("field", "String", "The field at fault."),
        field("message", "String", "Why it was not recorded, for people."),
    ];
    object(
        registry,
        "EventOutcome",
        "What became of one event.",
        fields,
    );
    let fields = vec![
        field(
            "outcomes",
            "[EventOutcome!]!",
            "One for each event, in their order.",
        ),
        field("clientMutationId", "String", "As it was given."),
    ];
    object(
        registry,
        "RecordEventsPayload",
        "The answer to `recordEvents`.",
        fields,
    );
}
