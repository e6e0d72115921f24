//! Where a measure of a device is going, and when it comes to a limit.

use async_graphql::{Context, Error, ID, Object};
use futures_util::future::BoxFuture;

use super::ask::{ask, device, source};
use super::measure::DeviceMeasure;
use super::reads;
use super::shape::Reading;
use crate::event::{Instant, Provenance};
use crate::graphql::error::bad_input;
use crate::graphql::fleet::Device;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{Provenances, Shown};
use crate::held::Ask;
use crate::insights::impact::trend::{self, Limit};
use crate::insights::impact::verdict::Series;
use crate::insights::input::{DAY, Measure};
use crate::insights::number::{float, whole};
use crate::insights::shape::Insight;

/// What is asked of a trend beside the measure.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::graphql) struct Limits {
    pub(in crate::graphql) above: Option<f64>,
    pub(in crate::graphql) below: Option<f64>,
}

impl Limits {
    /// The limit that is asked for, or of a measure that can be full, that it is.
    fn of(self, measure: Measure) -> Result<Option<Limit>, Error> {
        let is_given = |limit: Option<f64>| limit.is_none_or(f64::is_finite);
        match (self.above, self.below) {
            (Some(_), Some(_)) => Err(bad_input(
                "above and below are both given, a trend has one limit",
            )),
            (above, below) if !is_given(above) || !is_given(below) => {
                Err(bad_input("a limit is no number"))
            }
            (Some(above), None) => Ok(Some(Limit::Above(above))),
            (None, Some(below)) => Ok(Some(Limit::Below(below))),
            (None, None) => {
                let can_be_full = matches!(measure, Measure::DiskPercent | Measure::MemoryPercent);
                Ok(can_be_full.then_some(Limit::Above(100.0)))
            }
        }
    }
}

/// When a measure comes to a limit.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct DaysToLimit {
    limit: f64,
    at: Option<Instant>,
}

/// In how many days a measure comes to a limit, if it goes on as it has: `value` is that number, 0 when it is beyond it
/// already. 365 as an end of the interval says a year or more.
#[Object]
impl DaysToLimit {
    /// The limit, in the unit of the measure.
    async fn limit(&self) -> f64 {
        self.limit
    }

    /// When that is.
    async fn at(&self) -> Option<DateTime> {
        self.at.map(DateTime)
    }
}

/// Where a measure of a device is going.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Trend {
    key: i64,
    measure: Measure,
    days: Option<(Insight, f64)>,
    provenance: Option<Provenance>,
}

/// Where a measure of a device is going: `value` is the change of its daily level a day, in `unit`, by the median of the
/// slopes between all pairs of the days that are kept, without its weekdays.
#[Object]
impl Trend {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.key).await
    }

    /// The measure.
    async fn measure(&self) -> DeviceMeasure {
        self.measure.into()
    }

    /// The unit of its daily level.
    async fn unit(&self) -> &str {
        Series::Measure(self.measure).unit()
    }

    /// In how many days it comes to the limit; null without a limit, and where it does not lead to it within a year.
    async fn days_to_limit(&self) -> Option<Reading<DaysToLimit>> {
        let (insight, limit) = self.days.clone()?;
        let ahead = insight.value.map(|days| whole(days * float(DAY)));
        let own = DaysToLimit {
            limit,
            at: ahead.map(|ahead| Instant(insight.as_of.0.saturating_add(ahead))),
        };
        Some(Reading::new(insight, self.provenance, own))
    }
}

/// Where a measure of a device is going.
pub(in crate::graphql) fn of<'a>(
    ctx: &'a Context<'a>,
    key: i64,
    (ask, measure, limits): (Ask, DeviceMeasure, Limits),
) -> BoxFuture<'a, Result<Option<Reading<Trend>>, Error>> {
    Box::pin(async move {
        let measure = Measure::from(measure);
        if measure == Measure::UptimeSeconds {
            return Err(bad_input(
                "UPTIME_SECONDS has no level: it only grows until a restart",
            ));
        }
        let limit = limits.of(measure)?;
        let Some(read) = reads::device(ctx, key, ask).await? else {
            return Ok(None);
        };
        let days = read.state.levels.days(read.zone, measure, ask.as_of);
        let found = trend::trend(&days, measure, limit, read.zone, ask.as_of);
        let provenance = source(&found.slope, read.provenance);
        let of_limit = limit.map(|limit| match limit {
            Limit::Above(limit) | Limit::Below(limit) => limit,
        });
        let own = Trend {
            key,
            measure,
            days: found.days_to_limit.zip(of_limit),
            provenance,
        };
        Ok(Some(Reading::new(found.slope, provenance, own)))
    })
}

/// The queries of trends.
#[derive(Debug, Default)]
pub(in crate::graphql) struct TrendQueries;

#[Object]
impl TrendQueries {
    /// Where a measure of a device is going, and in how many days it comes to a limit.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn trend(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: ID,
        #[graphql(desc = "The measure.")] measure: DeviceMeasure,
        #[graphql(
            desc = "A limit that it must not come above, in its unit; of DISK_PERCENT and MEMORY_PERCENT it is 100 when \
            none is given."
        )]
        above: Option<f64>,
        #[graphql(desc = "A limit that it must not come below; in place of `above`.")]
        below: Option<f64>,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of the device, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<Trend>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        let key = device(ctx, &device_id).await?;
        of(ctx, key, (ask, measure, Limits { above, below })).await
    }
}
