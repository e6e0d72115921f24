//! The root of queries: the fleet, one connection for each kind, and what the server says of itself.

use std::sync::Arc;

use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Error, ID, Object, ObjectType, OutputType,
    Positioned, ServerResult, Value, parser::types::Field,
};

use super::access_keys::{AccessKey, Viewer};
use super::collection::CollectionStatus;
use super::configuration_values::ConfigurationValue;
use super::error::bad_input;
use super::fleet::{Device, Site};
use super::ids::{self, Named};
use super::job::Job;
use super::loaders::EventKey;
use super::meta::{field_with, input, object_type};
use super::order::InOrder;
use super::pages::{ConnectionOf, DeviceFilterInput, PageArguments};
use super::rows::Stand;
use super::store_health::StoreHealth;
use super::types::{connection_field, page_arguments};
use super::{access, api, connection, loaders, of_failed, pages, rows, types};
use crate::configuration;
use crate::event::Event;
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

pub(super) async fn site_of(ctx: &Context<'_>, id: &str) -> Result<Option<Site>, Error> {
    let key = api(ctx).store().key(EntityType::Site, id).await;
    match key.map_err(|error| of_failed(api(ctx), &error))? {
        Some(key) => Site::load(ctx, key).await,
        None => Ok(None),
    }
}

pub(super) async fn device_of(ctx: &Context<'_>, id: &str) -> Result<Option<Device>, Error> {
    let key = api(ctx).store().key(EntityType::Device, id).await;
    match key.map_err(|error| of_failed(api(ctx), &error))? {
        Some(key) => Device::load(ctx, key).await,
        None => Ok(None),
    }
}

async fn node(ctx: &Context<'_>) -> ServerResult<Value> {
    let id = ctx.param_value::<ID>("id", None)?.1;
    let failed = |error: Error| ctx.set_error_path(error.into_server_error(ctx.item.pos));
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    let named = ids::read(&id).ok_or_else(|| failed(bad_input("not an id of this API")))?;
    match named {
        Named::Event(kind, place) => {
            // whether the caller sees it is told by what it names
            let columns = rows::columns(&set, kind).with_subject(kind.spec());
            let key = EventKey(kind, place, columns);
            let event = loaders(ctx).events.load(key).await;
            let event = event.map_err(|error| failed(of_failed(api(ctx), &error)))?;
            let names = api(ctx).store().names();
            let seen = event.filter(|event| access::sees(access::caller(ctx), names, event));
            let events: Vec<Arc<Event>> = seen.into_iter().collect();
            let rows = rows::render(&set, Stand::Alone, &events).await?;
            Ok(rows.into_iter().next().unwrap_or_default())
        }
        Named::Site(id) => {
            let site = site_of(ctx, &id).await;
            OutputType::resolve(&site, &set, ctx.item).await
        }
        Named::Device(id) => {
            let device = device_of(ctx, &id).await;
            OutputType::resolve(&device, &set, ctx.item).await
        }
        Named::Job(id) => {
            let job = Job::of(ctx, &id).await;
            let job = job.map(|job| job.map(InOrder));
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
                    "EventConnection",
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

/// The other part of the queries.
#[derive(Debug)]
pub(super) struct Fleet;

#[Object]
impl Fleet {
    /// Who asks.
    async fn viewer(&self, ctx: &Context<'_>) -> InOrder<Viewer> {
        InOrder(Viewer::of(access::caller(ctx)))
    }

    /// The access keys, by their ids.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn access_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Rows at most, from the beginning.")] first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<ConnectionOf<InOrder<AccessKey>>>>, Error> {
        pages::access_keys(
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

    /// A site by its id; null when there is none within reach.
    async fn site(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id that its operator gave it.")] site_id: ID,
    ) -> Result<Option<Site>, Error> {
        site_of(ctx, &site_id).await
    }

    /// A device by its id; null when there is none within reach.
    async fn device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id that its operator gave it.")] device_id: ID,
    ) -> Result<Option<Device>, Error> {
        device_of(ctx, &device_id).await
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
    ) -> Result<Option<InOrder<ConnectionOf<Site>>>, Error> {
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
    ) -> Result<Option<InOrder<ConnectionOf<Device>>>, Error> {
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
    ) -> Result<Option<Vec<InOrder<ConfigurationValue>>>, Error> {
        super::fleet::configured(ctx, "SYSTEM", configuration::SYSTEM)
            .await
            .map(Some)
    }

    /// What is collected of each source, and whether it is.
    async fn collection_status(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<InOrder<CollectionStatus>>, Error> {
        let status = CollectionStatus::read(api(ctx)).await?;
        Ok(Some(InOrder(status)))
    }

    /// How the log stands.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous")]
    async fn store_health(&self, ctx: &Context<'_>) -> Result<InOrder<StoreHealth>, Error> {
        Ok(InOrder(StoreHealth::of(api(ctx))))
    }
}
