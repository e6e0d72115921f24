//! Series: measures over time, in buckets of the shop's own time.

use std::collections::BTreeSet;

use async_graphql::{Context, Error, ID, Lookahead, Object, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cursor;
use super::error::{ErrorCode, bad_input, error};
use super::listed::one_to;
use super::order::InOrder;
use super::scalars::{DateTime, Long, TimeZone};
use super::series_buckets::{Buckets, SeriesBucket, is_selected, make_sense};
use super::series_input::{
    BucketInput, SeriesFilter, TOP_MAX, by, day_start, kind_of, points, range, resolution, scope,
    week_start, zone,
};
use super::series_key::SeriesKey;
use super::series_words::{
    AggregateWord, CompareWord, Dimension, FillWord, Measure, ResolutionWord,
};
use super::words::{Provenances, Shown};
use super::{Api, api, loaders, of_failed};
use crate::analytics::ask::{ALL_BUCKETS_MAX, Answered, AskError, Asked, AskedGroup, ask};
use crate::analytics::series::Aggregate;
use crate::analytics::subject::Subject;
use crate::analytics::told::{GroupId, id_of};
use crate::event::{Instant, Position, Provenance};
use crate::store::Place;

/// The buckets of one measure, of what has something in common.
#[derive(Debug, SimpleObject)]
pub(super) struct SeriesGroup {
    /// Names it among the groups of the same question: the same whenever that is asked.
    id: ID,
    /// The measure.
    measure: Measure,
    /// What it is counted in.
    unit: &'static str,
    /// ISO 4217 code of what is money; null for all else, and where a site has no currency.
    currency: Option<String>,
    /// What it is told apart by, in the order in which that was asked for.
    key: Vec<InOrder<SeriesKey>>,
    /// Whether it is of all that are not among the first, or not told apart.
    is_other: bool,
    /// The buckets, in order of time.
    buckets: Buckets,
    /// All of them as one.
    total: SeriesBucket,
}

/// Measures over time.
#[derive(Debug, SimpleObject)]
pub(super) struct Series {
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
    /// The groups: for each measure, and of money for each currency, those first that come to most.
    groups: Vec<InOrder<SeriesGroup>>,
}

/// What is asked of a series, as it is given.
#[derive(Debug)]
pub(super) struct SeriesArgs {
    pub(super) measures: Vec<Measure>,
    pub(super) from: DateTime,
    pub(super) to: Option<DateTime>,
    pub(super) buckets: BucketInput,
    pub(super) filter: SeriesFilter,
    pub(super) group_by: Vec<Dimension>,
    pub(super) top: Option<i32>,
    pub(super) rank_by: Option<AggregateWord>,
    pub(super) fill: Option<FillWord>,
    pub(super) compare_with: Option<CompareWord>,
}

impl SeriesArgs {
    /// What is asked, and how it is shown: no more than is selected of the series.
    pub(super) async fn asked(
        self,
        ctx: &Context<'_>,
        selected: Lookahead<'_>,
    ) -> Result<(Asked, Shower), Error> {
        let kind = kind_of(&self.measures)?;
        let buckets = selected_buckets(&selected);
        let wants = |name: &str| is_selected(&buckets, name);
        let subject = Subject {
            kind,
            measures: self.measures.iter().map(|measure| measure.index).collect(),
            scope: scope(ctx, kind, self.filter).await?,
            by: by(kind, &self.group_by)?,
            percentiles: wants("percentile"),
        };
        make_sense(api(ctx), &subject, &buckets)?;
        let rank = self.rank_by.map(Aggregate::from);
        if let Some(rank) = rank {
            let sense = subject.any_makes_sense(rank);
            sense.map_err(|failed| of_ask(api(ctx), &failed))?;
        }
        let top = self.top.map(|top| one_to("`top`", top, TOP_MAX));
        let asked = Asked {
            subject,
            range: range(ctx, self.from, self.to)?,
            resolution: resolution(&self.buckets)?,
            points: points(&self.buckets)?,
            zone: zone(self.buckets.time_zone.as_ref()),
            day_start: day_start(self.buckets.day_start.as_ref())?,
            week_start: week_start(self.buckets.week_start.as_ref()),
            top: top.transpose()?,
            rank,
            fill: self.fill.unwrap_or_default().into(),
            earlier: self.compare_with.map(Into::into),
            coverage: wants("coverage") || wants("expected"),
        };
        let shown = Shower {
            measures: self.measures,
            group_by: self.group_by,
        };
        Ok((asked, shown))
    }
}

/// What is selected of the buckets of a series.
pub(super) fn selected_buckets<'a>(series: &Lookahead<'a>) -> [Lookahead<'a>; 2] {
    let groups = series.field("groups");
    [groups.field("buckets"), groups.field("total")]
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
    ///
    /// When a registration comes late that says where a device stood, or what a site was, at a time that is past,
    /// what happened since is told by it a little later, years of many devices within hours: until then as it was
    /// known before. What is left of events that were deleted for good stays where it was known to be.
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
        #[graphql(desc = "What groups are told apart by, in this order, each once.")]
        group_by: Option<Vec<Dimension>>,
        #[graphql(
            desc = "So many groups, of money so many in each currency, and all others as one: 1 to 1,000."
        )]
        top: Option<i32>,
        #[graphql(
            desc = "By what groups are ranked; when left out by the mean of a gauge, the increase of a \
            counter, the number of events."
        )]
        rank_by: Option<AggregateWord>,
        #[graphql(desc = "What stands in buckets in which nothing was said; NULL when left out.")]
        fill: Option<FillWord>,
        #[graphql(desc = "With what it is compared.")] compare_with: Option<CompareWord>,
    ) -> Result<Option<InOrder<Series>>, Error> {
        let args = SeriesArgs {
            measures,
            from,
            to,
            buckets: buckets.unwrap_or_default(),
            filter: filter.unwrap_or_default(),
            group_by: group_by.unwrap_or_default(),
            top,
            rank_by,
            fill,
            compare_with,
        };
        let (asked, shown) = args.asked(ctx, ctx.look_ahead()).await?;
        let answered = answer(ctx, &asked).await?;
        Ok(Some(InOrder(shown.series(api(ctx), answered)?)))
    }
}

pub(super) async fn answer(ctx: &Context<'_>, asked: &Asked) -> Result<Answered, Error> {
    let answered = ask(api(ctx).store(), asked, loaders(ctx).allowance()).await;
    answered.map_err(|failed| of_ask(api(ctx), &failed))
}

/// Shows what was answered.
#[derive(Clone, Debug)]
pub(super) struct Shower {
    pub(super) measures: Vec<Measure>,
    pub(super) group_by: Vec<Dimension>,
}

impl Shower {
    pub(super) fn series(&self, api: &Api, answered: Answered) -> Result<Series, Error> {
        let mut groups = Vec::with_capacity(answered.groups.len());
        for group in answered.groups {
            groups.push(InOrder(self.group(group)?));
        }
        Ok(Series {
            from: DateTime(Instant(answered.bounds.0)),
            to: DateTime(Instant(answered.bounds.1)),
            time_zone: TimeZone(answered.zone.name().to_owned()),
            resolution: ResolutionWord::of(answered.resolution.unit),
            every: i32::try_from(answered.resolution.every).unwrap_or(i32::MAX),
            provenance: provenances(&answered.provenances),
            position: Long(answered.position.0),
            cursor: cursor_at(api, answered.position),
            groups,
        })
    }

    pub(super) fn group(&self, group: AskedGroup) -> Result<SeriesGroup, Error> {
        let measure = self.measures.get(group.measure).copied();
        let measure = measure.ok_or_else(|| bad_input("no measure"))?;
        let key = if group.is_other {
            Vec::new()
        } else {
            SeriesKey::of(&self.group_by, &group.key)
        };
        let id = group_id(&id_of(&group));
        let buckets = group.buckets.iter().map(|bucket| SeriesBucket {
            bucket: bucket.clone(),
            earlier: group.beside(bucket).cloned(),
        });
        let buckets = Buckets(buckets.collect());
        Ok(SeriesGroup {
            id,
            measure,
            unit: measure.unit(),
            currency: currency(group.key.currency),
            key,
            is_other: group.is_other,
            buckets,
            total: SeriesBucket {
                bucket: group.whole,
                earlier: group.earlier_whole,
            },
        })
    }
}

/// The name of a group as it is told.
pub(super) fn group_id(id: &GroupId) -> ID {
    ID(URL_SAFE_NO_PAD.encode(id))
}

/// A currency, if there is one.
pub(super) fn currency(currency: String) -> Option<String> {
    Some(currency).filter(|currency| !currency.is_empty())
}

/// Where what was answered comes from.
pub(super) fn provenances(codes: &BTreeSet<i64>) -> Vec<Shown<Provenances>> {
    let provenances = codes.iter().filter_map(|code| Provenance::of_code(*code));
    provenances.map(|one| Shown::new(one.word())).collect()
}

/// The cursor of an answer of which all events up to a position are part.
pub(super) fn cursor_at(api: &Api, position: Position) -> String {
    let place = Place {
        position,
        occurred_at: Instant(0),
    };
    cursor::write(api.store().identity(), place)
}

/// What a question that is not answered is to the caller.
pub(super) fn of_ask(api: &Api, failed: &AskError) -> Error {
    match failed {
        AskError::Reversed | AskError::Kind { .. } | AskError::Senseless { .. } => {
            bad_input(failed.to_string())
        }
        AskError::Years | AskError::EarlierYears => bad_input(failed.to_string()),
        AskError::Buckets(_) | AskError::AllBuckets { .. } | AskError::Groups { .. } => {
            error(ErrorCode::LimitExceeded, failed.to_string())
        }
        AskError::Events { .. } | AskError::Hours { .. } => {
            error(ErrorCode::LimitExceeded, failed.to_string())
        }
        AskError::Store(failed) => of_failed(api, failed),
    }
}

const _: () = assert!(ALL_BUCKETS_MAX == 100_000, "as the schema says");
