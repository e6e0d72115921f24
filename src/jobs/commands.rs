//! What a device does with a command: it acknowledges it, and tells how it ended.
//!
//! A command is delivered at least once. What a device repeats, since it did not hear the answer, is
//! answered as the first time. An answer counts until the command has ended: with another answer, by
//! running out of time, or with its job.

use std::borrow::Cow;
use std::fmt;

use entity::{command_transitions as command, job_outcomes as outcome};
use serde_json::Value as Json;
use thiserror::Error;

use super::machine::Ended;
use super::steps::{OfJob, append, commanded, duration, end_id, outcome_of, unrecorded};
use super::{DECISIONS_MAX, JobError, Plan, UPDATE_CONFIGURATION};
use crate::configuration::{self, Applied, Keyring};
use crate::event::{Cell, Event, Instant, NewEvent, Provenance};
use crate::ingest::Ingest;
use crate::kinds::{Kind, Refusal};
use crate::projections::jobs::{OnDevice, answers_of, entity_of, on_device};
use crate::store::{AppendError, EntityType, Expect, StoreError};

/// Code of the failure when a device was not told all that it says it has done.
const NOT_OPENED: &str = "NOT_OPENED";
/// Characters at most of what is said of that.
const NAMED_CHARACTERS_MAX: usize = 1_000;

/// Why an answer to a command does not count.
#[derive(Debug, Error)]
pub enum CommandError {
    /// There is no such command.
    #[error("there is no such command")]
    Unknown,
    /// It has ended.
    #[error("the command has ended: it is {state}")]
    Over {
        /// What it came to.
        state: String,
    },
    /// One of the values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Others moved the job each time that it was read.
    #[error("the job was moved by others at the same time; try again")]
    Contended,
    /// The log cannot be read.
    #[error("cannot read the command")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the answer")]
    Append(#[from] AppendError),
    /// The ids of its steps are taken.
    #[error("cannot record the answer")]
    Job(#[source] Box<JobError>),
}

impl From<JobError> for CommandError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Refused(refusal) => Self::Refused(refusal),
            JobError::Store(error) => Self::Store(error),
            JobError::Append(error) => Self::Append(error),
            JobError::Contended => Self::Contended,
            error @ (JobError::Unknown
            | JobError::Shared
            | JobError::WrongState { .. }
            | JobError::NoTarget
            | JobError::TooManyTargets
            | JobError::NeverStarts { .. }
            | JobError::Superseded { .. }
            | JobError::Stale { .. }
            | JobError::Taken
            | JobError::OtherRepeat) => Self::Job(Box::new(error)),
        }
    }
}

/// The id of a command: its job, which of the job's commands to the device it is, and the device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandId {
    /// The job.
    pub job_id: String,
    /// Which command, from 1.
    pub attempt: u32,
    /// The device.
    pub device_id: String,
}

impl CommandId {
    /// The id of a command.
    #[must_use]
    pub fn of(job_id: &str, attempt: u32, device_id: &str) -> Self {
        let [job_id, device_id] = [job_id, device_id].map(str::to_owned);
        Self {
            job_id,
            attempt,
            device_id,
        }
    }

    /// Reads an id; `None` when it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (job_id, rest) = text.split_once('.')?;
        let (attempt, device_id) = rest.split_once('.')?;
        let attempt = attempt.parse().ok().filter(|attempt| *attempt > 0)?;
        let is_id = !text.contains('\0') && !job_id.is_empty() && !device_id.is_empty();
        is_id.then(|| Self::of(job_id, attempt, device_id))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ids of jobs have no dot, those of devices may
        write!(f, "{}.{}.{}", self.job_id, self.attempt, self.device_id)
    }
}

/// How a device says that a command ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it came to.
    pub ended: Ended,
    /// How long the device worked on it; measured here when it does not say.
    pub duration_ms: Option<i64>,
    /// Code of the failure.
    pub error_code: Option<String>,
    /// What went wrong.
    pub error_message: Option<String>,
    /// What it gives back.
    pub result: Option<Json>,
    /// Whether the device is real.
    pub provenance: Provenance,
}

/// A device has a command and works on it.
///
/// # Errors
/// When there is no such command, it has ended, or that cannot be recorded.
pub async fn acknowledge(
    ingest: &Ingest,
    id: &CommandId,
    (by, provenance): (&str, Provenance),
) -> Result<(), CommandError> {
    for _ in 0..DECISIONS_MAX {
        let on = standing(ingest, id).await?;
        match state_of(&on, id.attempt) {
            State::Issued => {}
            State::Acknowledged => return Ok(()),
            State::Over(state) => {
                let end = end_of(ingest, id).await?;
                let state = end.as_ref().and_then(state_told).unwrap_or(state);
                return Err(CommandError::Over { state });
            }
        }
        let now = ingest.clock().now();
        let event = commanded(
            (&id.job_id, &on.job_type),
            (&id.device_id, id.attempt),
            "ACKNOWLEDGED",
            (now, provenance),
        );
        let event = event.set(command::Column::ChangedBy, by).finish();
        let event = event.map_err(CommandError::Refused)?;
        if record(ingest, id, vec![event], &on).await? {
            return Ok(());
        }
    }
    Err(CommandError::Contended)
}

/// A device tells how a command ended. If it may be tried again, it will be; if not, the job has ended
/// on the device, which is recorded with it. Who says with which keys it was told secrets has not done what
/// does not open with them.
///
/// # Errors
/// When there is no such command, it has ended otherwise, or that cannot be recorded.
pub async fn complete(
    ingest: &Ingest,
    (id, keyring): (&CommandId, Option<&Keyring>),
    (answer, by): (&Answer, &str),
) -> Result<(), CommandError> {
    for _ in 0..DECISIONS_MAX {
        let on = standing(ingest, id).await?;
        if let State::Over(state) = state_of(&on, id.attempt) {
            let end = end_of(ingest, id).await?;
            if end.as_ref().is_some_and(|end| is_told_by(end, answer)) {
                return Ok(());
            }
            let state = end.as_ref().and_then(state_told).unwrap_or(state);
            return Err(CommandError::Over { state });
        }
        let now = ingest.clock().now();
        let (mut answer, mut applied) = (Cow::Borrowed(answer), Applied::default());
        if answer.ended == Ended::Completed && on.job_type == UPDATE_CONFIGURATION {
            let how = (now, answer.provenance);
            applied = configuration::applied(ingest, (id, keyring), how).await?;
            if !applied.untold.is_empty() {
                answer = Cow::Owned(not_opened(&answer, &applied.untold));
            }
        }
        let ended = ended(&on, id, (&answer, by), now);
        let mut events = ended.map_err(CommandError::Refused)?;
        events.extend(applied.events);
        if record(ingest, id, events, &on).await? {
            return Ok(());
        }
    }
    Err(CommandError::Contended)
}

async fn standing(ingest: &Ingest, id: &CommandId) -> Result<OnDevice, CommandError> {
    let store = ingest.store();
    let key = store.key(EntityType::Device, &id.device_id).await?;
    let key = key.ok_or(CommandError::Unknown)?;
    let on = on_device(store, &id.job_id, (&id.device_id, key)).await?;
    let attempt = i64::from(id.attempt);
    on.filter(|on| on.attempt >= attempt)
        .ok_or(CommandError::Unknown)
}

enum State {
    Issued,
    Acknowledged,
    Over(String),
}

fn state_of(on: &OnDevice, attempt: u32) -> State {
    if let Some(status) = &on.status {
        return State::Over(status.clone());
    }
    match on.step.as_str() {
        "ISSUED" if on.attempt == i64::from(attempt) => State::Issued,
        "ACKNOWLEDGED" if on.attempt == i64::from(attempt) => State::Acknowledged,
        // the device is tried again
        _ => State::Over(Ended::Failed.word().to_owned()),
    }
}

/// The event with which a command ended.
async fn end_of(ingest: &Ingest, id: &CommandId) -> Result<Option<Event>, CommandError> {
    let store = ingest.store();
    let event_id = end_id(id);
    let position = store.positions(&[event_id]).await?.remove(&event_id);
    let Some(position) = position else {
        return Ok(None);
    };
    let stored = store.event(position).await?;
    let is_of = |end: &Event| {
        end.fact.cell(command::Column::CommandId).text() == Some(id.to_string().as_str())
    };
    Ok(stored.filter(is_of))
}

/// What a command ended as.
fn state_told(end: &Event) -> Option<String> {
    let state = end.fact.cell(command::Column::State);
    state.text().map(str::to_owned)
}

/// Whether a command ended with the very answer that is given now, or with what was made of it.
fn is_told_by(end: &Event, answer: &Answer) -> bool {
    let text = |column: command::Column| end.fact.cell(column).text();
    let (state, code) = (
        text(command::Column::State),
        text(command::Column::ErrorCode),
    );
    let has_same_result = if let Cell::Json(result) = end.fact.cell(command::Column::Result) {
        Some(&**result) == answer.result.as_ref()
    } else {
        answer.result.is_none()
    };
    let is_same = state == Some(answer.ended.word())
        && code == answer.error_code.as_deref()
        && has_same_result;
    is_same || answer.ended == Ended::Completed && code == Some(NOT_OPENED)
}

/// What comes of it when a device says that it has done what it was not told: to have done the rest is not to
/// have done it.
fn not_opened(answer: &Answer, untold: &[String]) -> Answer {
    let names = untold.join(", ");
    let message = format!("the server has no key that opens {names} for the device");
    Answer {
        ended: Ended::Error,
        error_code: Some(NOT_OPENED.to_owned()),
        error_message: Some(message.chars().take(NAMED_CHARACTERS_MAX).collect()),
        ..answer.clone()
    }
}

/// The end of a command, and of the job on the device if it is not tried again.
fn ended(
    on: &OnDevice,
    id: &CommandId,
    (answer, by): (&Answer, &str),
    now: Instant,
) -> Result<Vec<NewEvent>, Refusal> {
    let worked_ms = (now.0 - on.step_at) / 1_000;
    let took = answer
        .duration_ms
        .or((on.step == "ACKNOWLEDGED").then_some(worked_ms));
    let took = took.map_or(Cell::Null, duration);
    let told = commanded(
        (&id.job_id, &on.job_type),
        (&id.device_id, id.attempt),
        answer.ended.word(),
        (now, answer.provenance),
    );
    let told = told
        .set(command::Column::DurationMs, took.clone())
        .given(command::Column::ErrorCode, answer.error_code.as_deref())
        .given(
            command::Column::ErrorMessage,
            answer.error_message.as_deref(),
        )
        .set(command::Column::Result, answer.result.clone())
        .set(command::Column::ChangedBy, by);
    let mut events = vec![told.finish()?];
    let plan = Plan::of_text(on.plan.as_deref());
    let is_tried_again = answer.ended.is_retried() && on.failures < i64::from(plan.retries);
    if is_tried_again {
        return Ok(events);
    }
    let job = OfJob {
        job_id: &id.job_id,
        job_type: &on.job_type,
        created_by: on.created_by.as_deref(),
    };
    let how = (now, answer.provenance);
    let outcome = outcome_of(&job, &id.device_id, answer.ended.word(), how)
        .set(outcome::Column::DurationMs, took)
        .given(outcome::Column::ErrorCode, answer.error_code.as_deref())
        .given(
            outcome::Column::ErrorMessage,
            answer.error_message.as_deref(),
        )
        .set(outcome::Column::RetryCount, on.failures);
    events.push(outcome.finish()?);
    Ok(events)
}

/// Records steps of a command as its job and the answers of its device were when they were decided on; false
/// when these have changed, or somebody else has recorded such a step.
async fn record(
    ingest: &Ingest,
    id: &CommandId,
    mut events: Vec<NewEvent>,
    on: &OnDevice,
) -> Result<bool, CommandError> {
    let expect = vec![
        Expect::reading(entity_of(&id.job_id), on.version),
        Expect::reading(answers_of(&id.device_id), on.answers),
    ];
    for _ in 0..DECISIONS_MAX {
        let Some(conflicts) = append(ingest, events, expect.clone()).await? else {
            return Ok(false);
        };
        if conflicts.is_empty() {
            return Ok(true);
        }
        // their ids are taken: by steps of the same command, or by something that is none
        let is_step = |event: &NewEvent| event.fact.kind == Kind::CommandTransition;
        let steps = conflicts.iter().filter(|event| is_step(event)).count();
        events = unrecorded(ingest.store(), &id.job_id, conflicts).await?;
        if events.iter().filter(|event| is_step(event)).count() < steps {
            return Ok(false);
        }
        if events.is_empty() {
            return Ok(true);
        }
    }
    Err(CommandError::Contended)
}
