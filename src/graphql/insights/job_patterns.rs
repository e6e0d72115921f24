//! How jobs end: by type, by site and by hours of the day.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::as_of::as_of;
use super::ask::{self, source};
use super::shape::{InsightInterval, Reading};
use crate::event::{Instant, Provenance};
use crate::graphql::access;
use crate::graphql::error::too_much;
use crate::graphql::order::InOrder;
use crate::graphql::scalars::DateTime;
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{api, loaders, of_failed, take};
use crate::held::JobsRead;
use crate::history::{Within, jobs};
use crate::insights::jobs::patterns::{By, Group, patterns};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::jobs::success::SiteJobs;

/// Sites, devices or types at most that are named.
const NAMED_MAX: usize = 1_000;

/// What jobs are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum JobPatternBy {
    /// By what kind of job they are.
    Type,
    /// By the site at which they ran, by its id.
    Site,
    /// By the six hours of the site's day in which they ended, such as `06:00 to 12:00`.
    Hours,
}

impl From<By> for JobPatternBy {
    fn from(by: By) -> Self {
        match by {
            By::Type => Self::Type,
            By::Site => Self::Site,
            By::Block => Self::Hours,
        }
    }
}

/// Jobs that have something in common.
#[derive(Debug, SimpleObject)]
struct JobPatternGroup {
    /// What they have in common.
    by: JobPatternBy,
    /// Its value. Types of which there were few may be counted together, as `other`.
    name: String,
    /// How many ended, apart from those that were cancelled.
    jobs: i32,
    /// How many of them completed.
    succeeded: i32,
    /// How many did not.
    failed: i32,
    /// How likely one succeeds, from 0 to 1: jobs of other groups count as up to 8 of its own.
    success: f64,
    /// Between which bounds that lies.
    interval: InOrder<InsightInterval>,
}

/// How jobs end on devices. `value` is how likely one succeeds, from 0 to 1.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct JobPatterns(Arc<Vec<Group>>);

/// How jobs end on devices. `value` is how likely one succeeds, from 0 to 1.
#[Object]
impl JobPatterns {
    /// The same by type, by site and by hours of the day, each the most reliable first.
    async fn groups(
        &self,
        #[graphql(desc = "By these alone; by all of them when it is left out.")] by: Option<
            Vec<JobPatternBy>,
        >,
    ) -> Vec<InOrder<JobPatternGroup>> {
        let is_meant = |group: &&Group| by.as_ref().is_none_or(|by| by.contains(&group.by.into()));
        let groups = self.0.iter().filter(is_meant);
        groups.map(group).collect()
    }
}

fn group(group: &Group) -> InOrder<JobPatternGroup> {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    InOrder(JobPatternGroup {
        by: group.by.into(),
        name: group.name.clone(),
        jobs: count(group.tally.jobs()),
        succeeded: count(group.tally.succeeded),
        failed: count(group.tally.failed),
        success: group.success,
        interval: InsightInterval::of(group.interval),
    })
}

/// The query of how jobs end.
#[derive(Debug, Default)]
pub(in crate::graphql) struct JobPatternQueries;

#[Object]
impl JobPatternQueries {
    /// How jobs ended on devices within the year before: how likely one succeeds, by type, by site and by six hours of
    /// the site's day, with intervals. Of devices that are named the newest 10,000 outcomes are read.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is an argument of its own in the schema"
    )]
    async fn job_patterns(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At these sites; at all when it is left out. At most 1000.")]
        site_ids: Option<Vec<ID>>,
        #[graphql(desc = "On these devices; on all when it is left out. At most 1000.")]
        device_ids: Option<Vec<ID>>,
        #[graphql(
            desc = "Of these types, as outcomes name them; of all when it is left out. At most 1000."
        )]
        job_types: Option<Vec<String>>,
        #[graphql(
            desc = "As of when: nothing that happened later is read; now when it is left out."
        )]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Where the outcomes come from; what is real, if there is any, else what is controlled, else what is \
                simulated."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<Reading<JobPatterns>>, Error> {
        let named = [site_ids.as_ref(), device_ids.as_ref()];
        let named = named.into_iter().flatten().map(Vec::len);
        let types = job_types.as_ref().map_or(0, Vec::len);
        if named.chain([types]).any(|named| named > NAMED_MAX) {
            let message = format!("at most {NAMED_MAX} sites, devices or types are named at once");
            return Err(too_much(message));
        }
        let asked = Asked {
            sites: site_ids,
            devices: device_ids,
            job_types,
            provenance: provenance.and_then(|word| Provenance::of_word(&word.word())),
        };
        told(ctx, asked, as_of).await.map(Some)
    }
}

/// Of which jobs it is asked.
struct Asked {
    sites: Option<Vec<ID>>,
    devices: Option<Vec<ID>>,
    job_types: Option<Vec<String>>,
    provenance: Option<Provenance>,
}

/// Whose jobs they are, by keys.
enum Whose {
    Sites(Vec<i64>),
    Devices(Vec<i64>),
}

fn told<'a>(
    ctx: &'a Context<'_>,
    asked: Asked,
    asked_at: Option<DateTime>,
) -> BoxFuture<'a, Result<Reading<JobPatterns>, Error>> {
    Box::pin(async move {
        let (api, as_of) = (api(ctx), as_of(ctx, asked_at).await?);
        let zones = jobs::time_zones(api.store()).await;
        let zones = zones.map_err(|error| of_failed(api, &error))?;
        let zones: HashMap<i64, String> = zones.into_iter().collect();
        let whose = whose(ctx, &asked, &zones).await?;
        let (provenance, read) = read(ctx, (&whose, &asked), as_of).await?;
        let names = api.store().names();
        let sites: Vec<(Arc<str>, &SiteJobs, Tz)> = read
            .sites()
            .iter()
            .filter_map(|(key, jobs)| {
                let zone = zones.get(key).and_then(|zone| zone.parse().ok());
                Some((names.id(*key)?, jobs, zone.unwrap_or(Tz::UTC)))
            })
            .collect();
        // of sites on several clocks days are told by UTC
        let zone = sites.first().map_or(Tz::UTC, |(.., zone)| *zone);
        let is_one = sites.iter().all(|(.., other)| *other == zone);
        let schedule = Schedule::new(if is_one { zone } else { Tz::UTC });
        let sites = sites.iter().map(|(id, jobs, _)| (&**id, *jobs));
        let answer = patterns(&sites.collect::<Vec<_>>(), &schedule, as_of);
        loaders(ctx).count(answer.groups.len())?;
        take(ctx, answer.groups.len() * size_of::<JobPatternGroup>())?;
        let groups = JobPatterns(Arc::new(answer.groups));
        let source = provenance.and_then(|provenance| source(&answer.insight, provenance));
        Ok(Reading::new(answer.insight, source, groups))
    })
}

/// Reads the jobs of the provenance that is asked for, or of the first of which there are any.
fn read<'a>(
    ctx: &'a Context<'_>,
    (whose, asked): (&'a Whose, &'a Asked),
    as_of: Instant,
) -> BoxFuture<'a, Result<(Option<Provenance>, JobsRead), Error>> {
    Box::pin(async move {
        let (api, types) = (api(ctx), asked.job_types.as_deref());
        let order = match asked.provenance {
            Some(provenance) => vec![provenance],
            None => api.preferred.order().to_vec(),
        };
        for provenance in order {
            let of = (provenance, as_of);
            let read = match whose {
                Whose::Sites(keys) => api.held.jobs(keys, of, types).await,
                Whose::Devices(keys) => api.held.jobs_of_devices(keys, of, types).await,
            };
            let read = read.map_err(|error| of_failed(api, &error))?;
            if !read.is_empty() {
                return Ok((Some(provenance), read));
            }
        }
        Ok((asked.provenance, JobsRead::default()))
    })
}

/// Whose jobs are meant of those that the caller reaches: who reaches one device is told of the jobs on that alone.
fn whose<'a>(
    ctx: &'a Context<'_>,
    asked: &'a Asked,
    zones: &'a HashMap<i64, String>,
) -> BoxFuture<'a, Result<Whose, Error>> {
    Box::pin(async move {
        let within = access::within(ctx).await?;
        let names = api(ctx).store().names();
        let mut sites = asked.sites.as_ref().map(|_| Vec::new());
        for id in asked.sites.iter().flatten() {
            let key = ask::site(ctx, id).await?;
            sites.get_or_insert_default().push(key);
        }
        let mut devices = match &within {
            Within::Device { device_key, .. } if asked.devices.is_none() => Some(vec![*device_key]),
            Within::Device { .. } | Within::Whole | Within::Sites(_) => {
                asked.devices.as_ref().map(|_| Vec::new())
            }
        };
        for id in asked.devices.iter().flatten() {
            let key = ask::device(ctx, id).await?;
            devices.get_or_insert_default().push(key);
        }
        if let Some(mut devices) = devices {
            let is_there = |key: &i64| {
                let site = names.site_of_device(*key);
                let asked = sites.as_ref();
                asked.is_none_or(|sites| site.is_some_and(|site| sites.contains(&site)))
            };
            devices.retain(is_there);
            return Ok(Whose::Devices(devices));
        }
        Ok(Whose::Sites(match (sites, within) {
            (Some(sites), _) | (None, Within::Sites(sites)) => sites,
            (None, Within::Whole | Within::Device { .. }) => zones.keys().copied().collect(),
        }))
    })
}
