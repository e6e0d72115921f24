//! Reads filters: a tree of conditions whose form the schema has already checked.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Context, Error, Name, Value};

use super::error::{ErrorCode, bad_input, error, form_of};
use super::loaders::NameKey;
use super::types::{Use, named_type};
use super::{access, api, loaders, of_failed};
use crate::event::{Cell, Instant, Money, Provenance};
use crate::kinds::{Envelope, Field, Filter, Kind, Operand, Operator, Spec, Type};
use crate::store::{EntityType, Names};

/// Conditions at most in a filter.
const CONDITIONS_MAX: usize = 100;
/// Parts at most of a filter, also those that are empty: SQLite takes 1,000 levels of an expression,
/// and a list of conditions is as deep as it is long.
const PARTS_MAX: usize = 500;
/// Values at most in a filter: SQLite takes 32,766 in a statement, and some stand in it twice.
const VALUES_IN_ALL_MAX: usize = 5_000;
/// Values at most in one condition.
const VALUES_MAX: usize = 500;
/// Levels at most of a filter.
const DEPTH_MAX: usize = 10;

/// What may be asked of a field.
const OPERATORS: &str = "eq, in, isNull, lt, lte, gt, gte, startsWith, contains";

/// Reads the filters of one request.
#[derive(Debug)]
struct Reader<'a> {
    names: &'a Names,
    conditions: usize,
    parts: usize,
    values: usize,
    unknown: RefCell<Unknown>,
}

type Entries = IndexMap<Name, Value>;

/// Devices and sites that filters name and this process has not met.
pub(super) type Unknown = HashSet<(EntityType, Arc<str>)>;

/// Reads the filter of each of some kinds, and tells what of their names this process has not met.
pub(super) fn read_known(
    names: &Names,
    kinds: &[Kind],
    value: Option<&Value>,
) -> Result<(Vec<(Kind, Filter)>, Unknown), Error> {
    let (mut filters, mut unknown) = (Vec::with_capacity(kinds.len()), Unknown::new());
    for kind in kinds {
        let mut reader = Reader::new(names);
        filters.push((*kind, reader.read(kind.spec(), value)?));
        unknown.extend(reader.unknown());
    }
    Ok((filters, unknown))
}

/// Reads the filter of a kind that did not come through the schema, as JSON.
pub(crate) fn of_json(names: &Names, kind: Kind, text: &str) -> Result<Filter, Error> {
    let wrong = |why: String| bad_input(format!("the filter is no JSON: {why}"));
    let json: serde_json::Value = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let value = Value::from_json(json).map_err(|e| wrong(e.to_string()))?;
    Reader::new(names).read(kind.spec(), Some(&value))
}

/// Reads the filter of each of some kinds, for what the caller may see. What it names and this process has not met may have been
/// registered through another just now, so that is looked up.
pub(super) async fn read(
    ctx: &Context<'_>,
    kinds: &[Kind],
    value: Option<&Value>,
) -> Result<Vec<(Kind, Filter)>, Error> {
    let api = api(ctx);
    let names = api.store().names();
    let (filters, unknown) = read_known(names, kinds, value)?;
    if unknown.is_empty() {
        return seen(ctx, filters).await;
    }
    let keys = unknown.into_iter().map(|(ty, id)| NameKey(ty, id));
    let met = loaders(ctx).names.load_many(keys.collect()).await;
    for met in met.into_values() {
        met.map_err(|error| of_failed(api, &error))?;
    }
    seen(ctx, read_known(names, kinds, value)?.0).await
}

/// Filters that let through only what the caller may see.
async fn seen(
    ctx: &Context<'_>,
    filters: Vec<(Kind, Filter)>,
) -> Result<Vec<(Kind, Filter)>, Error> {
    let (caller, within) = (access::caller(ctx), access::within(ctx).await?);
    let seen = |(kind, filter): (Kind, Filter)| {
        let seen = access::filter(caller, &within, kind);
        (kind, seen.and(filter))
    };
    Ok(filters.into_iter().map(seen).collect())
}

impl<'a> Reader<'a> {
    /// A reader that looks ids up in these names.
    fn new(names: &'a Names) -> Self {
        Self {
            names,
            conditions: 0,
            parts: 0,
            values: 0,
            unknown: RefCell::default(),
        }
    }

    /// The devices and sites that the filters name and this process has not met.
    fn unknown(self) -> Unknown {
        self.unknown.into_inner()
    }

    /// Reads the filter of a kind.
    fn read(&mut self, spec: &Spec, value: Option<&Value>) -> Result<Filter, Error> {
        match value {
            None | Some(Value::Null) => Ok(Filter::default()),
            Some(Value::Object(entries)) => self.object(spec, entries, 0),
            Some(_) => Err(bad_input("filter is not an object")),
        }
    }

    fn object(&mut self, spec: &Spec, entries: &Entries, depth: usize) -> Result<Filter, Error> {
        if depth > DEPTH_MAX {
            let message = format!("a filter has at most {DEPTH_MAX} levels");
            return Err(error(ErrorCode::LimitExceeded, message));
        }
        count(&mut self.parts, 1, (PARTS_MAX, "parts"))?;
        let mut all = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            all.push(match (name.as_str(), value) {
                (name, Value::Null) => return Err(null(name)),
                ("and", items) => Filter::And(self.list(spec, listed(items), depth)?),
                ("or", items) => Filter::Or(self.list(spec, listed(items), depth)?),
                ("not", Value::Object(inner)) => {
                    Filter::Not(Box::new(self.object(spec, inner, depth + 1)?))
                }
                (name, Value::Object(conditions)) => self.conditions(spec, name, conditions)?,
                (name, _) => return Err(no_object(spec, name)),
            });
        }
        Ok(if all.len() == 1 {
            all.pop().unwrap_or_default()
        } else {
            Filter::And(all)
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of a library, whose other values are one case"
    )]
    fn list(&mut self, spec: &Spec, items: &[Value], depth: usize) -> Result<Vec<Filter>, Error> {
        let item = |item: &Value| match item {
            Value::Object(entries) => self.object(spec, entries, depth + 1),
            _ => Err(bad_input(
                "filter has a list of something else than objects",
            )),
        };
        items.iter().map(item).collect()
    }

    fn conditions(
        &mut self,
        spec: &Spec,
        name: &str,
        conditions: &Entries,
    ) -> Result<Filter, Error> {
        let (operand, ty) = operand(spec, name)?;
        let mut all = Vec::with_capacity(conditions.len());
        for (operator, value) in conditions {
            if *value == Value::Null {
                return Err(null(&format!("{name}.{operator}")));
            }
            count(&mut self.conditions, 1, (CONDITIONS_MAX, "conditions"))?;
            count(&mut self.parts, 1, (PARTS_MAX, "parts"))?;
            let values = listed(value).len();
            count(&mut self.values, values, (VALUES_IN_ALL_MAX, "values"))?;
            all.push(self.condition(spec, operand, &ty, (name, operator.as_str(), value))?);
        }
        Ok(if all.len() == 1 {
            all.pop().unwrap_or_default()
        } else {
            Filter::And(all)
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of a library, whose other values are one case"
    )]
    fn condition(
        &self,
        spec: &Spec,
        operand: Subject,
        ty: &ValueType,
        (name, operator, value): (&str, &str, &Value),
    ) -> Result<Filter, Error> {
        if operand == Subject::Kind {
            return Self::kind_condition(spec, value);
        }
        let Subject::Of(operand) = operand else {
            // what a kind has not is absent
            let holds = operator == "isNull" && *value == Value::Boolean(true);
            return Ok(if holds {
                Filter::default()
            } else {
                Filter::Or(Vec::new())
            });
        };
        let cell = |value: &Value| {
            let wrong = || format!("filter.{name}.{operator} is not {}", form(ty));
            self.cell(ty, value).ok_or_else(|| bad_input(wrong()))
        };
        let text = |value: &Value| match value {
            Value::String(text) => Ok(Arc::from(text.as_str())),
            _ => Err(bad_input(format!("filter.{name}.{operator} is not a text"))),
        };
        let operator = match (operator, value) {
            ("in", values) if listed(values).len() <= VALUES_MAX => {
                Operator::In(listed(values).iter().map(cell).collect::<Result<_, _>>()?)
            }
            ("in", _) => {
                let message = format!("filter.{name}.in has at most {VALUES_MAX} values");
                return Err(error(ErrorCode::LimitExceeded, message));
            }
            ("isNull", Value::Boolean(true)) => Operator::IsNull,
            ("isNull", _) => {
                return Ok(Filter::Not(Box::new(Filter::Is(operand, Operator::IsNull))));
            }
            ("lt", value) => Operator::Less(cell(value)?),
            ("lte", value) => Operator::AtMost(cell(value)?),
            ("gt", value) => Operator::Greater(cell(value)?),
            ("gte", value) => Operator::AtLeast(cell(value)?),
            ("startsWith", value) => Operator::StartsWith(text(value)?),
            ("contains", value) => Operator::Contains(text(value)?),
            ("eq", value) => Operator::In(vec![cell(value)?]),
            (operator, _) => {
                return Err(bad_input(format!(
                    "filter.{name} has no operator {operator}: it has {OPERATORS}"
                )));
            }
        };
        Ok(Filter::Is(operand, operator))
    }

    /// Over all kinds, a condition on the kind is decided for each kind when its filter is read.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of a library, whose other values are one case"
    )]
    fn kind_condition(spec: &Spec, value: &Value) -> Result<Filter, Error> {
        let is = |value: &Value| match value {
            Value::Enum(name) => Ok(name.as_str() == spec.wire),
            Value::String(name) => Ok(name == spec.wire),
            _ => Err(bad_input(
                "filter.kind is not the name of a kind, such as deviceMetrics",
            )),
        };
        let holds = match value {
            Value::List(values) => values
                .iter()
                .map(is)
                .collect::<Result<Vec<_>, _>>()?
                .contains(&true),
            value => is(value)?,
        };
        Ok(if holds {
            Filter::And(Vec::new())
        } else {
            Filter::Or(Vec::new())
        })
    }

    /// The key of an id. One that this process has not met is that of no event.
    fn key(&self, entity: EntityType, id: &str) -> Cell {
        let key = self.names.key(entity, id);
        if key.is_none() {
            self.unknown.borrow_mut().insert((entity, Arc::from(id)));
        }
        Cell::Int(key.unwrap_or(-1))
    }

    fn cell(&self, ty: &ValueType, value: &Value) -> Option<Cell> {
        let text = match value {
            Value::String(text) => Some(text.as_str()),
            Value::Enum(name) => Some(name.as_str()),
            Value::Null | Value::Number(_) | Value::Boolean(_) | Value::Binary(_) => None,
            Value::List(_) | Value::Object(_) => None,
        };
        match (ty, value) {
            (ValueType::Instant, _) => text.and_then(Instant::parse).map(|at| Cell::Int(at.0)),
            (ValueType::Provenance, _) => text
                .and_then(Provenance::of_word)
                .map(|provenance| Cell::Int(provenance.code())),
            (ValueType::Key(entity), Value::Number(id)) => Some(self.key(*entity, &id.to_string())),
            (ValueType::Key(entity), _) => text.map(|id| self.key(*entity, id)),
            (ValueType::Field(Type::Float { .. }), Value::Number(n)) => n.as_f64().map(Cell::Float),
            (ValueType::Field(Type::Money), Value::Number(number)) => {
                Money::parse(&number.to_string()).map(|money| Cell::Int(money.0))
            }
            (ValueType::Field(Type::Money), _) => {
                text.and_then(Money::parse).map(|money| Cell::Int(money.0))
            }
            (ValueType::Field(Type::Bool), Value::Boolean(truth)) => {
                Some(Cell::Int(i64::from(*truth)))
            }
            (ValueType::Field(Type::Enum(set)), _) => {
                let known = |text: &&str| set.values.iter().any(|(word, _)| word == text);
                text.filter(known).map(Cell::from)
            }
            (ValueType::Field(_), Value::Number(number)) => number.as_i64().map(Cell::Int),
            (ValueType::Field(Type::Long { .. }), _) => {
                text.and_then(|text| text.parse().ok()).map(Cell::Int)
            }
            (ValueType::Field(_), _) => text.map(Cell::from),
        }
    }
}

/// Counts parts of a filter, and refuses more than it may have.
fn count(counted: &mut usize, more: usize, (limit, what): (usize, &str)) -> Result<(), Error> {
    *counted = counted.saturating_add(more);
    if *counted > limit {
        let message = format!("a filter has at most {limit} {what}");
        return Err(error(ErrorCode::LimitExceeded, message));
    }
    Ok(())
}

/// A condition without a value is no condition: were it passed over, all rows would pass.
fn null(place: &str) -> Error {
    bad_input(format!(
        "filter.{place} is null; leave it out, or use isNull to ask for what is absent"
    ))
}

/// Refuses a field that a kind has not.
fn no_field(spec: &Spec, name: &str) -> Error {
    let own = spec.fields.iter().filter(|field| field.filtered);
    let mut known = vec!["and", "or", "not", "occurredAt", "recordedAt", "provenance"];
    known.extend(own.map(|field| field.name));
    if spec.site_index().is_none() && spec.device_index().is_some() {
        known.push("siteId");
    }
    let known = known.join(", ");
    bad_input(format!(
        "the filter of {} has no field {name}: it has {known}",
        spec.type_name
    ))
}

/// Refuses conditions on a field that are no object.
fn no_object(spec: &Spec, name: &str) -> Error {
    let unknown = (name != "not").then(|| operand(spec, name).err()).flatten();
    let wrong = || {
        bad_input(format!(
            "filter.{name} is not an object, such as {{\"isNull\": false}}"
        ))
    };
    unknown.unwrap_or_else(wrong)
}

/// What a value of a type is.
fn form(ty: &ValueType) -> String {
    let among = |words: Vec<&str>| format!("one of {}", words.join(", "));
    match ty {
        ValueType::Instant => scalar("DateTime"),
        ValueType::Provenance => among(Provenance::ALL.map(Provenance::word).to_vec()),
        ValueType::Key(_) => "an id".to_owned(),
        ValueType::Field(Type::Enum(set)) => {
            among(set.values.iter().map(|(word, _)| *word).collect())
        }
        ValueType::Field(ty) => scalar(named_type(ty, Use::Input)),
    }
}

fn scalar(name: &str) -> String {
    form_of(name).map_or_else(|| format!("a {name}"), str::to_owned)
}

/// The items of a list; one that stands where a list may is a list of itself, as the language has it.
fn listed(value: &Value) -> &[Value] {
    if let Value::List(items) = value {
        items
    } else {
        std::slice::from_ref(value)
    }
}

/// What a condition looks at, in a filter over one kind or over all.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Subject {
    Of(Operand),
    /// The kind itself.
    Kind,
    /// A field that this kind has not: no condition on it holds.
    Nothing,
}

enum ValueType {
    Instant,
    Provenance,
    Key(EntityType),
    Field(Type),
}

fn operand(spec: &Spec, name: &str) -> Result<(Subject, ValueType), Error> {
    let of = |operand| Subject::Of(operand);
    let places = spec.device_index().is_some() || spec.site_index().is_some();
    Ok(match name {
        "occurredAt" => (
            of(Operand::Envelope(Envelope::OccurredAt)),
            ValueType::Instant,
        ),
        "recordedAt" => (
            of(Operand::Envelope(Envelope::RecordedAt)),
            ValueType::Instant,
        ),
        "provenance" => (
            of(Operand::Envelope(Envelope::Provenance)),
            ValueType::Provenance,
        ),
        "kind" => (Subject::Kind, ValueType::Field(Type::Text { max: 64 })),
        "siteId" => {
            let subject = if places {
                of(Operand::Site)
            } else {
                Subject::Nothing
            };
            (subject, ValueType::Key(EntityType::Site))
        }
        "deviceId" => {
            let has = spec.device_index().is_some();
            let subject = if has {
                of(Operand::Device)
            } else {
                Subject::Nothing
            };
            (subject, ValueType::Key(EntityType::Device))
        }
        _ => {
            let index = spec.index_of(name);
            let field: Option<(usize, &Field)> =
                index.and_then(|index| Some((index, spec.fields.get(index)?)));
            let (index, field) = field.ok_or_else(|| no_field(spec, name))?;
            (of(Operand::Field(index)), ValueType::Field(field.ty))
        }
    })
}

/// The kinds for which a filter over all kinds can hold at all.
pub(super) fn can_hold(filter: &Filter) -> bool {
    match filter {
        Filter::Or(filters) => filters.iter().any(can_hold),
        Filter::And(filters) => filters.iter().all(can_hold),
        Filter::Not(inner) => !inner.is_all(),
        Filter::Is(..) => true,
    }
}
