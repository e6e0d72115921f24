//! The queries of groups of errors.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::error_group::{ErrorGroup, severity_of, status_of};
use crate::error_groups::{Ask, By, Cut, GroupId, Page, Which};
use crate::event::{Instant, Provenance};
use crate::graphql::access::{self, key_or_none};
use crate::graphql::commands::DeviceType;
use crate::graphql::error::bad_input;
use crate::graphql::fleet::Site;
use crate::graphql::listed::Listed;
use crate::graphql::order::InOrder;
use crate::graphql::pages::PageInfo;
use crate::graphql::scalars::{DateTime, Long, TimeZone};
use crate::graphql::words::{
    ErrorCategories, ErrorGroupStatuses, ErrorSeverities, Provenances, Shown, Word,
};
use crate::graphql::{api, loaders, of_failed, take};
use crate::history::device_keys::device_keys;
use crate::history::fleet::{self, DeviceFilter};
use crate::history::{Part, Within};
use crate::store::EntityType;

/// The list of groups.
pub(super) const LIST: Listed = Listed {
    name: "error-group",
    rows: 50,
    rows_max: 1_000,
};
/// Bytes that a group takes in an answer, roughly.
const GROUP_BYTES: usize = 4_096;
/// Values at most of a condition.
const VALUES_MAX: usize = 100;

/// Which groups of errors: all conditions given must hold.
#[derive(Debug, Default, InputObject)]
pub(super) struct ErrorGroupFilter {
    /// With errors of this device: of them alone is counted and told.
    device_id: Option<ID>,
    /// With errors of devices that are registered at this site: of them alone is counted and told.
    site_id: Option<ID>,
    /// With errors of devices of one of these types: of them alone is counted and told.
    device_types: Option<Vec<DeviceType>>,
    /// Of one of these categories.
    categories: Option<Vec<Word<ErrorCategories>>>,
    /// Whose most severe error is one of these.
    severities: Option<Vec<Word<ErrorSeverities>>>,
    /// Of which one of these holds.
    statuses: Option<Vec<Word<ErrorGroupStatuses>>>,
    /// With errors of this provenance; left out, REAL if there are any, else CONTROLLED, else SIMULATED; on a demo
    /// SIMULATED first.
    provenance: Option<Shown<Provenances>>,
    /// Seen last at this instant or later.
    seen_since: Option<DateTime>,
    /// Seen first before this instant.
    seen_before: Option<DateTime>,
}

/// In which order groups of errors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum ErrorGroupOrder {
    /// Those first that were seen last.
    LastSeen,
    /// Those first that have most errors.
    Count,
}

impl From<ErrorGroupOrder> for By {
    fn from(order: ErrorGroupOrder) -> Self {
        match order {
            ErrorGroupOrder::LastSeen => Self::LastSeen,
            ErrorGroupOrder::Count => Self::Count,
        }
    }
}

impl ErrorGroupFilter {
    /// Groups of which one of these holds, and whose most severe error is one of those.
    pub(super) fn of(
        statuses: Option<Vec<Word<ErrorGroupStatuses>>>,
        severities: Option<Vec<Word<ErrorSeverities>>>,
    ) -> Self {
        Self {
            severities,
            statuses,
            ..Self::default()
        }
    }

    pub(super) fn which(&self) -> Result<Which, Error> {
        let lists = [
            self.device_types.as_ref().map(Vec::len),
            self.categories.as_ref().map(Vec::len),
            self.severities.as_ref().map(Vec::len),
            self.statuses.as_ref().map(Vec::len),
        ];
        if lists
            .into_iter()
            .flatten()
            .any(|values| values > VALUES_MAX)
        {
            return Err(bad_input(format!(
                "a condition of filter has at most {VALUES_MAX} values"
            )));
        }
        let categories = self.categories.as_ref();
        let severities = self.severities.as_ref();
        let statuses = self.statuses.as_ref();
        Ok(Which {
            categories: categories.map(|words| words.iter().map(Word::word).collect()),
            severities: severities
                .map(|words| words.iter().map(|word| severity_of(&word.word())).collect()),
            statuses: statuses
                .map(|words| words.iter().map(|word| status_of(&word.word())).collect()),
            seen_since: self.seen_since.map(|at| at.0),
            seen_before: self.seen_before.map(|at| at.0),
        })
    }
}

/// Of which devices groups are told, and in which time zone.
#[derive(Debug)]
struct Of {
    devices: Option<Vec<i64>>,
    /// How many devices and sites that is.
    fleet: (usize, usize),
    zone: Tz,
}

fn of<'a>(
    ctx: &'a Context<'_>,
    filter: &'a ErrorGroupFilter,
    zone: Option<&'a TimeZone>,
) -> BoxFuture<'a, Result<Of, Error>> {
    Box::pin(async move {
        let (api, within) = (api(ctx), access::within(ctx).await?);
        let (store, failed) = (api.store(), |error| of_failed(api, &error));
        let mut zone: Option<Tz> = zone.and_then(|zone| zone.0.parse().ok());
        let mut site_key = None;
        if let Some(id) = &filter.site_id {
            let key = key_or_none(ctx, EntityType::Site, id).await?;
            let site = Site::load(ctx, key).await?;
            let own = site.and_then(|site| site.0.time_zone.parse().ok());
            (site_key, zone) = (Some(key), zone.or(own));
        }
        let zone = zone.unwrap_or(Tz::UTC);
        let is_narrowed = site_key.is_some()
            || filter.device_id.is_some()
            || filter.device_types.is_some()
            || within != Within::Whole;
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        if !is_narrowed {
            let devices = fleet::devices_count(store, &DeviceFilter::default()).await;
            let sites = fleet::sites_count(store, &within).await;
            return Ok(Of {
                devices: None,
                fleet: (
                    count(devices.map_err(failed)?),
                    count(sites.map_err(failed)?),
                ),
                zone,
            });
        }
        let types = filter.device_types.as_ref();
        let condition = DeviceFilter {
            within,
            site_key,
            device_ids: filter
                .device_id
                .as_ref()
                .map(|id| vec![id.0.replace('\0', " ")]),
            types: types.map(|types| types.iter().map(Word::word).collect()),
            ..DeviceFilter::default()
        };
        let keys = device_keys(store, &condition).await.map_err(failed)?;
        let sites = keys
            .iter()
            .filter_map(|key| store.names().site_of_device(*key));
        let sites = sites.collect::<std::collections::BTreeSet<i64>>().len();
        Ok(Of {
            fleet: (keys.len(), sites),
            devices: Some(keys.into_iter().collect()),
            zone,
        })
    })
}

/// The provenance that is asked for, or those of which the first is taken that has any groups.
pub(super) fn provenances(
    ctx: &Context<'_>,
    asked: Option<&Shown<Provenances>>,
) -> Vec<Provenance> {
    let asked = asked.and_then(|word| Provenance::of_word(&word.word()));
    let order = api(ctx).preferred.order();
    asked.map_or_else(|| order.to_vec(), |asked| vec![asked])
}

/// What is asked of groups, as of an instant.
pub(super) fn ask<'a>(
    ctx: &'a Context<'_>,
    filter: &'a ErrorGroupFilter,
    (as_of, zone): (Option<DateTime>, Option<&'a TimeZone>),
) -> BoxFuture<'a, Result<Ask, Error>> {
    Box::pin(async move {
        let (now, as_of) = (loaders(ctx).now(), super::as_of::as_of(ctx, as_of).await?);
        let of = of(ctx, filter, zone).await?;
        Ok(Ask {
            provenances: provenances(ctx, filter.provenance.as_ref()),
            as_of,
            cut: Cut {
                devices: of.devices,
                until: (as_of < now).then_some(as_of),
            },
            fleet: of.fleet,
            which: filter.which()?,
            by: By::default(),
            part: Part::default(),
            rows: 0,
            zone: of.zone,
        })
    })
}

/// A group that the caller may see, if there is such a one.
pub(super) fn one<'a>(
    ctx: &'a Context<'_>,
    id: &'a str,
    (as_of, zone): (Option<DateTime>, Option<&'a TimeZone>),
) -> BoxFuture<'a, Result<Option<ErrorGroup>, Error>> {
    Box::pin(async move {
        let Some(id) = GroupId::read(id) else {
            return Ok(None);
        };
        let ask = ask(ctx, &ErrorGroupFilter::default(), (as_of, zone)).await?;
        let api = api(ctx);
        let told = api.groups.one(api.store(), id, &ask).await;
        let told = told.map_err(|error| of_failed(api, &error))?;
        let cut = Arc::new(ask.cut.clone());
        Ok(told.map(|told| ErrorGroup::new(told, ask.as_of, &cut)))
    })
}

/// The queries of groups of errors.
#[derive(Debug, Default)]
pub(in crate::graphql) struct ErrorGroups;

#[Object]
impl ErrorGroups {
    /// A group of errors by its id, or by that of one that has become part of it; null when there is none within reach.
    async fn error_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] id: ID,
        #[graphql(desc = "As of when: nothing that happened later counts; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(desc = "In which times are told in sentences; UTC when left out.")]
        time_zone: Option<TimeZone>,
    ) -> Result<Option<InOrder<ErrorGroup>>, Error> {
        let group = one(ctx, &id, (as_of, time_zone.as_ref())).await?;
        Ok(group.map(InOrder))
    }

    /// Groups of errors that are one error: what errors repeat, since when, how often against before, and after which
    /// change.
    ///
    /// Within a provenance there are at most 2000 groups, and one beside them for all other messages of each category
    /// and severity.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn error_groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which groups.")] filter: Option<ErrorGroupFilter>,
        #[graphql(desc = "In which order; LAST_SEEN when left out.")] order: Option<
            ErrorGroupOrder,
        >,
        #[graphql(desc = "As of when: nothing that happened later counts; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "In which times are told in sentences; when left out that of the site that is asked for, or UTC."
        )]
        time_zone: Option<TimeZone>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 1000 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 1000 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<ErrorGroupConnection>>, Error> {
        let (rows, part) = LIST.part((first, after), (last, before))?;
        let filter = filter.unwrap_or_default();
        let ask = Ask {
            by: order.map_or_else(By::default, By::from),
            part,
            rows,
            ..ask(ctx, &filter, (as_of, time_zone.as_ref())).await?
        };
        let connection = ErrorGroupConnection::read(ctx, &ask).await?;
        Ok(Some(InOrder(connection)))
    }
}

/// A group of errors with its place.
#[derive(Debug, SimpleObject)]
struct ErrorGroupEdge {
    /// Place of the group.
    cursor: String,
    /// The group.
    node: InOrder<ErrorGroup>,
}

/// A page of groups of errors.
#[derive(Debug)]
pub(in crate::graphql) struct ErrorGroupConnection {
    groups: Vec<ErrorGroup>,
    by: By,
    sides: (bool, bool),
    total: usize,
    provenance: Option<Provenance>,
}

impl ErrorGroupConnection {
    fn read<'a>(ctx: &'a Context<'_>, ask: &'a Ask) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            let api = api(ctx);
            let page = api.groups.page(api.store(), ask).await;
            let page = page.map_err(|error| of_failed(api, &error))?;
            Self::of(ctx, page, (ask.by, ask.as_of), &Arc::new(ask.cut.clone()))
        })
    }

    /// A page that was read, in an order, as of an instant and of a part of the fleet.
    pub(super) fn of(
        ctx: &Context<'_>,
        page: Page,
        (by, as_of): (By, Instant),
        cut: &Arc<Cut>,
    ) -> Result<Self, Error> {
        loaders(ctx).count(page.groups.len())?;
        take(ctx, page.groups.len() * GROUP_BYTES)?;
        let groups = page.groups.into_iter();
        Ok(Self {
            groups: groups
                .map(|told| ErrorGroup::new(told, as_of, cut))
                .collect(),
            by,
            sides: page.sides,
            total: page.total,
            provenance: page.provenance,
        })
    }

    fn cursor(&self, group: &ErrorGroup) -> String {
        LIST.write(&self.by.place_of(group.told()))
    }
}

/// A page of groups of errors.
#[Object]
impl ErrorGroupConnection {
    /// The groups with their places.
    async fn edges(&self) -> Vec<InOrder<ErrorGroupEdge>> {
        let edge = |group: &ErrorGroup| ErrorGroupEdge {
            cursor: self.cursor(group),
            node: InOrder(group.clone()),
        };
        self.groups.iter().map(edge).map(InOrder).collect()
    }

    /// The groups.
    async fn nodes(&self) -> Vec<InOrder<ErrorGroup>> {
        self.groups.iter().cloned().map(InOrder).collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        InOrder(PageInfo {
            has_next_page: self.sides.0,
            has_previous_page: self.sides.1,
            start_cursor: self.groups.first().map(|group| self.cursor(group)),
            end_cursor: self.groups.last().map(|group| self.cursor(group)),
        })
    }

    /// How many groups there are on all pages.
    async fn total_count(&self) -> Long {
        Long(i64::try_from(self.total).unwrap_or(i64::MAX))
    }

    /// Where the errors come from that were grouped; null where there are none.
    async fn provenance(&self) -> Option<Shown<Provenances>> {
        let provenance = self.provenance?;
        Some(Shown::new(provenance.word()))
    }
}
