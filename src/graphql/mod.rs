//! The schema: queries, mutations and subscriptions over the log and what is folded from it.
//!
//! What is the same for all kinds (types, filters, connections, streams) is made from what the kinds
//! say of themselves; the rest is written by hand, by area. No transaction begins here.

pub mod bulk;
mod commands;
mod connection;
mod cursor;
mod error;
mod filters;
mod fleet;
pub mod guard;
mod ids;
mod job;
mod jobs;
mod loaders;
mod meta;
mod pages;
mod query;
mod record;
mod rows;
mod scalars;
mod schedule_input;
mod subscription;
mod types;
mod words;

use async_graphql::{
    ContextBase, Error, MergedObject, MergedSubscription, Request, SDLExportOptions, Schema,
};
use tokio::sync::watch;

use crate::event::Position;
use crate::ingest::{Background, Ingest};
use crate::store::{Store, StoreError};
use loaders::Loaders;

pub use error::ErrorCode;

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
pub struct Mutation(commands::Commands, record::Record);

/// The root of subscriptions.
#[derive(Debug, MergedSubscription)]
pub struct Subscription(job::JobStreams, subscription::Streams);

/// The schema with its resolvers.
pub type ApiSchema = Schema<Query, Mutation, Subscription>;

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

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    let query = Query(query::Fleet, jobs::Jobs, query::Events);
    let mutation = Mutation(commands::Commands, record::Record);
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

/// A request with what is batched in it.
#[must_use]
pub fn prepared(request: Request, api: &Api) -> Request {
    request.data(Loaders::new(api.store()))
}

/// What resolvers work with.
fn api<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Api {
    ctx.data_unchecked::<Api>()
}

/// What is batched in this request.
fn loaders<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Loaders {
    ctx.data_unchecked::<Loaders>()
}

/// What a failed read is to the caller.
fn of_failed(api: &Api, failed: &StoreError) -> Error {
    error::of_store(&api.background, api.ingest.clock().now(), failed)
}
