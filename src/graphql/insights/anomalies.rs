//! Lists of what is unusual: of a device, of a site, and of all within reach.

use async_graphql::{Context, Error, Object, SimpleObject};
use futures_util::future::{BoxFuture, try_join_all};

use super::anomaly::{Anomaly, AnomalyState, Seen, reading, seen};
use super::ask::ask;
use super::measure::DeviceMeasure;
use super::of::{Of, each, each_of};
use super::ranked::{Page, PageOf, among};
use super::reads;
use super::shape::Reading;
use crate::event::Instant;
use crate::graphql::listed::Listed;
use crate::graphql::loaders;
use crate::graphql::order::InOrder;
use crate::graphql::pages::{DeviceFilterInput, PageInfo};
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{Provenances, Shown};
use crate::held::{Ask, DeviceRead, FleetRead};
use crate::history::Place;

/// The list of anomalies.
const LIST: Listed = Listed {
    name: "anomaly",
    rows: 50,
    rows_max: 1_000,
};

/// Which anomalies are asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::graphql) struct Which {
    pub(in crate::graphql) measures: Option<Vec<DeviceMeasure>>,
    pub(in crate::graphql) states: Option<Vec<AnomalyState>>,
    pub(in crate::graphql) since: Option<DateTime>,
}

impl Which {
    /// Incidents are told unless it is said otherwise.
    fn takes(&self, seen: &Seen) -> bool {
        let state = seen.state();
        let is_wanted = match &self.states {
            Some(states) => states.contains(&state),
            None => state != AnomalyState::Quiet,
        };
        let since = self.since.map_or(Instant(i64::MIN), |since| since.0);
        let is_late = seen
            .incident
            .is_none_or(|one| one.is_open || one.last >= since);
        is_wanted && is_late
    }

    fn of(
        &self,
        read: &DeviceRead,
        fleet: &FleetRead,
    ) -> impl Iterator<Item = (Place, (i64, Seen))> {
        let all = seen(read, fleet, self.measures.as_deref());
        let wanted = all.into_iter().filter(|seen| self.takes(seen));
        wanted.map(|seen| (place(&read.device.id, &seen), (read.key, seen)))
    }
}

/// Those first that began last; what is no incident comes after those, in order of devices and measures.
fn place(device_id: &str, seen: &Seen) -> Place {
    let began = seen.incident.map_or(0, |one| one.since.0);
    (began, format!("{device_id}/{}", seen.measure.name()))
}

/// An anomaly with its place.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct AnomalyEdge {
    /// Place of the anomaly.
    cursor: String,
    /// The anomaly.
    node: Reading<Anomaly>,
}

/// A page of anomalies.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct AnomalyConnection {
    page: Page<Reading<Anomaly>>,
}

/// A page of anomalies, those first that began last.
#[Object]
impl AnomalyConnection {
    /// The anomalies with their places.
    async fn edges(&self) -> Vec<InOrder<AnomalyEdge>> {
        let rows = self.page.rows.iter();
        let edges = rows.map(|(place, node)| AnomalyEdge {
            cursor: self.page.cursor(place),
            node: node.clone(),
        });
        edges.map(InOrder).collect()
    }

    /// The anomalies.
    async fn nodes(&self) -> Vec<Reading<Anomaly>> {
        let rows = self.page.rows.iter();
        rows.map(|(_, node)| node.clone()).collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        InOrder(self.page.info())
    }

    /// How many anomalies there are on all pages.
    async fn total_count(&self) -> Long {
        Long(i64::try_from(self.page.total).unwrap_or(i64::MAX))
    }
}

type Rows = Vec<(Place, (i64, Seen))>;

/// What is unusual of devices as a page, of which the devices are read with what others ask of them.
fn page_of<'a>(
    ctx: &'a Context<'a>,
    rows: Rows,
    (ask, page): (Ask, PageOf),
) -> BoxFuture<'a, Result<AnomalyConnection, Error>> {
    Box::pin(async move {
        let page = Page::of(LIST, rows, page)?;
        loaders(ctx).count(page.rows.len())?;
        let told = page.rows.iter().map(|(_, row)| one(ctx, *row, ask));
        let mut told = try_join_all(told).await?.into_iter();
        Ok(AnomalyConnection {
            page: page.map_in_turn(|| told.next().flatten()),
        })
    })
}

fn one<'a>(
    ctx: &'a Context<'a>,
    (key, seen): (i64, Seen),
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Reading<Anomaly>>, Error>> {
    Box::pin(async move {
        let Some(read) = reads::device(ctx, key, ask).await? else {
            return Ok(None);
        };
        let fleet = reads::fleet(ctx, read.provenance, ask.as_of).await?;
        Ok(reading(&read, &fleet, seen))
    })
}

/// What is unusual of a device, of the devices of a site, or of all within reach.
pub(in crate::graphql) fn at<'a>(
    ctx: &'a Context<'a>,
    of: Of,
    (ask, which, page): (Ask, Which, PageOf),
) -> BoxFuture<'a, Result<AnomalyConnection, Error>> {
    Box::pin(async move {
        let mut rows = Rows::new();
        let look = |read: &DeviceRead, fleet: &FleetRead| rows.extend(which.of(read, fleet));
        each(ctx, (of, ask), look).await?;
        page_of(ctx, rows, (ask, page)).await
    })
}

/// The queries of anomalies.
#[derive(Debug, Default)]
pub(in crate::graphql) struct AnomalyQueries;

#[Object]
impl AnomalyQueries {
    /// What is unusual of the measures of devices, against their own past, those incidents first that began last: those
    /// that are open, and of each measure of a device the last four that are over; how unusual each measure is at
    /// present when that is asked for by `states`.
    ///
    /// Without `asOf` each page is of the moment at which it is asked for. A list is made of 10,000 devices at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn anomalies(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Of which devices; of those in use when nothing is said of their lifecycle."
        )]
        filter: Option<DeviceFilterInput>,
        #[graphql(desc = "Of these measures; of all when left out.")] measures: Option<
            Vec<DeviceMeasure>,
        >,
        #[graphql(desc = "In one of these states; OPEN and CLOSED when left out.")] states: Option<
            Vec<AnomalyState>,
        >,
        #[graphql(
            desc = "Only incidents that are open, or in which something unusual was seen since."
        )]
        since: Option<DateTime>,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, of each device REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 1000 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 1000 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<AnomalyConnection>>, Error> {
        let page = PageOf {
            first,
            after,
            last,
            before,
        };
        let which = Which {
            measures,
            states,
            since,
        };
        let ask = ask(ctx, as_of, provenance).await?;
        let keys = among(ctx, filter).await?.keys;
        let connection = of_all(ctx, keys, (ask, which, page)).await?;
        Ok(Some(InOrder(connection)))
    }
}

fn of_all<'a>(
    ctx: &'a Context<'a>,
    keys: Vec<i64>,
    (ask, which, page): (Ask, Which, PageOf),
) -> BoxFuture<'a, Result<AnomalyConnection, Error>> {
    Box::pin(async move {
        let mut rows = Rows::new();
        let look = |read: &DeviceRead, fleet: &FleetRead| rows.extend(which.of(read, fleet));
        each_of(ctx, (keys, ask), look).await?;
        page_of(ctx, rows, (ask, page)).await
    })
}
