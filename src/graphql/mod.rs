//! The schema: queries, mutations and subscriptions over the log and what is folded from it.
//!
//! What is the same for all kinds (types, filters, connections, streams) is made from what the kinds
//! say of themselves; the rest is written by hand, by area. No transaction begins here.

mod access;
mod access_key_input;
mod access_keys;
mod activity;
mod alert_commands;
mod alert_rule_input;
mod alert_rules;
mod alert_streams;
mod alerts;
mod availability;
mod breakdown;
mod budget;
pub mod bulk;
mod collection;
mod command;
mod commands;
mod configuration;
mod configuration_values;
mod connection;
mod cursor;
mod destinations;
mod device_commands;
mod document;
mod email_recipients;
mod enrolment;
mod error;
pub mod escapes;
mod export_commands;
mod export_input;
mod exports;
mod filters;
mod fleet;
pub mod guard;
mod heatmap;
mod hours;
mod ids;
mod insights;
mod job;
mod job_best;
mod job_commands;
mod job_input;
mod job_progress;
mod jobs;
mod listed;
mod live;
mod loaders;
mod measure;
mod meta;
mod nested;
mod obeying;
mod open_alerts;
mod order;
mod page_keys;
mod pages;
mod query;
mod record;
mod registry;
mod registry_inputs;
mod rehearsal;
mod retention;
mod retention_runs;
mod root;
mod rows;
mod scalars;
mod schedule_input;
mod schedules;
mod series;
mod series_buckets;
mod series_input;
mod series_key;
mod series_updates;
mod series_words;
mod shapes;
mod spending;
mod stats;
mod store_health;
mod subscription;
mod types;
mod webhooks;
mod words;
mod written;

use std::sync::Arc;

use async_graphql::futures_util::stream::BoxStream;
use async_graphql::{
    Context, ContextBase, Error, MergedObject, MergedSubscription, Request, Response,
    SDLExportOptions, Schema, SelectionField,
};
use futures_util::StreamExt;
use tokio::sync::{Semaphore, watch};

use crate::analytics::live::Lives;
use crate::analytics::provenance::Preferred;
use crate::configuration::Keyring;
use crate::error_groups::Groups;
use crate::event::Position;
use crate::exports::Bounds;
use crate::held::Held;
use crate::identity::{Caller, Denials, Keys, RecordError, Recorder, Spending};
use crate::ingest::{Background, Ingest};
use crate::jobs::Deliveries;
use crate::nodes::Node;
use crate::store::{self, Allowance, Store, StoreError};
use crate::webhooks::Reachable;
use loaders::Loaders;
use shapes::Types;

pub(crate) use document::{only_enrols, operation_type};
pub use error::{ErrorCode, code_of, of_syntax};
pub(crate) use export_input::events_of;
pub(crate) use exports::whose as whose_exports;
pub(crate) use filters::of_json as filter_of;
pub use live::{Following, Items, Sameness, Turned, head, turn};
pub use obeying::Obeying;
pub use order::{CanFail, InOrder};
pub use rehearsal::Rehearsal;
pub use written::json;

/// What resolvers work with.
#[derive(Clone, Debug)]
pub struct Api {
    /// The one door for events.
    pub ingest: Ingest,
    /// What is kept of devices for their insights.
    pub held: Held,
    /// The groups of errors.
    pub groups: Groups,
    /// The keys by which secret parameters are sealed.
    pub keyring: Arc<Keyring>,
    /// Where faults of this server are recorded.
    pub background: Background,
    /// How far the projections have folded the log.
    pub folded: watch::Receiver<Position>,
    /// How far they have, and have put nothing off of it.
    pub settled: watch::Receiver<Position>,
    /// This server among those that share the log.
    pub node: Node,
    /// The access keys that hold.
    pub keys: Arc<Keys>,
    /// Who waits for commands to devices.
    pub deliveries: Deliveries,
    /// Those who were refused.
    pub refused: Arc<Denials>,
    /// Turns of those who count what is in a range, which reads all of it: fewer than there are connections
    /// for readers, so that others are left some.
    pub counting: Arc<Semaphore>,
    /// Series that are being followed.
    pub lives: Lives,
    /// Which provenance is summed up where none is asked for.
    pub preferred: Preferred,
    /// Where alerts may be sent.
    pub webhooks: Reachable,
    /// Within which exports are kept; `None` when there is no place for their files.
    pub exports: Option<Bounds>,
    /// What callers spend; `None` where nobody needs to say who they are.
    pub spending: Option<Arc<Spending>>,
}

impl Api {
    /// The log.
    #[must_use]
    pub const fn store(&self) -> &Store {
        self.ingest.store()
    }

    /// The same for a query, which is to know the log up to a position.
    pub async fn reading(&self, position: Position) -> Self {
        let store = self.store().knowing(position).await;
        Self {
            held: self.held.on(store.clone()),
            ingest: self.ingest.on(store),
            ..self.clone()
        }
    }

    /// The door for a caller.
    #[must_use]
    pub fn recorder<'a>(&'a self, caller: &'a Caller) -> Recorder<'a> {
        Recorder {
            ingest: &self.ingest,
            spending: self.spending.as_deref(),
            caller,
        }
    }
}

/// The root of queries.
#[derive(Debug, MergedObject)]
pub struct Query(
    query::Fleet,
    hours::SiteHours,
    enrolment::Tokens,
    jobs::Jobs,
    activity::Activity,
    series::SeriesQueries,
    breakdown::Breakdowns,
    heatmap::Heatmaps,
    availability::StateQueries,
    stats::Stats,
    job_commands::JobPlans,
    device_commands::DeviceQueries,
    alerts::Alerts,
    alert_rules::AlertRules,
    webhooks::Webhooks,
    email_recipients::EmailRecipients,
    configuration::Configurations,
    retention::Retention,
    exports::Exports,
    insights::Queries,
    query::Events,
);

/// The root of mutations.
#[derive(Debug, MergedObject)]
pub struct Mutation(
    CanFail<commands::Commands>,
    CanFail<configuration::ConfigurationCommands>,
    CanFail<schedules::ScheduleCommands>,
    CanFail<job_commands::JobCommands>,
    CanFail<device_commands::DeviceAnswers>,
    CanFail<registry::RegistryCommands>,
    CanFail<access_keys::KeyCommands>,
    CanFail<enrolment::EnrolmentCommands>,
    CanFail<alert_commands::AlertCommands>,
    CanFail<alert_rules::RuleCommands>,
    CanFail<insights::GroupCommands>,
    CanFail<webhooks::WebhookCommands>,
    CanFail<email_recipients::EmailCommands>,
    CanFail<retention::RetentionCommands>,
    CanFail<export_commands::ExportCommands>,
    record::Record,
);

/// The root of subscriptions.
#[derive(Debug, MergedSubscription)]
pub struct Subscription(
    job_progress::JobStreams,
    series_updates::SeriesStreams,
    device_commands::DeviceStreams,
    alert_streams::AlertStreams,
    insights::InsightStreams,
    insights::GroupStreams,
    subscription::Streams,
);

/// The schema with its resolvers.
#[derive(Clone)]
pub struct ApiSchema {
    schema: Schema<InOrder<Query>, InOrder<Mutation>, Subscription>,
    types: Arc<Types>,
}

impl std::fmt::Debug for ApiSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiSchema").finish_non_exhaustive()
    }
}

/// Builds the schema.
#[must_use]
pub fn schema(api: Api) -> ApiSchema {
    ApiSchema {
        schema: builder().data(api).finish(),
        types: Arc::new(Types::new()),
    }
}

type Builder = async_graphql::SchemaBuilder<InOrder<Query>, InOrder<Mutation>, Subscription>;

fn builder() -> Builder {
    let query = InOrder(Query(
        query::Fleet,
        hours::SiteHours,
        enrolment::Tokens,
        jobs::Jobs,
        activity::Activity,
        series::SeriesQueries,
        breakdown::Breakdowns,
        heatmap::Heatmaps,
        availability::StateQueries,
        stats::Stats,
        job_commands::JobPlans,
        device_commands::DeviceQueries,
        alerts::Alerts,
        alert_rules::AlertRules,
        webhooks::Webhooks,
        email_recipients::EmailRecipients,
        configuration::Configurations,
        retention::Retention,
        exports::Exports,
        insights::Queries::default(),
        query::Events,
    ));
    let mutation = InOrder(Mutation(
        CanFail(commands::Commands),
        CanFail(configuration::ConfigurationCommands),
        CanFail(schedules::ScheduleCommands),
        CanFail(job_commands::JobCommands),
        CanFail(device_commands::DeviceAnswers),
        CanFail(registry::RegistryCommands),
        CanFail(access_keys::KeyCommands),
        CanFail(enrolment::EnrolmentCommands),
        CanFail(alert_commands::AlertCommands),
        CanFail(alert_rules::RuleCommands),
        CanFail(insights::GroupCommands),
        CanFail(webhooks::WebhookCommands),
        CanFail(email_recipients::EmailCommands),
        CanFail(retention::RetentionCommands),
        CanFail(export_commands::ExportCommands),
        record::Record,
    ));
    let subscription = Subscription(
        job_progress::JobStreams,
        series_updates::SeriesStreams,
        device_commands::DeviceStreams,
        alert_streams::AlertStreams,
        insights::InsightStreams,
        insights::GroupStreams,
        subscription::Streams,
    );
    let schema = Schema::build(query, mutation, subscription);
    // no field is of it
    schema.register_output_type::<insights::Interface>()
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

/// Whether a request follows something, and so may last for ever.
#[must_use]
pub fn is_subscription(request: &mut Request) -> bool {
    document::is_subscription(request)
}

/// Executes a query or mutation of a caller, for which so much may be read and rendered.
pub async fn execute(
    schema: &ApiSchema,
    api: &Api,
    mut request: Request,
    (caller, allowance): (Caller, Arc<Allowance>),
) -> Response {
    let checked = document::check(&mut request, api, (&caller, &schema.types));
    let checked = checked.and_then(|checked| spending::spend(api, &caller, checked));
    match checked {
        Ok((keys, balance)) => {
            let request = with_data(api, request, (caller, allowance));
            let mut answer = store::answering(schema.schema.execute(request)).await;
            keys.arrange(&mut answer);
            schema.types.explain(&mut answer.errors);
            spending::told(answer, balance)
        }
        Err(error) => Response::from_errors(vec![error]),
    }
}

/// A request with what its resolvers work with.
fn with_data(
    api: &Api,
    request: Request,
    (caller, allowance): (Caller, Arc<Allowance>),
) -> Request {
    let loaders = Loaders::new(api, allowance);
    let request = request.data(loaders).data(caller);
    // where it reads, if it is not where all others do
    if api.store().reads_replica() {
        request.data(api.clone())
    } else {
        request
    }
}

/// Where a subscription goes on, whatever its document says: after a cursor that the client has kept.
#[derive(Debug)]
pub struct ResumeAfter(pub String);

/// Why nothing will ever be followed after a cursor. What may pass, such as a database that does not
/// answer, is none of that.
pub async fn unfollowable(api: &Api, after: &str) -> Option<Response> {
    // what was deleted of which kinds is looked at when these are known
    let error = cursor::read_to_follow(api, after, Some(&[])).await.err()?;
    let extensions = error.extensions.as_ref()?;
    let is_final = extensions.get("retryable") == Some(&async_graphql::Value::Boolean(false));
    is_final.then(|| Response::from_errors(vec![document::of_request(error)]))
}

/// Up to where a subscription to events goes, that then ends.
#[derive(Debug)]
pub(super) struct Until(Position);

/// Executes any operation of a caller: a subscription answers as often as something comes. An item of a
/// subscription comes with its place in the log.
#[must_use]
pub fn execute_stream(
    schema: &ApiSchema,
    api: &Api,
    mut request: Request,
    (caller, allowance): (Caller, Arc<Allowance>),
) -> BoxStream<'static, (Response, Option<String>)> {
    let checked = document::check(&mut request, api, (&caller, &schema.types));
    let opened = checked.and_then(|checked| {
        document::open_root(&mut request)?;
        spending::spend(api, &caller, checked)
    });
    match opened {
        Ok((keys, _)) => run_stream(schema, api, (request, Arc::new(keys)), (caller, allowance)),
        Err(error) => {
            let answer = Response::from_errors(vec![error]);
            futures_util::stream::iter([(answer, None)]).boxed()
        }
    }
}

/// Executes an operation that was checked.
fn run_stream(
    schema: &ApiSchema,
    api: &Api,
    (request, keys): (Request, Arc<root::Keys>),
    (caller, allowance): (Caller, Arc<Allowance>),
) -> BoxStream<'static, (Response, Option<String>)> {
    let request = with_data(api, request, (caller, allowance));
    let answers = store::answering_each(schema.schema.execute_stream(request).boxed());
    let types = Arc::clone(&schema.types);
    answers
        .map(move |mut answer| {
            keys.arrange(&mut answer);
            types.explain(&mut answer.errors);
            let cursor = subscription::take_cursor(&mut answer);
            (answer, cursor)
        })
        .boxed()
}

/// The answer to a request whose execution panicked; what it said is in the log of the process.
#[must_use]
pub fn panicked(api: &Api) -> Response {
    let now = api.ingest.clock().now();
    let what = ("SYSTEM", "the execution of a request panicked");
    let error = error::internal(&api.background, now, what);
    Response::from_errors(vec![document::of_request(error)])
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

/// Takes bytes for each time that what has them is asked for under a field, by the names of the fields down to
/// it: under other keys it is rendered again.
fn take_each_time(ctx: &Context<'_>, path: &[&str], bytes: usize) -> Result<(), Error> {
    take(ctx, bytes.saturating_mul(times(ctx.field(), path)))
}

/// How often fields are asked for under a field, by the names of the fields down to them.
fn times(field: SelectionField<'_>, path: &[&str]) -> usize {
    let Some((name, path)) = path.split_first() else {
        return 1;
    };
    let asked = field.selection_set().filter(|asked| asked.name() == *name);
    asked.map(|asked| times(asked, path)).sum()
}

/// What a caller is told of whom nothing was recorded.
#[must_use]
pub fn of_unrecorded(api: &Api, failed: &RecordError) -> Error {
    let now = api.ingest.clock().now();
    match failed {
        RecordError::Exceeded(exceeded) => spending::exceeded(exceeded),
        RecordError::Read(failed) => of_failed(api, failed),
        RecordError::Append(failed) => error::of_append(&api.background, now, failed),
    }
}

/// What a failed read is to the caller.
fn of_failed(api: &Api, failed: &StoreError) -> Error {
    error::of_store(&api.background, api.ingest.clock().now(), failed)
}
