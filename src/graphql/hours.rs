//! How a site stands at an instant, and its hours over a range: its schedule, read in its time zone.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::registry::{MetaField, Registry};
use async_graphql::{
    ComplexObject, Context, Enum, Error, ID, Object, OutputType, ServerResult, SimpleObject, Value,
};
use dataloader::BatchFn;

use super::commands::{EventOf, SITE_SCHEDULE};
use super::error::{bad_input, too_much};
use super::fleet::Site;
use super::loaders::{EventKey, Loaded, Reads};
use super::meta::{field_with, input};
use super::order::InOrder;
use super::query::site_of;
use super::scalars::{Date, DateTime, LocalTime};
use super::{api, loaders, of_failed, take};
use crate::event::Instant;
use crate::history::schedules;
use crate::kinds::Kind;
use crate::schedule::{Calendar, Dates, Hours, Interval, RANGE_DAYS_MAX, RangeError, Status};
use crate::store::{Columns, Place};

/// Rows at most of the hours of one site.
const HOURS_MAX: usize = 5_000;

/// Whether a site is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum SiteState {
    /// It is open.
    Open,
    /// It is closed.
    Closed,
    /// No row of its schedule speaks of it.
    Unknown,
}

/// What a site does in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "HoursKind", remote = "Hours")]
enum HoursKind {
    /// It is open.
    Open,
    /// It is open, and most customers come.
    Peak,
    /// Jobs may disturb.
    Maintenance,
}

/// How a site stands from a change on.
#[derive(Debug, SimpleObject)]
struct SiteStatusChange {
    /// When it changes.
    at: DateTime,
    /// Whether it is open then.
    state: SiteState,
    /// Whether it is open then.
    is_open: bool,
    /// Whether most customers come then.
    is_peak: bool,
    /// Whether jobs may disturb then.
    in_maintenance: bool,
}

/// How a site stands at an instant, by the schedule that holds now.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of its own in the schema"
)]
pub(super) struct SiteStatus {
    /// The instant.
    at: DateTime,
    /// Whether it is open: UNKNOWN when no row of its schedule speaks of that time.
    state: SiteState,
    /// Whether a row of its schedule speaks of that time; if not, the next three are false.
    is_known: bool,
    /// Whether it is open.
    is_open: bool,
    /// Whether it is open and most customers come.
    is_peak: bool,
    /// Whether jobs may disturb; that may be on a day that is closed too.
    in_maintenance: bool,
    /// When one of these changes next; null when that is not within 400 days.
    next_change_at: Option<DateTime>,
    /// How it stands from then on.
    next_change: Option<InOrder<SiteStatusChange>>,
    /// Time of day at the site.
    local_time: LocalTime,
    /// Date at the site.
    local_date: Date,
    /// The date to which the row that applies belongs: that of the day before, as long as its hours after
    /// midnight last.
    date: Date,
    /// Where the row is that applies.
    #[graphql(skip)]
    place: Option<Place>,
}

#[ComplexObject]
impl SiteStatus {
    /// The row that applies: that of the date, else that of its day of the week; null when there is none.
    async fn schedule(&self, ctx: &Context<'_>) -> Result<Option<EventOf<SITE_SCHEDULE>>, Error> {
        let Some(place) = self.place else {
            return Ok(None);
        };
        let key = EventKey(Kind::SiteSchedule, place, Columns::ALL);
        let row = loaders(ctx).events.load(key).await;
        let row = row.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(row.map(EventOf))
    }
}

/// A stretch of time in which a site is open, is busy, or may be disturbed: from its start on, and no longer
/// at its end.
#[derive(Debug, SimpleObject)]
pub(super) struct OperatingHours {
    /// What it does.
    kind: HoursKind,
    /// Its first instant; not before the range.
    start: DateTime,
    /// The first instant after it; not after the range.
    end: DateTime,
    /// The date at the site to which the row belongs by which it begins: hours past midnight are of the day
    /// on which they begin.
    date: Date,
}

const fn state_of(status: &Status) -> SiteState {
    match (status.is_known, status.is_open) {
        (false, _) => SiteState::Unknown,
        (true, true) => SiteState::Open,
        (true, false) => SiteState::Closed,
    }
}

fn change_of(calendar: &Calendar, at: Instant) -> SiteStatusChange {
    let status = calendar.status_at(at);
    SiteStatusChange {
        at: DateTime(at),
        state: state_of(&status),
        is_open: status.is_open,
        is_peak: status.is_peak,
        in_maintenance: status.in_maintenance,
    }
}

impl SiteStatus {
    fn new(calendar: &Calendar, at: Instant) -> Self {
        let status = calendar.status_at(at);
        let change = |at: Instant| InOrder(change_of(calendar, at));
        let local = calendar.local(at);
        let applied = calendar.applied_at(at);
        let date = applied.map_or(local.date(), |applied| applied.date);
        Self {
            at: DateTime(at),
            state: state_of(&status),
            is_known: status.is_known,
            is_open: status.is_open,
            is_peak: status.is_peak,
            in_maintenance: status.in_maintenance,
            next_change_at: status.next_change.map(DateTime),
            next_change: status.next_change.map(change),
            local_time: LocalTime(local.format("%H:%M:%S").to_string()),
            local_date: Date(local.date().to_string()),
            date: Date(date.to_string()),
            place: applied.map(|applied| applied.place),
        }
    }
}

impl From<Interval> for OperatingHours {
    fn from(interval: Interval) -> Self {
        Self {
            kind: interval.hours.into(),
            start: DateTime(interval.start),
            end: DateTime(interval.end),
            date: Date(interval.date.to_string()),
        }
    }
}

/// A site by its key, its time zone, and the dates for which its calendar is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CalendarKey(i64, String, Dates);

impl BatchFn<CalendarKey, Loaded<Arc<Calendar>>> for Reads {
    async fn load(&mut self, keys: &[CalendarKey]) -> HashMap<CalendarKey, Loaded<Arc<Calendar>>> {
        let mut of_dates: HashMap<Dates, HashMap<i64, String>> = HashMap::new();
        for CalendarKey(site, zone, dates) in keys {
            let zones = of_dates.entry(*dates).or_default();
            zones.insert(*site, zone.clone());
        }
        let mut read = HashMap::with_capacity(of_dates.len());
        for (dates, zones) in of_dates {
            let of_zones =
                schedules::calendars_of_zones(&self.store, zones, dates, &self.allowance);
            let calendars = of_zones.await.map(|calendars| {
                let shared = calendars.into_iter();
                let shared = shared.map(|(site, calendar)| (site, Arc::new(calendar)));
                shared.collect::<HashMap<_, _>>()
            });
            read.insert(dates, calendars.map_err(Arc::new));
        }
        let of = |key: &CalendarKey| {
            let CalendarKey(site, zone, dates) = key;
            let calendar = match read.get(dates) {
                Some(Ok(calendars)) => calendars.get(site).map(Arc::clone),
                Some(Err(error)) => return (key.clone(), Err(Arc::clone(error))),
                None => None,
            };
            let calendar = calendar.unwrap_or_else(|| Arc::new(Calendar::of_zone(zone)));
            (key.clone(), Ok(calendar))
        };
        keys.iter().map(of).collect()
    }
}

/// The calendar of a site for some dates, together with those of the others that the request asks for.
async fn calendar(ctx: &Context<'_>, site: &Site, dates: Dates) -> Result<Arc<Calendar>, Error> {
    let key = CalendarKey(site.0.site_key, site.0.time_zone.clone(), dates);
    let calendar = loaders(ctx).calendars.load(key).await;
    calendar.map_err(|error| of_failed(api(ctx), &error))
}

async fn status(
    ctx: &Context<'_>,
    site: &Site,
    at: Option<DateTime>,
) -> Result<InOrder<SiteStatus>, Error> {
    let at = at.map_or_else(|| loaders(ctx).now(), |at| at.0);
    // what changes next is looked for as far ahead, and from there on once more
    let dates = Dates::around(at, (0, 2 * RANGE_DAYS_MAX));
    let calendar = calendar(ctx, site, dates).await?;
    Ok(InOrder(SiteStatus::new(&calendar, at)))
}

async fn operating_hours(
    ctx: &Context<'_>,
    site: &Site,
    (from, to): (DateTime, DateTime),
) -> Result<Vec<InOrder<OperatingHours>>, Error> {
    // a range that is refused needs no dates
    let until =
        to.0.min(from.0.plus_ms(RANGE_DAYS_MAX * 86_400_000))
            .max(from.0);
    let calendar = calendar(ctx, site, Dates::between(from.0, until)).await?;
    let intervals = calendar.intervals(from.0, to.0);
    let intervals = intervals.map_err(|error| match error {
        RangeError::Empty => bad_input("`to` is not after `from`"),
        RangeError::TooLong => too_much(format!(
            "from `from` to `to` it is more than {RANGE_DAYS_MAX} days; give a shorter range"
        )),
    })?;
    if intervals.len() > HOURS_MAX {
        let message = format!(
            "the site has {} hours in the range, at most {HOURS_MAX} are answered; give a shorter range",
            intervals.len()
        );
        return Err(too_much(message));
    }
    loaders(ctx).count(intervals.len())?;
    take(ctx, intervals.len() * size_of::<OperatingHours>())?;
    let hours = intervals.into_iter().map(OperatingHours::from);
    Ok(hours.map(InOrder).collect())
}

/// `Site.status` as a field.
pub(super) fn status_field(registry: &mut Registry) -> MetaField {
    let ty = <Option<InOrder<SiteStatus>> as OutputType>::create_type_info(registry);
    let description = "How it stands at an instant, by the schedule that holds now.";
    let at = input("at", "DateTime", "The instant; now when it is left out.");
    field_with("status", &ty, description, vec![at])
}

/// `Site.operatingHours` as a field.
pub(super) fn hours_field(registry: &mut Registry) -> MetaField {
    let ty = <Option<Vec<InOrder<OperatingHours>>> as OutputType>::create_type_info(registry);
    let description = "Its hours in a range of at most 400 days, by the schedule that holds now, in the \
        order of their starts; at most 5,000.";
    let arguments = vec![
        input("from", "DateTime!", "The first instant of the range."),
        input("to", "DateTime!", "The first instant after the range."),
    ];
    field_with("operatingHours", &ty, description, arguments)
}

/// Resolves `Site.status`.
pub(super) async fn resolve_status(ctx: &Context<'_>, site: &Site) -> ServerResult<Value> {
    let at = ctx.param_value::<Option<DateTime>>("at", None)?.1;
    let status = status(ctx, site, at).await;
    resolved(ctx, status).await
}

/// Resolves `Site.operatingHours`.
pub(super) async fn resolve_hours(ctx: &Context<'_>, site: &Site) -> ServerResult<Value> {
    let from = ctx.param_value::<DateTime>("from", None)?.1;
    let to = ctx.param_value::<DateTime>("to", None)?.1;
    let hours = operating_hours(ctx, site, (from, to)).await;
    resolved(ctx, hours).await
}

async fn resolved(ctx: &Context<'_>, value: Result<impl OutputType, Error>) -> ServerResult<Value> {
    let value = value.map_err(|error| error.into_server_error(ctx.item.pos))?;
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    OutputType::resolve(&value, &set, ctx.item).await
}

/// What is asked of sites by their ids.
#[derive(Debug)]
pub(super) struct SiteHours;

#[Object]
impl SiteHours {
    /// How a site stands at an instant, by the schedule that holds now; null when there is no such site.
    async fn site_status(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id that its operator gave it.")] site_id: ID,
        #[graphql(desc = "The instant; now when it is left out.")] at: Option<DateTime>,
    ) -> Result<Option<InOrder<SiteStatus>>, Error> {
        match site_of(ctx, &site_id).await? {
            Some(site) => status(ctx, &site, at).await.map(Some),
            None => Ok(None),
        }
    }

    /// The hours of a site in a range of at most 400 days, by the schedule that holds now, in the order of
    /// their starts, at most 5,000; null when there is no such site.
    async fn operating_hours(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id that its operator gave it.")] site_id: ID,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range.")] to: DateTime,
    ) -> Result<Option<Vec<InOrder<OperatingHours>>>, Error> {
        match site_of(ctx, &site_id).await? {
            Some(site) => operating_hours(ctx, &site, (from, to)).await.map(Some),
            None => Ok(None),
        }
    }
}
