//! What people say of a job that is to be made, read into its plan and its selection.

use std::collections::HashSet;

use async_graphql::{Enum, ID, InputObject, OneofObject};

use super::command::{UserError, UserErrorCode};
use super::commands::{DeviceState, DeviceType};
use super::insights::BestWindowInput;
use super::scalars::{DateTime, JsonScalar};
use super::words::{JobTypes, Word};
use crate::event::Instant;
use crate::jobs::{
    BACKOFF_SECONDS_MAX, BATCH_MAX, Conditions, JobType, PAUSE_SECONDS_MAX, Plan, Priority,
    RETRIES_MAX, Selection, Start, TIME_TO_LIVE_SECONDS_MAX, TIMEOUT_SECONDS_MAX, Wanted,
};

/// Ids, tags or sites at most in a list.
const LIST_MAX: usize = 10_000;
/// Characters at most of a name.
const NAME_MAX: usize = 255;

/// In which order a device takes commands of several jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum JobPriority {
    /// After all others.
    Low,
    /// As most.
    Normal,
    /// Before most.
    High,
    /// Before all others.
    Urgent,
}

impl From<Priority> for JobPriority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
            Priority::Urgent => Self::Urgent,
        }
    }
}

impl From<JobPriority> for Priority {
    fn from(priority: JobPriority) -> Self {
        match priority {
            JobPriority::Low => Self::Low,
            JobPriority::Normal => Self::Normal,
            JobPriority::High => Self::High,
            JobPriority::Urgent => Self::Urgent,
        }
    }
}

/// When a job starts; at once when nothing is said.
#[derive(Debug, OneofObject)]
pub(super) enum JobStartInput {
    /// At an instant; one that is past is at once.
    At(DateTime),
    /// `true`: on each device while its site has a maintenance window. A command that was not taken by the
    /// end of the window is taken back and given anew in the next, unless the job is older than its
    /// `timeToLiveSeconds` by then.
    InMaintenanceWindow(bool),
    /// Again and again, in the time of each site: a cron expression of five fields (minute, hour, day of
    /// the month, month, day of the week). Each time is a job of its own, for the devices that the
    /// selection finds then. Where clocks change: with some hours of the day, in whichever way they are
    /// written, each time comes once a day; those that the clocks skip come together at the first instant
    /// after the gap, and one that they show twice comes at the first. With every hour, it comes whenever
    /// the clocks show one of its minutes.
    Cron(String),
    /// When it disturbs least, as `recommendJobWindow` finds it when the job is made: at each site its devices are
    /// given it at the start of the window of that site, which the plan of the job shows, and why. A rollout goes on
    /// by its batches: whose turn comes after the start of its window is given it then, as is a device that was away.
    /// The job is for up to 1000 devices at up to 50 sites.
    InBestWindow(BestWindowInput),
}

/// In which parts a job is given to its devices, and when the rest is stopped.
#[derive(Debug, Default, InputObject)]
pub(super) struct JobRolloutInput {
    /// Devices that have it at once (1 to 10000); all of them when it is left out.
    batch_size: Option<i32>,
    /// Seconds from the end of a batch to the next (0 to 86400). A device that has not acknowledged its
    /// command within 10 seconds holds no batch up.
    #[graphql(default)]
    batch_pause_seconds: i32,
    /// Devices that must complete it before any other is given it (0 to 10000); the first in the order of
    /// their ids.
    #[graphql(default)]
    canary_devices: i32,
    /// The job is stopped as FAILED when more devices than this have failed (0 or more).
    failures_max: Option<i32>,
    /// The job is stopped as FAILED when more than this part of its devices has failed, in percent (0 to
    /// 100).
    failures_max_percent: Option<f64>,
}

/// Conditions on devices, all of which must hold.
#[derive(Debug, InputObject)]
pub(super) struct JobTargetFilter {
    /// At this site.
    site_id: Option<ID>,
    /// Of one of these types.
    device_types: Option<Vec<DeviceType>>,
    /// In one of these states.
    states: Option<Vec<DeviceState>>,
    /// Of this model.
    model: Option<String>,
    /// With this firmware.
    firmware: Option<String>,
    /// With this in id or name, upper and lower case of A to Z alike.
    search: Option<String>,
}

/// A job to be made. It is for all devices that `deviceIds`, `siteIds`, `tags` or `filter` finds; those that
/// are RETIRED only when they are named.
#[derive(Debug, InputObject)]
pub(super) struct CreateJobInput {
    /// What devices are to do.
    pub(super) job_type: Word<JobTypes>,
    /// What a CUSTOM job is called, in history too; 1 to 255 characters.
    name: Option<String>,
    /// What people call the job; at most 255 characters.
    title: Option<String>,
    /// What the devices are given to do the job with, by the schema of its type (`jobTypes`).
    pub(super) payload: Option<JsonScalar>,
    /// Devices to run it on.
    #[graphql(default)]
    device_ids: Vec<ID>,
    /// Sites on all of whose devices to run it.
    #[graphql(default)]
    site_ids: Vec<ID>,
    /// Tags: of all devices with one of them.
    #[graphql(default)]
    tags: Vec<String>,
    /// Conditions: of all devices for which all of them hold.
    filter: Option<JobTargetFilter>,
    /// In which order a device takes commands of several jobs.
    #[graphql(default_with = "JobPriority::Normal")]
    priority: JobPriority,
    /// When it starts; at once when it is left out.
    start: Option<JobStartInput>,
    /// In which parts it is given to its devices; to all at once when it is left out.
    rollout: Option<JobRolloutInput>,
    /// Seconds that a device has to end the command once it has acknowledged it (1 to 604800).
    #[graphql(default = 600)]
    timeout_seconds: i32,
    /// Seconds that the command waits for its device (1 to 7776000).
    #[graphql(default = 86400)]
    time_to_live_seconds: i32,
    /// How often a device that failed or gave no answer is tried again (0 to 10).
    #[graphql(default)]
    retries: i32,
    /// Seconds before the first retry (0 to 86400); doubled with each further one, to a day at most.
    #[graphql(default = 30)]
    retry_backoff_seconds: i32,
    /// A repeat with the same key makes no second job; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    pub(super) idempotency_key: Option<String>,
}

/// What a job is called in history, and how it is to be carried out.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) job_type: String,
    /// How; of one that starts in the best window without that.
    pub(super) plan: Plan,
    /// Of which window it is asked, if it starts in the best one.
    pub(super) best: Option<Wanted>,
    pub(super) selection: Selection,
}

impl CreateJobInput {
    /// Reads what is asked, as of an instant.
    ///
    /// # Errors
    /// The first value that is out of its bounds.
    pub(super) fn read(&self, now: Instant) -> Result<Asked, UserError> {
        let ty = self.job_type.word();
        let known = JobType::of_word(&ty);
        let payload = self.payload.as_ref().map(|payload| &payload.0);
        if let Some(Err(told)) = known.map(|known| known.check(payload)) {
            return Err(invalid("payload", told));
        }
        let selection = self.selection()?;
        let plan = Plan {
            title: text("title", self.title.as_deref())?,
            ..self.plan(now)?
        };
        let recurs = matches!(plan.start, Start::Recurring(_));
        let is_found_anew = recurs || selection.is_open();
        let plan = Plan {
            selection: is_found_anew.then(|| selection.clone()),
            ..plan
        };
        let job_type = self.called(&ty)?;
        let best = match &self.start {
            Some(JobStartInput::InBestWindow(window)) => {
                let minutes = plan.timeout_seconds.div_ceil(60);
                Some(window.read(&job_type, self.priority, minutes))
            }
            Some(
                JobStartInput::At(_)
                | JobStartInput::InMaintenanceWindow(_)
                | JobStartInput::Cron(_),
            )
            | None => None,
        };
        Ok(Asked {
            job_type,
            plan,
            best,
            selection,
        })
    }

    /// A CUSTOM job bears its name, and no job that of another type.
    fn called(&self, ty: &str) -> Result<String, UserError> {
        let name = text("name", self.name.as_deref())?;
        match (ty, name) {
            ("CUSTOM", None) => Err(invalid("name", "name is missing: a CUSTOM job has one")),
            ("CUSTOM", Some(name)) if JobType::of_word(&name).is_some() => Err(invalid(
                "name",
                format!("{name} is a type of job of its own"),
            )),
            ("CUSTOM", Some(name)) => Ok(name),
            (ty, None) => Ok(ty.to_owned()),
            (_, Some(_)) => Err(invalid(
                "name",
                "name is for CUSTOM jobs; people read title",
            )),
        }
    }

    fn selection(&self) -> Result<Selection, UserError> {
        let ids = |name: &str, ids: &[ID]| {
            let ids: Vec<String> = ids.iter().map(|id| id.0.clone()).collect();
            list(name, ids)
        };
        let words = |words: &Option<Vec<DeviceType>>| {
            let words = words.as_ref()?.iter();
            Some(words.map(Word::word).collect())
        };
        let filter = self.filter.as_ref().map(|filter| Conditions {
            site_id: filter.site_id.as_ref().map(|id| id.0.clone()),
            device_types: words(&filter.device_types),
            states: filter
                .states
                .as_ref()
                .map(|states| states.iter().map(Word::word).collect()),
            firmware: filter.firmware.clone(),
            model: filter.model.clone(),
            search: filter.search.clone(),
        });
        Ok(Selection {
            device_ids: ids("deviceIds", &self.device_ids)?,
            site_ids: ids("siteIds", &self.site_ids)?,
            tags: list("tags", self.tags.clone())?,
            filter,
            ..Selection::default()
        })
    }

    fn plan(&self, now: Instant) -> Result<Plan, UserError> {
        let usual = JobRolloutInput::default();
        let rollout = self.rollout.as_ref().unwrap_or(&usual);
        let percent = rollout.failures_max_percent;
        if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            let field = "rollout.failuresMaxPercent";
            return Err(invalid(
                field,
                "failuresMaxPercent is not between 0 and 100",
            ));
        }
        let optional = |field, value: Option<i32>, bounds| {
            value.map(|value| within(field, value, bounds)).transpose()
        };
        Ok(Plan {
            priority: self.priority.into(),
            start: self.start(now)?,
            batch_size: optional("rollout.batchSize", rollout.batch_size, (1, BATCH_MAX))?,
            batch_pause_seconds: within(
                "rollout.batchPauseSeconds",
                rollout.batch_pause_seconds,
                (0, PAUSE_SECONDS_MAX),
            )?,
            canary_devices: within(
                "rollout.canaryDevices",
                rollout.canary_devices,
                (0, BATCH_MAX),
            )?,
            failures_max: optional("rollout.failuresMax", rollout.failures_max, (0, u32::MAX))?,
            failures_max_percent: percent,
            timeout_seconds: within(
                "timeoutSeconds",
                self.timeout_seconds,
                (1, TIMEOUT_SECONDS_MAX),
            )?,
            time_to_live_seconds: within(
                "timeToLiveSeconds",
                self.time_to_live_seconds,
                (1, TIME_TO_LIVE_SECONDS_MAX),
            )?,
            retries: within("retries", self.retries, (0, RETRIES_MAX))?,
            retry_backoff_seconds: within(
                "retryBackoffSeconds",
                self.retry_backoff_seconds,
                (0, BACKOFF_SECONDS_MAX),
            )?,
            ..Plan::default()
        })
    }

    fn start(&self, now: Instant) -> Result<Start, UserError> {
        Ok(match &self.start {
            None | Some(JobStartInput::InMaintenanceWindow(false)) => Start::Now,
            // a repeat that comes after its time says the same as the first did
            Some(JobStartInput::At(at)) if at.0 <= now && self.idempotency_key.is_none() => {
                Start::Now
            }
            Some(JobStartInput::At(at)) => Start::At(at.0),
            Some(JobStartInput::InMaintenanceWindow(true)) => Start::InMaintenanceWindow,
            // until its window is known
            Some(JobStartInput::InBestWindow(_)) => Start::At(now),
            Some(JobStartInput::Cron(cron)) => {
                crate::jobs::read_cron(cron).map_err(|told| invalid("start.cron", told))?;
                Start::Recurring(cron.clone())
            }
        })
    }
}

fn invalid(field: &str, message: impl Into<String>) -> UserError {
    UserError::new(field, UserErrorCode::Invalid, message)
}

fn within(field: &str, value: i32, (least, most): (u32, u32)) -> Result<u32, UserError> {
    let value = u32::try_from(value).ok();
    let value = value.filter(|value| (least..=most).contains(value));
    let name = field.rsplit('.').next().unwrap_or(field);
    let message = || format!("{name} is not between {least} and {most}");
    value.ok_or_else(|| invalid(field, message()))
}

fn text(field: &str, text: Option<&str>) -> Result<Option<String>, UserError> {
    let Some(text) = text else { return Ok(None) };
    let characters = text.chars().count();
    let is_text = (1..=NAME_MAX).contains(&characters) && !text.chars().any(char::is_control);
    let message =
        || format!("{field} is not 1 to {NAME_MAX} characters without control characters");
    is_text
        .then(|| Some(text.to_owned()))
        .ok_or_else(|| invalid(field, message()))
}

fn list(field: &str, mut values: Vec<String>) -> Result<Vec<String>, UserError> {
    if values.len() > LIST_MAX {
        return Err(invalid(
            field,
            format!("{field} has at most {LIST_MAX} values"),
        ));
    }
    // what is named twice is looked up once
    let mut named = HashSet::new();
    values.retain(|value| named.insert(value.clone()));
    Ok(values)
}
