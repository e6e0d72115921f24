//! Insights as fields of devices and of sites: written as objects of their own, whose fields are added to those types.

use async_graphql::registry::{MetaField, MetaType, Registry};
use async_graphql::{ContainerType, Context, Error, Object, OutputType, ServerResult, Value};
use futures_util::future::BoxFuture;

use super::anomalies::{self, AnomalyConnection, Which};
use super::anomaly::AnomalyState;
use super::ask::ask;
use super::effects::ConfigurationImpact;
use super::error_groups::{ErrorGroupConnection, ErrorGroupOrder};
use super::error_groups_of::{Asked, groups};
use super::health::{self, DeviceHealth, HealthForecast};
use super::impact;
use super::measure::DeviceMeasure;
use super::of::Of;
use super::quality::{DataQuality, quality};
use super::ranked::PageOf;
use super::reliable::{FailureKind, Reliability, reliability};
use super::risk::{self, AtRisk, FailureHorizon, FailureRisk, FailureRiskConnection};
use super::shape::Reading;
use super::trends::{self, Limits, Trend};
use crate::graphql::order::InOrder;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{ErrorGroupStatuses, ErrorSeverities, Provenances, Shown, Word};

/// What insights say of a device, by its key.
#[derive(Clone, Copy, Debug)]
pub(in crate::graphql) struct OfDevice(pub(in crate::graphql) i64);

#[Object(name = "DeviceInsights")]
impl OfDevice {
    /// How healthy it is. Of the devices of a list what was measured in the last hour may be left out of it.
    async fn health(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<DeviceHealth>>, Error> {
        health::of(ctx, self.0, ask(ctx, as_of, provenance).await?).await
    }

    /// How healthy it will be on each of the next days.
    async fn health_forecast(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many days ahead, 1 to 14; 7 when left out.")] days: Option<i32>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Vec<Reading<HealthForecast>>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        health::ahead(ctx, self.0, (ask, days)).await
    }

    /// How likely it is to fail soon. Of the devices of a list what was measured in the last hour may be left out of it.
    async fn failure_risk(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How far ahead.", default_with = "FailureHorizon::Day")]
        horizon: FailureHorizon,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<FailureRisk>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        risk::of(ctx, self.0, (ask, horizon)).await
    }

    /// What is unusual of its measures, those incidents first that began last.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn anomalies(
        &self,
        ctx: &Context<'_>,
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
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
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
        let ask = ask(ctx, as_of, provenance).await?;
        let which = Which {
            measures,
            states,
            since,
        };
        let connection = anomalies::at(ctx, Of::Device(self.0), (ask, which, page)).await?;
        Ok(Some(InOrder(connection)))
    }

    /// What the last change of its configuration did; null when it was never changed.
    async fn configuration_impact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last change of this parameter; of any when left out.")]
        parameter_name: Option<String>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<ConfigurationImpact>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        match impact::last(ctx, (self.0, parameter_name), ask.as_of).await? {
            Some(change) => impact::of(ctx, change, ask).await,
            None => Ok(None),
        }
    }

    /// How often it fails, how long that lasts, and how much of the time it is not down.
    async fn reliability(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What counts as a failure.", default_with = "FailureKind::Any")]
        failures: FailureKind,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<Reliability>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        reliability(ctx, Of::Device(self.0), (ask, failures)).await
    }

    /// Where its data is lacking.
    async fn data_quality(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<DataQuality>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        quality(ctx, Of::Device(self.0), ask).await
    }

    /// Where a measure of it is going, and in how many days it comes to a limit.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn trend(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The measure.")] measure: DeviceMeasure,
        #[graphql(
            desc = "A limit that it must not come above, in its unit; of DISK_PERCENT and MEMORY_PERCENT it is 100 when \
            none is given."
        )]
        above: Option<f64>,
        #[graphql(desc = "A limit that it must not come below; in place of `above`.")]
        below: Option<f64>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<Trend>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        trends::of(ctx, self.0, (ask, measure, Limits { above, below })).await
    }

    /// The groups of errors that were seen on it, those first that were seen last: of these errors alone is counted and told.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn error_groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which one of these holds; all when left out.")] statuses: Option<
            Vec<Word<ErrorGroupStatuses>>,
        >,
        #[graphql(desc = "Whose most severe error is one of these; all when left out.")]
        severities: Option<Vec<Word<ErrorSeverities>>>,
        #[graphql(desc = "In which order; LAST_SEEN when left out.")] order: Option<
            ErrorGroupOrder,
        >,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which errors; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 1000 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 1000 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<ErrorGroupConnection>>, Error> {
        let asked = Asked {
            statuses,
            severities,
            order,
            as_of,
            provenance,
            page: PageOf {
                first,
                after,
                last,
                before,
            },
        };
        groups(ctx, Of::Device(self.0), asked).await
    }
}

/// What insights say of a site, by its key.
#[derive(Clone, Copy, Debug)]
pub(in crate::graphql) struct OfSite(pub(in crate::graphql) i64);

#[Object(name = "SiteInsights")]
impl OfSite {
    /// Its devices in use by how likely they are to fail soon, those first that are the likeliest.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn devices_at_risk(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How far ahead.", default_with = "FailureHorizon::Day")]
        horizon: FailureHorizon,
        #[graphql(
            desc = "Only devices whose chance to fail is at least this, from 0 to 1; all when left out."
        )]
        threshold: Option<f64>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
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
        let asked = AtRisk {
            ask: ask(ctx, as_of, provenance).await?,
            horizon,
            threshold,
            page,
        };
        let connection = risk::at_site(ctx, self.0, asked).await?;
        Ok(Some(InOrder(connection)))
    }

    /// What is unusual of the measures of its devices in use, those incidents first that began last.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn anomalies(
        &self,
        ctx: &Context<'_>,
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
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
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
        let ask = ask(ctx, as_of, provenance).await?;
        let which = Which {
            measures,
            states,
            since,
        };
        let connection = anomalies::at(ctx, Of::Site(self.0), (ask, which, page)).await?;
        Ok(Some(InOrder(connection)))
    }

    /// How often its devices in use fail, how long that lasts, and how much of the time they are not down.
    async fn reliability(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What counts as a failure.", default_with = "FailureKind::Any")]
        failures: FailureKind,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<Reliability>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        reliability(ctx, Of::Site(self.0), (ask, failures)).await
    }

    /// Where the data of its devices in use is lacking.
    async fn data_quality(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<DataQuality>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        quality(ctx, Of::Site(self.0), ask).await
    }

    /// The groups of errors that were seen on its devices, those first that were seen last: of these errors alone is counted and told.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn error_groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which one of these holds; all when left out.")] statuses: Option<
            Vec<Word<ErrorGroupStatuses>>,
        >,
        #[graphql(desc = "Whose most severe error is one of these; all when left out.")]
        severities: Option<Vec<Word<ErrorSeverities>>>,
        #[graphql(desc = "In which order; LAST_SEEN when left out.")] order: Option<
            ErrorGroupOrder,
        >,
        #[graphql(desc = "As of when; now when left out.")] as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which errors; left out, REAL if there are any of it, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 1000 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 1000 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<ErrorGroupConnection>>, Error> {
        let asked = Asked {
            statuses,
            severities,
            order,
            as_of,
            provenance,
            page: PageOf {
                first,
                after,
                last,
                before,
            },
        };
        groups(ctx, Of::Site(self.0), asked).await
    }
}

/// The fields of an object that is written apart, for the type that has them.
pub(in crate::graphql) fn fields<T: OutputType>(registry: &mut Registry) -> Vec<MetaField> {
    <T as OutputType>::create_type_info(registry);
    let ty = registry.types.get(&*T::type_name());
    if let Some(MetaType::Object { fields, .. }) = ty {
        fields.values().cloned().collect()
    } else {
        Vec::new()
    }
}

/// The value of a field of an object that is written apart; none if it has no such field.
pub(in crate::graphql) fn resolve<'a, T: ContainerType>(
    of: &'a T,
    ctx: &'a Context<'a>,
) -> BoxFuture<'a, ServerResult<Option<Value>>> {
    Box::pin(of.resolve_field(ctx))
}
