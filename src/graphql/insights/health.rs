//! How healthy a device is, and how that will go on.

use async_graphql::{Context, Enum, Error, ID, Object};
use futures_util::future::BoxFuture;

use super::ask::{ask, device, source};
use super::reads;
use super::shape::Reading;
use crate::event::Instant;
use crate::graphql::fleet::Device;
use crate::graphql::listed::one_to;
use crate::graphql::loaders;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{Provenances, Shown};
use crate::held::{Ask, FleetRead, Lean};
use crate::insights::input::DAY;
use crate::insights::risk::band::Band;
use crate::insights::risk::forecast;
use crate::insights::shape::Insight;

/// Days that are forecast when no number is given.
const DAYS_DEFAULT: i32 = 7;

/// A band of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "HealthBand", remote = "Band")]
pub(in crate::graphql) enum HealthBand {
    /// Less than 50.
    Poor,
    /// From 50 to less than 80.
    Fair,
    /// 80 and more.
    Good,
}

/// The health of a device.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct DeviceHealth {
    key: i64,
    band: Option<HealthBand>,
}

/// How healthy a device is: `value` is from 0 to 100, the product of four parts, of which each falls with its own
/// evidence alone. The reasons are these parts: `resources`, `errors`, `stability` and `freshness`, each with the points
/// that it takes, which come to 100 less the value.
#[Object]
impl DeviceHealth {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.key).await
    }

    /// In which band it is; null where there is no value. A device without data is in none.
    async fn band(&self) -> Option<HealthBand> {
        self.band
    }
}

/// The health of a device on one of the next days.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct HealthForecast {
    key: i64,
    day: i32,
    at: Instant,
}

/// How healthy a device will be on a day to come: `value` is the health to expect, from 0 to 100, by the trend of its
/// resources and the chance that it fails until then.
#[Object]
impl HealthForecast {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.key).await
    }

    /// How many days ahead.
    async fn day(&self) -> i32 {
        self.day
    }

    /// When that is.
    async fn at(&self) -> DateTime {
        DateTime(self.at)
    }
}

/// The health of a device by its key.
pub(in crate::graphql) fn of<'a>(
    ctx: &'a Context<'a>,
    key: i64,
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Reading<DeviceHealth>>, Error>> {
    Box::pin(async move {
        let Some(lean) = reads::lean(ctx, key, ask).await? else {
            return Ok(None);
        };
        let fleet = reads::fleet(ctx, lean.provenance, ask.as_of).await?;
        Ok(Some(reading(&lean, &fleet, ask)))
    })
}

/// The health of a device that was read.
pub(in crate::graphql) fn reading(
    lean: &Lean,
    fleet: &FleetRead,
    ask: Ask,
) -> Reading<DeviceHealth> {
    let insight = lean.health(fleet, ask.as_of);
    let own = DeviceHealth {
        key: lean.key,
        band: insight.value.map(|value| Band::of(value).into()),
    };
    let provenance = source(&insight, lean.provenance);
    Reading::new(insight, provenance, own)
}

/// The health of a device on each of so many days to come.
pub(in crate::graphql) fn ahead<'a>(
    ctx: &'a Context<'a>,
    key: i64,
    (ask, days): (Ask, Option<i32>),
) -> BoxFuture<'a, Result<Option<Vec<Reading<HealthForecast>>>, Error>> {
    Box::pin(async move {
        let days = one_to("days", days.unwrap_or(DAYS_DEFAULT), forecast::DAYS.into())?;
        let Some(lean) = reads::lean(ctx, key, ask).await? else {
            return Ok(None);
        };
        loaders(ctx).count(days)?;
        let fleet = reads::fleet(ctx, lean.provenance, ask.as_of).await?;
        let last = u8::try_from(days).unwrap_or(forecast::DAYS);
        let all = lean.health_ahead(&fleet, (ask.as_of, last));
        let of_day = |(insight, day): (Insight, u8)| {
            let provenance = source(&insight, lean.provenance);
            let own = HealthForecast {
                key,
                day: day.into(),
                at: Instant(ask.as_of.0 + i64::from(day) * DAY),
            };
            Reading::new(insight, provenance, own)
        };
        Ok(Some(all.into_iter().zip(1..).map(of_day).collect()))
    })
}

/// The queries of health.
#[derive(Debug, Default)]
pub(in crate::graphql) struct HealthQueries;

#[Object]
impl HealthQueries {
    /// How healthy a device is.
    async fn device_health(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: ID,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of the device, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<DeviceHealth>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        of(ctx, device(ctx, &device_id).await?, ask).await
    }

    /// How healthy a device will be on each of the next days.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn health_forecast(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: ID,
        #[graphql(desc = "How many days ahead, 1 to 14; 7 when left out.")] days: Option<i32>,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of the device, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Vec<Reading<HealthForecast>>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        let key = device(ctx, &device_id).await?;
        ahead(ctx, key, (ask, days)).await
    }
}
