//! Whether documents that are given to the server beforehand can ever be executed, found out without executing
//! them. What depends on variables or on the caller is not looked at: it shows when somebody asks.

use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::{Name, Positioned, Request, Schema, ServerError, ValidationResult, Variables};

use super::document::{of_request, open_root};
use super::order::InOrder;
use super::shapes::Types;
use super::{Mutation, Query, Subscription, budget, builder, measure};

/// Finds out whether documents can be executed.
pub struct Rehearsal {
    schema: Schema<InOrder<Query>, InOrder<Mutation>, Subscription>,
    types: Types,
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsal").finish_non_exhaustive()
    }
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self {
            schema: builder().extension(Unexecuted).finish(),
            types: Types::new(),
        }
    }
}

impl Rehearsal {
    /// Looks at a document.
    ///
    /// # Errors
    /// Why it can never be executed.
    pub async fn of(&self, document: &ExecutableDocument) -> Result<(), ServerError> {
        measure::check(document).map_err(of_request)?;
        let mut request = Request::new("");
        request.set_parsed_query(document.clone());
        let mut errors = self.schema.execute(request).await.errors;
        self.types.explain(&mut errors);
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        for (name, operation) in document.operations.iter() {
            self.operation(document, (name, operation))?;
        }
        Ok(())
    }

    /// Looks at an operation of a document that fits the schema.
    fn operation(
        &self,
        document: &ExecutableDocument,
        (name, operation): (Option<&Name>, &Positioned<OperationDefinition>),
    ) -> Result<(), ServerError> {
        if operation.node.ty == OperationType::Subscription {
            let mut request = Request::new("");
            request.operation_name = name.map(ToString::to_string);
            request.set_parsed_query(document.clone());
            open_root(&mut request)?;
        }
        if !operation.node.variable_definitions.is_empty() {
            return Ok(());
        }
        let none = Variables::default();
        let cost = budget::check(document, &operation.node, &none);
        cost.map_err(|error| error.into_server_error(operation.pos))?;
        self.types.check(document, &operation.node, &none)
    }
}

/// Ends a request when its document is validated.
struct Unexecuted;

impl ExtensionFactory for Unexecuted {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Unexecuted {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await?;
        // it goes no further, and there is nothing to be told
        Err(Vec::new())
    }
}
