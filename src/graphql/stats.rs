//! The questions that people ask of requests, errors, jobs and activity, by the names by which they look for them.
//!
//! Each counts the events of one source over some time, by its labels; what else there is to ask is answered by
//! `series` and `breakdown`.

use async_graphql::{Context, Error, Object, SimpleObject};

use super::listed::one_to;
use super::order::InOrder;
use super::scalars::{DateTime, Long};
use super::series::{cursor_at, of_ask, provenances};
use super::series_input::{SeriesFilter, range, scope};
use super::words::{JobScopes, Provenances, Shown, Word};
use super::{api, loaders};
use crate::analytics::question::By;
use crate::analytics::ranking::TOP_MAX;
use crate::analytics::series::Aggregate;
use crate::analytics::stats::{Tallies, Tally, tallies};
use crate::analytics::subject::Subject;
use crate::event::Instant;
use crate::kinds::Kind;

/// Labels that are told one by one, unless it is said how many.
const TOP_DEFAULT: usize = 50;

/// How requests were answered.
#[derive(Debug, SimpleObject)]
struct ApiRequestStat {
    /// Route template of the requests; null of all together, and of the others.
    endpoint: Option<String>,
    /// Whether it is of all endpoints that are not among the first, or not told apart.
    is_other: bool,
    /// Requests.
    requests: Long,
    /// Requests in a second of the range, as far as that is past; 0 when it is all to come.
    requests_per_second: f64,
    /// Of them, those that were answered with 4xx.
    client_errors: Long,
    /// Those that were answered with 5xx.
    server_errors: Long,
    /// The share of both, from 0 to 1; null without requests.
    error_share: Option<f64>,
    /// Mean time to answer, in milliseconds.
    avg_ms: Option<f64>,
    /// Half of them were answered within this time, in milliseconds, within 1 % of it.
    p50_ms: Option<f64>,
    /// 95 of 100.
    p95_ms: Option<f64>,
    /// 99 of 100.
    p99_ms: Option<f64>,
    /// The longest time.
    max_ms: Option<f64>,
}

/// How requests were answered.
#[derive(Debug, SimpleObject)]
struct ApiRequestStats {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
    /// Where the requests come from; empty when there are none.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// All of them.
    total: InOrder<ApiRequestStat>,
    /// By endpoint, those first of which there were most, and then all others as one.
    endpoints: Vec<InOrder<ApiRequestStat>>,
}

/// How many there are of something.
#[derive(Debug, SimpleObject)]
struct LabelStat {
    /// What it is; null where nothing was said of it, and of the others.
    value: Option<String>,
    /// Whether it is of all that are not among the first, or not told apart.
    is_other: bool,
    /// How many there are.
    count: Long,
    /// Their share of all, from 0 to 1.
    share: Option<f64>,
}

/// What went wrong.
#[derive(Debug, SimpleObject)]
struct ErrorStats {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
    /// Where the errors come from; empty when there are none.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// All of them.
    total: Long,
    /// Errors in an hour of the range, as far as that is past; 0 when it is all to come.
    per_hour: f64,
    /// By category.
    by_category: Vec<InOrder<LabelStat>>,
    /// By severity.
    by_severity: Vec<InOrder<LabelStat>>,
    /// By code.
    by_code: Vec<InOrder<LabelStat>>,
}

/// How jobs ended.
#[derive(Debug, SimpleObject)]
struct JobStat {
    /// What kind of job; null of all together, and of the others.
    job_type: Option<String>,
    /// Whether it is of all types that are not among the first, or not told apart.
    is_other: bool,
    /// Outcomes.
    outcomes: Long,
    /// Of them, COMPLETED.
    completed: Long,
    /// FAILED: the device failed.
    failed: Long,
    /// ERROR: it could not be run.
    errors: Long,
    /// TIMEOUT.
    timeouts: Long,
    /// CANCELLED.
    cancelled: Long,
    /// The share that was COMPLETED of all that were not CANCELLED, from 0 to 1; null without any.
    success_share: Option<f64>,
    /// Mean duration, in milliseconds, of those of which it was told.
    avg_ms: Option<f64>,
    /// Half of them took no longer, within 1 % of it.
    p50_ms: Option<f64>,
    /// 95 of 100.
    p95_ms: Option<f64>,
    /// The longest.
    max_ms: Option<f64>,
}

/// How jobs ended.
#[derive(Debug, SimpleObject)]
struct JobStats {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
    /// Where the outcomes come from; empty when there are none.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// All of them.
    total: InOrder<JobStat>,
    /// By type, those first of which there were most outcomes, and then all others as one.
    types: Vec<InOrder<JobStat>>,
}

/// What people did.
#[derive(Debug, SimpleObject)]
struct ActivityStat {
    /// What it is; null where nothing was said of it, and of the others.
    value: Option<String>,
    /// Whether it is of all that are not among the first, or not told apart.
    is_other: bool,
    /// How many activities there were.
    count: Long,
    /// Their share of all, from 0 to 1.
    share: Option<f64>,
    /// Half of those of which a duration was told took no longer, in milliseconds, within 1 % of it.
    p50_ms: Option<f64>,
}

/// What people did.
#[derive(Debug, SimpleObject)]
struct ActivityStats {
    /// The first instant of the range.
    from: DateTime,
    /// The first instant after it.
    to: DateTime,
    /// Where the activities come from; empty when there are none.
    provenance: Vec<Shown<Provenances>>,
    /// All events up to this position are in it, and none after.
    position: Long,
    /// The same as a cursor: `events(after:)` goes on from there.
    cursor: String,
    /// All of them.
    total: Long,
    /// By type.
    by_type: Vec<InOrder<ActivityStat>>,
    /// By path of the page.
    by_page: Vec<InOrder<ActivityStat>>,
}

/// The queries of statistics.
#[derive(Debug)]
pub(super) struct Stats;

#[Object]
impl Stats {
    /// How many requests there were at each endpoint, how many of them failed, and how long they took.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn api_request_stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Which requests.")] filter: Option<SeriesFilter>,
        #[graphql(
            desc = "So many endpoints, and all others as one: 50 when left out, 1 to 1,000."
        )]
        top: Option<i32>,
    ) -> Result<Option<InOrder<ApiRequestStats>>, Error> {
        let counted = Counted::read(ctx, (Kind::ApiRequest, &[0, 1]), (from, to), (filter, top));
        let counted = counted.await?;
        let stat = |tally: Tally| {
            let per_second = counted.tallies.per(1.0, tally.events);
            InOrder(request_stat(tally, per_second))
        };
        let endpoints = counted.tallies.by(0, STATUS, counted.top);
        Ok(Some(InOrder(ApiRequestStats {
            from: DateTime(counted.range.0),
            to: DateTime(counted.range.1),
            provenance: provenances(&counted.tallies.provenances),
            position: Long(counted.tallies.position.0),
            cursor: cursor_at(api(ctx), counted.tallies.position),
            total: stat(counted.tallies.total(STATUS)),
            endpoints: endpoints.into_iter().map(stat).collect(),
        })))
    }

    /// How many errors there were, by category, severity and code.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn error_stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Which errors.")] filter: Option<SeriesFilter>,
        #[graphql(desc = "So many of each, and all others as one: 50 when left out, 1 to 1,000.")]
        top: Option<i32>,
    ) -> Result<Option<InOrder<ErrorStats>>, Error> {
        let counted = Counted::read(ctx, (Kind::ErrorLog, &[0, 1, 2]), (from, to), (filter, top));
        let counted = counted.await?;
        let total = counted.tallies.total(0).events;
        let by = |label: usize| {
            let tallies = counted.tallies.by(label, label, counted.top).into_iter();
            tallies
                .map(|tally| InOrder(label_stat(tally, total)))
                .collect()
        };
        Ok(Some(InOrder(ErrorStats {
            from: DateTime(counted.range.0),
            to: DateTime(counted.range.1),
            provenance: provenances(&counted.tallies.provenances),
            position: Long(counted.tallies.position.0),
            cursor: cursor_at(api(ctx), counted.tallies.position),
            total: Long(total),
            per_hour: counted.tallies.per(3_600.0, total),
            by_category: by(0),
            by_severity: by(1),
            by_code: by(2),
        })))
    }

    /// How jobs ended on devices, by type, and how long they took.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn job_stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Which outcomes.")] filter: Option<SeriesFilter>,
        #[graphql(desc = "Outcomes of devices or of jobs as a whole; DEVICE when left out.")]
        scope: Option<Word<JobScopes>>,
        #[graphql(desc = "So many types, and all others as one: 50 when left out, 1 to 1,000.")]
        top: Option<i32>,
    ) -> Result<Option<InOrder<JobStats>>, Error> {
        let mut filter = filter.unwrap_or_default();
        let scope = scope.map_or_else(|| "DEVICE".to_owned(), |scope| scope.word());
        filter.and_label("JOB_SCOPE", scope);
        let filter = (Some(filter), top);
        let counted = Counted::read(ctx, (Kind::JobOutcome, &[0, 1]), (from, to), filter).await?;
        let types = counted.tallies.by(0, STATUS, counted.top).into_iter();
        Ok(Some(InOrder(JobStats {
            from: DateTime(counted.range.0),
            to: DateTime(counted.range.1),
            provenance: provenances(&counted.tallies.provenances),
            position: Long(counted.tallies.position.0),
            cursor: cursor_at(api(ctx), counted.tallies.position),
            total: InOrder(job_stat(counted.tallies.total(STATUS))),
            types: types.map(job_stat).map(InOrder).collect(),
        })))
    }

    /// What people did, by type and by page. Activity is of no site, so that whoever is bound to sites or to a device
    /// is answered as if there were none.
    #[expect(clippy::too_many_arguments, reason = "they are what is asked")]
    async fn activity_stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first instant of the range.")] from: DateTime,
        #[graphql(desc = "The first instant after the range; now when left out.")] to: Option<
            DateTime,
        >,
        #[graphql(desc = "Which activities.")] filter: Option<SeriesFilter>,
        #[graphql(desc = "So many of each, and all others as one: 50 when left out, 1 to 1,000.")]
        top: Option<i32>,
    ) -> Result<Option<InOrder<ActivityStats>>, Error> {
        let counted = Counted::read(
            ctx,
            (Kind::UserActivity, &[0, 1]),
            (from, to),
            (filter, top),
        );
        let counted = counted.await?;
        let total = counted.tallies.total(0).events;
        let by = |label: usize| {
            let tallies = counted.tallies.by(label, label, counted.top).into_iter();
            tallies
                .map(|tally| InOrder(activity_stat(tally, total)))
                .collect()
        };
        Ok(Some(InOrder(ActivityStats {
            from: DateTime(counted.range.0),
            to: DateTime(counted.range.1),
            provenance: provenances(&counted.tallies.provenances),
            position: Long(counted.tallies.position.0),
            cursor: cursor_at(api(ctx), counted.tallies.position),
            total: Long(total),
            by_type: by(0),
            by_page: by(1),
        })))
    }
}

/// The label that tells how a request or a job ended, among those that are asked for.
const STATUS: usize = 1;

/// What was counted.
struct Counted {
    range: (Instant, Instant),
    tallies: Tallies,
    top: usize,
}

impl Counted {
    /// Counts events by some of their labels, with what the first measure of their kind comes to.
    async fn read(
        ctx: &Context<'_>,
        (kind, labels): (Kind, &[usize]),
        (from, to): (DateTime, Option<DateTime>),
        (filter, top): (Option<SeriesFilter>, Option<i32>),
    ) -> Result<Self, Error> {
        let measured = kind.spec().measured.as_ref();
        let measures = measured.map_or(0, |measured| measured.measures.len());
        let subject = Subject {
            kind,
            measures: vec![(measures > 0).then_some(0)],
            scope: scope(ctx, kind, filter.unwrap_or_default()).await?,
            by: labels.iter().copied().map(By::Label).collect(),
            percentiles: measures > 0,
        };
        let range = range(ctx, from, to)?;
        let top = top.map(|top| one_to("`top`", top, TOP_MAX)).transpose()?;
        let counted = tallies(
            api(ctx).store(),
            (&subject, range),
            loaders(ctx).allowance(),
        )
        .await;
        Ok(Self {
            range,
            tallies: counted.map_err(|failed| of_ask(api(ctx), &failed))?,
            top: top.unwrap_or(TOP_DEFAULT),
        })
    }
}

fn request_stat(tally: Tally, requests_per_second: f64) -> ApiRequestStat {
    let (client, server) = (
        tally.among(|class| class == "4xx"),
        tally.among(|class| class == "5xx"),
    );
    ApiRequestStat {
        is_other: tally.is_other,
        requests: Long(tally.events),
        requests_per_second,
        client_errors: Long(client),
        server_errors: Long(server),
        error_share: share(client + server, tally.events),
        avg_ms: tally.value(Aggregate::Avg),
        p50_ms: tally.value(Aggregate::Percentile(50.0)),
        p95_ms: tally.value(Aggregate::Percentile(95.0)),
        p99_ms: tally.value(Aggregate::Percentile(99.0)),
        max_ms: tally.value(Aggregate::Max),
        endpoint: tally.label,
    }
}

fn job_stat(tally: Tally) -> JobStat {
    let of = |status: &str| tally.among(|other| other == status);
    let (completed, cancelled) = (of("COMPLETED"), of("CANCELLED"));
    JobStat {
        is_other: tally.is_other,
        outcomes: Long(tally.events),
        completed: Long(completed),
        failed: Long(of("FAILED")),
        errors: Long(of("ERROR")),
        timeouts: Long(of("TIMEOUT")),
        cancelled: Long(cancelled),
        success_share: share(completed, tally.events - cancelled),
        avg_ms: tally.value(Aggregate::Avg),
        p50_ms: tally.value(Aggregate::Percentile(50.0)),
        p95_ms: tally.value(Aggregate::Percentile(95.0)),
        max_ms: tally.value(Aggregate::Max),
        job_type: tally.label,
    }
}

fn label_stat(tally: Tally, total: i64) -> LabelStat {
    LabelStat {
        is_other: tally.is_other,
        count: Long(tally.events),
        share: share(tally.events, total),
        value: tally.label,
    }
}

fn activity_stat(tally: Tally, total: i64) -> ActivityStat {
    ActivityStat {
        is_other: tally.is_other,
        count: Long(tally.events),
        share: share(tally.events, total),
        p50_ms: tally.value(Aggregate::Percentile(50.0)),
        value: tally.label,
    }
}

fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

fn float(number: i64) -> f64 {
    num_traits::AsPrimitive::as_(number)
}
