//! Series: measures over time, in buckets of the shop's own time.

use async_graphql::{Context, Error, Object, SimpleObject};

use super::cursor;
use super::error::{ErrorCode, bad_input, error};
use super::fleet::{Device, Site};
use super::listed::at_most;
use super::order::InOrder;
use super::scalars::{DateTime, Long, TimeZone};
use super::series_input::{
    BucketInput, SeriesFilter, TOP_MAX, by, day_start, kind_of, points, resolution, scope,
    week_start, zone,
};
use super::series_words::{
    AggregateWord, CompareWord, Dimension, FillWord, Measure, ResolutionWord,
};
use super::words::{Provenances, Shown};
use super::{api, loaders, of_failed};
use crate::analytics::ask::{ALL_BUCKETS_MAX, Answered, AskError, Asked, AskedGroup, ask};
use crate::analytics::question::Part;
use crate::analytics::series::{Aggregate, Bucket};
use crate::event::{Instant, Provenance};
use crate::store::Place;

/// What a group is told apart by.
#[derive(Debug, SimpleObject)]
struct SeriesKey {
    /// What it is.
    dimension: &'static str,
    /// Which one: a label, or the id of a site or a device; null for what has none.
    value: Option<String>,
    /// The site, if it is one.
    site: Option<Site>,
    /// The device, if it is one.
    device: Option<Device>,
}

/// What was measured from an instant until just before another.
#[derive(Debug)]
struct SeriesBucket {
    bucket: Bucket,
    earlier: Option<Bucket>,
}

/// What was measured from an instant until just before another.
#[Object]
impl SeriesBucket {
    /// When it begins.
    async fn start(&self) -> DateTime {
        DateTime(Instant(self.bucket.start))
    }

    /// The first instant after it.
    async fn end(&self) -> DateTime {
        DateTime(Instant(self.bucket.end))
    }

    /// How many events there were, whether they told of the measure or not; 0 in one that is filled.
    async fn events(&self) -> Long {
        Long(i64::try_from(self.bucket.events()).unwrap_or(i64::MAX))
    }

    /// Whether what stands here was filled in, since nothing was said.
    async fn is_filled(&self) -> bool {
        !self.bucket.is_said()
    }

    /// How many values there were.
    async fn count(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Count)
    }

    /// The sum of the values, of a gauge or of events; an amount of money is in the currency of the group.
    async fn sum(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Sum)
    }

    /// Their mean; of a gauge.
    async fn avg(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Avg)
    }

    /// The least of them.
    async fn min(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Min)
    }

    /// The greatest of them.
    async fn max(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Max)
    }

    /// The first of them by time; of those at one instant the least.
    async fn first(&self) -> Option<f64> {
        self.bucket.value(Aggregate::First)
    }

    /// The last of them by time; of those at one instant the greatest.
    async fn last(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Last)
    }

    /// Their standard deviation, as of all that there are; of a gauge.
    async fn stddev(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Stddev)
    }

    /// By how much the counters grew: from each value to the next, from 0 where one began anew; or how many
    /// events there were.
    async fn increase(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Increase)
    }

    /// The increase in a second.
    async fn rate(&self) -> Option<f64> {
        self.bucket.value(Aggregate::Rate)
    }

    /// The value below which a part of all lies, within 1 % of it; of a gauge.
    #[expect(clippy::unused_async, reason = "the form is that of fields")]
    async fn percentile(
        &self,
        #[graphql(desc = "How large a part, from 0 to 100: 50 is the median.")] of: f64,
    ) -> Result<Option<f64>, Error> {
        if !(0.0..=100.0).contains(&of) {
            return Err(bad_input("a percentile is from 0 to 100"));
        }
        Ok(self.bucket.value(Aggregate::Percentile(of)))
    }

    /// The bucket of the time with which this one is compared.
    async fn earlier(&self) -> Option<InOrder<SeriesBucket>> {
        let bucket = self.earlier.clone()?;
        Some(InOrder(Self {
            bucket,
            earlier: None,
        }))
    }
}

/// The buckets of one measure, of what has something in common.
#[derive(Debug, SimpleObject)]
struct SeriesGroup {
    /// The measure.
    measure: Measure,
    /// What it is counted in.
    unit: &'static str,
    /// ISO 4217 code of what is money; null for all else, and where a site has no currency.
    currency: Option<String>,
    /// What it is told apart by, in the order in which that was asked for.
    key: Vec<InOrder<SeriesKey>>,
    /// Whether it is of all that are not among the first.
    is_other: bool,
    /// The buckets, in order of time.
    buckets: Vec<InOrder<SeriesBucket>>,
    /// All of them as one.
    total: InOrder<SeriesBucket>,
}

/// Measures over time.
#[derive(Debug, SimpleObject)]
struct Series {
    /// When the first bucket begins: at `from` or before.
    from: DateTime,
    /// The first instant after the last bucket: `to` or later.
    to: DateTime,
    /// On whose clock the buckets are.
    time_zone: TimeZone,
    /// The unit of their length.
    resolution: ResolutionWord,
    /// Of how many units each is.
    every: i32,
    /// Where what is summed up comes from; empty when there is nothing.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// The groups: for each measure those first that come to most.
    groups: Vec<InOrder<SeriesGroup>>,
}

/// The queries of series.
#[derive(Debug)]
pub(super) struct SeriesQueries;

#[Object]
impl SeriesQueries {
    /// Measures of one source over time, in buckets of the shop's own time.
    ///
    /// What is recorded late is in the bucket in which it happened, and what was recorded last is in it too. A
    /// bucket that is cut by `from` or `to` tells of the part that is asked for. All groups together have
    /// 100,000 buckets at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn series(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The measures, 1 to 20, all of one source.")] measures: Vec<Measure>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "How time is cut.")] buckets: Option<BucketInput>,
        #[graphql(desc = "Which events.")] filter: Option<SeriesFilter>,
        #[graphql(desc = "What groups are told apart by, in this order.")] group_by: Option<
            Vec<Dimension>,
        >,
        #[graphql(desc = "So many groups, and all others as one: at most 1,000.")] top: Option<i32>,
        #[graphql(
            desc = "By what groups are ranked; when left out by the mean of a gauge, the increase of a \
            counter, the number of events."
        )]
        rank_by: Option<AggregateWord>,
        #[graphql(desc = "What stands in buckets in which nothing was said; NULL when left out.")]
        fill: Option<FillWord>,
        #[graphql(desc = "With what it is compared.")] compare_with: Option<CompareWord>,
    ) -> Result<Option<InOrder<Series>>, Error> {
        let kind = kind_of(&measures)?;
        let buckets = buckets.unwrap_or_default();
        let group_by = group_by.unwrap_or_default();
        let now = api(ctx).ingest.clock().now();
        let asked = Asked {
            kind,
            measures: measures.iter().map(|measure| measure.index).collect(),
            range: (
                from.0,
                to.map_or(Instant(now.0.saturating_add(1)), |to| to.0),
            ),
            resolution: resolution(&buckets)?,
            points: points(&buckets)?,
            zone: zone(buckets.time_zone.as_ref()),
            day_start: day_start(buckets.day_start.as_ref()),
            week_start: week_start(buckets.week_start.as_ref()),
            scope: scope(ctx, kind, filter.unwrap_or_default()).await?,
            by: by(kind, &group_by)?,
            top: top.map(|top| at_most("`top`", top, TOP_MAX)).transpose()?,
            rank: rank_by.map(Aggregate::from),
            fill: fill.unwrap_or_default().into(),
            earlier: compare_with.map(Into::into),
            percentiles: wants_percentiles(ctx),
        };
        let answered = answer(ctx, &asked).await?;
        let shown = Shower {
            ctx,
            measures,
            group_by,
        };
        Ok(Some(InOrder(shown.series(answered).await?)))
    }
}

fn wants_percentiles(ctx: &Context<'_>) -> bool {
    let groups = ctx.look_ahead().field("groups");
    ["buckets", "total"].into_iter().any(|name| {
        let bucket = groups.field(name);
        bucket.field("percentile").exists() || bucket.field("earlier").field("percentile").exists()
    })
}

pub(super) async fn answer(ctx: &Context<'_>, asked: &Asked) -> Result<Answered, Error> {
    let answered = ask(api(ctx).store(), asked, loaders(ctx).allowance()).await;
    answered.map_err(|failed| match failed {
        AskError::Reversed | AskError::Kind { .. } => bad_input(failed.to_string()),
        AskError::Buckets(_) | AskError::AllBuckets { .. } | AskError::Events { .. } => {
            error(ErrorCode::LimitExceeded, failed.to_string())
        }
        AskError::Store(failed) => of_failed(api(ctx), &failed),
    })
}

/// Shows what was answered.
struct Shower<'a> {
    ctx: &'a Context<'a>,
    measures: Vec<Measure>,
    group_by: Vec<Dimension>,
}

impl Shower<'_> {
    async fn series(&self, answered: Answered) -> Result<Series, Error> {
        let identity = api(self.ctx).store().identity();
        let place = Place {
            position: answered.position,
            occurred_at: Instant(0),
        };
        let mut groups = Vec::with_capacity(answered.groups.len());
        for group in answered.groups {
            groups.push(InOrder(self.group(group).await?));
        }
        let provenances = answered.provenances.iter();
        let provenances = provenances.filter_map(|code| Provenance::of_code(*code));
        Ok(Series {
            from: DateTime(Instant(answered.bounds.0)),
            to: DateTime(Instant(answered.bounds.1)),
            time_zone: TimeZone(answered.zone.name().to_owned()),
            resolution: ResolutionWord::of(answered.resolution.unit),
            every: i32::try_from(answered.resolution.every).unwrap_or(i32::MAX),
            provenance: provenances.map(|one| Shown::new(one.word())).collect(),
            position: Long(answered.position.0),
            cursor: cursor::write(identity, place),
            groups,
        })
    }

    async fn group(&self, group: AskedGroup) -> Result<SeriesGroup, Error> {
        let measure = self.measures.get(group.measure).copied();
        let measure = measure.ok_or_else(|| bad_input("no measure"))?;
        let mut key = Vec::with_capacity(group.key.parts.len());
        if !group.is_other {
            for (dimension, part) in self.group_by.iter().zip(&group.key.parts) {
                key.push(InOrder(self.key(*dimension, part).await?));
            }
        }
        let currency = Some(group.key.currency);
        let earlier = group.earlier;
        let buckets = group.buckets.into_iter().map(|bucket| {
            let earlier = earlier.get(bucket.index).cloned();
            InOrder(SeriesBucket { bucket, earlier })
        });
        Ok(SeriesGroup {
            measure,
            unit: measure.unit(),
            currency: currency.filter(|currency| !currency.is_empty()),
            key,
            is_other: group.is_other,
            buckets: buckets.collect(),
            total: InOrder(SeriesBucket {
                bucket: group.whole,
                earlier: group.earlier_whole,
            }),
        })
    }

    async fn key(&self, dimension: Dimension, part: &Part) -> Result<SeriesKey, Error> {
        let mut key = SeriesKey {
            dimension: dimension.0,
            value: None,
            site: None,
            device: None,
        };
        match part {
            Part::Key(of) => {
                let names = api(self.ctx).store().names();
                key.value = names.id(*of).map(|id| id.to_string());
                if dimension.0 == "SITE" {
                    key.site = Site::load(self.ctx, *of).await?;
                } else {
                    key.device = Device::load(self.ctx, *of).await?;
                }
            }
            Part::Text(text) => key.value = Some(text.clone()),
            Part::None => {}
        }
        Ok(key)
    }
}

const _: () = assert!(ALL_BUCKETS_MAX == 100_000, "as the schema says");
