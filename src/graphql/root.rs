//! The fields at the root of an operation as the language has them: with those of fragments, without
//! those that are left out, and each key once, where it first stands.
//!
//! The library executes a field as often as it stands there, a command too, and merges what comes of it. So
//! what is asked for under one key is put where the key first stands, before anything is executed. The
//! others are left out by a directive and stay in the document: a variable or a fragment that they use must
//! be used somewhere. Fields under one key that are not the same are refused, also where the library looks at
//! each of their fragments alone.

use std::collections::{HashMap, HashSet};

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, FragmentDefinition, InlineFragment, OperationDefinition,
    Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned, Response, ServerError, Value, Variables};
use async_graphql_value::Value as Written;

use super::document::chosen_mut;
use super::error::{ErrorCode, error};

/// The keys of the root fields of an operation, in the order in which they are asked for. The root
/// itself is an object of the library.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Name>);

impl Keys {
    /// Puts the fields of an answer into this order. Data of which everything is left out is an object
    /// too.
    pub(super) fn arrange(&self, answer: &mut Response) {
        if answer.errors.is_empty() && answer.data == Value::Null {
            answer.data = Value::Object(IndexMap::new());
        }
        if let Value::Object(fields) = &mut answer.data {
            let mut held = std::mem::take(fields);
            for key in &self.0 {
                if let Some((key, value)) = held.swap_remove_entry(key) {
                    fields.insert(key, value);
                }
            }
            fields.extend(held);
        }
    }
}

/// What stands at the root of an operation, fragments opened.
pub(super) struct RootFields<'a> {
    fields: Vec<Met<'a>>,
    /// Whether a key stands there more than once, or a fragment.
    is_doubled: bool,
}

/// A field at the root.
struct Met<'a> {
    field: &'a Positioned<Field>,
    is_left_out: bool,
}

impl Met<'_> {
    fn key(&self) -> &Name {
        &self.field.node.response_key().node
    }
}

impl<'a> RootFields<'a> {
    /// The root of an operation of a document.
    pub(super) fn of(
        document: &'a ExecutableDocument,
        operation: &'a OperationDefinition,
        variables: &Variables,
    ) -> Self {
        let mut walk = Walk {
            document,
            variables,
            opened: HashMap::new(),
            root: Self {
                fields: Vec::with_capacity(operation.selection_set.node.items.len()),
                is_doubled: false,
            },
        };
        walk.set(&operation.selection_set.node, false);
        let mut root = walk.root;
        if root.fields.len() > 1 {
            let mut met = HashSet::with_capacity(root.fields.len());
            root.is_doubled |= root.fields.iter().any(|field| !met.insert(field.key()));
        }
        root
    }

    /// The keys of an answer.
    pub(super) fn keys(&self) -> Keys {
        let asked = self.fields.iter().filter(|field| !field.is_left_out);
        Keys(asked.map(|field| field.key().clone()).collect())
    }

    /// The document with each key once at the root of the operation of a name; `None` when it has each once
    /// already.
    pub(super) fn merged(
        &self,
        document: &ExecutableDocument,
        name: Option<&str>,
        variables: &Variables,
    ) -> Result<Option<ExecutableDocument>, ServerError> {
        if !self.is_doubled {
            return Ok(None);
        }
        let more = self.more()?;
        let mut document = document.clone();
        let mut merge = Merge {
            variables,
            fragments: std::mem::take(&mut document.fragments),
            opened: HashSet::new(),
            more,
        };
        if let Some(operation) = chosen_mut(&mut document, name) {
            merge.set(&mut operation.node.selection_set.node);
        }
        document.fragments = merge.fragments;
        Ok(Some(document))
    }

    /// What is asked for under each key beyond where it first stands.
    fn more(&self) -> Result<HashMap<Name, Vec<Positioned<Selection>>>, ServerError> {
        let mut first: HashMap<&Name, &Positioned<Field>> = HashMap::new();
        let mut more: HashMap<Name, Vec<Positioned<Selection>>> = HashMap::new();
        for met in &self.fields {
            let (key, field) = (met.key(), met.field);
            let held = first.entry(key).or_insert(field);
            if let Some(why) = difference(&held.node, &field.node) {
                return Err(conflict(key, &why, [held.pos, field.pos]));
            }
            if met.is_left_out {
                continue;
            }
            match more.get_mut(key) {
                Some(items) => items.extend(field.node.selection_set.node.items.iter().cloned()),
                None => {
                    more.insert(key.clone(), Vec::new());
                }
            }
        }
        Ok(more)
    }
}

/// Why two fields cannot be one.
fn difference(held: &Field, more: &Field) -> Option<String> {
    let (name, other) = (&held.name.node, &more.name.node);
    if name != other {
        return Some(format!("\"{name}\" and \"{other}\" are different fields"));
    }
    let is_same = |(name, value): &(Positioned<Name>, Positioned<Written>)| {
        let other = more.get_argument(&name.node);
        other.is_some_and(|other| other.node == value.node)
    };
    let are_same =
        held.arguments.len() == more.arguments.len() && held.arguments.iter().all(is_same);
    (!are_same).then(|| "they have differing arguments".to_owned())
}

fn conflict(key: &Name, why: &str, places: [Pos; 2]) -> ServerError {
    let message = format!(
        "Fields \"{key}\" conflict because {why}. Use different aliases on the fields to fetch both if \
         this was intentional."
    );
    let refused = error(ErrorCode::ValidationFailed, message);
    let mut refused = refused.into_server_error(Pos::default());
    refused.locations = places.to_vec();
    refused
}

/// Whether the directives of a selection leave it out, as the library finds out.
fn is_left_out(directives: &[Positioned<Directive>], variables: &Variables) -> bool {
    directives.iter().any(|directive| {
        let asked = match directive.node.name.node.as_str() {
            "skip" => false,
            "include" => true,
            _ => return false,
        };
        let Some(condition) = directive.node.get_argument("if") else {
            return false;
        };
        let holds = if let Written::Variable(name) = &condition.node {
            variables.get(name) == Some(&Value::Boolean(true))
        } else {
            condition.node == Written::Boolean(true)
        };
        holds != asked
    })
}

struct Walk<'a, 'v> {
    document: &'a ExecutableDocument,
    variables: &'v Variables,
    /// Fragments that it has been in, and whether they were left out.
    opened: HashMap<&'a Name, bool>,
    root: RootFields<'a>,
}

impl<'a> Walk<'a, '_> {
    fn set(&mut self, set: &'a SelectionSet, is_left_out_with: bool) {
        for selection in &set.items {
            let directives = selection.node.directives();
            let is_left_out = is_left_out_with || is_left_out(directives, self.variables);
            match &selection.node {
                Selection::Field(field) => self.root.fields.push(Met { field, is_left_out }),
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set.node, is_left_out);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.enters(name, is_left_out)
                    {
                        self.set(&fragment.node.selection_set.node, is_left_out);
                    }
                }
            }
        }
    }

    /// Whether a fragment says something that it has not said before.
    fn enters(&mut self, name: &'a Name, is_left_out: bool) -> bool {
        match self.opened.get_mut(name) {
            None => {
                self.opened.insert(name, is_left_out);
                true
            }
            Some(was_left_out) if *was_left_out && !is_left_out => {
                *was_left_out = false;
                true
            }
            Some(_) => {
                self.root.is_doubled |= !is_left_out;
                false
            }
        }
    }
}

/// Goes the way of the walk through a document that it changes.
struct Merge<'v> {
    variables: &'v Variables,
    fragments: HashMap<Name, Positioned<FragmentDefinition>>,
    opened: HashSet<Name>,
    /// What is asked for under each key beyond where it first stands.
    more: HashMap<Name, Vec<Positioned<Selection>>>,
}

impl Merge<'_> {
    fn set(&mut self, set: &mut SelectionSet) {
        let items = std::mem::take(&mut set.items);
        set.items = items.into_iter().map(|item| self.selection(item)).collect();
    }

    fn selection(&mut self, mut selection: Positioned<Selection>) -> Positioned<Selection> {
        if is_left_out(selection.node.directives(), self.variables) {
            return selection;
        }
        match &mut selection.node {
            Selection::Field(field) => {
                let (pos, key) = (field.pos, field.node.response_key().node.clone());
                let items = &mut field.node.selection_set.node.items;
                if let Some(more) = self.more.remove(&key) {
                    items.extend(more);
                    return selection;
                }
                // what it asks for stands where its key first does
                if !items.is_empty() {
                    *items = vec![type_name(pos)];
                }
                left_out(selection)
            }
            Selection::InlineFragment(fragment) => {
                self.set(&mut fragment.node.selection_set.node);
                selection
            }
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.clone();
                if !self.opened.insert(name.clone()) {
                    return left_out(selection);
                }
                // one that contains itself is not there while it is gone through
                if let Some(mut fragment) = self.fragments.remove(&name) {
                    self.set(&mut fragment.node.selection_set.node);
                    self.fragments.insert(name, fragment);
                }
                selection
            }
        }
    }
}

/// A selection that stays in the document and is left out.
fn left_out(selection: Positioned<Selection>) -> Positioned<Selection> {
    let pos = selection.pos;
    let at = |name| Positioned::new(Name::new(name), pos);
    let skip = Directive {
        name: at("skip"),
        arguments: vec![(at("if"), Positioned::new(Written::Boolean(true), pos))],
    };
    let items = vec![selection];
    let fragment = InlineFragment {
        type_condition: None,
        directives: vec![Positioned::new(skip, pos)],
        selection_set: Positioned::new(SelectionSet { items }, pos),
    };
    let fragment = Positioned::new(fragment, pos);
    Positioned::new(Selection::InlineFragment(fragment), pos)
}

/// What every object has.
fn type_name(pos: Pos) -> Positioned<Selection> {
    let field = Field {
        alias: None,
        name: Positioned::new(Name::new("__typename"), pos),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::new(SelectionSet::default(), pos),
    };
    Positioned::new(Selection::Field(Positioned::new(field, pos)), pos)
}
