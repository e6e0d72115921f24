//! Has devices that this process itself plays (the simulated fleet) do their part of each job.
//!
//! It follows the log from the jobs that were not done when it started, so that a job outlives a
//! restart.

use std::collections::VecDeque;

use entity::job_transitions::Column;
use tokio_util::sync::CancellationToken;

use super::{DeviceResult, JobError, complete_device};
use crate::history::jobs;
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::store::StoreError;
use crate::telemetry::chain;

/// Plays the devices.
pub trait Run: Send {
    /// Does a job on a device; `None` when the device is not one that it plays.
    fn run(&mut self, device_id: &str, job_type: &str, job_id: &str) -> Option<DeviceResult>;
}

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
        let mut waiting: VecDeque<String> = jobs::unfinished(store, head)
            .await?
            .into_iter()
            .map(|job| job.job_id)
            .collect();
        loop {
            while let Some(job_id) = waiting.pop_front() {
                if stop.is_cancelled() {
                    return Ok(());
                }
                if let Err(error) = self.work_on(&mut devices, &job_id).await {
                    tracing::warn!(job.id = job_id, error = %chain(&error), "a job could not go on");
                }
            }
            let events = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                events = tail.next() => events?,
            };
            let queued = events
                .iter()
                .filter(|e| e.fact.cell(Column::State).text() == Some("QUEUED"));
            waiting.extend(
                queued.filter_map(|e| e.fact.cell(Column::JobId).text().map(str::to_owned)),
            );
        }
    }

    async fn work_on(&self, devices: &mut impl Run, job_id: &str) -> Result<(), JobError> {
        let store = self.ingest.store();
        let Some(job) = jobs::job(store, job_id).await? else {
            return Ok(());
        };
        for target in jobs::targets(store, job_id).await? {
            if target.status.is_some() {
                continue;
            }
            let Some(device_id) = store.names().id(target.device_key) else {
                continue;
            };
            let Some(result) = devices.run(&device_id, &job.job_type, job_id) else {
                continue;
            };
            match complete_device(&self.ingest, job_id, &device_id, &result).await {
                // cancelled while it ran
                Err(JobError::Ended { .. }) => return Ok(()),
                done => done?,
            }
        }
        Ok(())
    }
}
