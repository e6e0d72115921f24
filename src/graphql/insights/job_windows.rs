//! When a job is best run.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, SimpleObject};
use futures_util::future::BoxFuture;

use super::ask::{ask, source};
use super::shape::{InsightInterval, Reading};
use super::window_input::{BestWindowInput, BlackoutInput, JobHours, JobMaintenance};
use crate::event::Instant;
use crate::graphql::error::{ErrorCode, bad_input, error, too_much};
use crate::graphql::fleet::Site;
use crate::graphql::job_input::JobPriority;
use crate::graphql::order::InOrder;
use crate::graphql::scalars::{Date, DateTime, LocalTime};
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{access, api, loaders, of_failed, take};
use crate::held::Ask;
use crate::history::Within;
use crate::insights::jobs::recommend::Window;
use crate::insights::jobs::schedule::Schedule;
use crate::jobs::{
    AtSite, BEST_DEVICES_MAX, BEST_SITES_MAX, BestWindow, NotThere, Selection, Wanted, best_windows,
};
use crate::store::EntityType;

/// A time to run a job, and what it costs.
#[derive(Debug, SimpleObject)]
pub(in crate::graphql) struct JobWindowStart {
    /// When the job starts: a quarter of an hour on the clock of the site.
    start: DateTime,
    /// When it has ended.
    end: DateTime,
    /// The date at the site when it starts.
    local_date: Date,
    /// The time of day at the site when it starts.
    local_time: LocalTime,
    /// Transactions that are expected to be lost.
    lost: f64,
    /// How many transactions the devices would count in that time.
    transactions: InOrder<InsightInterval>,
    /// Transactions that a retry is worth, by how likely it is.
    retry_cost: f64,
    /// Transactions that the delay is worth.
    lateness_cost: f64,
    /// The sum of what is lost, of the retry and of the delay, in transactions.
    cost: f64,
    /// How likely the job succeeds then, from 0 to 1; null while no job has ended.
    success: Option<f64>,
    /// Between which bounds that lies.
    success_interval: Option<InOrder<InsightInterval>>,
    /// Why then, in the time of the site.
    sentence: String,
}

impl JobWindowStart {
    fn of(window: &Window, schedule: &Schedule) -> InOrder<Self> {
        let local = schedule.local(window.start);
        let (hour, minute) = (local.minute / 60, local.minute % 60);
        InOrder(Self {
            start: DateTime(window.start),
            end: DateTime(window.end),
            local_date: Date(local.date.to_string()),
            local_time: LocalTime(format!("{hour:02}:{minute:02}:00")),
            lost: window.lost,
            transactions: InsightInterval::of(window.counted),
            retry_cost: window.retry,
            lateness_cost: window.lateness,
            cost: window.cost,
            success: window.success.map(|(mean, _)| mean),
            success_interval: window
                .success
                .map(|(_, interval)| InsightInterval::of(interval)),
            sentence: window.sentence.clone(),
        })
    }
}

/// When a job is best run on the devices of a site.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct JobWindow(Arc<AtSite>);

/// When a job is best run on the devices of a site: the start within 7 days, on a quarter of an hour of the site's clock,
/// that costs least of those that its limits leave. `value` is how many transactions are expected to be lost then.
#[Object]
impl JobWindow {
    /// The site.
    async fn site(&self, ctx: &Context<'_>) -> Result<Option<Site>, Error> {
        Site::load(ctx, self.0.site_key).await
    }

    /// Devices at the site that it is for.
    async fn devices_targeted(&self) -> i32 {
        i32::try_from(self.0.devices).unwrap_or(i32::MAX)
    }

    /// The best start; null when none is allowed, or nothing is known of the site.
    async fn best(&self) -> Option<InOrder<JobWindowStart>> {
        let best = self.0.recommended.best.as_ref()?;
        Some(JobWindowStart::of(best, &self.0.schedule))
    }

    /// The next best starts, at least 2 hours from the best and from each other, the cheapest first; at most 3.
    async fn alternatives(&self) -> Vec<InOrder<JobWindowStart>> {
        let alternatives = self.0.recommended.alternatives.iter();
        let start = |window| JobWindowStart::of(window, &self.0.schedule);
        alternatives.map(start).collect()
    }

    /// How likely the best start costs at most 5 % more than the best there is, from 0 to 1.
    async fn confidence(&self) -> Option<f64> {
        self.0.recommended.confidence
    }
}

/// When a job is given to the devices of a site that is done when it disturbs least, as it was found when the job was
/// made.
#[derive(Debug, SimpleObject)]
pub(in crate::graphql) struct JobBestWindow {
    /// Id of the site.
    site_id: ID,
    /// From when on its devices are given it.
    start: DateTime,
    /// When it was expected to have ended.
    end: DateTime,
    /// Transactions that were expected to be lost.
    lost: f64,
    /// Transactions that a retry was worth, by how likely it was.
    retry_cost: f64,
    /// Transactions that the delay was worth.
    lateness_cost: f64,
    /// How likely it was to succeed, from 0 to 1; null when no job had ended yet.
    success: Option<f64>,
    /// How likely no start was clearly better, from 0 to 1.
    confidence: Option<f64>,
    /// Why then, in the time of the site.
    sentence: String,
}

impl JobBestWindow {
    /// The windows of a plan.
    pub(in crate::graphql) fn all(windows: &[BestWindow]) -> Vec<InOrder<Self>> {
        let of = |window: &BestWindow| {
            InOrder(Self {
                site_id: ID(window.site_id.clone()),
                start: DateTime(window.starts_at),
                end: DateTime(window.ends_at),
                lost: window.lost,
                retry_cost: window.retry,
                lateness_cost: window.lateness,
                success: window.success,
                confidence: window.confidence,
                sentence: window.sentence.clone(),
            })
        };
        windows.iter().map(of).collect()
    }
}

/// The query of windows.
#[derive(Debug, Default)]
pub(in crate::graphql) struct JobWindows;

#[Object]
impl JobWindows {
    /// When a job is best run: for each site at which its devices stand the start within the next 7 days that costs
    /// least, of those that the limits allow, with three others. What a start costs are the transactions that are
    /// expected to be lost while the devices cannot sell, a retry by how likely it is, and the delay. No start meets
    /// another job that is planned on one of the devices. Devices that are RETIRED count only when they are named. It is
    /// asked of up to 1000 devices at up to 50 sites.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is an argument of its own in the schema"
    )]
    async fn recommend_job_window(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: Option<ID>,
        #[graphql(desc = "Several devices.")] device_ids: Option<Vec<ID>>,
        #[graphql(desc = "All devices of a site.")] site_id: Option<ID>,
        #[graphql(
            desc = "What kind of job, as its outcomes name it: UPDATE_POS_CONFIG, FIRMWARE_UPDATE, RESTART, HEALTH_CHECK, \
                SECURITY_SCAN, LOG_COLLECTION, or the name of a CUSTOM job, so that none is refused. Without it, and \
                where none of that type has ended, jobs of all types tell how likely it succeeds."
        )]
        job_type: Option<String>,
        #[graphql(
            desc = "Minutes for which a device cannot sell (1 to 1440).",
            default = 60
        )]
        duration_minutes: i32,
        #[graphql(desc = "It starts at this instant or later.")] not_before: Option<DateTime>,
        #[graphql(desc = "It has ended by this instant.")] deadline: Option<DateTime>,
        #[graphql(
            desc = "How much it hastens: what an hour of delay is worth, in transactions. LOW nothing, NORMAL 0.00001, \
                which decides between starts that are alike, HIGH 0.05, URGENT 1.",
            default_with = "JobPriority::Normal"
        )]
        priority: JobPriority,
        #[graphql(
            desc = "At which hours of its site it may run.",
            default_with = "JobHours::WhenOn"
        )]
        hours: JobHours,
        #[graphql(
            desc = "What the maintenance windows of its site are to it.",
            default_with = "JobMaintenance::WhereFiled"
        )]
        maintenance: JobMaintenance,
        #[graphql(desc = "Times in which it may not run; at most 100.", default)] blackouts: Vec<
            BlackoutInput,
        >,
        #[graphql(
            desc = "Transactions that it is worth that it need not be tried again (0 to 1000000).",
            default = 1.0
        )]
        retry_cost: f64,
        #[graphql(
            desc = "As of when: nothing that happened later is read; now when it is left out."
        )]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Where the events come from; of each device what is real, if there is any, else what is controlled, \
                else what is simulated."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Vec<Reading<JobWindow>>>, Error> {
        let window = BestWindowInput {
            duration_minutes: Some(duration_minutes),
            not_before,
            deadline,
            hours,
            maintenance,
            blackouts,
            retry_cost,
        };
        let wanted = window.read(job_type.as_deref().unwrap_or_default(), priority, 0);
        let whose = Selection {
            device_ids: texts(
                device_id
                    .into_iter()
                    .chain(device_ids.into_iter().flatten()),
            ),
            site_ids: texts(site_id.into_iter()),
            ..Selection::default()
        };
        let ask = ask(ctx, as_of, provenance).await?;
        recommended(ctx, (whose, wanted), ask).await.map(Some)
    }
}

fn texts(ids: impl Iterator<Item = ID>) -> Vec<String> {
    ids.map(|id| id.0).collect()
}

fn recommended<'a>(
    ctx: &'a Context<'_>,
    (whose, wanted): (Selection, Wanted),
    ask: Ask,
) -> BoxFuture<'a, Result<Vec<Reading<JobWindow>>, Error>> {
    Box::pin(async move {
        if whose.device_ids.is_empty() && whose.site_ids.is_empty() {
            let message = "it is not said for which devices: give deviceId, deviceIds or siteId";
            return Err(bad_input(message));
        }
        if let Some((_, message)) = wanted.fault(ask.as_of) {
            return Err(bad_input(message));
        }
        let within = access::within(ctx).await?;
        let keys = keys_of(ctx, &whose, (&within, ask.as_of)).await?;
        let api = api(ctx);
        let asked = (ask, &within);
        let found = best_windows((&api.held, api.store()), &keys, &wanted, asked).await;
        let found = found.map_err(|error| of_failed(api, &error))?;
        loaders(ctx).count(found.len())?;
        take(ctx, found.len() * size_of::<AtSite>())?;
        let reading = |at_site: AtSite| {
            let insight = at_site.recommended.insight.clone();
            let source = source(&insight, at_site.provenance);
            Reading::new(insight, source, JobWindow(Arc::new(at_site)))
        };
        Ok(found.into_iter().map(reading).collect())
    })
}

/// The devices that are meant, by their keys. One that is named must have stood within reach then, too.
fn keys_of<'a>(
    ctx: &'a Context<'_>,
    whose: &'a Selection,
    (within, as_of): (&'a Within, Instant),
) -> BoxFuture<'a, Result<Vec<i64>, Error>> {
    Box::pin(async move {
        let api = api(ctx);
        let not_there = |id: &str| error(ErrorCode::NotFound, format!("{id} is not registered"));
        if whose.device_ids.len() > BEST_DEVICES_MAX {
            return Err(too_many());
        }
        let targets = whose.resolve(api.store(), within).await;
        let targets = match targets.map_err(|error| of_failed(api, &error))? {
            Ok(targets) => targets,
            Err(NotThere { id, .. }) => return Err(not_there(&id)),
        };
        let names = api.store().names();
        let stood_within = |id: &&String| {
            let key = names.key(EntityType::Device, id);
            let site = key.and_then(|key| names.site_of_device_at(key, as_of));
            *within == Within::Whole || site.is_some_and(|site| within.has_site(site))
        };
        if let Some(id) = whose.device_ids.iter().find(|id| !stood_within(id)) {
            return Err(not_there(id));
        }
        let keys = targets.iter();
        let keys = keys.filter_map(|id| names.key(EntityType::Device, id));
        let keys: Vec<i64> = keys.collect();
        if keys.len() > BEST_DEVICES_MAX || sites_of(ctx, &keys) > BEST_SITES_MAX {
            return Err(too_many());
        }
        Ok(keys)
    })
}

/// At how many sites some devices stand.
pub(in crate::graphql) fn sites_of(ctx: &Context<'_>, device_keys: &[i64]) -> usize {
    let names = api(ctx).store().names();
    let sites = device_keys
        .iter()
        .filter_map(|key| names.site_of_device(*key));
    let mut sites: Vec<i64> = sites.collect();
    sites.sort_unstable();
    sites.dedup();
    sites.len()
}

fn too_many() -> Error {
    too_much(format!(
        "when a job is best run is asked of at most {BEST_DEVICES_MAX} devices at {BEST_SITES_MAX} sites; ask for fewer \
         of them at once"
    ))
}

/// What of an answer is kept with the plan of a job; nothing when no start is allowed.
pub(in crate::graphql) fn kept(at_site: &AtSite, site_id: &str) -> Option<BestWindow> {
    let recommended = &at_site.recommended;
    let best = recommended.best.as_ref()?;
    Some(BestWindow {
        site_id: site_id.to_owned(),
        starts_at: best.start,
        ends_at: best.end,
        lost: rounded(best.lost),
        retry: rounded(best.retry),
        lateness: rounded(best.lateness),
        success: best.success.map(|(mean, _)| rounded(mean)),
        confidence: recommended.confidence.map(rounded),
        status: recommended.insight.status.word().to_owned(),
        sentence: best.sentence.clone(),
    })
}

/// To four places.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// Why no start is allowed.
pub(in crate::graphql) fn why_not(at_site: &AtSite) -> String {
    let reasons = at_site.recommended.insight.reasons.iter();
    let sentences: Vec<&str> = reasons.map(|reason| reason.sentence.as_str()).collect();
    sentences.join(" ")
}

/// The first start of windows.
pub(in crate::graphql) fn first_start(windows: &[BestWindow]) -> Option<Instant> {
    windows.iter().map(|window| window.starts_at).min()
}
