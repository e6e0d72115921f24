//! How likely devices are to fail soon: of one, and of all those that are at risk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};
use futures_util::future::BoxFuture;

use super::ask::{ask, device, source};
use super::of::not_too_many;
use super::ranked::{Among, Page, PageOf, among, count, rank};
use super::reads;
use super::shape::Reading;
use crate::event::Provenance;
use crate::graphql::error::bad_input;
use crate::graphql::fleet::Device;
use crate::graphql::listed::Listed;
use crate::graphql::order::InOrder;
use crate::graphql::pages::{DeviceFilterInput, PageInfo};
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{api, loaders, of_failed, take};
use crate::held::{Ask, FleetRead, Lean};
use crate::insights::risk::model::Horizon;

/// The list of devices at risk.
const LIST: Listed = Listed {
    name: "risk",
    rows: 50,
    rows_max: 1_000,
};
/// Devices of a list of which the risk is told by no more than a number, as one row.
const TO_A_ROW: usize = 10;
/// Bytes that such a device takes beside its state, which is held for all who ask, roughly.
const BYTES: usize = 512;
/// Devices that are judged before others go first: about a millisecond.
const AT_ONCE: usize = 64;

/// How far ahead a failure is foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "FailureHorizon", remote = "Horizon")]
pub(in crate::graphql) enum FailureHorizon {
    /// Within the next 24 hours.
    #[graphql(name = "HOURS_24")]
    Day,
    /// Within the next 72 hours.
    #[graphql(name = "HOURS_72")]
    ThreeDays,
}

/// How likely a device is to fail.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct FailureRisk {
    key: i64,
    horizon: FailureHorizon,
    log_odds: Option<f64>,
}

/// How likely a device is to fail soon, which is to come into the state ERROR: `value` is the chance of it, from 0 to 1.
/// Until ten failures of the fleet are known it is the rate of the fleet, alike for all devices, and LEARNING.
#[Object]
impl FailureRisk {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.key).await
    }

    /// How far ahead.
    async fn horizon(&self) -> FailureHorizon {
        self.horizon
    }

    /// The chance as log-odds, ln(p / (1 - p)): exactly the sum of the contributions of the reasons; null where there
    /// is no value.
    async fn log_odds(&self) -> Option<f64> {
        self.log_odds
    }
}

fn reading(
    lean: &Lean,
    fleet: &FleetRead,
    (ask, horizon): (Ask, FailureHorizon),
) -> Reading<FailureRisk> {
    let insight = lean.failure_risk(fleet, (ask.as_of, horizon.into()));
    let parts = insight.reasons.iter().map(|reason| reason.contribution);
    let own = FailureRisk {
        key: lean.key,
        horizon,
        log_odds: insight.value.map(|_| parts.sum()),
    };
    let provenance = source(&insight, lean.provenance);
    Reading::new(insight, provenance, own)
}

/// The failure risk of a device by its key.
pub(in crate::graphql) fn of<'a>(
    ctx: &'a Context<'a>,
    key: i64,
    (ask, horizon): (Ask, FailureHorizon),
) -> BoxFuture<'a, Result<Option<Reading<FailureRisk>>, Error>> {
    Box::pin(async move {
        let Some(lean) = reads::lean(ctx, key, ask).await? else {
            return Ok(None);
        };
        let fleet = reads::fleet(ctx, lean.provenance, ask.as_of).await?;
        Ok(Some(reading(&lean, &fleet, (ask, horizon))))
    })
}

/// A device at risk with its place.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct FailureRiskEdge {
    /// Place of the device.
    cursor: String,
    /// How likely it is to fail.
    node: Reading<FailureRisk>,
}

/// A page of devices at risk.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct FailureRiskConnection {
    page: Page<Reading<FailureRisk>>,
}

/// A page of devices at risk, those first that are the likeliest to fail.
#[Object]
impl FailureRiskConnection {
    /// The devices with their places.
    async fn edges(&self) -> Vec<InOrder<FailureRiskEdge>> {
        let rows = self.page.rows.iter();
        let edges = rows.map(|(place, node)| FailureRiskEdge {
            cursor: self.page.cursor(place),
            node: node.clone(),
        });
        edges.map(InOrder).collect()
    }

    /// The devices.
    async fn nodes(&self) -> Vec<Reading<FailureRisk>> {
        let rows = self.page.rows.iter();
        rows.map(|(_, node)| node.clone()).collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        InOrder(self.page.info())
    }

    /// How many devices there are on all pages.
    async fn total_count(&self) -> Long {
        Long(i64::try_from(self.page.total).unwrap_or(i64::MAX))
    }
}

/// What is asked of a list of devices at risk.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct AtRisk {
    pub(in crate::graphql) ask: Ask,
    pub(in crate::graphql) horizon: FailureHorizon,
    pub(in crate::graphql) threshold: Option<f64>,
    pub(in crate::graphql) page: PageOf,
}

/// The devices among some that are at risk, of which the states were read.
pub(in crate::graphql) fn at_risk<'a>(
    ctx: &'a Context<'a>,
    devices: Vec<Arc<Lean>>,
    asked: AtRisk,
) -> BoxFuture<'a, Result<FailureRiskConnection, Error>> {
    Box::pin(async move {
        let threshold = asked.threshold.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&threshold) {
            return Err(bad_input("threshold is not between 0 and 1"));
        }
        let as_of = asked.ask.as_of;
        let provenances: BTreeSet<Provenance> = devices.iter().map(|of| of.provenance).collect();
        let mut fleets: HashMap<Provenance, Arc<FleetRead>> = HashMap::new();
        for provenance in provenances {
            let fleet = reads::fleet(ctx, provenance, as_of).await?;
            fleets.insert(provenance, fleet);
        }
        let mut rows = Vec::with_capacity(devices.len());
        for some in devices.chunks(AT_ONCE) {
            for lean in some {
                let Some(fleet) = fleets.get(&lean.provenance) else {
                    continue;
                };
                let chance = lean.chance(fleet, (as_of, asked.horizon.into()));
                if let Some(chance) = chance.filter(|chance| *chance >= threshold) {
                    rows.push(((rank(chance), lean.device.id.clone()), Arc::clone(lean)));
                }
            }
            tokio::task::yield_now().await;
        }
        let page = Page::of(LIST, rows, asked.page)?;
        loaders(ctx).count(page.rows.len())?;
        let told = page.rows.iter().map(|(_, lean)| {
            let fleet = fleets.get(&lean.provenance)?;
            Some(reading(lean, fleet, (asked.ask, asked.horizon)))
        });
        let told: Vec<_> = told.collect();
        let mut told = told.into_iter().flatten();
        Ok(FailureRiskConnection {
            page: page.map_in_turn(|| told.next()),
        })
    })
}

/// The states of devices for a list over many: all at once, and not kept for the request. As of an instant that is past
/// each is folded again, so that it costs as much as to be read by itself.
fn read_all<'a>(
    ctx: &'a Context<'a>,
    among: Among,
    ask: Ask,
) -> BoxFuture<'a, Result<Vec<Arc<Lean>>, Error>> {
    Box::pin(async move {
        let devices = among.keys.len();
        let is_past = api(ctx).held.is_past(ask.as_of).await;
        let is_past = is_past.map_err(|error| of_failed(api(ctx), &error))?;
        let (to_a_row, bytes) = if is_past {
            not_too_many(devices)?;
            (1, reads::LEAN_BYTES)
        } else {
            (TO_A_ROW, BYTES)
        };
        count(ctx, devices, to_a_row)?;
        take(ctx, devices.saturating_mul(bytes))?;
        let is_all = among.is_all && !is_past;
        let keys = (!is_all).then_some(among.keys.as_slice());
        let read = api(ctx).held.lean(keys, ask).await;
        let read = read.map_err(|error| of_failed(api(ctx), &error))?;
        // all that are registered were read where that is quicker, also those that are retired
        let wanted: BTreeSet<i64> = among.keys.iter().copied().collect();
        let wanted = read.into_iter().filter(|lean| wanted.contains(&lean.key));
        Ok(wanted.map(Arc::new).collect())
    })
}

/// The devices of a site that are at risk.
pub(in crate::graphql) fn at_site<'a>(
    ctx: &'a Context<'a>,
    site: i64,
    asked: AtRisk,
) -> BoxFuture<'a, Result<FailureRiskConnection, Error>> {
    Box::pin(async move {
        let keys = reads::at_site(ctx, site).await?;
        let within = crate::graphql::access::within(ctx).await?;
        let keys = keys
            .iter()
            .filter(|key| within.has_device(**key, Some(site)));
        let read = keys.map(|key| reads::listed(ctx, *key, asked.ask));
        let read = futures_util::future::try_join_all(read).await?;
        let devices = read.into_iter().flatten().collect();
        at_risk(ctx, devices, asked).await
    })
}

/// The queries of failure risk.
#[derive(Debug, Default)]
pub(in crate::graphql) struct RiskQueries;

#[Object]
impl RiskQueries {
    /// How likely a device is to fail soon.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn failure_risk(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: ID,
        #[graphql(desc = "How far ahead.", default_with = "FailureHorizon::Day")]
        horizon: FailureHorizon,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of the device, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<FailureRisk>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        let key = device(ctx, &device_id).await?;
        of(ctx, key, (ask, horizon)).await
    }

    /// Devices by how likely they are to fail soon, those first that are the likeliest. Devices of which nothing is
    /// known are not among them. What was measured in the last hour may be left out of it, and so is what is not folded
    /// yet, as just after a history was imported (`projectionLagEvents` of `storeHealth`).
    ///
    /// Without `asOf` each page is of the moment at which it is asked for: give the same `asOf` for all pages of a list
    /// that stands still. As of an hour that is past it is of 10,000 devices at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn devices_at_risk(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which devices; those in use when nothing is said of their lifecycle.")]
        filter: Option<DeviceFilterInput>,
        #[graphql(desc = "How far ahead.", default_with = "FailureHorizon::Day")]
        horizon: FailureHorizon,
        #[graphql(
            desc = "Only devices whose chance to fail is at least this, from 0 to 1; all when left out."
        )]
        threshold: Option<f64>,
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
    ) -> Result<Option<InOrder<FailureRiskConnection>>, Error> {
        let page = PageOf {
            first,
            after,
            last,
            before,
        };
        let ask = ask(ctx, as_of, provenance).await?;
        let among = among(ctx, filter).await?;
        let devices = read_all(ctx, among, ask).await?;
        let asked = AtRisk {
            ask,
            horizon,
            threshold,
            page,
        };
        let connection = at_risk(ctx, devices, asked).await?;
        Ok(Some(InOrder(connection)))
    }
}
