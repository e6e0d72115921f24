//! Objects as the language has them: their fields stand in the order in which they are asked for,
//! and one that fails is null, with its error beside the data.
//!
//! The library answers fields in the order in which they are ready, leaves out those that fail, and
//! answers null for an object of which nothing is selected. So objects are told here, and every field that
//! can fail is nullable in the schema.

use std::borrow::Cow;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaType, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Name, ObjectType, OutputType, Positioned,
    ServerResult, Value,
};

use futures_util::future::BoxFuture;

use super::rows::selected;
use super::written::put;

/// An object whose fields stand in the order in which they are asked for.
#[derive(Clone, Debug)]
pub struct InOrder<T>(pub(super) T);

impl<T: ContainerType> ContainerType for InOrder<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let resolved: BoxFuture<'_, _> = Box::pin(self.0.resolve_field(ctx));
        Ok(or_null(ctx, resolved.await))
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

/// A part of a root whose fields can all fail, and are therefore nullable.
#[derive(Debug, Default)]
pub struct CanFail<T>(pub(super) T);

impl<T: ContainerType> ContainerType for CanFail<T> {
    /// The type of the future is hidden, since a root has many parts: the compiler lays out all of them within each other.
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let resolved: BoxFuture<'_, _> = Box::pin(self.0.resolve_field(ctx));
        resolved.await
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
