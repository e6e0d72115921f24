//! The states of devices over time, and how much of it they were available.

use std::collections::BTreeSet;

use async_graphql::{Context, Error, ID, Object, SimpleObject};

use super::commands::DeviceState;
use super::error::{ErrorCode, bad_input, error};
use super::fleet::Device;
use super::order::InOrder;
use super::scalars::{DateTime, Long, TimeZone};
use super::series::{cursor_at, of_ask, provenances};
use super::series_input::{
    BucketInput, SeriesFilter, by, day_start, range, resolution, scope, week_start, zone,
};
use super::series_key::SeriesKey;
use super::series_words::Dimension;
use super::words::{Provenances, Shown, Word};
use super::{Api, access, api, loaders};
use crate::analytics::availability::{Asked, Group, Span, availability};
use crate::analytics::question::{By, Scope};
use crate::analytics::states::{Held, State, StatesError, timeline};
use crate::event::{Instant, Provenance};
use crate::history::Within;
use crate::kinds::Kind;
use crate::store::EntityType;

/// A time over which a device was in one state.
#[derive(Debug, SimpleObject)]
struct StateInterval {
    /// The state; UNKNOWN before the first report, and while a device that was ONLINE is silent for too long.
    state: DeviceState,
    /// When it begins, within the range.
    start: DateTime,
    /// The first instant after it, within the range.
    end: DateTime,
    /// How long it is within the range, in seconds.
    duration_seconds: f64,
    /// When the state began, also if that was before the range; null where none was ever reported. Of ONLINE it is
    /// when that was reported, also where the device was silent since.
    since: Option<DateTime>,
    /// Whether it still held at the end of the range.
    is_open: bool,
}

/// The states of a device.
#[derive(Debug, SimpleObject)]
struct StateTimeline {
    /// The device.
    device: Option<Device>,
    /// The first instant that is told of.
    from: DateTime,
    /// The first instant after it: nothing is told of what is to come.
    to: DateTime,
    /// Where the reports come from; empty when there are none.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// The states, in order of time, one after the other without a gap; of a device that stood elsewhere only the
    /// time at the sites that the caller reads.
    intervals: Vec<InOrder<StateInterval>>,
}

/// How available devices were over some time.
#[derive(Debug, SimpleObject)]
struct AvailabilityBucket {
    /// When it begins, within the range.
    start: DateTime,
    /// The first instant after it, within the range.
    end: DateTime,
    /// The share of time ONLINE, from 0 to 1, of all that is ONLINE, OFFLINE or ERROR: MAINTENANCE is meant and
    /// UNKNOWN is not known, so that neither counts. Null where there is no such time.
    availability: Option<f64>,
    /// How long devices were ONLINE, in seconds, all of them together.
    online_seconds: f64,
    /// How long they were OFFLINE.
    offline_seconds: f64,
    /// How long they were in ERROR.
    error_seconds: f64,
    /// How long they were in MAINTENANCE.
    maintenance_seconds: f64,
    /// How long they were in service, and it was not known in which state: before the first report, while UNKNOWN was
    /// reported, and while a device that was ONLINE was silent for too long.
    unknown_seconds: f64,
    /// Outages: times over which a device was OFFLINE or in ERROR without a pause. One that lies in several
    /// buckets counts in each.
    outages: Long,
    /// How long the longest of them was, as far as it lies here, in seconds; null without any.
    longest_outage_seconds: Option<f64>,
    /// Mean time to repair: seconds of all outages, as far as they lie here, for each of them; null without any.
    mttr_seconds: Option<f64>,
    /// Mean time between failures: seconds ONLINE for each outage; null without any.
    mtbf_seconds: Option<f64>,
}

/// How available some devices were.
#[derive(Debug, SimpleObject)]
struct AvailabilityGroup {
    /// What they have in common, in the order in which that was asked for.
    key: Vec<InOrder<SeriesKey>>,
    /// How many devices they are.
    devices: i32,
    /// The buckets, in order of time.
    buckets: Vec<InOrder<AvailabilityBucket>>,
    /// All of them as one.
    total: InOrder<AvailabilityBucket>,
}

/// How available devices were.
#[derive(Debug, SimpleObject)]
struct Availability {
    /// The first instant that is told of.
    from: DateTime,
    /// The first instant after it: nothing is told of what is to come.
    to: DateTime,
    /// On whose clock the buckets are.
    time_zone: TimeZone,
    /// Where the reports come from; empty when there are none.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// The groups, in a stable order.
    groups: Vec<InOrder<AvailabilityGroup>>,
}

/// The queries of states.
#[derive(Debug)]
pub(super) struct StateQueries;

#[Object]
impl StateQueries {
    /// In which state a device was from when until when; null when there is no such device.
    ///
    /// A state lasts until another is reported, in the order in which it happened. But ONLINE is UNKNOWN once the
    /// device was silent for three of the intervals that it told last, and for an hour at least, since its last
    /// reading or report of that state, until the next; one that has sent no reading before may be silent for ever.
    /// There are 10,000 intervals at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn state_timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: ID,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(
            desc = "Reports that come from these; left out, REAL if there are any before the end of the range, else \
            CONTROLLED, else SIMULATED; on a demo SIMULATED first."
        )]
        provenance: Option<Vec<Shown<Provenances>>>,
    ) -> Result<Option<InOrder<StateTimeline>>, Error> {
        let key = access::key_or_none(ctx, EntityType::Device, &device_id).await?;
        let within = access::within(ctx).await?;
        let scope = Scope {
            provenances: provenance.as_deref().map(codes),
            preferred: api(ctx).preferred,
            sites: match &within {
                Within::Sites(sites) => Some(sites.iter().copied().collect()),
                Within::Whole | Within::Device { .. } => None,
            },
            ..Scope::default()
        };
        if key == access::NONE || !within.reaches_device(api(ctx).store().names(), key) {
            return Ok(None);
        }
        let (store, allowance) = (api(ctx).store(), loaders(ctx).allowance());
        let range = range(ctx, from, to)?;
        let told = timeline(store, (key, &scope), range, allowance).await;
        let told = told.map_err(|failed| of_states(api(ctx), &failed))?;
        let end = told.range.1;
        let intervals = told.intervals.into_iter();
        Ok(Some(InOrder(StateTimeline {
            device: Device::load(ctx, key).await?,
            from: DateTime(Instant(told.range.0)),
            to: DateTime(Instant(end)),
            provenance: provenances(&told.provenances),
            position: Long(told.position.0),
            cursor: cursor_at(api(ctx), told.position),
            intervals: intervals.map(|held| interval(&held, end)).collect(),
        })))
    }

    /// How much of the time in which devices were in service they were available.
    ///
    /// A device is in service from its first registration on, save while it is suspended or retired. Its states are
    /// those of `stateTimeline`: what is UNKNOWN, also since the device is silent, is told and is no part of the
    /// share. All groups together have 100,000 buckets at most, and 500,000 reports and 500,000 silences are read at
    /// most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn availability(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "How time is cut; without a resolution all of it is one bucket.")]
        buckets: Option<BucketInput>,
        #[graphql(desc = "Which devices; labels are none of them.")] filter: Option<SeriesFilter>,
        #[graphql(desc = "What groups are told apart by: DEVICE, SITE or DEVICE_TYPE, each once.")]
        group_by: Option<Vec<Dimension>>,
    ) -> Result<Option<InOrder<Availability>>, Error> {
        let kind = Kind::DeviceStateChange;
        let (buckets, group_by) = (buckets.unwrap_or_default(), group_by.unwrap_or_default());
        let asked = Asked {
            scope: scope(ctx, kind, filter.unwrap_or_default()).await?,
            range: range(ctx, from, to)?,
            resolution: resolution(&buckets)?,
            zone: zone(buckets.time_zone.as_ref()),
            day_start: day_start(buckets.day_start.as_ref())?,
            week_start: week_start(buckets.week_start.as_ref()),
            by: by(kind, &group_by)?,
        };
        let of_label = asked.by.iter().any(|by| matches!(by, By::Label(_)));
        if of_label || asked.scope.labels.iter().any(Option::is_some) {
            return Err(bad_input(
                "availability is of devices: it is told apart by DEVICE, SITE and DEVICE_TYPE, and not by labels",
            ));
        }
        let told = availability(api(ctx).store(), &asked, loaders(ctx).allowance()).await;
        let told = told.map_err(|failed| of_states(api(ctx), &failed))?;
        let groups = told.groups.iter();
        Ok(Some(InOrder(Availability {
            from: DateTime(Instant(told.range.0)),
            to: DateTime(Instant(told.range.1)),
            time_zone: TimeZone(told.zone.name().to_owned()),
            provenance: provenances(&told.provenances),
            position: Long(told.position.0),
            cursor: cursor_at(api(ctx), told.position),
            groups: groups.map(|of| InOrder(group(of, &group_by))).collect(),
        })))
    }
}

fn codes(words: &[Shown<Provenances>]) -> BTreeSet<i64> {
    let known = words
        .iter()
        .filter_map(|word| Provenance::of_word(&word.word()));
    known.map(Provenance::code).collect()
}

fn interval(held: &Held, end: i64) -> InOrder<StateInterval> {
    let micros: f64 = num_traits::AsPrimitive::as_(held.until - held.from);
    InOrder(StateInterval {
        state: Word::known(held.state.word()),
        start: DateTime(Instant(held.from)),
        end: DateTime(Instant(held.until)),
        duration_seconds: micros / 1_000_000.0,
        since: held.since.map(|since| DateTime(Instant(since))),
        is_open: held.until == end,
    })
}

fn group(group: &Group, dimensions: &[Dimension]) -> AvailabilityGroup {
    AvailabilityGroup {
        key: SeriesKey::of(dimensions, &group.key),
        devices: i32::try_from(group.devices).unwrap_or(i32::MAX),
        buckets: group.buckets.iter().map(bucket).collect(),
        total: bucket(&group.total),
    }
}

fn bucket(span: &Span) -> InOrder<AvailabilityBucket> {
    InOrder(AvailabilityBucket {
        start: DateTime(Instant(span.from)),
        end: DateTime(Instant(span.until)),
        availability: span.availability(),
        online_seconds: span.seconds(State::Online),
        offline_seconds: span.seconds(State::Offline),
        error_seconds: span.seconds(State::Error),
        maintenance_seconds: span.seconds(State::Maintenance),
        unknown_seconds: span.seconds(State::Unknown),
        outages: Long(i64::try_from(span.outages).unwrap_or(i64::MAX)),
        longest_outage_seconds: span.longest_outage(),
        mttr_seconds: span.mean_time_to_repair(),
        mtbf_seconds: span.mean_time_between_failures(),
    })
}

fn of_states(api: &Api, failed: &StatesError) -> Error {
    match failed {
        StatesError::Ask(failed) => of_ask(api, failed),
        StatesError::Buckets { .. }
        | StatesError::Groups { .. }
        | StatesError::Reports { .. }
        | StatesError::Silences { .. }
        | StatesError::Intervals { .. } => error(ErrorCode::LimitExceeded, failed.to_string()),
    }
}
