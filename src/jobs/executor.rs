//! Has devices that this process itself plays (the simulated fleet) do their part of each job.
//!
//! A device is played as it would behave: it begins at once and reports when its time is over. It
//! follows the log from the jobs that were not done when it started, so that a job outlives a
//! restart; a device that had begun by then begins anew.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use entity::job_transitions::Column;
use tokio_util::sync::CancellationToken;

use super::{DeviceResult, JobError, complete_device};
use crate::event::Instant;
use crate::history::jobs::{self, JobRow};
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::store::StoreError;
use crate::telemetry::chain;

/// How often the devices that are at work are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a device whose report was not taken waits.
const RETRY_AFTER_MS: i64 = 1_000;

/// Plays the devices.
pub trait Run: Send {
    /// Does a job on a device; `None` when the device is not one that it plays. How it will have
    /// ended is known at once, and is reported when its time is over.
    fn run(&mut self, device_id: &str, job_type: &str, job_id: &str) -> Option<DeviceResult>;
}

/// What a device will report of a job.
struct Report {
    job_id: String,
    device_id: String,
    result: DeviceResult,
    ends_at: Instant,
}

/// Reports by when they are due and by their ordinal.
type Reports = BTreeMap<(Instant, u64), Report>;

/// Follows the jobs and has them done.
#[derive(Debug)]
pub struct Executor {
    ingest: Ingest,
}

impl Executor {
    /// An executor that records through a door.
    #[must_use]
    pub const fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    /// Has jobs done until it is told to stop.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn run(
        self,
        mut devices: impl Run,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let store = self.ingest.store();
        let head = store.head();
        let mut tail = store.tail(head, Some(&[Kind::JobTransition]));
        let mut reports = Reports::new();
        // one that is made meanwhile may be met both here and behind the head
        let mut begun = HashSet::new();
        for job in jobs::unfinished(store).await? {
            self.begin(&mut devices, &job, &mut reports).await?;
            begun.insert(job.job_id);
        }
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            let events = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                events = tail.next() => events?,
                _ = looks.tick(), if !reports.is_empty() => {
                    self.report(&mut reports).await;
                    continue;
                }
            };
            let queued = events
                .iter()
                .filter(|e| e.fact.cell(Column::State).text() == Some("QUEUED"));
            let ids = queued.filter_map(|e| e.fact.cell(Column::JobId).text());
            for job_id in ids.filter(|id| !begun.contains(*id)) {
                if let Some(job) = jobs::job(store, job_id).await? {
                    self.begin(&mut devices, &job, &mut reports).await?;
                }
            }
        }
    }

    /// Begins a job on those of its devices that are played and have not ended it.
    async fn begin(
        &self,
        devices: &mut impl Run,
        job: &JobRow,
        reports: &mut Reports,
    ) -> Result<(), StoreError> {
        let store = self.ingest.store();
        for target in jobs::targets(store, &job.job_id).await? {
            if target.status.is_some() {
                continue;
            }
            let Some(device_id) = store.id(target.device_key).await? else {
                continue;
            };
            let now = self.ingest.clock().now();
            let Some(result) = devices.run(&device_id, &job.job_type, &job.job_id) else {
                continue;
            };
            let report = Report {
                job_id: job.job_id.clone(),
                device_id: device_id.to_string(),
                ends_at: now.plus_ms(result.duration_ms),
                result,
            };
            put(reports, report.ends_at, report);
        }
        Ok(())
    }

    /// Records what is due.
    async fn report(&self, reports: &mut Reports) {
        let now = self.ingest.clock().now();
        while let Some(first) = reports.first_entry() {
            if first.key().0 > now {
                return;
            }
            let report = first.remove();
            let how = (&report.result, report.ends_at);
            let done = complete_device(&self.ingest, &report.job_id, &report.device_id, how);
            match done.await {
                // cancelled while it ran
                Ok(()) | Err(JobError::Ended { .. }) => {}
                Err(error) => {
                    let retried = matches!(error, JobError::Append(_) | JobError::Store(_));
                    tracing::warn!(job.id = report.job_id, error = %chain(&error), retried, "a played device could not report");
                    if retried {
                        put(reports, now.plus_ms(RETRY_AFTER_MS), report);
                    }
                }
            }
        }
    }
}

fn put(reports: &mut Reports, due_at: Instant, report: Report) {
    let after = reports.range((due_at, 0)..=(due_at, u64::MAX));
    let ordinal = after.last().map_or(0, |((_, ordinal), _)| ordinal + 1);
    reports.insert((due_at, ordinal), report);
}
