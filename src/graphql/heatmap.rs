//! Heat maps: what each hour of the week comes to.

use async_graphql::{Context, Error, Object, SimpleObject};

use super::breakdown::aggregate_of;
use super::order::InOrder;
use super::scalars::{DateTime, Long, TimeZone};
use super::series::{currency, cursor_at, of_ask, provenances};
use super::series_input::{SeriesFilter, range, scope, zone};
use super::series_words::{AggregateWord, Measure};
use super::words::{DaysOfWeek, Provenances, Shown, Word};
use super::{api, loaders};
use crate::analytics::series::{Aggregate, adds_up};
use crate::analytics::subject::Subject;
use crate::analytics::week::{HeatMap, Week, weeks};
use crate::kinds::DAYS;

/// An hour of the week.
#[derive(Clone, Debug, SimpleObject)]
struct HeatmapCell {
    /// The day.
    day_of_week: Word<DaysOfWeek>,
    /// The hour that the clock shows, from 0 to 23.
    hour: i32,
    /// How many values there were.
    count: Long,
    /// What all such hours come to together; null where nothing was said.
    value: Option<f64>,
    /// What one such hour comes to as a rule: `value` divided by `hours`. Null of what does not add up, of RATE, and
    /// where no such hour is past.
    per_hour: Option<f64>,
    /// How many such hours the range has, as far as it is past: parts of them count as parts, and an hour that the
    /// clock shows twice as two.
    hours: f64,
}

/// A week by its hours.
#[derive(Debug, SimpleObject)]
struct HeatmapWeek {
    /// ISO 4217 code of what is money; null for all else, and where a site has no currency.
    currency: Option<String>,
    /// The 168 hours, from Monday 00:00 on.
    cells: Vec<InOrder<HeatmapCell>>,
    /// What all of it comes to.
    value: Option<f64>,
}

/// What each hour of the week comes to.
#[derive(Debug, SimpleObject)]
struct Heatmap {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
    /// On whose clock the hours are.
    time_zone: TimeZone,
    /// Where what is summed up comes from; empty when there is nothing.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// The measure.
    measure: Measure,
    /// What it is counted in.
    unit: &'static str,
    /// By what it is told; null by a percentile.
    aggregate: Option<AggregateWord>,
    /// One week, and of money one in each currency.
    weeks: Vec<InOrder<HeatmapWeek>>,
}

/// The queries of heat maps.
#[derive(Debug)]
pub(super) struct Heatmaps;

#[Object]
impl Heatmaps {
    /// What a measure comes to in each of the 168 hours of the week, as clocks show them.
    ///
    /// The range has 50,000 hours at most.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn heatmap(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The measure.")] measure: Measure,
        #[graphql(
            desc = "By what it is told; when left out by the mean of a gauge, the increase of a counter, the \
            number of events."
        )]
        aggregate: Option<AggregateWord>,
        #[graphql(desc = "By which percentile of a gauge it is told instead, from 0 to 100.")]
        percentile: Option<f64>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(
            desc = "On whose clock; when left out that of the sites that are asked for, \
            if they have one, else UTC."
        )]
        time_zone: Option<TimeZone>,
        #[graphql(desc = "Which events.")] filter: Option<SeriesFilter>,
    ) -> Result<Option<InOrder<Heatmap>>, Error> {
        let kind = measure.kind;
        let asked = Week {
            subject: Subject {
                kind,
                measures: vec![measure.index],
                scope: scope(ctx, kind, filter.unwrap_or_default()).await?,
                by: Vec::new(),
                percentiles: percentile.is_some(),
            },
            range: range(ctx, from, to)?,
            zone: zone(time_zone.as_ref()),
            aggregate: aggregate_of(aggregate, percentile)?,
        };
        let told = weeks(api(ctx).store(), &asked, loaders(ctx).allowance()).await;
        let told = told.map_err(|failed| of_ask(api(ctx), &failed))?;
        let weeks = told.maps.into_iter();
        Ok(Some(InOrder(Heatmap {
            from: DateTime(asked.range.0),
            to: DateTime(asked.range.1),
            time_zone: TimeZone(told.zone.name().to_owned()),
            provenance: provenances(&told.provenances),
            position: Long(told.position.0),
            cursor: cursor_at(api(ctx), told.position),
            measure,
            unit: measure.unit(),
            aggregate: AggregateWord::of(told.aggregate),
            weeks: weeks
                .map(|map| InOrder(week(map, told.aggregate)))
                .collect(),
        })))
    }
}

fn week(map: HeatMap, aggregate: Aggregate) -> HeatmapWeek {
    let is_amount = adds_up(aggregate) && aggregate != Aggregate::Rate;
    let cells = map.cells.into_iter().enumerate().map(|(place, cell)| {
        let value = cell.bucket.value(aggregate);
        let per_hour = value.map(|value| value / cell.hours);
        InOrder(HeatmapCell {
            day_of_week: Word::known(DAYS.get(place / 24).copied().unwrap_or_default()),
            hour: i32::try_from(place % 24).unwrap_or_default(),
            count: Long(cell.bucket.count()),
            value,
            per_hour: per_hour.filter(|_| is_amount && cell.hours > 0.0),
            hours: cell.hours,
        })
    });
    HeatmapWeek {
        currency: currency(map.currency),
        cells: cells.collect(),
        value: map.total.value(aggregate),
    }
}
