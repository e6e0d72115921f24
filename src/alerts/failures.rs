//! Jobs that failed. An alert is for the job that a person has made: one that recurs, or that was retried,
//! is the cause of what its runs and retries come to, and the next that completes closes its alert. Of a job that
//! was made elsewhere the outcomes that were recorded tell which devices it had.

use std::sync::Arc;

use entity::job_outcomes::Column;

use super::rule::{Failure, Rule};
use super::verdict::{Begin, Cause, End, Verdict};
use crate::event::{Event, Instant, Provenance};
use crate::history::jobs;
use crate::store::{Store, StoreError};

/// How many jobs at most are followed from a retry to what it is one of.
const PARENTS_MAX: usize = 16;
/// An outcome that is told this much later is history.
const HISTORY_MS: i64 = 24 * 3_600 * 1_000;

/// The outcome of a job as a whole.
#[derive(Clone, Debug)]
pub(super) struct JobEnd {
    job_id: String,
    job_type: String,
    status: String,
    failed_percent: f64,
    /// The device and the site that it names.
    device: Option<i64>,
    site: Option<i64>,
    at: Instant,
    provenance: Provenance,
}

impl JobEnd {
    /// Reads it from an outcome; `None` for one of a device, or of long ago.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let cell = |column: Column| event.fact.cell(column);
        let text = |column: Column| cell(column).text().map(str::to_owned);
        let is_history = event.fact.occurred_at < event.recorded_at.plus_ms(-HISTORY_MS);
        if cell(Column::Scope).text() != Some("JOB") || is_history {
            return None;
        }
        let count = |column: Column| {
            let count = cell(column)
                .int()
                .and_then(|count| i32::try_from(count).ok());
            count.map_or(0.0, f64::from)
        };
        let targeted = count(Column::DevicesTargeted);
        let failed = count(Column::DevicesFailed);
        Some(Self {
            job_id: text(Column::JobId)?,
            job_type: text(Column::JobType)?,
            status: text(Column::Status)?,
            failed_percent: if targeted > 0.0 {
                failed * 100.0 / targeted
            } else {
                0.0
            },
            device: cell(Column::DeviceKey).int(),
            site: cell(Column::SiteKey).int(),
            at: event.fact.occurred_at,
            provenance: event.fact.provenance,
        })
    }

    fn has_failed(&self, failure: &Failure) -> bool {
        match failure.failed_percent {
            Some(percent) => self.failed_percent >= percent,
            None => matches!(self.status.as_str(), "FAILED" | "ERROR" | "TIMEOUT"),
        }
    }
}

/// What follows from the outcome of a job by a rule.
pub(super) async fn judge(
    store: &Store,
    (rule, failure): (&Arc<Rule>, &Failure),
    ended: &JobEnd,
) -> Result<Option<Verdict>, StoreError> {
    let types = &failure.job_types;
    if !types.is_empty() && !types.contains(&ended.job_type) {
        return Ok(None);
    }
    let has_failed = ended.has_failed(failure);
    if !has_failed && ended.status != "COMPLETED" {
        return Ok(None);
    }
    let job_id = root(store, &ended.job_id).await?;
    let places = if has_failed || !rule.is_for_all() {
        Places::of(store, ended).await?
    } else {
        Places::default()
    };
    let names = store.names();
    let is_among = |keys: &[i64], ids: &[String]| {
        let is_named = |key: &i64| {
            let name = names.id(*key);
            name.is_some_and(|name| ids.iter().any(|id| **id == *name))
        };
        keys.iter().any(is_named)
    };
    let is_meant = rule.is_for_all()
        || is_among(&places.sites, &rule.spec.site_ids)
        || is_among(&places.devices, &rule.spec.device_ids);
    if !is_meant {
        return Ok(None);
    }
    let cause = Cause::Job(job_id);
    Ok(Some(if has_failed {
        Verdict::Begins(Begin {
            rule: Arc::clone(rule),
            cause,
            since: ended.at,
            at: ended.at,
            measured: failure
                .failed_percent
                .map(|percent| (ended.failed_percent, percent)),
            reason: format!(
                "{} ended as {}, {:.0} % of its devices failed",
                ended.job_type, ended.status, ended.failed_percent
            ),
            provenance: ended.provenance,
            site: places.only_site(),
        })
    } else {
        Verdict::Ends(End {
            rule_id: rule.rule_id.clone(),
            cause,
            at: ended.at,
            reason: "it completed".to_owned(),
        })
    }))
}

/// The job that a job comes from in the end.
async fn root(store: &Store, job_id: &str) -> Result<String, StoreError> {
    let mut root = job_id.to_owned();
    for _ in 0..PARENTS_MAX {
        let job = jobs::job(store, &root).await?;
        match job.and_then(|job| job.parent_job_id) {
            Some(parent) => root = parent,
            None => break,
        }
    }
    Ok(root)
}

/// Where a job ran.
#[derive(Debug, Default)]
struct Places {
    devices: Vec<i64>,
    /// Where the devices stood when it ended, each once.
    sites: Vec<i64>,
}

impl Places {
    /// Those of a job: the devices for which it was made. Of one that was made elsewhere they are what its outcome
    /// names, or else what the outcomes of its devices do.
    async fn of(store: &Store, ended: &JobEnd) -> Result<Self, StoreError> {
        let targets = jobs::targets(store, &ended.job_id).await?;
        let mut devices: Vec<i64> = targets.iter().map(|target| target.device_key).collect();
        let mut named = None;
        if devices.is_empty() {
            devices.extend(ended.device);
            named = ended.site;
        }
        if devices.is_empty() && named.is_none() {
            devices = jobs::reported(store, &ended.job_id).await?;
        }
        let mut sites: Vec<i64> = if let Some(site) = named {
            vec![site]
        } else {
            let names = store.names();
            let stood = devices.iter();
            let stood = stood.filter_map(|key| names.site_of_device_at(*key, ended.at));
            stood.collect()
        };
        sites.sort_unstable();
        sites.dedup();
        Ok(Self { devices, sites })
    }

    /// The site where all of them are.
    fn only_site(&self) -> Option<i64> {
        match self.sites.as_slice() {
            [site] => Some(*site),
            _ => None,
        }
    }
}
