//! What is seen to before a document is executed: that it can be read, that it does not ask for too
//! much, that objects are given where they must be, and that the fragments at the root of a subscription are opened.

use std::collections::HashSet;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Pos, Positioned, Request, ServerError, Variables};

use super::error::{ErrorCode, bad_input, error, of_syntax};
use super::root::{Keys, RootFields};
use super::shapes::Types;
use super::{Api, access, budget, measure};
use crate::identity::Caller;

/// Name of the root of subscriptions.
const SUBSCRIPTION: &str = "Subscription";

/// What is known of a request before it is executed.
#[derive(Default)]
pub(super) struct Checked {
    /// The keys of its root fields in their order.
    pub(super) keys: Keys,
    /// The values that it may be answered with.
    pub(super) cost: usize,
    /// Its document with each key once at the root, if it has one there twice.
    merged: Option<ExecutableDocument>,
}

/// Reads the document of a request of a caller, and merges what stands at its root under one key.
pub(super) fn check(
    request: &mut Request,
    api: &Api,
    (caller, types): (&Caller, &Types),
) -> Result<Checked, ServerError> {
    let mut variables = std::mem::take(&mut request.variables);
    let name = request.operation_name.clone();
    let document = request.parsed_query().map_err(of_syntax);
    let mut checked = document.and_then(|document| {
        let measured = measure::check(document);
        measured.map_err(of_request)?;
        add_defaults(document, name.as_deref(), &mut variables);
        look(document, name.as_deref(), (&variables, caller, types))
    });
    request.variables = variables;
    if let Ok(checked) = &mut checked
        && let Some(document) = checked.merged.take()
    {
        request.set_parsed_query(document);
    }
    if let Err(error) = &checked
        && ErrorCode::Forbidden.is_of(error)
    {
        api.refused.forbidden(caller, &error.message);
    }
    checked
}

/// An error of a request as a whole: it has no place in the document.
pub(super) fn of_request(error: async_graphql::Error) -> ServerError {
    let mut error = error.into_server_error(Pos::default());
    error.locations.clear();
    error
}

fn look(
    document: &ExecutableDocument,
    name: Option<&str>,
    (variables, caller, types): (&Variables, &Caller, &Types),
) -> Result<Checked, ServerError> {
    // without an operation there is nothing to look at; the library says what is wrong
    let Some(operation) = chosen(document, name) else {
        return Ok(Checked::default());
    };
    access::check(document, &operation.node, caller)?;
    let at = |error: async_graphql::Error| error.into_server_error(operation.pos);
    // an event with such a text has an outcome of its own
    let asks = operation.node.ty != OperationType::Mutation;
    if asks && variables.values().any(budget::has_nul) {
        return Err(at(bad_input(budget::NUL)));
    }
    let cost = budget::check(document, &operation.node, variables).map_err(at)?;
    if let Some(name) = missing(&operation.node, variables) {
        let message = format!("variable ${name} is required");
        return Err(at(error(ErrorCode::ValidationFailed, message)));
    }
    types.check(document, &operation.node, variables)?;
    let root = RootFields::of(document, &operation.node, variables);
    let merged = if operation.node.ty == OperationType::Subscription {
        // it has one field, which is found when its root is opened
        None
    } else {
        root.merged(document, name, variables)?
    };
    let keys = root.keys();
    Ok(Checked { keys, cost, merged })
}

/// Whether a request follows something, and so may last for ever.
pub(super) fn is_subscription(request: &mut Request) -> bool {
    let name = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else {
        return false;
    };
    let operation = chosen(document, name.as_deref());
    operation.is_some_and(|operation| operation.node.ty == OperationType::Subscription)
}

/// What the operation that would be executed does; `None` when there is none to choose.
pub(crate) fn operation_type(
    document: &ExecutableDocument,
    name: Option<&str>,
) -> Option<OperationType> {
    chosen(document, name).map(|operation| operation.node.ty)
}

/// Gives variables that are not given their defaults, which the library does not look for where a
/// directive asks for a variable.
fn add_defaults(document: &ExecutableDocument, name: Option<&str>, variables: &mut Variables) {
    let Some(operation) = chosen(document, name) else {
        return;
    };
    for definition in &operation.node.variable_definitions {
        let definition = &definition.node;
        let name = &definition.name.node;
        if let Some(usual) = definition.default_value()
            && !variables.contains_key(name)
        {
            variables.insert(name.clone(), usual.clone());
        }
    }
}

/// Whether the operation that would be executed has one device enrol, and does nothing else.
pub(crate) fn only_enrols(document: &ExecutableDocument, name: Option<&str>) -> bool {
    let operation = chosen(document, name).map(|operation| &operation.node);
    operation.is_some_and(|operation| {
        let selected = operation.selection_set.node.items.as_slice();
        let is_enrolment = |selection: &Positioned<Selection>| match &selection.node {
            Selection::Field(field) => field.node.name.node == "enrolDevice",
            Selection::FragmentSpread(_) | Selection::InlineFragment(_) => false,
        };
        operation.ty == OperationType::Mutation
            && selected.len() == 1
            && selected.iter().all(is_enrolment)
    })
}

/// A variable that must be given and is not.
fn missing<'a>(operation: &'a OperationDefinition, variables: &Variables) -> Option<&'a Name> {
    let definitions = operation.variable_definitions.iter();
    let mut names = definitions
        .map(|definition| &definition.node)
        .filter(|definition| definition.default_value().is_none())
        .map(|definition| &definition.name.node);
    names.find(|name| !variables.contains_key(*name))
}

pub(super) fn chosen<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a Positioned<OperationDefinition>> {
    let mut operations = document.operations.iter();
    match name {
        Some(wanted) => {
            let is_wanted = |name: Option<&Name>| name.is_some_and(|name| name == wanted);
            let found = operations.find(|(name, _)| is_wanted(*name));
            found.map(|(_, operation)| operation)
        }
        None if operations.len() == 1 => operations.next().map(|(_, operation)| operation),
        None => None,
    }
}

/// The operation that would be executed, to be changed.
pub(super) fn chosen_mut<'a>(
    document: &'a mut ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a mut Positioned<OperationDefinition>> {
    match &mut document.operations {
        DocumentOperations::Single(operation) => Some(operation),
        DocumentOperations::Multiple(operations) => match name {
            Some(name) => operations.get_mut(name),
            None => operations.values_mut().next(),
        },
    }
}

/// Opens the fragments at the root of a subscription, which the library passes over, and refuses
/// more than one root field, as the language does.
pub(super) fn open_root(request: &mut Request) -> Result<(), ServerError> {
    let name = request.operation_name.clone();
    let mut document = request.parsed_query().map_err(of_syntax)?.clone();
    let Some(operation) = chosen(&document, name.as_deref()) else {
        return Ok(());
    };
    if operation.node.ty != OperationType::Subscription {
        return Ok(());
    }
    let mut root = Root::default();
    // what does not fit the schema is left as it is: the library says what is wrong with it
    if root
        .open(&document, &operation.node.selection_set.node)
        .is_none()
    {
        return Ok(());
    }
    if let [_, second, ..] = root.fields.as_slice() {
        let message = "a subscription has one root field; subscribe to each apart";
        let refused = error(ErrorCode::ValidationFailed, message);
        return Err(refused.into_server_error(second.pos));
    }
    let Root { fields, opened } = root;
    document.fragments.retain(|name, _| !opened.contains(name));
    if let Some(operation) = chosen_mut(&mut document, name.as_deref()) {
        let field = |field: Positioned<Field>| {
            let pos = field.pos;
            Positioned::new(Selection::Field(field), pos)
        };
        operation.node.selection_set.node.items = fields.into_iter().map(field).collect();
    }
    request.set_parsed_query(document);
    Ok(())
}

/// The fields at the root of a subscription, and the fragments that they were in.
#[derive(Default)]
struct Root {
    fields: Vec<Positioned<Field>>,
    opened: HashSet<Name>,
}

impl Root {
    /// Opens a selection; `None` when it does not fit the root.
    fn open(&mut self, document: &ExecutableDocument, set: &SelectionSet) -> Option<()> {
        for selection in &set.items {
            let (condition, inner, directives) = match &selection.node {
                Selection::Field(field) => {
                    self.add(field.clone());
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    let fragment = &fragment.node;
                    let condition = fragment.type_condition.as_ref();
                    (condition, &fragment.selection_set, &fragment.directives)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = &document.fragments.get(name)?.node;
                    if !self.opened.insert(name.clone()) {
                        return None;
                    }
                    let condition = Some(&fragment.type_condition);
                    (condition, &fragment.selection_set, &spread.node.directives)
                }
            };
            if condition.is_some_and(|condition| condition.node.on.node != SUBSCRIPTION) {
                return None;
            }
            let before = self.fields.len();
            self.open(document, &inner.node)?;
            for field in self.fields.iter_mut().skip(before) {
                field.node.directives.extend(directives.iter().cloned());
            }
        }
        Some(())
    }

    /// Adds a field; what is selected twice under one key is one field.
    fn add(&mut self, field: Positioned<Field>) {
        let key = &field.node.response_key().node;
        let same = self.fields.iter_mut().find(|held| {
            held.node.response_key().node == *key
                && held.node.name == field.node.name
                && held.node.arguments == field.node.arguments
        });
        match same {
            Some(held) => {
                let more = field.node.selection_set.node.items;
                held.node.selection_set.node.items.extend(more);
            }
            None => self.fields.push(field),
        }
    }
}
