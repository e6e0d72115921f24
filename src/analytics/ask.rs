//! Asks for a series: finds out of whom and in which buckets, reads them, and puts another time beside them.

use std::collections::BTreeSet;

use chrono::{Days, Months, NaiveTime, Weekday};
use chrono_tz::Tz;
use sea_orm::ConnectionTrait;
use thiserror::Error;

use super::buckets::{Calendar, Resolution, TooMany, Unit};
use super::expected::expected;
use super::grouped::Told;
use super::question::{GroupKey, Question, Scope};
use super::read::{Moment, Read, ReadError, read};
use super::series::{Aggregate, Bucket, Fill};
use super::subject::Subject;
use crate::event::{Instant, Position};
use crate::store::{Allowance, Doing, List, Sql, Store, StoreError};

/// Buckets at most of a group.
pub const BUCKETS_MAX: usize = 10_000;
/// Buckets at most of all groups together.
pub const ALL_BUCKETS_MAX: usize = 100_000;
/// Points of a series, unless it is said how many.
pub const POINTS_DEFAULT: usize = 300;

/// With what a range is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// As many buckets just before it; of what has none as many months or days, if it is whole ones, else as long a
    /// time.
    Period,
    /// The same time a week before.
    Week,
    /// The same time a month before.
    Month,
    /// The same time a year before.
    Year,
}

/// A series that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What is measured, of what, and told apart by what.
    pub subject: Subject,
    /// From an instant until just before another.
    pub range: (Instant, Instant),
    /// How long a bucket is; left out, as long as makes at most so many points.
    pub resolution: Option<Resolution>,
    /// At most so many buckets, if it is not said how long they are.
    pub points: usize,
    /// On whose clock; left out, that of the sites if they have one, else UTC.
    pub zone: Option<Tz>,
    /// When a business day begins.
    pub day_start: NaiveTime,
    /// With which day a week begins.
    pub week_start: Weekday,
    /// So many groups, and the others as one.
    pub top: Option<usize>,
    /// By what groups are ranked; left out, by what suits the measure.
    pub rank: Option<Aggregate>,
    /// What stands in buckets in which nothing was said.
    pub fill: Fill,
    /// With what it is compared.
    pub earlier: Option<Earlier>,
    /// Whether it is told how much was expected.
    pub coverage: bool,
}

/// A group of a series, of one measure.
#[derive(Debug)]
pub(crate) struct AskedGroup {
    /// Its place among those that were asked for.
    pub(crate) measure: usize,
    pub(crate) key: GroupKey,
    pub(crate) is_other: bool,
    pub(crate) buckets: Vec<Bucket>,
    /// All of it.
    pub(crate) whole: Bucket,
    /// The same of the earlier range, bucket by bucket.
    pub(crate) earlier: Vec<Bucket>,
    pub(crate) earlier_whole: Option<Bucket>,
}

/// A series.
#[derive(Debug)]
pub(crate) struct Answered {
    /// All events up to this position are in it.
    pub(crate) position: Position,
    /// The numbers of the provenances that are in it.
    pub(crate) provenances: BTreeSet<i64>,
    pub(crate) zone: Tz,
    pub(crate) resolution: Resolution,
    /// From the beginning of the first bucket to the end of the last.
    pub(crate) bounds: (i64, i64),
    pub(crate) groups: Vec<AskedGroup>,
}

/// Why a series is not answered.
#[derive(Debug, Error)]
pub enum AskError {
    /// It ends before it begins.
    #[error("`to` is not after `from`")]
    Reversed,
    /// There would be more buckets than are answered.
    #[error(
        "{0}: give a coarser `resolution`, such as AUTO, a greater `every`, or a shorter range from `from` to `to`"
    )]
    Buckets(#[from] TooMany),
    /// There would be more buckets in all groups together.
    #[error(
        "each group has {buckets} buckets, and all groups together have at most {max}, which is {groups} groups: \
         for fewer groups give `top`, or a narrower `filter`; for fewer buckets a coarser `resolution`, such as AUTO, \
         a greater `every`, or a shorter range from `from` to `to`"
    )]
    AllBuckets {
        /// How many each group has.
        buckets: usize,
        /// How many are answered.
        max: usize,
        /// How many groups have as many together.
        groups: usize,
    },
    /// There are more groups.
    #[error(
        "there are more than {max} groups, which is as many as are read: give a narrower `filter`, or a shorter range \
         from `from` to `to`"
    )]
    Groups {
        /// How many are read.
        max: usize,
    },
    /// More single events would have to be read.
    #[error(
        "what is no whole quarter of an hour is made of single events, and there are more than {max}: ask for buckets \
         of 15 minutes (`resolution: MINUTE` and `every: 15`) or a multiple of that, for a `from` and a `to` at quarters \
         of an hour, or for less time or, by `filter`, fewer devices"
    )]
    Events {
        /// How many are read.
        max: usize,
    },
    /// There would be more hours in a heat map.
    #[error(
        "the range has about {hours} hours, at most {max} are answered: give a later `from` or an earlier `to`"
    )]
    Hours {
        /// About how many there are.
        hours: i64,
        /// How many are read.
        max: usize,
    },
    /// An aggregate says nothing of a measure, or of any of some.
    #[error("{aggregate} says nothing of {measures}: there are {others}")]
    Senseless {
        /// The aggregate.
        aggregate: String,
        /// The measures.
        measures: String,
        /// Those that say something of one of them.
        others: String,
    },
    /// Nothing of the kind is summed up.
    #[error("nothing of {kind} is summed up")]
    Kind {
        /// The kind.
        kind: &'static str,
    },
    /// The tables cannot be read.
    #[error("cannot read a series")]
    Store(#[from] StoreError),
}

impl From<ReadError> for AskError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Buckets { buckets, max } if buckets > 1 => Self::AllBuckets {
                buckets,
                max,
                groups: max / buckets,
            },
            ReadError::Buckets { max, .. } => Self::Groups { max },
            ReadError::Events { max } => Self::Events { max },
            ReadError::Store(error) => Self::Store(error),
        }
    }
}

/// The lengths of buckets among which one is chosen, in their order.
const LADDER: [Resolution; 14] = [
    every(1, Unit::Minute),
    every(5, Unit::Minute),
    every(15, Unit::Minute),
    every(30, Unit::Minute),
    every(1, Unit::Hour),
    every(2, Unit::Hour),
    every(4, Unit::Hour),
    every(6, Unit::Hour),
    every(12, Unit::Hour),
    every(1, Unit::Day),
    every(1, Unit::Week),
    every(1, Unit::Month),
    every(1, Unit::Quarter),
    every(1, Unit::Year),
];
/// The first of them that is summed up.
const SUMMED_UP: usize = 2;
/// Minutes are chosen by themselves for 100 hours at most, of all devices together.
const MINUTES_MAX: i64 = 100 * 3_600 * 1_000_000;

const fn every(every: u32, unit: Unit) -> Resolution {
    Resolution { every, unit }
}

/// Answers what is asked.
pub(crate) async fn ask(
    store: &Store,
    asked: &Asked,
    allowance: &Allowance,
) -> Result<Answered, AskError> {
    let range = (asked.range.0.0, asked.range.1.0);
    if range.0 >= range.1 {
        return Err(AskError::Reversed);
    }
    let subject = &asked.subject;
    let zone = match asked.zone {
        Some(zone) => zone,
        None => zone_of(store, &subject.scope).await?,
    };
    let calendar = Calendar {
        zone,
        day_start: asked.day_start,
        week_start: asked.week_start,
    };
    let resolution = match asked.resolution {
        Some(resolution) => resolution,
        None => chosen(store, asked, range).await?,
    };
    let ends = resolution.buckets(&calendar, range, BUCKETS_MAX)?;
    let mut question = subject.question(store, range, ends).await?;
    if asked.coverage && subject.measures.contains(&None) {
        question = question.counting_readings();
    }
    let moment = Moment::begin(store).await?;
    let orders = asked.first(&moment, &mut question, allowance).await?;
    let now = moment.read(&question, allowance).await?;
    moment.end().await?;
    let now = asked.told(store, (&question, now), allowance).await?;
    let mut answered = Answered {
        position: now.read.position,
        provenances: now.read.provenances.clone(),
        zone,
        resolution,
        bounds: question.bounds(),
        groups: Vec::new(),
    };
    let earlier = match asked.earlier {
        Some(earlier) => {
            let before = match earlier {
                Earlier::Period => resolution.before(&calendar, &question.ends, range)?,
                Earlier::Week | Earlier::Month | Earlier::Year => earlier.range(&calendar, range),
            };
            let ends = resolution.buckets(&calendar, before, BUCKETS_MAX)?;
            let question = question.at(before, ends, &now.read.provenances);
            let before = read(store, &question, allowance).await?;
            let told = asked.told(store, (&question, before), allowance).await?;
            answered.provenances.extend(&told.read.provenances);
            Some((question, told))
        }
        None => None,
    };
    answered.groups = asked.groups((&question, &now), earlier.as_ref(), orders);
    Ok(answered)
}

impl Asked {
    /// What was read, and if it is asked for how much was expected.
    async fn told(
        &self,
        store: &Store,
        (question, read): (&Question, Read),
        allowance: &Allowance,
    ) -> Result<Told, AskError> {
        let expected = if self.coverage {
            expected(store, (question, read.position), allowance).await?
        } else {
            None
        };
        Ok(Told { read, expected })
    }
}

impl Earlier {
    /// The range that is compared with one that is not cut into buckets.
    pub(super) fn range(self, calendar: &Calendar, (from, to): (i64, i64)) -> (i64, i64) {
        if self == Self::Period
            && let Some(before) = whole_before(calendar, (from, to))
        {
            return before;
        }
        let at = |at: i64| match self {
            Self::Period => at - (to - from),
            Self::Week => calendar.moved(at, |date| date.checked_sub_days(Days::new(7))),
            Self::Month => calendar.moved(at, |date| date.checked_sub_months(Months::new(1))),
            Self::Year => calendar.moved(at, |date| date.checked_sub_months(Months::new(12))),
        };
        let (from, to) = (at(from), at(to));
        (from, to.max(from + 1))
    }
}

/// As many months just before a range that is whole ones, or else as many days: as series of these are compared, and of
/// weeks, which are seven days.
fn whole_before(calendar: &Calendar, range: (i64, i64)) -> Option<(i64, i64)> {
    let units = [Unit::Month, Unit::Day].map(Resolution::of);
    units.into_iter().find_map(|unit| {
        let ends = unit.buckets(calendar, range, BUCKETS_MAX).ok()?;
        let bounds = ends.first().copied().zip(ends.last().copied());
        if bounds != Some(range) {
            return None;
        }
        unit.before(calendar, &ends, range).ok()
    })
}

/// The zone that all sites of a scope have, or UTC.
pub(super) async fn zone_of(store: &Store, scope: &Scope) -> Result<Tz, StoreError> {
    let mut sql = Sql::new("SELECT DISTINCT time_zone FROM sites");
    if let Some(sites) = &scope.sites {
        sql.push(" WHERE ");
        sql.among("site_key", List::Int(sites.iter().copied().collect()));
    } else if let Some(devices) = &scope.devices {
        sql.push(" WHERE site_key IN (SELECT site_key FROM devices WHERE ");
        sql.among("device_key", List::Int(devices.iter().copied().collect()));
        sql.push(")");
    }
    sql.push(" LIMIT 2");
    let doing = "read the zones of sites";
    let statement = sql.statement(store.backend());
    let rows = store
        .readers()
        .query_all_raw(statement)
        .await
        .doing(doing)?;
    let [row] = rows.as_slice() else {
        return Ok(Tz::UTC);
    };
    let zone: String = row.try_get_by_index(0).doing(doing)?;
    Ok(zone.parse().unwrap_or(Tz::UTC))
}

/// The shortest buckets of which there are no more than points; less than a quarter of an hour only of few
/// devices, or where minutes are summed up.
async fn chosen(store: &Store, asked: &Asked, range: (i64, i64)) -> Result<Resolution, StoreError> {
    let length = range.1 - range.0;
    let mut first = SUMMED_UP;
    if length <= MINUTES_MAX {
        let devices = match &asked.subject.scope.devices {
            Some(devices) => i64::try_from(devices.len()).unwrap_or(i64::MAX),
            None => devices(store).await?,
        };
        if devices.saturating_mul(length) <= MINUTES_MAX {
            first = 0;
        }
    }
    // what it is compared with is made of minutes as well
    let earliest = match asked.earlier {
        None => range.0,
        Some(Earlier::Period) => range.0.saturating_sub(length),
        Some(Earlier::Week | Earlier::Month | Earlier::Year) => i64::MIN,
    };
    if first > 0 && asked.subject.has_minutes(store, earliest).await? {
        first = 0;
    }
    let points = i64::try_from(asked.points.max(1)).unwrap_or(i64::MAX);
    let ladder = LADDER.get(first..).unwrap_or_default().iter();
    let mut fitting = ladder.filter(|resolution| length / resolution.least_length() < points);
    Ok(fitting
        .next()
        .copied()
        .unwrap_or(Resolution::of(Unit::Year)))
}

async fn devices(store: &Store) -> Result<i64, StoreError> {
    let doing = "count devices";
    let sql = Sql::new("SELECT count(*) FROM devices");
    let row = store
        .readers()
        .query_one_raw(sql.statement(store.backend()))
        .await;
    let row = row.doing(doing)?;
    let count = row.map(|row| row.try_get_by_index(0)).transpose();
    Ok(count.doing(doing)?.unwrap_or_default())
}
