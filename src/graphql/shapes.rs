//! Values that must be objects, and variables that must not be null.
//!
//! The library takes anything for an input object until it resolves the field that has it. By then the
//! commands before it are done, and where the field is not reached nobody is told. So it is refused before
//! anything is executed, in the document as in the variables. Nor does it look at an argument that has a
//! variable in it which is not given: then all of the argument is looked at here.

use std::collections::HashSet;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{
    Name, OutputType, Pos, ServerError, SubscriptionType, Value as Given, Variables,
};
use async_graphql_value::Value as Written;

use super::error::{bad_input, with_forms};
use super::order::InOrder;
use super::{Mutation, Query, Subscription};

/// Errors of a request at most that are told what is taken: a document may have thousands.
const EXPLAINED_MAX: usize = 10;

/// The types of the schema.
pub(super) struct Types(Registry);

impl Types {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        <InOrder<Query> as OutputType>::create_type_info(&mut registry);
        <InOrder<Mutation> as OutputType>::create_type_info(&mut registry);
        <Subscription as SubscriptionType>::create_type_info(&mut registry);
        Self(registry)
    }

    /// Refuses an operation with a value that is no object where one must be.
    pub(super) fn check(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Variables,
    ) -> Result<(), ServerError> {
        self.variables(operation, variables)?;
        let root = match operation.ty {
            OperationType::Query => InOrder::<Query>::type_name(),
            OperationType::Mutation => InOrder::<Mutation>::type_name(),
            OperationType::Subscription => <Subscription as SubscriptionType>::type_name(),
        };
        let opened = HashSet::new();
        let mut walk = Walk {
            types: self,
            document,
            variables,
            opened,
        };
        walk.set(&root, &operation.selection_set.node)
    }

    fn variables(
        &self,
        operation: &OperationDefinition,
        variables: &Variables,
    ) -> Result<(), ServerError> {
        for definition in &operation.variable_definitions {
            let pos = definition.pos;
            let definition = &definition.node;
            let (name, ty) = (&definition.name.node, &definition.var_type.node);
            let usual = definition.default_value.as_ref().map(|value| &value.node);
            let given = variables.get(name);
            if given == Some(&Given::Null) && !ty.nullable {
                let message = format!("variable ${name} is of the type {ty}, which has no null");
                return Err(bad_input(message).into_server_error(pos));
            }
            for value in usual.into_iter().chain(given) {
                self.refuse(&ty.to_string(), value, Look::Objects, (name, pos))?;
            }
        }
        Ok(())
    }

    fn refuse<V: Shaped>(
        &self,
        ty: &str,
        value: &V,
        look: Look,
        (name, pos): (&Name, Pos),
    ) -> Result<(), ServerError> {
        let Some((place, ty)) = self.fault(ty, value, look, &|| name.to_string()) else {
            return Ok(());
        };
        let message = format!("Invalid value for argument \"{place}\", expected type \"{ty}\"");
        let mut refused = bad_input(message).into_server_error(pos);
        self.explain(std::slice::from_mut(&mut refused));
        Err(refused)
    }

    /// Tells of values that are refused what is taken in their place: the form of a scalar, the words of an enum,
    /// the fields of an object. The library names the place and the type.
    pub(super) fn explain(&self, errors: &mut [ServerError]) {
        with_forms(errors);
        for error in errors.iter_mut().take(EXPLAINED_MAX) {
            // what is refused while it is executed has words of its own
            let is_of_library = error.path.is_empty();
            let known = is_of_library.then(|| self.known(&error.message));
            if let Some(known) = known.flatten() {
                error.message.push_str(": it has ");
                error.message.push_str(&known);
            }
        }
    }

    /// What the type has of which a message says that it has something not.
    fn known(&self, message: &str) -> Option<String> {
        let reason = message.strip_suffix('"')?;
        let unknown = reason.split_once("unknown field \"");
        let name = if let Some((_, ty)) = reason.split_once("enumeration type \"") {
            ty.split_once('"')?.0
        } else if let Some((_, field)) = unknown {
            field.rsplit_once("\" of type \"")?.1
        } else {
            reason.rsplit_once("expected type \"")?.1
        };
        let words: Vec<&str> = match (self.0.types.get(name)?, unknown) {
            (MetaType::Enum { enum_values, .. }, None) => {
                enum_values.keys().map(String::as_str).collect()
            }
            (MetaType::InputObject { input_fields, .. }, Some(_)) => {
                input_fields.keys().map(String::as_str).collect()
            }
            (_, _) => return None,
        };
        Some(words.join(", "))
    }

    /// Where in a value of this type, which stands at this place, another type is expected, and which.
    fn fault<V: Shaped>(
        &self,
        ty: &str,
        value: &V,
        look: Look,
        place: &dyn Fn() -> String,
    ) -> Option<(String, String)> {
        let shape = value.shape();
        match MetaTypeName::create(ty) {
            MetaTypeName::NonNull(inner) if look == Look::All && matches!(shape, Shape::Null) => {
                Some((place(), inner.to_owned()))
            }
            MetaTypeName::NonNull(inner) => self.fault(inner, value, look, place),
            MetaTypeName::List(inner) => match shape {
                Shape::List(items) => items.iter().enumerate().find_map(|(at, item)| {
                    self.fault(inner, item, look, &|| format!("{}.{at}", place()))
                }),
                // one value is a list of itself, as the language has it
                Shape::Object(_) | Shape::Null | Shape::Variable | Shape::Other => {
                    self.fault(inner, value, look, place)
                }
            },
            MetaTypeName::Named(name) => match (self.0.types.get(name)?, shape) {
                (_, Shape::Null | Shape::Variable) => None,
                (MetaType::InputObject { input_fields, .. }, Shape::Object(entries)) => {
                    entries.iter().find_map(|(key, value)| {
                        let field = input_fields.get(key.as_str())?;
                        let place = || format!("{}.{key}", place());
                        self.fault(&field.ty, value, look, &place)
                    })
                }
                (MetaType::InputObject { .. }, Shape::List(_) | Shape::Other) => {
                    Some((place(), name.to_owned()))
                }
                (ty, _) => {
                    if look == Look::Objects {
                        return None;
                    }
                    let value = value.constant()?;
                    (!is_of(ty, &value)).then(|| (place(), name.to_owned()))
                }
            },
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Whether objects are where they must be; the library sees to the rest.
    Objects,
    /// All values, since the library looks at none.
    All,
}

/// Whether all variables in a value are given.
fn is_given(value: &Written, variables: &Variables) -> bool {
    match value {
        Written::Variable(name) => variables.contains_key(name),
        Written::List(items) => items.iter().all(|item| is_given(item, variables)),
        Written::Object(entries) => entries.values().all(|entry| is_given(entry, variables)),
        Written::Null | Written::Number(_) | Written::String(_) | Written::Boolean(_) => true,
        Written::Binary(_) | Written::Enum(_) => true,
    }
}

/// Whether a value is one of a scalar or an enum.
fn is_of(ty: &MetaType, value: &Given) -> bool {
    match (ty, value) {
        (
            MetaType::Scalar {
                is_valid: Some(is_valid),
                ..
            },
            _,
        ) => is_valid(value),
        (MetaType::Enum { enum_values, .. }, Given::Enum(name)) => {
            enum_values.contains_key(name.as_str())
        }
        (MetaType::Enum { .. }, _) => false,
        _ => true,
    }
}

/// A walk over what an operation selects. What does not fit the schema is passed over: the library says
/// what is wrong with it.
struct Walk<'a> {
    types: &'a Types,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// Fragments that it has been in.
    opened: HashSet<&'a Name>,
}

impl<'a> Walk<'a> {
    fn set(&mut self, parent: &str, set: &'a SelectionSet) -> Result<(), ServerError> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.field(parent, &field.node)?,
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or(parent, |condition| condition.node.on.node.as_str());
                    self.set(on, &fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.opened.insert(name)
                    {
                        let on = fragment.node.type_condition.node.on.node.as_str();
                        self.set(on, &fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, parent: &str, field: &'a Field) -> Result<(), ServerError> {
        let types = self.types;
        let parent = types.0.types.get(parent);
        let Some(known) = parent.and_then(|parent| parent.field_by_name(&field.name.node)) else {
            return Ok(());
        };
        for (name, value) in &field.arguments {
            if let Some(argument) = known.args.get(name.node.as_str()) {
                let look = if is_given(&value.node, self.variables) {
                    Look::Objects
                } else {
                    Look::All
                };
                types.refuse(&argument.ty, &value.node, look, (&name.node, value.pos))?;
            }
        }
        let ty = MetaTypeName::concrete_typename(&known.ty);
        self.set(ty, &field.selection_set.node)
    }
}

/// What a value looks like.
enum Shape<'a, V> {
    Object(&'a IndexMap<Name, V>),
    List(&'a [V]),
    Null,
    Variable,
    Other,
}

trait Shaped: Sized {
    fn shape(&self) -> Shape<'_, Self>;

    /// The value, unless a variable is in it.
    fn constant(&self) -> Option<Given>;
}

impl Shaped for Given {
    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Object(entries) => Shape::Object(entries),
            Self::List(items) => Shape::List(items),
            Self::Null => Shape::Null,
            Self::Number(_) | Self::String(_) | Self::Boolean(_) => Shape::Other,
            Self::Binary(_) | Self::Enum(_) => Shape::Other,
        }
    }

    fn constant(&self) -> Option<Given> {
        Some(self.clone())
    }
}

impl Shaped for Written {
    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Object(entries) => Shape::Object(entries),
            Self::List(items) => Shape::List(items),
            Self::Null => Shape::Null,
            Self::Variable(_) => Shape::Variable,
            Self::Number(_) | Self::String(_) | Self::Boolean(_) => Shape::Other,
            Self::Binary(_) | Self::Enum(_) => Shape::Other,
        }
    }

    fn constant(&self) -> Option<Given> {
        self.clone().into_const()
    }
}
