//! How a job is to be carried out: when it starts, in which batches, how long a device has, how often
//! it is tried, and when the rest is stopped.

use serde::{Deserialize, Serialize};

use crate::event::Instant;
use crate::history::Within;
use crate::jobs::Selection;
use crate::store::{EntityType, Store, StoreError};

/// Devices at most of a batch or of the canary.
pub const BATCH_MAX: u32 = 10_000;
/// Seconds at most between two batches.
pub const PAUSE_SECONDS_MAX: u32 = 86_400;
/// Seconds at most that a device has to end a command.
pub const TIMEOUT_SECONDS_MAX: u32 = 7 * 86_400;
/// Seconds at most that a command waits for its device.
pub const TIME_TO_LIVE_SECONDS_MAX: u32 = 90 * 86_400;
/// Times at most that a device is tried again.
pub const RETRIES_MAX: u32 = 10;
/// Seconds at most before the first retry.
pub const BACKOFF_SECONDS_MAX: u32 = 86_400;
/// Milliseconds at most before a retry, however often it was doubled.
const BACKOFF_MS_MAX: i64 = 86_400_000;

/// How a job is to be carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// In which order a device takes commands of several jobs.
    pub priority: Priority,
    /// When it starts.
    pub start: Start,
    /// Of a job that was to start when that disturbs least: when it is given to the devices of each site, and why
    /// then. `start` is the first of them, which holds for a device that is at none of these sites by then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub best_windows: Vec<BestWindow>,
    /// For which devices, when that is found anew each time or was not said by their ids alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// The sites that whoever made it reaches, if these are not all: a device that is elsewhere by the time
    /// that its turn comes is not given it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach: Option<Vec<String>>,
    /// It tells devices what is set for them: one for which something else is set by the time that its
    /// turn comes is not given it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_configuration: bool,
    /// Devices that have it at once; all of them when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Seconds from the end of a batch to the next.
    pub batch_pause_seconds: u32,
    /// Devices that must do it before any other is given it.
    pub canary_devices: u32,
    /// It is stopped when more devices than this have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_max: Option<u32>,
    /// It is stopped when more than this part of its devices has failed, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_max_percent: Option<f64>,
    /// Seconds that a device has to end a command that it has acknowledged.
    pub timeout_seconds: u32,
    /// Seconds that a command waits for its device.
    pub time_to_live_seconds: u32,
    /// How often a device that failed or gave no answer is tried again.
    pub retries: u32,
    /// Seconds before the first retry; doubled with each further one.
    pub retry_backoff_seconds: u32,
}

/// In which order a device takes commands of several jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    /// After all others.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Before most.
    High,
    /// Before all others.
    Urgent,
}

/// When a job starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// At an instant.
    At(Instant),
    /// On each device while its site has a maintenance window.
    InMaintenanceWindow,
    /// Again and again, by a cron expression in the time of each site; each time is a job of its own.
    Recurring(String),
}

/// The window that was recommended for the devices of a site when their job was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BestWindow {
    /// The site.
    pub site_id: String,
    /// From when on its devices are given the job.
    pub starts_at: Instant,
    /// When it was expected to have ended.
    pub ends_at: Instant,
    /// Transactions that were expected to be lost.
    pub lost: f64,
    /// Transactions that a retry was worth, by how likely it was.
    pub retry: f64,
    /// Transactions that the delay was worth.
    pub lateness: f64,
    /// How likely the job was to succeed; absent while no job had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<f64>,
    /// How likely no start was clearly better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// How far that could be relied on: the word of a status of an insight.
    pub status: String,
    /// Why, in the site's time.
    pub sentence: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            title: None,
            priority: Priority::Normal,
            start: Start::Now,
            best_windows: Vec::new(),
            selection: None,
            reach: None,
            is_configuration: false,
            batch_size: None,
            batch_pause_seconds: 0,
            canary_devices: 0,
            failures_max: None,
            failures_max_percent: None,
            timeout_seconds: 600,
            time_to_live_seconds: 86_400,
            retries: 0,
            retry_backoff_seconds: 30,
        }
    }
}

impl Plan {
    /// The plan of a job as it is kept; that of a job from before there were plans is the usual one.
    #[must_use]
    pub fn of_text(text: Option<&str>) -> Self {
        let plan: Option<Self> = text.and_then(|text| serde_json::from_str(text).ok());
        let mut plan = plan.unwrap_or_default();
        if let Some(selection) = &mut plan.selection {
            plan.reach = plan.reach.or(selection.reach.take());
        }
        plan
    }

    /// The part of the fleet that whoever made the job reaches.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub(crate) async fn within(&self, store: &Store) -> Result<Within, StoreError> {
        let Some(sites) = &self.reach else {
            return Ok(Within::Whole);
        };
        let mut keys = Vec::with_capacity(sites.len());
        for id in sites {
            keys.extend(store.key(EntityType::Site, id).await?);
        }
        Ok(Within::Sites(keys))
    }

    /// Whether more devices have failed, of so many, than the job goes on with.
    #[must_use]
    pub fn is_stopped_by(&self, failed: usize, devices: usize) -> bool {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let by_number = self.failures_max.is_some_and(|max| count(failed) > max);
        let by_part = self.failures_max_percent.is_some_and(|percent| {
            f64::from(count(failed)) * 100.0 > percent * f64::from(count(devices))
        });
        by_number || by_part
    }

    /// When a device that failed its so manieth command at an instant is tried again.
    #[must_use]
    pub fn retry_at(&self, attempt: u32, failed_at: Instant) -> Instant {
        let doubled = attempt.saturating_sub(1).min(20);
        let wait = i64::from(self.retry_backoff_seconds) * 1_000 * (1_i64 << doubled);
        failed_at.plus_ms(wait.min(BACKOFF_MS_MAX))
    }
}
