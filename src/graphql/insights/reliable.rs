//! How reliable a device is, or several together.

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};
use futures_util::future::BoxFuture;

use super::ask::{ask, source};
use super::of::{ByProvenance, Of, each, of};
use super::reads;
use super::shape::Reading;
use crate::graphql::fleet::{Device, Site};
use crate::graphql::order::InOrder;
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{Provenances, Shown};
use crate::held::{Ask, DeviceRead, FleetRead};
use crate::insights::number::whole;
use crate::insights::reliability::figures::Estimate;
use crate::insights::reliability::insight;
use crate::insights::reliability::intervals::Failures;
use crate::insights::reliability::summary::{self, Group, Summary, hours};
use crate::insights::shape::Status;

/// What counts as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "FailureKind", remote = "Failures")]
pub(in crate::graphql) enum FailureKind {
    /// A change to the state ERROR.
    Error,
    /// A change to the state OFFLINE.
    Offline,
    /// An outage: a change from a state that is neither to one that is either.
    Any,
}

/// A figure between bounds.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(in crate::graphql) struct BoundedFigure {
    /// The best single value; null where there is only a bound.
    value: Option<f64>,
    /// The lower bound.
    low: f64,
    /// The upper bound; null where nothing bounds it.
    high: Option<f64>,
}

impl BoundedFigure {
    fn of(estimate: Estimate) -> InOrder<Self> {
        InOrder(Self {
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
        })
    }
}

/// How reliable a device is, or several together.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Reliability {
    of: Of,
    summary: Summary,
    /// Whether there is enough for figures.
    is_known: bool,
}

impl Reliability {
    fn figure(&self, of: impl Fn(&Summary) -> Estimate) -> Option<InOrder<BoundedFigure>> {
        self.is_known.then(|| BoundedFigure::of(of(&self.summary)))
    }
}

/// How reliable a device is, or the devices of a site or all within reach together: `value` is the mean time between
/// failures in hours, by the time in which a failure would have been recorded. Bounds are at 95 %. What was not
/// observed counts neither as up nor as down. Of one device it is drawn to its site and its fleet while it has few
/// failures of its own. Of several it is of
/// one provenance, REAL if there are any such events, else CONTROLLED, else SIMULATED; on a demo SIMULATED first.
#[Object]
impl Reliability {
    /// The device, if it is of one.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        self.of.device(ctx).await
    }

    /// The site, if it is of the devices of one.
    async fn site(&self, ctx: &Context<'_>) -> Result<Option<Site>, Error> {
        self.of.site(ctx).await
    }

    /// Of how many devices it is.
    async fn devices(&self) -> i32 {
        i32::try_from(self.summary.devices).unwrap_or(i32::MAX)
    }

    /// Of these, how many are in the state ERROR or OFFLINE.
    async fn devices_down(&self) -> i32 {
        i32::try_from(self.summary.down).unwrap_or(i32::MAX)
    }

    /// Failures that were seen.
    async fn failures(&self) -> Long {
        Long(whole(self.summary.failures + 0.5))
    }

    /// In so many hours in which one would have been recorded, of all devices together: those in which they were seen,
    /// and those of silence in which, so soon after a sign of life, their state is vouched for.
    async fn watched_hours(&self) -> f64 {
        self.summary.watched_hours
    }

    /// Mean time between failures, in hours; null where there is too little. Without a failure there is a lower bound
    /// of it, and of a device also a value, that of its fleet.
    async fn mtbf_hours(&self) -> Option<InOrder<BoundedFigure>> {
        let has_bound = self.summary.watched_hours > 0.0;
        let is_bound = self.summary.mtbf.value.is_none() && has_bound;
        if is_bound {
            return Some(BoundedFigure::of(self.summary.mtbf));
        }
        self.figure(|summary| summary.mtbf)
    }

    /// Mean time to repair, in hours; null where there is too little.
    async fn mttr_hours(&self) -> Option<InOrder<BoundedFigure>> {
        self.figure(|summary| summary.mttr)
    }

    /// The share of time in the long run in which it is not down, from 0 to 1; null where there is too little.
    async fn availability(&self) -> Option<InOrder<BoundedFigure>> {
        self.figure(|summary| summary.availability)
    }

    /// Whether it fails more often in the last 24 hours than it uses to; null of several devices.
    async fn is_flapping(&self) -> Option<bool> {
        let flapping = self.summary.flapping.filter(|_| self.is_known);
        flapping.map(|flapping| flapping.is_flapping)
    }

    /// Failures in the last 24 hours that were watched; null of several devices.
    async fn failures_of_day(&self) -> Option<i32> {
        let flapping = self.summary.flapping;
        flapping.map(|flapping| i32::try_from(flapping.observed).unwrap_or(i32::MAX))
    }

    /// How many are usual in 24 hours; null of several devices, and where there is too little.
    async fn usual_failures_of_day(&self) -> Option<f64> {
        let flapping = self.summary.flapping.filter(|_| self.is_known);
        flapping.map(|flapping| flapping.expected)
    }

    /// Since when it is down; null of a device that is not, and of several.
    async fn down_since(&self) -> Option<DateTime> {
        self.summary.down_since.map(DateTime)
    }

    /// Hours in which it was seen to be up.
    async fn up_hours(&self) -> f64 {
        hours(self.summary.times.up)
    }

    /// Hours in the state ERROR.
    async fn error_hours(&self) -> f64 {
        hours(self.summary.times.error)
    }

    /// Hours in the state OFFLINE.
    async fn offline_hours(&self) -> f64 {
        hours(self.summary.times.offline)
    }

    /// Hours in the state MAINTENANCE.
    async fn maintenance_hours(&self) -> f64 {
        hours(self.summary.times.maintenance)
    }

    /// Hours in which it was silent, or nobody knew its state.
    async fn unobserved_hours(&self) -> f64 {
        hours(self.summary.times.unobserved)
    }
}

fn of_one(read: &DeviceRead, fleet: &FleetRead, failures: Failures) -> Reading<Reliability> {
    let state = read.state.with(&read.open).reliability;
    let asked = insight::Ask {
        site: &read.device.site,
        zone: read.zone,
        failures,
        horizon: None,
    };
    let prior = fleet.prior(failures);
    let insight = insight::reliability(&state, prior, &asked, read.as_of);
    let own = Reliability {
        of: Of::Device(read.key),
        summary: summary::device(&state, prior, &asked, read.as_of),
        is_known: insight.status != Status::Insufficient,
    };
    let provenance = source(&insight, read.provenance);
    Reading::new(insight, provenance, own)
}

/// The reliability of a device, of a site, or of all within reach.
pub(in crate::graphql) fn reliability<'a>(
    ctx: &'a Context<'a>,
    of: Of,
    (ask, failures): (Ask, FailureKind),
) -> BoxFuture<'a, Result<Option<Reading<Reliability>>, Error>> {
    Box::pin(async move {
        let failures = Failures::from(failures);
        if let Of::Device(key) = of {
            let Some(read) = reads::device(ctx, key, ask).await? else {
                return Ok(None);
            };
            let fleet = reads::fleet(ctx, read.provenance, ask.as_of).await?;
            return Ok(Some(of_one(&read, &fleet, failures)));
        }
        let mut groups = ByProvenance::default();
        let look = |read: &DeviceRead, _: &FleetRead| {
            let state = read.state.with(&read.open).reliability;
            let provenance = state.since.map(|_| read.provenance);
            if let Some(group) = groups.sum_of(provenance, || Group::new(failures)) {
                group.add(&state, &read.device.site, read.as_of);
            }
        };
        each(ctx, (of, ask), look).await?;
        let (first, without) = groups.preferred(ctx);
        let provenance = first.as_ref().map(|(provenance, _)| *provenance);
        let mut group = first.map_or_else(|| Group::new(failures), |(_, group)| group);
        group.add_silent(without);
        let insight = group.insight(ask.as_of);
        let own = Reliability {
            of,
            summary: group.summary(),
            is_known: insight.status != Status::Insufficient,
        };
        Ok(Some(Reading::new(insight, provenance, own)))
    })
}

/// The queries of reliability.
#[derive(Debug, Default)]
pub(in crate::graphql) struct ReliabilityQueries;

#[Object]
impl ReliabilityQueries {
    /// How reliable a device is, or the devices of a site together, or all within reach: how often it fails, how long
    /// that lasts, and how much of the time it is not down. Of 10,000 devices at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn reliability(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: Option<ID>,
        #[graphql(desc = "The site, whose devices in use are meant; in place of `deviceId`.")]
        site_id: Option<ID>,
        #[graphql(desc = "What counts as a failure.", default_with = "FailureKind::Any")]
        failures: FailureKind,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<Reliability>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        let of = of(ctx, device_id, site_id).await?;
        reliability(ctx, of, (ask, failures)).await
    }
}
