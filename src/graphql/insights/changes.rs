//! The streams of insights: when the health of a device comes into another band, and when something unusual begins or is
//! over.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, Error, SimpleObject, Subscription};
use futures_util::Stream;
use futures_util::future::BoxFuture;

use super::anomaly::{Anomaly, AnomalyState, Seen, reading, seen};
use super::health::{self, DeviceHealth, HealthBand};
use super::measure::DeviceMeasure;
use super::rounds::{Asked, Round, Rounds};
use super::shape::Reading;
use crate::graphql::order::InOrder;
use crate::graphql::pages::DeviceFilterInput;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{Provenances, Shown};
use crate::held::{Ask, DeviceRead, FleetRead, FleetsAt, Held, Lean};
use crate::insights::anomaly::Standing;
use crate::insights::risk::band::Band;
use crate::store::StoreError;

/// Devices that are read at once, and then let go.
const AT_ONCE: usize = 200;

/// A device whose health has come into another band.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct HealthChange {
    /// In which band it was; null when nothing was known of it.
    before: Option<HealthBand>,
    /// In which band it is; null when nothing is known of it any more.
    band: Option<HealthBand>,
    /// Its health now.
    health: Reading<DeviceHealth>,
}

/// Devices whose health has come into another band.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct HealthChanges {
    /// As `after`: what comes next.
    cursor: String,
    /// Of when they were judged.
    as_of: DateTime,
    /// What has changed, in order of devices.
    changes: Vec<InOrder<HealthChange>>,
}

/// What has become of something unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum AnomalyStep {
    /// It has begun.
    Opened,
    /// It is over.
    Closed,
}

/// Something unusual that has begun or is over.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct AnomalyChange {
    /// What has become of it.
    step: AnomalyStep,
    /// What is unusual, as it stands now.
    anomaly: Reading<Anomaly>,
}

/// What has begun to be unusual, or is over.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct AnomalyChanges {
    /// As `after`: what comes next.
    cursor: String,
    /// Of when the devices were judged.
    as_of: DateTime,
    /// What has changed, in order of devices and measures.
    changes: Vec<InOrder<AnomalyChange>>,
}

/// The streams of insights.
#[derive(Debug, Default)]
pub(in crate::graphql) struct InsightStreams;

#[Subscription]
impl InsightStreams {
    /// Devices whose health comes into another band, and by more than 3 points beyond its border. Devices are judged when
    /// something has come of them (a reading, a state, an error), once in two seconds at most and all together; what
    /// changes and changes back meanwhile is not told. All that has changed then is one item. A device is compared with
    /// what this stream judged last of it, and when it is judged for the first time with what is known by now of how it
    /// was when the stream began: so what comes late of a device from before that is no change, until it was judged once.
    async fn health_changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Of which devices; of those in use when nothing is said of their lifecycle."
        )]
        filter: Option<DeviceFilterInput>,
        #[graphql(
            desc = "Of which events; left out, of each device REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
        #[graphql(
            desc = "Begins after this place, a cursor of this stream: what has changed since what was told with it comes \
            first. Without it, or with null, only what changes from now on."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<HealthChanges>, Error>>, Error> {
        let asked = Asked {
            filter,
            provenance,
            after,
        };
        let mut rounds = Rounds::begin(ctx, asked).await?;
        let mut told: HashMap<i64, Option<Band>> = HashMap::new();
        Ok(async_stream::stream! {
            loop {
                let item = health_round(&mut rounds, &mut told).await;
                let (has_failed, item) = (item.is_err(), item.transpose());
                if let Some(item) = item {
                    yield item;
                }
                if has_failed {
                    return;
                }
                rounds.pause().await;
            }
        })
    }

    /// What begins to be unusual of the measures of devices, and what is over. Devices are judged when something has come
    /// of them (a reading, a state, an error), once in two seconds at most and all together; an incident is over when
    /// nothing unusual was seen for 12 hours. All that has changed then is one item. A device is compared with what this
    /// stream judged last of it, and when it is judged for the first time with what is known by now of how it was when the
    /// stream began: what `anomalies` lists tells the rest.
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
        #[graphql(
            desc = "Of which events; left out, of each device REAL if there are any, else CONTROLLED, else SIMULATED."
        )]
        provenance: Option<Shown<Provenances>>,
        #[graphql(
            desc = "Begins after this place, a cursor of this stream: what has changed since what was told with it comes \
            first. Without it, or with null, only what changes from now on."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<AnomalyChanges>, Error>>, Error> {
        let asked = Asked {
            filter,
            provenance,
            after,
        };
        let mut rounds = Rounds::begin(ctx, asked).await?;
        let mut told = Told {
            measures,
            open: HashMap::new(),
        };
        Ok(async_stream::stream! {
            loop {
                let item = anomaly_round(&mut rounds, &mut told).await;
                let (has_failed, item) = (item.is_err(), item.transpose());
                if let Some(item) = item {
                    yield item;
                }
                if has_failed {
                    return;
                }
                rounds.pause().await;
            }
        })
    }
}

/// What has changed in a round, if anything has.
fn health_round<'a>(
    rounds: &'a mut Rounds<'_>,
    told: &'a mut HashMap<i64, Option<Band>>,
) -> BoxFuture<'a, Result<Option<InOrder<HealthChanges>>, Error>> {
    Box::pin(async move {
        let round = rounds.next().await?;
        let changes = match healths(&rounds.api.held, &round, told).await {
            Ok(changes) => changes,
            Err(error) => return rounds.put_off(round, &error).map(|()| None),
        };
        rounds.judged();
        let item = HealthChanges {
            cursor: round.cursor,
            as_of: DateTime(round.ask.as_of),
            changes,
        };
        Ok((!item.changes.is_empty()).then_some(InOrder(item)))
    })
}

/// What has changed in a round, if anything has.
fn anomaly_round<'a>(
    rounds: &'a mut Rounds<'_>,
    told: &'a mut Told,
) -> BoxFuture<'a, Result<Option<InOrder<AnomalyChanges>>, Error>> {
    Box::pin(async move {
        let round = rounds.next().await?;
        let changes = match anomalies(&rounds.api.held, &round, told).await {
            Ok(changes) => changes,
            Err(error) => return rounds.put_off(round, &error).map(|()| None),
        };
        rounds.judged();
        let item = AnomalyChanges {
            cursor: round.cursor,
            as_of: DateTime(round.ask.as_of),
            changes,
        };
        Ok((!item.changes.is_empty()).then_some(InOrder(item)))
    })
}

/// Devices that were read, each with its fleet.
type WithFleets<T> = Result<Vec<(T, Arc<FleetRead>)>, StoreError>;

fn read_lean<'a>(held: &'a Held, keys: &'a [i64], ask: Ask) -> BoxFuture<'a, WithFleets<Lean>> {
    Box::pin(async move {
        let mut fleets = FleetsAt::new(held, ask.as_of);
        let mut with = Vec::with_capacity(keys.len());
        for lean in held.lean(Some(keys), ask).await? {
            let fleet = fleets.of(lean.provenance).await?;
            with.push((lean, fleet));
        }
        Ok(with)
    })
}

/// Judges devices, and tells whose health is in another band than was told. A failure leaves what was told as it was.
fn healths<'a>(
    held: &'a Held,
    round: &'a Round,
    told: &'a mut HashMap<i64, Option<Band>>,
) -> BoxFuture<'a, Result<Vec<InOrder<HealthChange>>, StoreError>> {
    Box::pin(async move {
        let (mut changes, mut bands) = (Vec::new(), HashMap::new());
        for keys in round.keys.chunks(AT_ONCE) {
            let new = keys.iter().copied().filter(|key| !told.contains_key(key));
            let new: Vec<i64> = new.collect();
            for (lean, fleet) in read_lean(held, &new, round.base).await? {
                let value = lean.health(&fleet, round.base.as_of).value;
                bands.insert(lean.key, value.map(Band::of));
            }
            for (lean, fleet) in read_lean(held, keys, round.ask).await? {
                let before = bands.get(&lean.key).or_else(|| told.get(&lean.key));
                let before = before.copied().flatten();
                let value = lean.health(&fleet, round.ask.as_of).value;
                let band =
                    value.map(|value| before.map_or(Band::of(value), |band| band.then(value)));
                bands.insert(lean.key, band);
                if band != before {
                    changes.push(InOrder(HealthChange {
                        before: before.map(Into::into),
                        band: band.map(Into::into),
                        health: health::reading(&lean, &fleet, round.ask),
                    }));
                }
            }
        }
        told.extend(bands);
        Ok(changes)
    })
}

/// What was told to be unusual.
struct Told {
    measures: Option<Vec<DeviceMeasure>>,
    /// The incidents of each device that are open.
    open: HashMap<i64, Vec<Seen>>,
}

fn read_devices<'a>(
    held: &'a Held,
    keys: &'a [i64],
    ask: Ask,
) -> BoxFuture<'a, WithFleets<Arc<DeviceRead>>> {
    Box::pin(async move {
        let mut fleets = FleetsAt::new(held, ask.as_of);
        let mut with = Vec::with_capacity(keys.len());
        for read in held.devices(keys, ask).await?.into_iter().flatten() {
            let fleet = fleets.of(read.provenance).await?;
            with.push((read, fleet));
        }
        Ok(with)
    })
}

/// Judges devices, and tells which incidents are open that were not, and which are not that were. A failure leaves what
/// was told as it was.
fn anomalies<'a>(
    held: &'a Held,
    round: &'a Round,
    told: &'a mut Told,
) -> BoxFuture<'a, Result<Vec<InOrder<AnomalyChange>>, StoreError>> {
    Box::pin(async move {
        let (mut changes, mut seen) = (Vec::new(), HashMap::new());
        for keys in round.keys.chunks(AT_ONCE) {
            let new = keys.iter().copied();
            let new: Vec<i64> = new.filter(|key| !told.open.contains_key(key)).collect();
            for (read, fleet) in read_devices(held, &new, round.base).await? {
                let open = told.open_of(&read, &fleet);
                seen.insert(read.key, open);
            }
            for (read, fleet) in read_devices(held, keys, round.ask).await? {
                let now = told.open_of(&read, &fleet);
                let before = seen.insert(read.key, now.clone());
                let before = before.or_else(|| told.open.get(&read.key).cloned());
                let before = before.unwrap_or_default();
                let steps = steps(&before, &now).into_iter();
                let steps = steps.filter_map(|(step, seen)| {
                    let anomaly = reading(&read, &fleet, seen)?;
                    Some(InOrder(AnomalyChange { step, anomaly }))
                });
                changes.extend(steps);
            }
        }
        told.open.extend(seen);
        Ok(changes)
    })
}

impl Told {
    fn open_of(&self, read: &DeviceRead, fleet: &FleetRead) -> Vec<Seen> {
        let mut all = seen(read, fleet, self.measures.as_deref());
        all.retain(|seen| seen.state() == AnomalyState::Open);
        all
    }
}

/// What has become of incidents: one that is in both is the same, by its measure and its first hour.
fn steps(before: &[Seen], now: &[Seen]) -> Vec<(AnomalyStep, Seen)> {
    let name = |seen: &Seen| (seen.measure, seen.incident.map(|one| one.hour()));
    let is_among = |all: &[Seen], one: &Seen| all.iter().any(|other| name(other) == name(one));
    let opened = now.iter().filter(|one| !is_among(before, one));
    let closed = before.iter().filter(|one| !is_among(now, one));
    let closed = closed.map(|one| Seen {
        incident: one.incident.map(|incident| Standing {
            is_open: false,
            ..incident
        }),
        ..*one
    });
    let closed = closed.map(|one| (AnomalyStep::Closed, one));
    let opened = opened.map(|one| (AnomalyStep::Opened, *one));
    closed.chain(opened).collect()
}
