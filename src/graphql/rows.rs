//! Builds the rows of a page in one pass: the selection is read once into a plan, and each row's
//! value is made from it, without a future for each field. (Measured on pages of 100 rows by 8
//! fields: three times as many pages a second as with an object whose fields are resolved one by
//! one.) A nested device or site is resolved by the library, once for each that the page names.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::{ContextSelectionSet, Name, OutputType, Positioned, ServerResult, Value};

use super::cursor;
use super::fleet::{Device, Site};
use super::ids;
use crate::event::{Cell, Event, Money};
use crate::kinds::{Kind, Spec, Type, cell_json};
use crate::store::{Identity, Names};

/// The fields that a selection selects of a type, fragments opened, in their order.
pub(super) fn selected<'a>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    is_type: &dyn Fn(&str) -> bool,
) -> Vec<&'a Positioned<Field>> {
    let mut fields = Vec::with_capacity(set.items.len());
    collect(ctx, set, is_type, &mut fields);
    fields
}

fn collect<'a>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    is_type: &dyn Fn(&str) -> bool,
    fields: &mut Vec<&'a Positioned<Field>>,
) {
    for selection in &set.items {
        let (condition, inner) = match &selection.node {
            Selection::Field(field) => {
                fields.push(field);
                continue;
            }
            Selection::InlineFragment(fragment) => (
                fragment.node.type_condition.as_ref(),
                &fragment.node.selection_set,
            ),
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                let Some(fragment) = ctx.query_env.fragments.get(name) else {
                    continue;
                };
                (
                    Some(&fragment.node.type_condition),
                    &fragment.node.selection_set,
                )
            }
        };
        if condition.is_none_or(|condition| is_type(condition.node.on.node.as_str())) {
            collect(ctx, &inner.node, is_type, fields);
        }
    }
}

/// Adds a value under a key; objects of the same key are merged, as the language has it.
pub(super) fn put(object: &mut IndexMap<Name, Value>, key: Name, value: Value) {
    match (object.get_mut(&key), value) {
        (Some(Value::Object(held)), Value::Object(more)) => {
            for (key, value) in more {
                put(held, key, value);
            }
        }
        (Some(Value::List(held)), Value::List(more)) => {
            for (held, more) in held.iter_mut().zip(more) {
                if let (Value::Object(held), Value::Object(more)) = (held, more) {
                    for (key, value) in more {
                        put(held, key, value);
                    }
                }
            }
        }
        (Some(_), _) => {}
        (None, value) => {
            object.insert(key, value);
        }
    }
}

enum Step<'a> {
    TypeName,
    Id,
    Cursor,
    Position,
    Kind,
    EventId,
    OccurredAt,
    RecordedAt,
    Provenance,
    Extra,
    Cell(usize, Type),
    Device(&'a Positioned<Field>),
    Site(&'a Positioned<Field>),
}

/// What a selection asks of the rows of one kind.
struct Plan<'a> {
    spec: &'static Spec,
    steps: Vec<(Name, Step<'a>)>,
}

impl<'a> Plan<'a> {
    fn new(ctx: &ContextSelectionSet<'a>, kind: Kind) -> Self {
        let spec = kind.spec();
        let is_type = |name: &str| name == spec.type_name || name == "Event" || name == "Node";
        let fields = selected(ctx, &ctx.item.node, &is_type);
        let step = |field: &'a Positioned<Field>| {
            let key = field.node.response_key().node.clone();
            let step = match field.node.name.node.as_str() {
                "__typename" => Step::TypeName,
                "id" => Step::Id,
                "cursor" => Step::Cursor,
                "position" => Step::Position,
                "kind" => Step::Kind,
                "eventId" => Step::EventId,
                "occurredAt" => Step::OccurredAt,
                "recordedAt" => Step::RecordedAt,
                "provenance" => Step::Provenance,
                "extra" => Step::Extra,
                "device" => Step::Device(field),
                "site" => Step::Site(field),
                name => {
                    let index = spec.index_of(name)?;
                    Step::Cell(index, spec.fields.get(index)?.ty)
                }
            };
            Some((key, step))
        };
        Self {
            spec,
            steps: fields.into_iter().filter_map(step).collect(),
        }
    }
}

/// The values of events of any kinds under one selection.
pub(super) async fn render(
    ctx: &ContextSelectionSet<'_>,
    events: &[Arc<Event>],
) -> ServerResult<Vec<Value>> {
    let api = super::api(ctx);
    let mut plans: HashMap<Kind, Plan<'_>> = HashMap::new();
    for event in events {
        let kind = event.fact.kind;
        plans.entry(kind).or_insert_with(|| Plan::new(ctx, kind));
    }
    let nested = Nested::resolve(ctx, &plans, events).await?;
    let shown = Shown {
        identity: api.store().identity(),
        names: api.store().names(),
        nested,
    };
    let row = |event: &Arc<Event>| {
        plans
            .get(&event.fact.kind)
            .map_or(Value::Null, |plan| shown.row(plan, event))
    };
    Ok(events.iter().map(row).collect())
}

struct Shown<'a> {
    identity: Identity,
    names: &'a Names,
    nested: Nested,
}

impl Shown<'_> {
    fn row(&self, plan: &Plan<'_>, event: &Event) -> Value {
        let mut object = IndexMap::with_capacity(plan.steps.len());
        for (key, step) in &plan.steps {
            put(&mut object, key.clone(), self.value(plan.spec, step, event));
        }
        Value::Object(object)
    }

    fn value(&self, spec: &Spec, step: &Step<'_>, event: &Event) -> Value {
        let fact = &event.fact;
        match step {
            Step::TypeName => Value::from(spec.type_name),
            Step::Id => Value::from(ids::of_event(event)),
            Step::Cursor => Value::from(cursor::of(self.identity, event)),
            Step::Position => Value::from(event.position.to_string()),
            Step::Kind => Value::Enum(Name::new(spec.wire)),
            Step::EventId => fact
                .event_id
                .map_or(Value::Null, |id| Value::from(id.hyphenated().to_string())),
            Step::OccurredAt => Value::from(fact.occurred_at.to_string()),
            Step::RecordedAt => Value::from(event.recorded_at.to_string()),
            Step::Provenance => Value::Enum(Name::new(fact.provenance.word())),
            Step::Extra => json(&fact.extra),
            Step::Cell(index, ty) => fact.cells.get(*index).map_or(Value::Null, |c| cell(*ty, c)),
            Step::Device(field) => self.nested.get(field, device_of(event)),
            Step::Site(field) => self.nested.get(field, site_of(self.names, event)),
        }
    }
}

fn cell(ty: Type, cell: &Cell) -> Value {
    match (ty, cell) {
        (_, Cell::Null) => Value::Null,
        (Type::Enum(_), Cell::Text(word)) => Value::Enum(Name::new(word)),
        (Type::Money, Cell::Int(units)) => Value::from(Money(*units).to_string()),
        (Type::Bool, Cell::Int(truth)) => Value::from(*truth != 0),
        (Type::Long { .. }, Cell::Int(number)) => Value::from(number.to_string()),
        (_, Cell::Int(number)) => Value::from(*number),
        (_, Cell::Float(number)) => Value::from(*number),
        (_, Cell::Text(text)) => Value::from(text.as_ref()),
        (_, Cell::Reference(reference)) => Value::from(reference.id.as_ref()),
        (ty, cell @ Cell::Json(_)) => Value::from_json(cell_json(ty, cell)).unwrap_or_default(),
    }
}

fn json(cell: &Cell) -> Value {
    match cell {
        Cell::Json(json) => Value::from_json(serde_json::Value::clone(json)).unwrap_or_default(),
        Cell::Null | Cell::Int(_) | Cell::Float(_) | Cell::Text(_) | Cell::Reference(_) => {
            Value::Null
        }
    }
}

fn device_of(event: &Event) -> Option<i64> {
    let index = event.fact.spec().device_index()?;
    event.fact.cells.get(index)?.int()
}

fn site_of(names: &Names, event: &Event) -> Option<i64> {
    let index = event.fact.spec().site_index();
    let site = index
        .and_then(|index| event.fact.cells.get(index))
        .and_then(Cell::int);
    site.or_else(|| names.site_of_device(device_of(event)?))
}

/// The values of nested devices and sites, by the field that asks for them and their key.
#[derive(Default)]
struct Nested {
    values: HashMap<(usize, i64), Value>,
}

impl Nested {
    fn address(field: &Positioned<Field>) -> usize {
        field
            .pos
            .line
            .wrapping_mul(1_000_003)
            .wrapping_add(field.pos.column)
    }

    fn get(&self, field: &Positioned<Field>, key: Option<i64>) -> Value {
        let value = key.and_then(|key| self.values.get(&(Self::address(field), key)));
        value.cloned().unwrap_or_default()
    }

    async fn resolve(
        ctx: &ContextSelectionSet<'_>,
        plans: &HashMap<Kind, Plan<'_>>,
        events: &[Arc<Event>],
    ) -> ServerResult<Self> {
        let names = super::api(ctx).store().names();
        let mut wanted: HashMap<(usize, i64), (&Positioned<Field>, bool)> = HashMap::new();
        for event in events {
            let steps = plans
                .get(&event.fact.kind)
                .map(|plan| plan.steps.as_slice());
            for (_, step) in steps.unwrap_or_default() {
                let (field, key, is_device) = match step {
                    Step::Device(field) => (field, device_of(event), true),
                    Step::Site(field) => (field, site_of(names, event), false),
                    _ => continue,
                };
                if let Some(key) = key {
                    wanted.insert((Self::address(field), key), (field, is_device));
                }
            }
        }
        let resolved = wanted
            .into_iter()
            .map(|(place, (field, is_device))| async move {
                let ctx_field = ctx.with_field(field);
                let set = ctx_field.with_selection_set(&field.node.selection_set);
                let value = if is_device {
                    let device = Device::load(ctx, place.1).await;
                    OutputType::resolve(&device, &set, field).await
                } else {
                    let site = Site::load(ctx, place.1).await;
                    OutputType::resolve(&site, &set, field).await
                };
                value.map(|value| (place, value))
            });
        let values = futures_util::future::try_join_all(resolved).await?;
        Ok(Self {
            values: values.into_iter().collect(),
        })
    }
}
