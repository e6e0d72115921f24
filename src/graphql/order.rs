//! Objects as the language has them: their fields stand in the order in which they are asked for,
//! and one that fails is null, with its error beside the data.
//!
//! The library answers fields in the order in which they are ready, leaves out those that fail, and
//! answers null for an object of which nothing is selected. So objects are told here, and every field that
//! can fail is nullable in the schema.

use std::borrow::Cow;
use std::collections::HashSet;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::registry::{MetaType, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Name, ObjectType, OutputType, Positioned,
    Response, ServerResult, Value,
};

use futures_util::future::BoxFuture;

use super::rows::selected;
use super::written::put;

/// An object whose fields stand in the order in which they are asked for.
#[derive(Clone, Debug)]
pub struct InOrder<T>(pub(super) T);

impl<T: ContainerType> ContainerType for InOrder<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        Ok(or_null(ctx, self.0.resolve_field(ctx).await))
    }
}

impl<T: ContainerType> OutputType for InOrder<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        resolve(ctx, self).await
    }
}

impl<T: ObjectType> ObjectType for InOrder<T> {}

/// The value of a nullable field: null if it failed, and then its error stands beside the data.
pub(super) fn or_null(ctx: &Context<'_>, resolved: ServerResult<Option<Value>>) -> Option<Value> {
    match resolved {
        Ok(value) => value,
        Err(error) if error.path.is_empty() => {
            ctx.add_error(ctx.set_error_path(error));
            Some(Value::Null)
        }
        Err(error) => {
            ctx.add_error(error);
            Some(Value::Null)
        }
    }
}

/// Resolves what is selected of an object, all fields at once.
pub(super) async fn resolve<T: ContainerType>(
    ctx: &ContextSelectionSet<'_>,
    object: &T,
) -> ServerResult<Value> {
    let name = T::type_name();
    let interfaces = ctx.schema_env.registry.implements.get(&*name);
    let is_type = |asked: &str| {
        asked == name || interfaces.is_some_and(|interfaces| interfaces.contains(asked))
    };
    let fields = selected(ctx, &ctx.item.node, &is_type);
    let resolved = fields
        .into_iter()
        .map(|field| resolve_field(ctx, field, object));
    let resolved = futures_util::future::try_join_all(resolved).await?;
    let mut answered = IndexMap::with_capacity(resolved.len());
    for (key, value) in resolved {
        put(&mut answered, key, value);
    }
    Ok(Value::Object(answered))
}

/// The type of the future is hidden, since objects contain each other.
fn resolve_field<'a, T: ContainerType>(
    ctx: &'a ContextSelectionSet<'a>,
    field: &'a Positioned<Field>,
    object: &'a T,
) -> BoxFuture<'a, ServerResult<(Name, Value)>> {
    Box::pin(async move {
        let key = field.node.response_key().node.clone();
        if field.node.name.node == "__typename" {
            return Ok((key, Value::from(T::type_name())));
        }
        let value = object.resolve_field(&ctx.with_field(field)).await?;
        Ok((key, value.unwrap_or_default()))
    })
}

/// The keys of the root fields of an operation, in the order in which they are asked for. The root
/// itself is an object of the library.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Name>,
    is_merged: bool,
}

impl Keys {
    /// The keys of an operation.
    pub(super) fn of(document: &ExecutableDocument, operation: &OperationDefinition) -> Self {
        let mut fields = Vec::new();
        let set = &operation.selection_set.node;
        open(document, set, &mut HashSet::new(), &mut fields);
        let objects = fields
            .iter()
            .filter(|field| !field.selection_set.node.items.is_empty());
        let mut met = HashSet::new();
        let mut once = objects.map(|field| met.insert(&field.response_key().node));
        let is_merged = once.any(|once| !once);
        let keys = fields.iter().map(|field| field.response_key().node.clone());
        Self {
            keys: keys.collect(),
            is_merged,
        }
    }

    /// Whether an object is asked for more than once under one of them.
    pub(super) const fn are_merged(&self) -> bool {
        self.is_merged
    }

    /// Puts the fields of an answer into this order. Data of which everything is left out is an object
    /// too.
    pub(super) fn arrange(&self, answer: &mut Response) {
        if answer.errors.is_empty() && answer.data == Value::Null {
            answer.data = Value::Object(IndexMap::new());
        }
        if let Value::Object(fields) = &mut answer.data {
            let mut held = std::mem::take(fields);
            for key in &self.keys {
                if let Some((key, value)) = held.swap_remove_entry(key) {
                    fields.insert(key, value);
                }
            }
            fields.extend(held);
        }
    }
}

/// The fields of a selection on an object that is of no interface, fragments opened.
fn open<'a>(
    document: &'a ExecutableDocument,
    set: &'a SelectionSet,
    opened: &mut HashSet<&'a Name>,
    fields: &mut Vec<&'a Field>,
) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => fields.push(&field.node),
            Selection::InlineFragment(fragment) => {
                open(document, &fragment.node.selection_set.node, opened, fields);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if let Some(fragment) = document.fragments.get(name)
                    && opened.insert(name)
                {
                    open(document, &fragment.node.selection_set.node, opened, fields);
                }
            }
        }
    }
}

/// A part of a root whose fields can all fail, and are therefore nullable.
#[derive(Debug)]
pub struct CanFail<T>(pub(super) T);

impl<T: ContainerType> ContainerType for CanFail<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        self.0.resolve_field(ctx).await
    }
}

impl<T: ContainerType> OutputType for CanFail<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let name = T::create_type_info(registry);
        if let Some(MetaType::Object { fields, .. }) = registry.types.get_mut(&*T::type_name()) {
            for field in fields.values_mut() {
                field.ty = field.ty.trim_end_matches('!').to_owned();
            }
        }
        name
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        OutputType::resolve(&self.0, ctx, field).await
    }
}

impl<T: ObjectType> ObjectType for CanFail<T> {}
