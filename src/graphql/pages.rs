//! Connections of sites and devices, ordered by id.

use std::sync::Arc;

use async_graphql::registry::{MetaInputValue, Registry};
use async_graphql::{
    ComplexObject, Context, Error, ID, InputObject, MaybeUndefined, OutputType, ServerResult,
    SimpleObject, TypeName, Value,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::access_keys::AccessKey;
use super::commands::{DeviceLifecycle, DeviceState, DeviceType};
use super::error::{bad_input, too_much};
use super::fleet::{Device, Site};
use super::listed::at_most;
use super::loaders::SiteDevicesKey;
use super::meta::input;
use super::order::InOrder;
use super::scalars::Long;
use super::types::{PAGE_DEFAULT, PAGE_MAX};
use super::words::Word;
use super::{access, api, of_failed};
use crate::history::Within;
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
    edges: Vec<InOrder<EdgeOf<T>>>,
    /// The rows.
    nodes: Vec<T>,
    /// Where the page stands among the others.
    page_info: InOrder<PageInfo>,
    #[graphql(skip)]
    filter: DeviceFilter,
    #[graphql(skip)]
    at_site: Option<i64>,
}

/// Bytes of the row of a site or device, apart from its labels.
const ROW_BYTES: usize = 1_024;

/// What has connections ordered by id.
pub(super) trait TypedEdge: Clone + Send + Sync {
    const NAME: &'static str;
    fn id(&self) -> &str;
    /// Bytes that the row takes, roughly.
    fn weight_bytes(&self) -> usize;
    fn count(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        at_site: Option<i64>,
    ) -> impl Future<Output = Result<u64, Error>> + Send;
    fn rows(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        at_site: Option<i64>,
        page: &IdPage,
    ) -> impl Future<Output = Result<Vec<Self>, Error>> + Send;
}

impl TypedEdge for Device {
    const NAME: &'static str = "Device";

    fn id(&self) -> &str {
        &self.0.device.device_id
    }

    fn weight_bytes(&self) -> usize {
        ROW_BYTES + self.0.device.tags.as_ref().map_or(0, String::len)
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

    async fn rows(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        at_site: Option<i64>,
        page: &IdPage,
    ) -> Result<Vec<Self>, Error> {
        let api = api(ctx);
        let rows = if let Some(site) = at_site {
            let asked = Arc::new((filter.clone(), page.clone()));
            let rows = super::loaders(ctx)
                .site_devices
                .load(SiteDevicesKey(site, asked));
            rows.await.map_err(|error| of_failed(api, &error))?
        } else {
            let allowance = super::loaders(ctx).allowance();
            let rows = fleet::devices_page(api.store(), filter, page, allowance).await;
            rows.map_err(|error| of_failed(api, &error))?
        };
        Ok(rows.into_iter().map(Device).collect())
    }
}

impl TypedEdge for Site {
    const NAME: &'static str = "Site";

    fn id(&self) -> &str {
        &self.0.site_id
    }

    fn weight_bytes(&self) -> usize {
        ROW_BYTES + self.0.tags.as_ref().map_or(0, String::len)
    }

    async fn count(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        _at_site: Option<i64>,
    ) -> Result<u64, Error> {
        let api = api(ctx);
        fleet::sites_count(api.store(), &filter.within)
            .await
            .map_err(|error| of_failed(api, &error))
    }

    async fn rows(
        ctx: &Context<'_>,
        filter: &DeviceFilter,
        _at_site: Option<i64>,
        page: &IdPage,
    ) -> Result<Vec<Self>, Error> {
        let api = api(ctx);
        let allowance = super::loaders(ctx).allowance();
        let within = (&filter.within, allowance);
        let rows = fleet::sites_page(api.store(), page, within).await;
        let rows = rows.map_err(|error| of_failed(api, &error))?;
        Ok(rows.into_iter().map(Site).collect())
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
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<Long>, Error> {
        let count = T::count(ctx, &self.filter, self.at_site).await?;
        Ok(Some(Long(i64::try_from(count).unwrap_or(i64::MAX))))
    }
}

/// Which devices: all conditions given must hold.
#[derive(Clone, Debug, Default, InputObject)]
#[graphql(name = "DeviceFilter")]
pub(super) struct DeviceFilterInput {
    /// At this site.
    site_id: MaybeUndefined<ID>,
    /// One of these, at most 500.
    device_ids: MaybeUndefined<Vec<ID>>,
    /// In one of these states now.
    current_state: MaybeUndefined<Vec<DeviceState>>,
    /// Of one of these types.
    device_type: MaybeUndefined<Vec<DeviceType>>,
    /// In one of these lifecycles.
    lifecycle: MaybeUndefined<Vec<DeviceLifecycle>>,
    /// With this text in id or name, at most 255 characters; upper and lower case of A to Z are
    /// alike.
    search: MaybeUndefined<String>,
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
    fn read<T: TypedEdge>(&self) -> Result<(IdPage, usize), Error> {
        let rows = |name: &str, rows: Option<i32>| {
            let rows = rows.map(|rows| at_most(name, rows, PAGE_MAX));
            rows.transpose()
        };
        let (rows, from_end) = match (rows("first", self.first)?, rows("last", self.last)?) {
            (Some(_), Some(_)) => {
                return Err(bad_input("first and last are both given, a page has one"));
            }
            (Some(first), None) => (first, false),
            (None, Some(last)) => (last, true),
            (None, None) => (PAGE_DEFAULT, false),
        };
        let place = |text: &Option<String>| text.as_deref().map(read_cursor::<T>).transpose();
        let limit = u64::try_from(rows + 1).unwrap_or(u64::MAX);
        let page = IdPage {
            after: place(&self.after)?,
            before: place(&self.before)?,
            limit,
            from_end,
            ..IdPage::default()
        };
        Ok((page, rows))
    }
}

/// The cursor of a row names its list, so that it is no place in another.
fn cursor<T: TypedEdge>(row: &T) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", T::NAME, row.id()))
}

fn read_cursor<T: TypedEdge>(text: &str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let id = place
        .as_deref()
        .and_then(|place| place.strip_prefix(T::NAME)?.strip_prefix(':'))
        .filter(|id| !id.contains('\0'));
    id.map(str::to_owned)
        .ok_or_else(|| bad_input("not a cursor of this list"))
}

/// A page of rows ordered by id.
async fn page_of<T: OutputType + TypedEdge>(
    ctx: &Context<'_>,
    filter: DeviceFilter,
    at_site: Option<i64>,
    arguments: &PageArguments,
) -> Result<Option<InOrder<ConnectionOf<T>>>, Error> {
    let (page, size) = arguments.read::<T>()?;
    let mut rows = T::rows(ctx, &filter, at_site, &page).await?;
    let more = rows.len() > size;
    rows.truncate(size);
    super::loaders(ctx).count(rows.len())?;
    super::take(ctx, rows.iter().map(T::weight_bytes).sum())?;
    if page.from_end {
        rows.reverse();
    }
    // what is on the other side of a place costs a statement
    let asks = |side: &str| ctx.look_ahead().field("pageInfo").field(side).exists();
    let (next, previous) = (asks("hasNextPage"), asks("hasPreviousPage"));
    let any = async |side: IdPage| {
        let rows = T::rows(ctx, &filter, at_site, &IdPage { limit: 1, ..side }).await?;
        Ok::<_, Error>(!rows.is_empty())
    };
    let mut has_next_page = more && !page.from_end;
    if let Some(from) = page.before.filter(|_| next && !has_next_page) {
        has_next_page = any(IdPage {
            from: Some(from),
            ..IdPage::default()
        })
        .await?;
    }
    let mut has_previous_page = more && page.from_end;
    if let Some(upto) = page.after.filter(|_| previous && !has_previous_page) {
        has_previous_page = any(IdPage {
            upto: Some(upto),
            ..IdPage::default()
        })
        .await?;
    }
    let page_info = InOrder(PageInfo {
        has_next_page,
        has_previous_page,
        start_cursor: rows.first().map(cursor),
        end_cursor: rows.last().map(cursor),
    });
    let edge = |row: &T| {
        InOrder(EdgeOf {
            cursor: cursor(row),
            node: row.clone(),
        })
    };
    Ok(Some(InOrder(ConnectionOf {
        edges: rows.iter().map(edge).collect(),
        nodes: rows,
        page_info,
        filter,
        at_site,
    })))
}

/// A page of sites.
pub(super) async fn sites(
    ctx: &Context<'_>,
    arguments: &PageArguments,
) -> Result<Option<InOrder<ConnectionOf<Site>>>, Error> {
    let filter = DeviceFilter {
        within: access::within(ctx).await?,
        ..DeviceFilter::default()
    };
    page_of(ctx, filter, None, arguments).await
}

/// A page of access keys.
pub(super) async fn access_keys(
    ctx: &Context<'_>,
    arguments: &PageArguments,
) -> Result<Option<InOrder<ConnectionOf<InOrder<AccessKey>>>>, Error> {
    page_of(ctx, DeviceFilter::default(), None, arguments).await
}

/// A page of devices.
pub(super) async fn devices(
    ctx: &Context<'_>,
    filter: Option<DeviceFilterInput>,
    at_site: Option<i64>,
    arguments: &PageArguments,
) -> Result<Option<InOrder<ConnectionOf<Device>>>, Error> {
    let mut filter = match filter {
        Some(filter) => condition(ctx, filter).await?,
        None => DeviceFilter::default(),
    };
    filter.within = access::within(ctx).await?;
    page_of(ctx, filter, at_site, arguments).await
}

/// Ids at most in a filter.
const IDS_MAX: usize = 500;
/// Characters at most of a text that is searched for: no name is longer.
const SEARCH_CHARACTERS_MAX: usize = 255;

/// The condition on devices that a filter asks for.
pub(super) async fn condition(
    ctx: &Context<'_>,
    filter: DeviceFilterInput,
) -> Result<DeviceFilter, Error> {
    let device_ids = given("deviceIds", filter.device_ids)?;
    if device_ids.as_ref().is_some_and(|ids| ids.len() > IDS_MAX) {
        let message = format!("filter.deviceIds has at most {IDS_MAX} values");
        return Err(too_much(message));
    }
    let search = given("search", filter.search)?;
    let characters = search.as_ref().map_or(0, |text| text.chars().count());
    if characters > SEARCH_CHARACTERS_MAX {
        let message = format!("filter.search has at most {SEARCH_CHARACTERS_MAX} characters");
        return Err(too_much(message));
    }
    let site_key = match given("siteId", filter.site_id)? {
        Some(id) => {
            let key = api(ctx).store().key(EntityType::Site, &id).await;
            let key = key.map_err(|error| of_failed(api(ctx), &error))?;
            // a site that nobody has registered has no devices
            Some(key.unwrap_or(-1))
        }
        None => None,
    };
    Ok(DeviceFilter {
        within: Within::Whole,
        site_key,
        device_ids: device_ids.map(|ids| ids.into_iter().map(|id| id.0).collect()),
        states: words("currentState", filter.current_state)?,
        types: words("deviceType", filter.device_type)?,
        lifecycles: words("lifecycle", filter.lifecycle)?,
        search,
        ..DeviceFilter::default()
    })
}

/// What a condition asks for. One that is null is no condition: were it passed over, all devices
/// would pass.
fn given<T>(name: &str, value: MaybeUndefined<T>) -> Result<Option<T>, Error> {
    match value {
        MaybeUndefined::Undefined => Ok(None),
        MaybeUndefined::Null => Err(bad_input(format!("filter.{name} is null; leave it out"))),
        MaybeUndefined::Value(value) => Ok(Some(value)),
    }
}

fn words<S>(name: &str, words: MaybeUndefined<Vec<Word<S>>>) -> Result<Option<Vec<String>>, Error> {
    let words = given(name, words)?;
    Ok(words.map(|words| words.iter().map(Word::word).collect()))
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
