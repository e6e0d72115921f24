//! What of series is asked for, as it is given: checked, with ids as keys, and no more than the caller reads.

use std::collections::BTreeSet;

use async_graphql::{Context, Error, ID, InputObject};
use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;

use super::error::{bad_input, too_much};
use super::listed::one_to;
use super::scalars::{DateTime, LocalTime, TimeZone};
use super::series_words::{Dimension, Measure, ResolutionWord};
use super::words::{DaysOfWeek, DeviceTypes, Provenances, Shown, Word};
use super::{access, api, of_failed};
use crate::analytics::ask::{BUCKETS_MAX, POINTS_DEFAULT};
use crate::analytics::buckets::{Resolution, Unit};
use crate::analytics::question::{By, Scope};
use crate::event::{Instant, Provenance};
use crate::history::Within;
use crate::history::device_keys::device_keys;
use crate::history::fleet::DeviceFilter;
use crate::kinds::{DAYS, Kind, time_of_day};
use crate::store::EntityType;

/// Values of one list of a filter at most.
const VALUES_MAX: usize = 1_000;
/// Measures at most.
const MEASURES_MAX: usize = 20;
/// Of how many units a bucket is at most.
const EVERY_MAX: usize = 1_000;
const MINUTES_OF_DAY: u32 = 1_440;
const HOURS_OF_DAY: u32 = 24;
/// Groups at most that are told one by one.
pub(super) const TOP_MAX: usize = 1_000;

/// A label that events are asked for by.
#[derive(Debug, InputObject)]
struct LabelFilter {
    /// The label; it must be one of the source's own.
    dimension: Dimension,
    /// Its values, at most 1,000; null is an event without it. What is not told apart of them is looked for among
    /// single events, as far as those are kept: no more than 500,000 of them.
    r#in: Vec<Option<String>>,
}

/// Which events are summed up. An id, a tag or a value of a label that nothing has, or nothing that the caller may see,
/// finds nothing, and is no error.
#[derive(Debug, Default, InputObject)]
pub(super) struct SeriesFilter {
    /// What happened at these sites, at most 1,000.
    site_ids: Option<Vec<ID>>,
    /// What happened on these devices, at most 1,000.
    device_ids: Option<Vec<ID>>,
    /// What happened on devices of these types, as they are registered now.
    device_types: Option<Vec<Word<DeviceTypes>>>,
    /// What happened on devices with one of these tags, as they are registered now; at most 1,000.
    tags: Option<Vec<String>>,
    /// What comes from these; left out, REAL if there is any of what is asked for in the range, else CONTROLLED, else
    /// SIMULATED; on a demo SIMULATED first.
    provenance: Option<Vec<Shown<Provenances>>>,
    /// What has these labels, all of them.
    labels: Option<Vec<LabelFilter>>,
}

impl SeriesFilter {
    /// Only what has a label as well.
    pub(super) fn and_label(&mut self, dimension: &'static str, value: String) {
        let label = LabelFilter {
            dimension: Dimension(dimension),
            r#in: vec![Some(value)],
        };
        self.labels.get_or_insert_default().push(label);
    }
}

/// How time is cut into buckets.
#[derive(Debug, Default, InputObject)]
pub(super) struct BucketInput {
    /// The unit of their length; AUTO when left out.
    resolution: Option<ResolutionWord>,
    /// Of how many units each is: 1 when left out, 1,000 at most.
    every: Option<i32>,
    /// With AUTO: buckets at most, 1 to 10,000; 300 when left out.
    points: Option<i32>,
    /// On whose clock; when left out that of the sites that are asked for, if they have one, else UTC.
    pub(super) time_zone: Option<TimeZone>,
    /// When a day of the business begins, such as 04:00, from 00:00 to 23:59:59; midnight when left out.
    pub(super) day_start: Option<LocalTime>,
    /// The first day of a week; Monday when left out.
    pub(super) week_start: Option<Word<DaysOfWeek>>,
}

/// The kind of which all measures are.
pub(super) fn kind_of(measures: &[Measure]) -> Result<Kind, Error> {
    let told = || format!("there are 1 to {MEASURES_MAX} measures");
    let first = measures.first().ok_or_else(|| bad_input(told()))?;
    if measures.len() > MEASURES_MAX {
        return Err(too_much(told()));
    }
    match measures.iter().find(|measure| measure.kind != first.kind) {
        Some(other) => Err(bad_input(format!(
            "{} is of `{}` and {} of `{}`: ask for each source alone",
            first.word(),
            first.kind.spec().list,
            other.word(),
            other.kind.spec().list
        ))),
        None => Ok(first.kind),
    }
}

pub(super) fn resolution(buckets: &BucketInput) -> Result<Option<Resolution>, Error> {
    let every = one_to("`every`", buckets.every.unwrap_or(1), EVERY_MAX)?;
    let unit = buckets.resolution.unwrap_or_default().unit();
    if unit.is_none() && buckets.every.is_some() {
        return Err(bad_input("`every` is of a unit: AUTO has none"));
    }
    let every = u32::try_from(every).unwrap_or(1);
    let max = match unit {
        Some(Unit::Minute) => MINUTES_OF_DAY,
        Some(Unit::Hour) => HOURS_OF_DAY,
        _ => every,
    };
    if every > max {
        return Err(bad_input(format!(
            "buckets of minutes and hours begin anew each day: `every` is at most {max}; ask for days"
        )));
    }
    Ok(unit.map(|unit| Resolution { every, unit }))
}

pub(super) fn points(buckets: &BucketInput) -> Result<usize, Error> {
    let points = buckets.points;
    let points = points.map(|points| one_to("`points`", points, BUCKETS_MAX));
    Ok(points.transpose()?.unwrap_or(POINTS_DEFAULT))
}

pub(super) fn zone(zone: Option<&TimeZone>) -> Option<Tz> {
    zone.and_then(|zone| zone.0.parse().ok())
}

/// When a business day begins: not when it ends.
pub(super) fn day_start(time: Option<&LocalTime>) -> Result<NaiveTime, Error> {
    let Some(time) = time else {
        return Ok(NaiveTime::MIN);
    };
    let seconds = time_of_day(&time.0);
    let begin = seconds.and_then(|s| NaiveTime::from_num_seconds_from_midnight_opt(s, 0));
    begin.ok_or_else(|| {
        bad_input(format!(
            "`dayStart` is {}: a day begins from 00:00 to 23:59:59",
            time.0
        ))
    })
}

pub(super) fn week_start(day: Option<&Word<DaysOfWeek>>) -> Weekday {
    let word = day.map(Word::word);
    let day = word.and_then(|word| DAYS.iter().position(|day| *day == word));
    let day = day.and_then(|day| u8::try_from(day).ok());
    day.and_then(|day| Weekday::try_from(day).ok())
        .unwrap_or(Weekday::Mon)
}

pub(super) fn by(kind: Kind, dimensions: &[Dimension]) -> Result<Vec<By>, Error> {
    let mut before = BTreeSet::new();
    let by = dimensions.iter().map(|dimension| {
        if !before.insert(dimension.0) {
            let twice = format!(
                "{} is given twice: groups are told apart by it once",
                dimension.0
            );
            return Err(bad_input(twice));
        }
        let list = kind.spec().list;
        let missing = || {
            let known = Dimension::words_of(kind).join(", ");
            bad_input(format!("`{list}` has no {}: it has {known}", dimension.0))
        };
        dimension.of(kind).ok_or_else(missing)
    });
    by.collect()
}

/// What is asked for, as far as the caller reads it.
pub(super) async fn scope(
    ctx: &Context<'_>,
    kind: Kind,
    filter: SeriesFilter,
) -> Result<Scope, Error> {
    let of_devices = (filter.device_types, filter.tags);
    let mut scope = Scope {
        devices: keys(ctx, EntityType::Device, filter.device_ids).await?,
        sites: keys(ctx, EntityType::Site, filter.site_ids).await?,
        provenances: None,
        preferred: api(ctx).preferred,
        labels: labels(kind, filter.labels.unwrap_or_default())?,
    };
    if let Some(words) = filter.provenance {
        let codes = words
            .iter()
            .filter_map(|word| Provenance::of_word(&word.word()));
        scope.provenances = Some(codes.map(Provenance::code).collect());
    }
    if let Some(alike) = alike(ctx, of_devices).await? {
        scope.devices = Some(narrowed(scope.devices, alike));
    }
    match access::within(ctx).await? {
        Within::Whole => {}
        Within::Sites(sites) => {
            scope.sites = Some(narrowed(scope.sites, sites.into_iter().collect()));
        }
        Within::Device { device_key, .. } => {
            scope.devices = Some(narrowed(scope.devices, BTreeSet::from([device_key])));
        }
    }
    Ok(scope)
}

fn narrowed(given: Option<BTreeSet<i64>>, reached: BTreeSet<i64>) -> BTreeSet<i64> {
    match given {
        Some(given) => given.intersection(&reached).copied().collect(),
        None => reached,
    }
}

/// The devices of some types and with some tags, if either is asked for.
async fn alike(
    ctx: &Context<'_>,
    (types, tags): (Option<Vec<Word<DeviceTypes>>>, Option<Vec<String>>),
) -> Result<Option<BTreeSet<i64>>, Error> {
    if types.is_none() && tags.is_none() {
        return Ok(None);
    }
    few(types.as_ref().map_or(0, Vec::len))?;
    few(tags.as_ref().map_or(0, Vec::len))?;
    let filter = DeviceFilter {
        types: types.map(|types| types.iter().map(Word::word).collect()),
        tags,
        ..DeviceFilter::default()
    };
    let found = device_keys(api(ctx).store(), &filter).await;
    found.map(Some).map_err(|error| of_failed(api(ctx), &error))
}

/// From an instant until just before another, or what happens at this moment included.
pub(super) fn range(
    ctx: &Context<'_>,
    from: DateTime,
    to: Option<DateTime>,
) -> Result<(Instant, Instant), Error> {
    let now = api(ctx).ingest.clock().now();
    let until = to.map_or(Instant(now.0.saturating_add(1)), |to| to.0);
    if from.0 >= until {
        return Err(reversed(from, to, now));
    }
    Ok((from.0, until))
}

/// Tells of a range that ends before it begins which of its ends that is about.
pub(super) fn reversed(from: DateTime, to: Option<DateTime>, now: Instant) -> Error {
    let from = from.0;
    bad_input(match to {
        Some(to) => format!("`to` is {}, which is not after `from`, {from}", to.0),
        None => format!(
            "`from` is {from}, and without `to` the range ends now, at {now}: give an earlier `from`"
        ),
    })
}

async fn keys(
    ctx: &Context<'_>,
    entity: EntityType,
    ids: Option<Vec<ID>>,
) -> Result<Option<BTreeSet<i64>>, Error> {
    let Some(ids) = ids else {
        return Ok(None);
    };
    few(ids.len())?;
    let mut keys = BTreeSet::new();
    for id in ids {
        let key = api(ctx).store().key(entity, &id).await;
        let key = key.map_err(|error| of_failed(api(ctx), &error))?;
        // what is not there has recorded nothing
        keys.insert(key.unwrap_or(access::NONE));
    }
    Ok(Some(keys))
}

fn few(values: usize) -> Result<(), Error> {
    if values > VALUES_MAX {
        return Err(too_much(format!(
            "a list of a filter has at most {VALUES_MAX} values"
        )));
    }
    Ok(())
}

fn labels(
    kind: Kind,
    filters: Vec<LabelFilter>,
) -> Result<Vec<Option<BTreeSet<Option<String>>>>, Error> {
    let measured = kind.spec().measured.as_ref();
    let mut labels: Vec<Option<BTreeSet<_>>> =
        vec![None; measured.map_or(0, |measured| measured.dimensions.len())];
    for filter in filters {
        few(filter.r#in.len())?;
        let place = filter.dimension.label_of(kind);
        let place = place
            .and_then(|place| labels.get_mut(place))
            .ok_or_else(|| no_label(kind, filter.dimension))?;
        let given = filter.r#in.into_iter().collect();
        // all of them hold
        *place = Some(match place.take() {
            Some(held) => held.intersection(&given).cloned().collect(),
            None => given,
        });
    }
    Ok(labels)
}

/// Refuses a label that a kind has not.
fn no_label(kind: Kind, dimension: Dimension) -> Error {
    let labels: Vec<&str> = Dimension::labels_of(kind).collect();
    let known = if labels.is_empty() {
        "none".to_owned()
    } else {
        labels.join(", ")
    };
    bad_input(format!(
        "`{}` has no label {}: it has {known}",
        kind.spec().list,
        dimension.0
    ))
}
