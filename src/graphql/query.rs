//! The root of queries: the fleet, one connection for each kind, and what the server says of itself.

use std::sync::Arc;

use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Enum, Error, ID, Object, ObjectType, OutputType,
    Positioned, ServerResult, SimpleObject, Value, parser::types::Field,
};

use super::commands::ConfigurationValue;
use super::error::bad_input;
use super::fleet::{Device, Site};
use super::ids::{self, Named};
use super::job::Job;
use super::loaders::EventKey;
use super::meta::{field_with, input, object_type};
use super::pages::{ConnectionOf, DeviceFilterInput, PageArguments};
use super::scalars::{DateTime, Long};
use super::types::{connection_field, page_arguments};
use super::{api, connection, loaders, of_failed, pages, rows, types};
use crate::configuration;
use crate::event::{Event, Instant};
use crate::history::{collection, fleet};
use crate::kinds::Kind;
use crate::store::EntityType;

/// The part of the queries that is the same for all kinds.
#[derive(Debug)]
pub(super) struct Events;

impl ContainerType for Events {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let name = ctx.item.node.name.node.as_str();
        if name == "events" {
            return connection::resolve(ctx, None, None).await;
        }
        if name == "node" {
            return node(ctx).await.map(Some);
        }
        match Kind::all().find(|kind| kind.spec().list == name) {
            Some(kind) => connection::resolve(ctx, Some(kind), None).await,
            None => Ok(None),
        }
    }
}

async fn node(ctx: &Context<'_>) -> ServerResult<Value> {
    let id = ctx.param_value::<ID>("id", None)?.1;
    let failed = |error: Error| ctx.set_error_path(error.into_server_error(ctx.item.pos));
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    let named = ids::read(&id).ok_or_else(|| failed(bad_input("not an id of this API")))?;
    let key = |entity, id: &str| api(ctx).store().names().key(entity, id).unwrap_or(-1);
    match named {
        Named::Event(kind, place) => {
            let event = loaders(ctx).events.load(EventKey(kind, place)).await;
            let event = event.map_err(|error| failed(of_failed(api(ctx), &error)))?;
            let events: Vec<Arc<Event>> = event.into_iter().collect();
            Ok(rows::render(&set, &events).await?.pop().unwrap_or_default())
        }
        Named::Site(id) => {
            let site = Site::load(ctx, key(EntityType::Site, &id)).await;
            OutputType::resolve(&site, &set, ctx.item).await
        }
        Named::Device(id) => {
            let device = Device::load(ctx, key(EntityType::Device, &id)).await;
            OutputType::resolve(&device, &set, ctx.item).await
        }
        Named::Job(id) => {
            let job = Job::read(api(ctx), &id).await;
            OutputType::resolve(&job, &set, ctx.item).await
        }
    }
}

impl OutputType for Events {
    fn type_name() -> std::borrow::Cow<'static, str> {
        "EventQuery".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Object, |registry| {
            types::register(registry);
            pages::register(registry);
            let id = input("id", "ID!", "Its opaque id.");
            let mut fields = vec![
                field_with("node", "Node", "Anything that has an id.", vec![id]),
                field_with(
                    "events",
                    "EventConnection!",
                    "Events of all kinds in one list.",
                    page_arguments("EventFilter"),
                ),
            ];
            let specs = Kind::all().map(Kind::spec);
            fields.extend(specs.map(|spec| connection_field(spec, spec.description)));
            object_type("EventQuery", "", fields, false)
        })
    }

    async fn resolve(
        &self,
        _ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

impl ObjectType for Events {}

/// Who asks.
#[derive(Debug, SimpleObject)]
struct Viewer {
    /// Name of the caller.
    name: String,
    /// What the caller may do.
    role: String,
}

/// Whether a source is collecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum SourceStatus {
    /// Events come in.
    Collecting,
    /// Nothing has come in for longer than expected.
    Stale,
    /// Nothing has ever come in.
    Empty,
}

/// What was refused, and how often.
#[derive(Debug, SimpleObject)]
struct RefusedCount {
    /// The field at fault; null when it was the event as a whole.
    field: Option<String>,
    /// Why.
    code: String,
    /// The device, when it is registered.
    device_id: Option<String>,
    /// How often.
    count: Long,
    /// The last time.
    last_at: DateTime,
}

/// One source of records: what it collects, and whether it does.
#[derive(Debug, SimpleObject)]
struct SourceState {
    /// Name of the kind on the wire.
    source: String,
    /// Whether it is collecting.
    status: SourceStatus,
    /// Events recorded, of all provenances.
    records: Long,
    /// Of them, seen in the real world.
    real_records: Long,
    /// Of them, made up by a simulator.
    simulated_records: Long,
    /// When the oldest happened.
    oldest_at: Option<DateTime>,
    /// When the newest happened.
    newest_at: Option<DateTime>,
    /// How often something is expected, in seconds; null when it comes as it happens.
    expected_interval_seconds: Option<i32>,
    /// How it is collected.
    method: &'static str,
    /// What it is collected for.
    purpose: &'static str,
    /// What was refused.
    refused: Vec<RefusedCount>,
}

/// What is collected, and whether it is.
#[derive(Debug, SimpleObject)]
struct CollectionStatus {
    /// When this was read.
    as_of: DateTime,
    /// One for each kind of record.
    sources: Vec<SourceState>,
}

/// How the log stands.
#[derive(Debug, SimpleObject)]
struct StoreHealth {
    /// Which database keeps the log.
    database: &'static str,
    /// The last position given.
    head: Long,
    /// Cursor of the head: as `after` of a subscription it gives what comes next.
    cursor: String,
    /// Id of the log.
    log_id: String,
    /// Raised by each restore.
    epoch: Long,
    /// Events that wait to be appended.
    queued_events: i32,
    /// Events that the slowest projection has not folded yet.
    projection_lag_events: Long,
    /// Events of this server about itself that were dropped since it started.
    dropped_events: Long,
}

/// The other part of the queries.
#[derive(Debug)]
pub(super) struct Fleet;

#[Object]
impl Fleet {
    /// Who asks.
    async fn viewer(&self) -> Viewer {
        Viewer {
            name: "local".to_owned(),
            role: "ADMIN".to_owned(),
        }
    }

    /// A site by its id.
    async fn site(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id that its operator gave it.")] site_id: ID,
    ) -> Result<Option<Site>, Error> {
        match api(ctx).store().names().key(EntityType::Site, &site_id) {
            Some(key) => Site::load(ctx, key).await,
            None => Ok(None),
        }
    }

    /// A device by its id.
    async fn device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id that its operator gave it.")] device_id: ID,
    ) -> Result<Option<Device>, Error> {
        match api(ctx).store().names().key(EntityType::Device, &device_id) {
            Some(key) => Device::load(ctx, key).await,
            None => Ok(None),
        }
    }

    /// All sites, by their ids.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn sites(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Rows at most, from the beginning.")] first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<ConnectionOf<Site>, Error> {
        pages::sites(
            ctx,
            &PageArguments {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }

    /// Devices, by their ids.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn devices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which devices.")] filter: Option<DeviceFilterInput>,
        #[graphql(desc = "Rows at most, from the beginning.")] first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<ConnectionOf<Device>, Error> {
        pages::devices(
            ctx,
            filter,
            None,
            &PageArguments {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }

    /// The parameters of the system as a whole and their values now.
    async fn system_configuration(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<ConfigurationValue>>, Error> {
        let api = api(ctx);
        let rows = fleet::configuration(api.store(), "SYSTEM", configuration::SYSTEM).await;
        let rows = rows.map_err(|error| of_failed(api, &error))?;
        Ok(Some(rows.into_iter().map(Into::into).collect()))
    }

    /// What is collected of each source, and whether it is.
    async fn collection_status(&self, ctx: &Context<'_>) -> Result<CollectionStatus, Error> {
        let api = api(ctx);
        let counters = collection::counters(api.store()).await;
        let counters = counters.map_err(|error| of_failed(api, &error))?;
        let refused = collection::refused(api.store()).await;
        let refused = refused.map_err(|error| of_failed(api, &error))?;
        let now = api.ingest.clock().now();
        let source = |kind: Kind| {
            let of_kind: Vec<_> = counters
                .iter()
                .filter(|row| row.kind == kind.code())
                .cloned()
                .collect();
            let refused = refused.iter().filter(|row| row.kind == kind.spec().wire);
            source_state(kind, &of_kind, refused.map(refused_count).collect(), now)
        };
        let recorded = Kind::all().filter(|kind| kind.spec().source.is_some());
        Ok(CollectionStatus {
            as_of: DateTime(now),
            sources: recorded.map(source).collect(),
        })
    }

    /// How the log stands.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous")]
    async fn store_health(&self, ctx: &Context<'_>) -> Result<StoreHealth, Error> {
        let api = api(ctx);
        let store = api.store();
        let (identity, head) = (store.identity(), store.head());
        let place = crate::store::Place {
            position: head,
            occurred_at: Instant::default(),
        };
        let dropped = api.background.metrics().dropped();
        Ok(StoreHealth {
            database: if store.file().is_some() {
                "SQLite"
            } else {
                "PostgreSQL"
            },
            head: Long(head.0),
            cursor: super::cursor::write(identity, place),
            log_id: identity.log_id.to_string(),
            epoch: Long(identity.epoch),
            queued_events: i32::try_from(store.queued_events()).unwrap_or(i32::MAX),
            projection_lag_events: Long((head.0 - api.folded.borrow().0).max(0)),
            dropped_events: Long(i64::try_from(dropped).unwrap_or(i64::MAX)),
        })
    }
}

/// Silence after which a source that is expected so often is stale.
const STALE_INTERVALS: i64 = 10;

fn source_state(
    kind: Kind,
    counters: &[entity::collection_counters::Model],
    refused: Vec<RefusedCount>,
    now: Instant,
) -> SourceState {
    let source = kind.spec().source.as_ref();
    let expected = source.and_then(|source| source.expected_interval_seconds);
    let sum = |provenance: Option<i64>| {
        let rows = counters
            .iter()
            .filter(|row| provenance.is_none_or(|p| row.provenance == p));
        Long(rows.map(|row| row.records).sum())
    };
    let newest = counters.iter().map(|row| row.newest_at).max();
    let status = match (newest, expected) {
        (None, _) => SourceStatus::Empty,
        (Some(newest), Some(seconds))
            if now.0 - newest > STALE_INTERVALS * i64::from(seconds) * 1_000_000 =>
        {
            SourceStatus::Stale
        }
        (Some(_), _) => SourceStatus::Collecting,
    };
    SourceState {
        source: kind.spec().wire.to_owned(),
        status,
        records: sum(None),
        real_records: sum(Some(0)),
        simulated_records: sum(Some(2)),
        oldest_at: counters
            .iter()
            .map(|row| row.oldest_at)
            .min()
            .map(|at| DateTime(Instant(at))),
        newest_at: newest.map(|at| DateTime(Instant(at))),
        expected_interval_seconds: expected,
        method: source.map_or("", |source| source.method),
        purpose: source.map_or("", |source| source.purpose),
        refused,
    }
}

fn refused_count(row: &entity::refusals::Model) -> RefusedCount {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    RefusedCount {
        field: given(&row.field),
        code: row.code.clone(),
        device_id: given(&row.device_id),
        count: Long(row.refused),
        last_at: DateTime(Instant(row.last_at)),
    }
}
