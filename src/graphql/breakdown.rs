//! Rankings of what measures come to, by any dimension.

use async_graphql::{Context, Error, Object, SimpleObject};

use super::error::bad_input;
use super::listed::one_to;
use super::order::InOrder;
use super::scalars::{DateTime, Long, TimeZone};
use super::series::{currency, cursor_at, of_ask, provenances};
use super::series_buckets::{PERCENTILES, SeriesBucket, make_sense};
use super::series_input::{SeriesFilter, by, kind_of, range, scope, zone};
use super::series_key::SeriesKey;
use super::series_words::{AggregateWord, CompareWord, Dimension, Measure, RankOrderWord};
use super::words::{Provenances, Shown};
use super::{api, loaders};
use crate::analytics::ranking::{Ranked, Ranking, Ranks, Standing, TOP_MAX, rank};
use crate::analytics::series::{Aggregate, Bucket};
use crate::analytics::subject::Subject;
use crate::event::Instant;

/// Things that are told one by one, unless it is said how many.
const TOP_DEFAULT: usize = 10;

/// What one thing comes to.
#[derive(Debug, SimpleObject)]
struct BreakdownRow {
    /// Which thing it is; empty for all others together.
    key: Vec<InOrder<SeriesKey>>,
    /// Whether it is of all that are not among the first, or not told apart.
    is_other: bool,
    /// How many things it is of: 1, or as many as the others are; all that are not told apart are one.
    things: i32,
    /// 1 is the first; whoever comes to the same `value` has the same rank. Null for the others.
    rank: Option<i32>,
    /// What it comes to. Of what adds up (COUNT, SUM, INCREASE, RATE) nothing is 0; of all else it is null.
    value: Option<f64>,
    /// Its part of all, from 0 to 1; null of what does not add up.
    share: Option<f64>,
    /// What it came to in the earlier time.
    earlier_value: Option<f64>,
    /// By how much it is more than in the earlier time: all of it where it came to 0 then. Null where it came to
    /// nothing that has a value, and where it is compared with nothing.
    change: Option<f64>,
    /// By how many percent of what it came to in the earlier time; null where that is 0 or nothing.
    change_percent: Option<f64>,
    /// All else that is told of it.
    bucket: SeriesBucket,
}

/// The ranking of one measure.
#[derive(Debug, SimpleObject)]
struct BreakdownList {
    /// The measure.
    measure: Measure,
    /// What it is counted in.
    unit: &'static str,
    /// ISO 4217 code of what is money; null for all else, and where a site has no currency.
    currency: Option<String>,
    /// By what it is ranked; null by a percentile.
    aggregate: Option<AggregateWord>,
    /// By which percentile it is ranked.
    percentile: Option<f64>,
    /// How many things there are; all that are not told apart are one.
    things: i32,
    /// What all of them come to together.
    value: Option<f64>,
    /// What they came to in the earlier time.
    earlier_value: Option<f64>,
    /// The first of them, and then all others as one if there are any.
    rows: Vec<InOrder<BreakdownRow>>,
}

/// What measures come to, told apart and ranked.
#[derive(Debug, SimpleObject)]
struct Breakdown {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
    /// The first instant of the time with which it is compared; null if it is not, or if there is no such time, as of
    /// 31 March a month before.
    earlier_from: Option<DateTime>,
    /// The first instant after that.
    earlier_to: Option<DateTime>,
    /// On whose clock the earlier time was found.
    time_zone: TimeZone,
    /// Where what is summed up comes from; empty when there is nothing.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// A ranking of each measure, and of money one in each currency.
    lists: Vec<InOrder<BreakdownList>>,
}

/// The queries of rankings.
#[derive(Debug)]
pub(super) struct Breakdowns;

#[Object]
impl Breakdowns {
    /// Ranks sites, devices, types of devices or labels by what measures of one source come to.
    ///
    /// Those that come to the same have the same rank, and stand in the order of their names. By a percentile, which
    /// is told within 1 %, so may those that are less than about 2 % apart. What there was in the earlier time alone
    /// is told too, with 0 where the measure adds up.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn breakdown(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The measures, 1 to 20, all of one source.")] measures: Vec<Measure>,
        #[graphql(desc = "What is ranked.")] by: Dimension,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(
            desc = "On whose clock an earlier time is found; when left out that of the \
            sites that are asked for, if they have one, else UTC."
        )]
        time_zone: Option<TimeZone>,
        #[graphql(desc = "Which events.")] filter: Option<SeriesFilter>,
        #[graphql(
            desc = "By what it is ranked; when left out by the mean of a gauge, the increase of a counter, the \
            number of events."
        )]
        aggregate: Option<AggregateWord>,
        #[graphql(desc = "By which percentile of a gauge it is ranked instead, from 0 to 100.")]
        percentile: Option<f64>,
        #[graphql(desc = "So many, and all others as one: 10 when left out, 1 to 1,000.")]
        top: Option<i32>,
        #[graphql(desc = "Which come first; HIGHEST_FIRST when left out.")] order: Option<
            RankOrderWord,
        >,
        #[graphql(desc = "With what it is compared.")] compare_with: Option<CompareWord>,
    ) -> Result<Option<InOrder<Breakdown>>, Error> {
        let kind = kind_of(&measures)?;
        let top = top.map(|top| one_to("`top`", top, TOP_MAX)).transpose()?;
        let selected = ctx.look_ahead().field("lists").field("rows");
        let selected = selected.field("bucket");
        let asked = Ranked {
            subject: Subject {
                kind,
                measures: measures.iter().map(|measure| measure.index).collect(),
                scope: scope(ctx, kind, filter.unwrap_or_default()).await?,
                by: self::by(kind, &[by])?,
                percentiles: percentile.is_some() || selected.field("percentile").exists(),
            },
            range: range(ctx, from, to)?,
            zone: zone(time_zone.as_ref()),
            aggregate: aggregate_of(aggregate, percentile)?,
            first: order.unwrap_or_default().into(),
            top: top.unwrap_or(TOP_DEFAULT),
            earlier: compare_with.map(Into::into),
        };
        make_sense(api(ctx), &asked.subject, &[selected])?;
        let ranking = rank(api(ctx).store(), &asked, loaders(ctx).allowance()).await;
        let ranking = ranking.map_err(|failed| of_ask(api(ctx), &failed))?;
        let shown = shown(ctx, (&asked, ranking), (&measures, by))?;
        Ok(Some(InOrder(shown)))
    }
}

/// By what is ranked or mapped: an aggregate or a percentile.
pub(super) fn aggregate_of(
    aggregate: Option<AggregateWord>,
    percentile: Option<f64>,
) -> Result<Option<Aggregate>, Error> {
    match (aggregate, percentile) {
        (Some(_), Some(_)) => Err(bad_input(
            "`aggregate` and `percentile` are both given: it is by one of them",
        )),
        (None, Some(of)) if !(0.0..=100.0).contains(&of) => Err(bad_input(PERCENTILES)),
        (None, Some(of)) => Ok(Some(Aggregate::Percentile(of))),
        (aggregate, None) => Ok(aggregate.map(Aggregate::from)),
    }
}

fn shown(
    ctx: &Context<'_>,
    (asked, ranking): (&Ranked, Ranking),
    (measures, by): (&[Measure], Dimension),
) -> Result<Breakdown, Error> {
    let (from, to) = asked.range;
    let lists = ranking.lists.into_iter();
    let lists = lists.map(|ranks| list(ranks, measures, by).map(InOrder));
    let (earlier_from, earlier_to) = ranking.earlier.unzip();
    let instant = |at: Option<i64>| at.map(|at| DateTime(Instant(at)));
    Ok(Breakdown {
        from: DateTime(from),
        to: DateTime(to),
        earlier_from: instant(earlier_from),
        earlier_to: instant(earlier_to),
        time_zone: TimeZone(ranking.zone.name().to_owned()),
        provenance: provenances(&ranking.provenances),
        position: Long(ranking.position.0),
        cursor: cursor_at(api(ctx), ranking.position),
        lists: lists.collect::<Result<_, _>>()?,
    })
}

fn list(ranks: Ranks, measures: &[Measure], by: Dimension) -> Result<BreakdownList, Error> {
    let measure = measures.get(ranks.measure).copied();
    let measure = measure.ok_or_else(|| bad_input("no measure"))?;
    let value = |bucket: &Bucket| bucket.value(ranks.aggregate);
    let percentile = if let Aggregate::Percentile(of) = ranks.aggregate {
        Some(of)
    } else {
        None
    };
    Ok(BreakdownList {
        measure,
        unit: measure.unit(),
        currency: currency(ranks.currency),
        aggregate: AggregateWord::of(ranks.aggregate),
        percentile,
        things: count(ranks.things),
        value: value(&ranks.total),
        earlier_value: ranks.earlier_total.as_ref().and_then(value),
        rows: ranks
            .rows
            .into_iter()
            .map(|standing| row(standing, by))
            .collect(),
    })
}

fn row(standing: Standing, by: Dimension) -> InOrder<BreakdownRow> {
    let is_other = standing.rank.is_none();
    let change = standing.value.zip(standing.earlier);
    let change = change.map(|(value, earlier)| (value - earlier, earlier));
    let percent = change.map(|(change, earlier)| change / earlier * 100.0);
    InOrder(BreakdownRow {
        key: if is_other {
            Vec::new()
        } else {
            SeriesKey::of(&[by], &standing.key)
        },
        is_other,
        things: count(standing.things),
        rank: standing.rank.map(count),
        value: standing.value,
        share: standing.share,
        earlier_value: standing.earlier,
        change: change.map(|(change, _)| change),
        change_percent: percent.filter(|percent| percent.is_finite()),
        bucket: SeriesBucket {
            bucket: standing.bucket,
            earlier: None,
        },
    })
}

fn count(things: usize) -> i32 {
    i32::try_from(things).unwrap_or(i32::MAX)
}
