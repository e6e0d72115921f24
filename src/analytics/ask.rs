//! Asks for a series: finds out of whom and in which buckets, reads them, and puts another time beside them.

use std::collections::BTreeSet;

use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;
use sea_orm::ConnectionTrait;
use thiserror::Error;

use super::buckets::{Resolution, TooMany, Unit};
use super::calendar::Calendar;
use super::earlier::{Before, Earlier};
use super::expected::expected;
use super::grouped::{Beside, Orders, Told};
use super::question::{GroupKey, Question, Scope};
use super::read::{Compared, Moment, Moments, Read, ReadError};
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
    /// What of the earlier range stands beside each bucket, by the place of that; nothing where nothing does.
    pub(crate) earlier: Vec<Option<Bucket>>,
    /// All of that range; nothing if there is no such time.
    pub(crate) earlier_whole: Option<Bucket>,
}

impl AskedGroup {
    /// What stands beside one of its buckets.
    pub(crate) fn beside(&self, bucket: &Bucket) -> Option<&Bucket> {
        self.earlier.get(bucket.index)?.as_ref()
    }
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
    /// A bucket would begin or end when no instant can be told.
    #[error(
        "the buckets reach beyond the years 0 to 9999: give a later `from`, an earlier `to`, or shorter buckets"
    )]
    Years,
    /// The earlier time would.
    #[error(
        "what it is compared with reaches beyond the years 0 to 9999: give a later `from`, or no `compareWith`"
    )]
    EarlierYears,
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
        None => chosen(store, asked, (&calendar, range)).await?,
    };
    let ends = resolution.buckets(&calendar, range, BUCKETS_MAX)?;
    if !are_told(&ends) {
        return Err(AskError::Years);
    }
    let before = asked.before((&calendar, resolution), &ends, range)?;
    let mut question = subject.question(store, range, ends).await?;
    if asked.coverage && subject.measures.contains(&None) {
        question = question.counting_readings();
    }
    let of = (&mut question, before.as_ref());
    let (orders, (now, earlier)) = asked.read(store, of, allowance).await?;
    let now = asked.told(store, (&question, now), allowance).await?;
    let mut answered = Answered {
        position: now.read.position,
        provenances: now.read.provenances.clone(),
        zone,
        resolution,
        bounds: question.bounds(),
        groups: Vec::new(),
    };
    let earlier = match before.zip(earlier) {
        Some((before, (question, read))) => {
            let told = asked.told(store, (&question, read), allowance).await?;
            answered.provenances.extend(&told.read.provenances);
            Some(Beside {
                question,
                told,
                places: before.places,
            })
        }
        None => None,
    };
    answered.groups = asked.groups((&question, &now), earlier.as_ref(), orders);
    Ok(answered)
}

impl Asked {
    /// The first groups, if they have to be found, and what is read, all of one moment.
    async fn read(
        &self,
        store: &Store,
        (question, before): (&mut Question, Option<&Before>),
        allowance: &Allowance,
    ) -> Result<(Option<Orders>, Compared), ReadError> {
        let mut moments = Moments::of(store);
        loop {
            let (moment, mut of_moment) = (moments.next().await?, question.clone());
            let of = (&mut of_moment, before);
            let read = self.of_moment(&moment, of, allowance).await;
            if let Some(read) = moments.settled(moment, read).await? {
                *question = of_moment;
                return Ok(read);
            }
        }
    }

    async fn of_moment(
        &self,
        moment: &Moment,
        (question, before): (&mut Question, Option<&Before>),
        allowance: &Allowance,
    ) -> Result<(Option<Orders>, Compared), ReadError> {
        let orders = self.first(moment, question, allowance).await?;
        let before = before.map(|before| (before.range, &*before.ends));
        let compared = moment.compared((&*question, before), allowance).await?;
        Ok((orders, compared))
    }

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

    /// With what it is compared; nothing if it is not, or if there is no such time.
    fn before(
        &self,
        cut: (&Calendar, Resolution),
        ends: &[i64],
        range: (i64, i64),
    ) -> Result<Option<Before>, AskError> {
        let Some(earlier) = self.earlier else {
            return Ok(None);
        };
        let before = earlier.before(cut, ends, range)?;
        if before.as_ref().is_some_and(|it| !are_told(&it.ends)) {
            return Err(AskError::EarlierYears);
        }
        Ok(before)
    }
}

/// Whether instants that follow one another can all be told.
pub(super) fn are_told(instants: &[i64]) -> bool {
    let ends = [instants.first(), instants.last()];
    ends.into_iter().flatten().all(|at| Instant(*at).is_told())
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
async fn chosen(
    store: &Store,
    asked: &Asked,
    (calendar, range): (&Calendar, (i64, i64)),
) -> Result<Resolution, StoreError> {
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
    let fits = |one: &Resolution| one.buckets(calendar, range, asked.points).is_ok();
    let mut ladder = LADDER.get(first..).unwrap_or_default().iter().copied();
    Ok(ladder.find(fits).unwrap_or(Resolution::of(Unit::Year)))
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
