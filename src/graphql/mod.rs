//! The schema: queries, mutations and subscriptions over the log and what is folded from it.
//!
//! What is the same for all kinds (types, filters, connections, streams) is made from what the kinds
//! say of themselves; the rest is written by hand, by area. No transaction begins here.

mod budget;
pub mod bulk;
mod collection;
mod commands;
mod connection;
mod cursor;
mod document;
mod error;
mod filters;
mod fleet;
pub mod guard;
mod ids;
mod job;
mod jobs;
mod loaders;
mod meta;
mod nested;
mod order;
mod pages;
mod query;
mod record;
mod rows;
mod scalars;
mod schedule_input;
mod subscription;
mod types;
mod words;

use std::sync::Arc;

use async_graphql::futures_util::stream::BoxStream;
use async_graphql::{
    ContextBase, Data, Error, MergedObject, MergedSubscription, Request, Response,
    SDLExportOptions, Schema,
};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::event::Position;
use crate::ingest::{Background, Ingest};
use crate::store::{Allowance, Store, StoreError};
use loaders::Loaders;

pub use error::{ErrorCode, of_syntax};
pub use order::{CanFail, InOrder};

/// What resolvers work with.
#[derive(Clone, Debug)]
pub struct Api {
    /// The one door for events.
    pub ingest: Ingest,
    /// Where faults of this server are recorded.
    pub background: Background,
    /// How far the projections have folded the log.
    pub folded: watch::Receiver<Position>,
}

impl Api {
    /// The log.
    #[must_use]
    pub const fn store(&self) -> &Store {
        self.ingest.store()
    }
}

/// The root of queries.
#[derive(Debug, MergedObject)]
pub struct Query(query::Fleet, jobs::Jobs, query::Events);

/// The root of mutations.
#[derive(Debug, MergedObject)]
pub struct Mutation(CanFail<commands::Commands>, record::Record);

/// The root of subscriptions.
#[derive(Debug, MergedSubscription)]
pub struct Subscription(job::JobStreams, subscription::Streams);

/// The schema with its resolvers.
pub type ApiSchema = Schema<InOrder<Query>, InOrder<Mutation>, Subscription>;

/// Levels at most of a document.
const DEPTH_MAX: usize = 15;
/// Fields at most of a document, each counted as often as it is selected.
const FIELDS_MAX: usize = 2_000;

/// Builds the schema.
#[must_use]
pub fn schema(api: Api) -> ApiSchema {
    builder()
        .data(api)
        .limit_depth(DEPTH_MAX)
        .limit_complexity(FIELDS_MAX)
        .finish()
}

type Builder = async_graphql::SchemaBuilder<InOrder<Query>, InOrder<Mutation>, Subscription>;

fn builder() -> Builder {
    let query = InOrder(Query(query::Fleet, jobs::Jobs, query::Events));
    let mutation = InOrder(Mutation(CanFail(commands::Commands), record::Record));
    let subscription = Subscription(job::JobStreams, subscription::Streams);
    Schema::build(query, mutation, subscription)
}

/// The schema in the schema definition language.
#[must_use]
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .include_specified_by();
    builder().finish().sdl_with_options(options)
}

/// Executes a query or mutation, for which so much may be read and rendered.
pub async fn execute(
    schema: &ApiSchema,
    api: &Api,
    mut request: Request,
    allowance: Arc<Allowance>,
) -> Response {
    match document::check(&mut request) {
        Ok(keys) => {
            let request = request.data(Loaders::new(api.store(), allowance));
            let mut answer = schema.execute(request).await;
            keys.arrange(&mut answer.data);
            error::with_forms(&mut answer.errors);
            answer
        }
        Err(error) => Response::from_errors(vec![error]),
    }
}

/// Executes any operation on a socket: a subscription answers as often as something comes.
#[must_use]
pub fn execute_stream(
    schema: &ApiSchema,
    api: &Api,
    mut request: Request,
    (session, allowance): (Arc<Data>, Arc<Allowance>),
) -> BoxStream<'static, Response> {
    let checked = document::check(&mut request);
    let opened = checked.and_then(|keys| document::open_root(&mut request).map(|()| keys));
    match opened {
        Ok(keys) => schema
            .execute_stream_with_session_data(
                request.data(Loaders::new(api.store(), allowance)),
                session,
            )
            .map(move |mut answer| {
                keys.arrange(&mut answer.data);
                error::with_forms(&mut answer.errors);
                answer
            })
            .boxed(),
        Err(error) => {
            let answer = Response::from_errors(vec![error]);
            futures_util::stream::iter([answer]).boxed()
        }
    }
}

/// What resolvers work with.
fn api<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Api {
    ctx.data_unchecked::<Api>()
}

/// What is batched in this request.
fn loaders<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Loaders {
    ctx.data_unchecked::<Loaders>()
}

/// Takes bytes of what may be read and rendered for this request.
fn take<T>(ctx: &ContextBase<'_, T>, bytes: usize) -> Result<(), Error> {
    let taken = loaders(ctx).allowance().take(bytes);
    taken.map_err(|error| of_failed(api(ctx), &error))
}

/// What a failed read is to the caller.
fn of_failed(api: &Api, failed: &StoreError) -> Error {
    error::of_store(&api.background, api.ingest.clock().now(), failed)
}
