//! Connections of sites and devices, ordered by id.

use std::sync::Arc;

use async_graphql::registry::{MetaInputValue, Registry};
use async_graphql::{
    ComplexObject, Context, Error, InputObject, OutputType, ServerResult, SimpleObject, TypeName,
    Value,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::bad_input;
use super::fleet::{Device, Site};
use super::loaders::SiteDevicesKey;
use super::meta::input;
use super::scalars::Long;
use super::types::{PAGE_DEFAULT, PAGE_MAX};
use super::{api, of_failed};
use crate::history::fleet::{self, DeviceFilter, IdPage};
use crate::store::EntityType;

/// Where a page stands among the others.
#[derive(Clone, Debug, Default, SimpleObject)]
pub(super) struct PageInfo {
    /// Whether more follow.
    pub(super) has_next_page: bool,
    /// Whether some come before.
    pub(super) has_previous_page: bool,
    /// Cursor of the first row.
    pub(super) start_cursor: Option<String>,
    /// Cursor of the last row.
    pub(super) end_cursor: Option<String>,
}

/// A row with its place.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name_type)]
pub(super) struct EdgeOf<T: OutputType + TypedEdge> {
    /// Place of the row.
    cursor: String,
    /// The row.
    node: T,
}

/// A page of rows ordered by id.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name_type, complex)]
pub(super) struct ConnectionOf<T: OutputType + TypedEdge> {
    /// The rows with their places.
    edges: Vec<EdgeOf<T>>,
    /// The rows.
    nodes: Vec<T>,
    /// Where the page stands among the others.
    page_info: PageInfo,
    #[graphql(skip)]
    filter: DeviceFilter,
    #[graphql(skip)]
    at_site: Option<i64>,
}

/// What has connections ordered by id.
pub(super) trait TypedEdge: Clone + Send + Sync {
    const NAME: &'static str;
    fn id(&self) -> &str;
    fn count(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        at_site: Option<i64>,
    ) -> impl Future<Output = Result<u64, Error>> + Send;
}

impl TypedEdge for Device {
    const NAME: &'static str = "Device";

    fn id(&self) -> &str {
        &self.0.device.device_id
    }

    async fn count(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        at_site: Option<i64>,
    ) -> Result<u64, Error> {
        let api = api(ctx);
        if let Some(site) = at_site {
            let asked = Arc::new((filter.clone(), IdPage::default()));
            let count = super::loaders(ctx)
                .site_counts
                .load(SiteDevicesKey(site, asked));
            return count.await.map_err(|error| of_failed(api, &error));
        }
        fleet::devices_count(api.store(), filter)
            .await
            .map_err(|error| of_failed(api, &error))
    }
}

impl TypedEdge for Site {
    const NAME: &'static str = "Site";

    fn id(&self) -> &str {
        &self.0.site_id
    }

    async fn count(
        ctx: &Context<'_>,
        _filter: &DeviceFilter,
        _at_site: Option<i64>,
    ) -> Result<u64, Error> {
        let api = api(ctx);
        fleet::sites_count(api.store())
            .await
            .map_err(|error| of_failed(api, &error))
    }
}

impl<T: OutputType + TypedEdge> TypeName for EdgeOf<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Edge", T::NAME).into()
    }
}

impl<T: OutputType + TypedEdge> TypeName for ConnectionOf<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Connection", T::NAME).into()
    }
}

#[ComplexObject]
impl<T: OutputType + TypedEdge> ConnectionOf<T> {
    /// How many rows there are on all pages; counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Long, Error> {
        let count = T::count(ctx, &self.filter, self.at_site).await?;
        Ok(Long(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

/// Which devices: all conditions given must hold.
#[derive(Clone, Debug, Default, InputObject)]
#[graphql(name = "DeviceFilter")]
pub(super) struct DeviceFilterInput {
    /// At this site.
    site_id: Option<async_graphql::ID>,
    /// One of these, at most 500.
    #[graphql(validator(max_items = 500))]
    device_ids: Option<Vec<async_graphql::ID>>,
    /// In one of these states now.
    current_state: Option<Vec<super::commands::DeviceState>>,
    /// Of one of these types.
    device_type: Option<Vec<super::commands::DeviceType>>,
    /// In one of these lifecycles.
    lifecycle: Option<Vec<super::commands::DeviceLifecycle>>,
    /// With this text in id or name; upper and lower case of A to Z are alike.
    search: Option<String>,
}

/// The arguments of a page ordered by id.
pub(super) fn arguments(mut before: Vec<MetaInputValue>) -> Vec<MetaInputValue> {
    let size = format!(
        "Rows at most, from the beginning; {PAGE_DEFAULT} when neither is given, {PAGE_MAX} at most."
    );
    before.push(input("first", "Int", &size));
    before.push(input("after", "String", "Begins after this place."));
    before.push(input(
        "last",
        "Int",
        &format!("Rows at most, from the end; {PAGE_MAX} at most."),
    ));
    before.push(input("before", "String", "Ends before this place."));
    before
}

/// The size and place of a page, as it was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct PageArguments {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<String>,
}

impl PageArguments {
    fn read(&self) -> Result<(IdPage, usize), Error> {
        let rows = |name: &str, rows: Option<i32>| {
            let Some(rows) = rows else { return Ok(None) };
            let within = usize::try_from(rows).ok().filter(|rows| *rows <= PAGE_MAX);
            let message = || format!("{name} is not between 0 and {PAGE_MAX}");
            within.map(Some).ok_or_else(|| bad_input(message()))
        };
        let (rows, from_end) = match (rows("first", self.first)?, rows("last", self.last)?) {
            (Some(_), Some(_)) => {
                return Err(bad_input("first and last are both given, a page has one"));
            }
            (Some(first), None) => (first, false),
            (None, Some(last)) => (last, true),
            (None, None) => (PAGE_DEFAULT, false),
        };
        let place = |text: &Option<String>| text.as_deref().map(read_cursor).transpose();
        let limit = u64::try_from(rows + 1).unwrap_or(u64::MAX);
        let page = IdPage {
            after: place(&self.after)?,
            before: place(&self.before)?,
            limit,
            from_end,
        };
        Ok((page, rows))
    }
}

fn cursor(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("id:{id}"))
}

fn read_cursor(text: &str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let id = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let id = id
        .as_deref()
        .and_then(|id| id.strip_prefix("id:"))
        .map(str::to_owned);
    id.ok_or_else(|| bad_input("not a cursor of this list"))
}

fn page_of<T: OutputType + TypedEdge>(
    mut rows: Vec<T>,
    (page, size): (&IdPage, usize),
    filter: DeviceFilter,
) -> ConnectionOf<T> {
    let more = rows.len() > size;
    rows.truncate(size);
    let (has_next_page, has_previous_page) = if page.from_end {
        rows.reverse();
        (page.before.is_some(), more)
    } else {
        (more, page.after.is_some())
    };
    let page_info = PageInfo {
        has_next_page,
        has_previous_page,
        start_cursor: rows.first().map(|row| cursor(row.id())),
        end_cursor: rows.last().map(|row| cursor(row.id())),
    };
    let edge = |row: &T| EdgeOf {
        cursor: cursor(row.id()),
        node: row.clone(),
    };
    ConnectionOf {
        edges: rows.iter().map(edge).collect(),
        nodes: rows,
        page_info,
        filter,
        at_site: None,
    }
}

/// A page of sites.
pub(super) async fn sites(
    ctx: &Context<'_>,
    arguments: &PageArguments,
) -> Result<ConnectionOf<Site>, Error> {
    let api = api(ctx);
    let (page, size) = arguments.read()?;
    let rows = fleet::sites_page(api.store(), &page)
        .await
        .map_err(|e| of_failed(api, &e))?;
    let rows = rows.into_iter().map(Site).collect();
    Ok(page_of(rows, (&page, size), DeviceFilter::default()))
}

/// A page of devices.
pub(super) async fn devices(
    ctx: &Context<'_>,
    filter: Option<DeviceFilterInput>,
    at_site: Option<i64>,
    arguments: &PageArguments,
) -> Result<ConnectionOf<Device>, Error> {
    let api = api(ctx);
    let (page, size) = arguments.read()?;
    let filter = filter
        .map(|filter| condition(ctx, filter))
        .unwrap_or_default();
    let rows = if let Some(site) = at_site {
        let asked = Arc::new((filter.clone(), page.clone()));
        let rows = super::loaders(ctx)
            .site_devices
            .load(SiteDevicesKey(site, asked));
        rows.await.map_err(|error| of_failed(api, &error))?
    } else {
        let rows = fleet::devices_page(api.store(), &filter, &page).await;
        rows.map_err(|error| of_failed(api, &error))?
    };
    let rows = rows.into_iter().map(Device).collect();
    let mut connection = page_of(rows, (&page, size), filter);
    connection.at_site = at_site;
    Ok(connection)
}

fn condition(ctx: &Context<'_>, filter: DeviceFilterInput) -> DeviceFilter {
    let names = api(ctx).store().names();
    DeviceFilter {
        // a site that nobody has registered has no devices
        site_key: filter
            .site_id
            .map(|id| names.key(EntityType::Site, &id).unwrap_or(-1)),
        device_ids: filter
            .device_ids
            .map(|ids| ids.into_iter().map(|id| id.0).collect()),
        states: filter
            .current_state
            .map(|s| s.into_iter().map(|s| s.word()).collect()),
        types: filter
            .device_type
            .map(|t| t.into_iter().map(|t| t.word()).collect()),
        lifecycles: filter
            .lifecycle
            .map(|l| l.into_iter().map(|l| l.word()).collect()),
        search: filter.search,
    }
}

/// The devices of a site as a field of it.
pub(super) struct DevicePages {
    site_key: i64,
}

impl DevicePages {
    /// At a site.
    pub(super) const fn at(site_key: i64) -> Self {
        Self { site_key }
    }

    /// Resolves the field.
    pub(super) async fn resolve(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let arguments = PageArguments {
            first: ctx.param_value::<Option<i32>>("first", None)?.1,
            after: ctx.param_value::<Option<String>>("after", None)?.1,
            last: ctx.param_value::<Option<i32>>("last", None)?.1,
            before: ctx.param_value::<Option<String>>("before", None)?.1,
        };
        let filter = ctx
            .param_value::<Option<DeviceFilterInput>>("filter", None)?
            .1;
        let page = devices(ctx, filter, Some(self.site_key), &arguments).await;
        let set = ctx.with_selection_set(&ctx.item.node.selection_set);
        OutputType::resolve(&page, &set, ctx.item).await.map(Some)
    }
}

/// Adds the types that are named only by their names.
pub(super) fn register(registry: &mut Registry) {
    <PageInfo as OutputType>::create_type_info(registry);
    <Option<DeviceFilterInput> as async_graphql::InputType>::create_type_info(registry);
}
