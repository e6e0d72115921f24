//! Where the data of a device is lacking, or that of several together.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, SimpleObject};
use dataloader::BatchFn;
use futures_util::future::BoxFuture;

use super::ask::{ask, source};
use super::measure::DeviceMeasure;
use super::of::{ByProvenance, Of, each, of};
use super::reads;
use super::shape::Reading;
use crate::event::Instant;
use crate::graphql::collection::RefusedCount;
use crate::graphql::fleet::{Device, Site};
use crate::graphql::loaders::Loaded;
use crate::graphql::order::InOrder;
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{api, loaders, of_failed};
use crate::held::{Ask, DeviceRead, FleetRead};
use crate::history::collection::{self, RefusedRow};
use crate::insights::number::whole;
use crate::insights::reliability::collected::{Collected, seconds};
use crate::insights::reliability::data::data_quality;
use crate::insights::reliability::quality::Gap;
use crate::store::Store;

/// A silence longer than ten of the device's own intervals, and than five minutes.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(in crate::graphql) struct DataGap {
    /// The last report before it.
    from: DateTime,
    /// The first report after it; null while it lasts.
    to: Option<DateTime>,
    /// How long it is so far, in seconds.
    duration_seconds: f64,
}

impl DataGap {
    fn of(gap: &Gap, as_of: Instant) -> InOrder<Self> {
        InOrder(Self {
            from: DateTime(gap.from),
            to: gap.to.map(DateTime),
            duration_seconds: seconds(gap.length(as_of)),
        })
    }
}

/// A value that does not move any more.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(in crate::graphql) struct StuckValue {
    /// The measure.
    measure: DeviceMeasure,
    /// The value.
    value: f64,
    /// When the first hour with it began.
    from: DateTime,
    /// When the last hour with it began.
    to: DateTime,
    /// For how many hours with reports it has lasted: longer than chance explains, by the device's own past.
    hours: i32,
}

/// Reads what was refused of devices.
pub(in crate::graphql) struct RefusedReads {
    pub(in crate::graphql) store: Store,
}

impl BatchFn<Arc<str>, Loaded<Arc<Vec<RefusedRow>>>> for RefusedReads {
    async fn load(
        &mut self,
        devices: &[Arc<str>],
    ) -> HashMap<Arc<str>, Loaded<Arc<Vec<RefusedRow>>>> {
        let ids: Vec<String> = devices.iter().map(|id| id.as_ref().to_owned()).collect();
        let read: BoxFuture<'_, _> = Box::pin(collection::refused_of(&self.store, ids));
        let read = read.await.map_err(Arc::new);
        let of = |id: &Arc<str>| match &read {
            Ok(rows) => {
                let own = rows.iter().filter(|row| *row.device_id == **id);
                Ok(Arc::new(own.cloned().collect()))
            }
            Err(error) => Err(Arc::clone(error)),
        };
        devices.iter().map(|id| (Arc::clone(id), of(id))).collect()
    }
}

/// What is told of one device beside what is told of several.
#[derive(Clone, Debug)]
struct OfOne {
    read: Arc<DeviceRead>,
}

/// Where data is lacking.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct DataQuality {
    of: Of,
    all: Collected,
    one: Option<OfOne>,
}

/// Where the data of a device is lacking, or that of the devices of a site or of all within reach together: `value` is
/// the coverage of the last 7 days, from 0 to 1: the reports that came of those that were to come. Of several it is of
/// one provenance, REAL if there are any such events, else CONTROLLED, else SIMULATED; on a demo SIMULATED first.
#[Object]
impl DataQuality {
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
        i32::try_from(self.all.devices).unwrap_or(i32::MAX)
    }

    /// Reports that came in the last 7 days, repeats not counted, of devices of which the interval is known.
    async fn received(&self) -> Long {
        Long(whole(self.all.coverage.received + 0.5))
    }

    /// Reports that were to come in the last 7 days by the interval of each device; null where none is known.
    async fn expected(&self) -> Option<Long> {
        let expected = self.all.coverage.expected;
        (expected > 0.0).then(|| Long(whole(expected + 0.5)))
    }

    /// Silences so far, those that last among them.
    async fn gap_count(&self) -> Long {
        Long(self.all.gaps.into())
    }

    /// How long they were together, in seconds.
    async fn gap_seconds(&self) -> f64 {
        seconds(self.all.gap_length)
    }

    /// How many of the devices are silent.
    async fn devices_silent(&self) -> i32 {
        i32::try_from(self.all.silent).unwrap_or(i32::MAX)
    }

    /// The silence that lasts; null where none does, and of several devices.
    async fn open_gap(&self) -> Option<InOrder<DataGap>> {
        let read = &self.one.as_ref()?.read;
        let gap = read.state.quality.open_gap(read.as_of)?;
        Some(DataGap::of(&gap, read.as_of))
    }

    /// The last 16 silences that are over, the newest last; null of several devices.
    async fn gaps(&self) -> Option<Vec<InOrder<DataGap>>> {
        let read = &self.one.as_ref()?.read;
        let gaps = read.state.quality.last_gaps();
        Some(gaps.map(|gap| DataGap::of(gap, read.as_of)).collect())
    }

    /// Reports that were recorded with an instant that another one of the device had. A repeat is known again and not
    /// recorded, so that it is not counted; one with other values is refused as a `CONFLICT`, see `refusals`.
    async fn duplicates(&self) -> Long {
        Long(self.all.duplicates.into())
    }

    /// Values that do not move any more; null of several devices.
    async fn stuck_values(&self) -> Option<Vec<InOrder<StuckValue>>> {
        let stuck = self.one.as_ref()?.read.state.stuck.iter();
        let stuck = stuck.filter_map(|(measure, state)| Some((*measure, state.stuck()?)));
        let told = stuck.map(|(measure, run)| StuckValue {
            measure: measure.into(),
            value: run.value,
            from: DateTime(run.from),
            to: DateTime(run.to),
            hours: i32::try_from(run.length).unwrap_or(i32::MAX),
        });
        Some(told.map(InOrder).collect())
    }

    /// Within how many seconds 95 of 100 reports arrived, as the upper end of a class: 1, 3, 7, 15 and so on to 4194303,
    /// in which is all that took more than 24 days; null where that is not known, and of several devices.
    async fn lateness_seconds(&self) -> Option<f64> {
        self.one.as_ref()?.read.state.quality.lateness(0.95)
    }

    /// How far the clock of the device is off, in seconds: below 0 it is ahead, above it is behind by this at most; null
    /// where that is not known, and of several devices.
    async fn clock_skew_seconds(&self) -> Option<f64> {
        self.one.as_ref()?.read.state.quality.clock_skew()
    }

    /// What was refused of the device since the log began, whatever `asOf` says; null of several devices.
    async fn refusals(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<InOrder<RefusedCount>>>, Error> {
        let Some(one) = &self.one else {
            return Ok(None);
        };
        let id = Arc::from(one.read.device.id.as_str());
        let rows = loaders(ctx).insights.refused.load(id).await;
        let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
        loaders(ctx).count(rows.len())?;
        Ok(Some(
            rows.iter().map(RefusedCount::of).map(InOrder).collect(),
        ))
    }
}

fn of_one(read: &DeviceRead) -> Reading<DataQuality> {
    let mut all = Collected::default();
    // of what is not folded yet it is heard too
    let state = read.state.with(&read.open);
    all.add(&state.quality, read.as_of);
    let insight = data_quality(&state.quality, read.zone, read.as_of);
    let provenance = source(&insight, read.provenance);
    let read = Arc::new(DeviceRead {
        state: Arc::new(state),
        ..read.clone()
    });
    let own = DataQuality {
        of: Of::Device(read.key),
        all,
        one: Some(OfOne { read }),
    };
    Reading::new(insight, provenance, own)
}

/// The data of a device, of a site, or of all within reach.
pub(in crate::graphql) fn quality<'a>(
    ctx: &'a Context<'a>,
    of: Of,
    ask: Ask,
) -> BoxFuture<'a, Result<Option<Reading<DataQuality>>, Error>> {
    Box::pin(async move {
        if let Of::Device(key) = of {
            let read = reads::device(ctx, key, ask).await?;
            return Ok(read.map(|read| of_one(&read)));
        }
        let mut sums = ByProvenance::<Collected>::default();
        let look = |read: &DeviceRead, _: &FleetRead| {
            let state = read.state.with(&read.open).quality;
            let provenance = state.span().0.map(|_| read.provenance);
            if let Some(all) = sums.sum_of(provenance, Collected::default) {
                all.add(&state, read.as_of);
            }
        };
        each(ctx, (of, ask), look).await?;
        let (first, without) = sums.preferred(ctx);
        let provenance = first.as_ref().map(|(provenance, _)| *provenance);
        let mut all = first.map(|(_, all)| all).unwrap_or_default();
        all.devices += without;
        let insight = all.insight(ask.as_of);
        let own = DataQuality { of, all, one: None };
        Ok(Some(Reading::new(insight, provenance, own)))
    })
}

/// The queries of the quality of data.
#[derive(Debug, Default)]
pub(in crate::graphql) struct QualityQueries;

#[Object]
impl QualityQueries {
    /// Where the data of a device is lacking, or that of the devices of a site together, or of all within reach: what
    /// came of what was to come, silences, repeats, refusals, values that do not move, lateness, and clocks that are
    /// off. Of 10,000 devices at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn data_quality(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: Option<ID>,
        #[graphql(desc = "The site, whose devices in use are meant; in place of `deviceId`.")]
        site_id: Option<ID>,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<DataQuality>>, Error> {
        let ask = ask(ctx, as_of, provenance).await?;
        quality(ctx, of(ctx, device_id, site_id).await?, ask).await
    }
}
