//! The events of a job, and the ids under which they are recorded.
//!
//! The ids are fixed, so that what is tried again or decided on two nodes is recorded once. Somebody
//! may have recorded something else under one of them: the event then gets an id that follows from
//! the position of that, and the job goes on.

use entity::{
    command_transitions as command, job_outcomes as outcome, job_transitions as transition,
};
use uuid::Uuid;

use super::machine::JobState;
use super::{CommandId, JobError};
use crate::event::{Cell, Fact, Instant, NewEvent, Provenance, own_id};
use crate::history::jobs::JobRow;
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{AppendError, Expect, Outcome, Store};

/// Namespace of the ids of a job's events.
const STEPS: Uuid = Uuid::from_u128(0x2f0d_61de_51c1_4e0e_9ac2_70c8_6f0c_88aa);
/// How many ids at most are tried for an event.
const IDS_MAX: usize = 8;

pub(super) fn step_id(job_id: &str, step: &str, device_id: &str) -> Uuid {
    own_id(&STEPS, format!("{job_id}/{step}/{device_id}").as_bytes())
}

/// Records events of a job that are not recorded yet, on what is expected: if that has changed,
/// nothing, and false is told, so that who asked reads the job anew.
///
/// # Errors
/// When an event is refused, none of its ids is free, or the log fails.
pub(super) async fn record(
    ingest: &Ingest,
    job_id: &str,
    mut events: Vec<NewEvent>,
    expect: Vec<Expect>,
) -> Result<bool, JobError> {
    for _ in 0..IDS_MAX {
        events = unrecorded(ingest.store(), job_id, events).await?;
        if events.is_empty() {
            return Ok(true);
        }
        match append(ingest, events, expect.clone()).await? {
            Some(left) => events = left,
            None => return Ok(false),
        }
    }
    Err(JobError::Taken)
}

/// Appends events on what is expected, and answers with those whose ids are taken; `None` when what is
/// expected has changed, and nothing is appended.
///
/// # Errors
/// When an event is refused, or the log fails.
pub(super) async fn append(
    ingest: &Ingest,
    events: Vec<NewEvent>,
    expect: Vec<Expect>,
) -> Result<Option<Vec<NewEvent>>, JobError> {
    let appended = match ingest.command(events.clone(), expect).await {
        Err(AppendError::Stale { .. }) => return Ok(None),
        appended => appended?,
    };
    let mut taken = Vec::new();
    for (event, outcome) in events.into_iter().zip(appended.outcomes) {
        match outcome {
            Outcome::Rejected(refusal) => return Err(refusal.into()),
            Outcome::Conflict(_) => taken.push(event),
            Outcome::Recorded(_) | Outcome::Duplicate(_) => {}
        }
    }
    Ok(Some(taken))
}

/// The events of a job that are not recorded yet, each under an id that no other event has.
pub(super) async fn unrecorded(
    store: &Store,
    job_id: &str,
    mut events: Vec<NewEvent>,
) -> Result<Vec<NewEvent>, JobError> {
    for _ in 0..IDS_MAX {
        let ids: Vec<Uuid> = events.iter().filter_map(|e| e.fact.event_id).collect();
        let taken = store.positions(&ids).await?;
        if taken.is_empty() {
            return Ok(events);
        }
        let mut left = Vec::with_capacity(events.len());
        for mut event in events {
            if let Some(position) = event.fact.event_id.and_then(|id| taken.get(&id)) {
                let stored = store.event(*position).await?;
                if stored.is_some_and(|stored| is_same_step(&stored.fact, &event.fact)) {
                    continue;
                }
                let beside = step_id(job_id, "BESIDE", &position.to_string());
                event.fact.event_id = Some(beside);
            }
            left.push(event);
        }
        events = left;
    }
    Err(JobError::Taken)
}

/// Whether an event is the step of the job that another is, whatever else the two say of it. A job and a
/// command end once, whatever they come to.
fn is_same_step(stored: &Fact, event: &Fact) -> bool {
    let same = |column: outcome::Column| stored.cell(column).text() == event.cell(column).text();
    let moved = |column: transition::Column| stored.cell(column) == event.cell(column);
    let told = |column: command::Column| stored.cell(column) == event.cell(column);
    let is_open = |fact: &Fact| {
        let state = fact.cell(command::Column::State).text();
        matches!(state, Some("ISSUED" | "ACKNOWLEDGED"))
    };
    stored.kind == event.kind
        && if event.kind == Kind::JobOutcome {
            same(outcome::Column::JobId)
                && same(outcome::Column::Scope)
                && same(outcome::Column::DeviceKey)
        } else if event.kind == Kind::CommandTransition {
            let both_end = !is_open(stored) && !is_open(event);
            told(command::Column::CommandId) && (both_end || told(command::Column::State))
        } else {
            let ends = |fact: &Fact| {
                let state = fact.cell(transition::Column::State).text();
                let state = state.and_then(JobState::of_word);
                state.is_some_and(|state| !state.is_open())
            };
            let both_end = ends(stored) && ends(event);
            moved(transition::Column::JobId) && (both_end || moved(transition::Column::State))
        }
}

/// The id under which a command ends: it ends once, whatever it comes to.
pub(super) fn end_id(id: &CommandId) -> Uuid {
    let step = format!("COMMAND_ENDED/{}", id.attempt);
    step_id(&id.job_id, &step, &id.device_id)
}

/// A step of a command to a device: which of its commands, and what it becomes.
pub(super) fn commanded(
    (job_id, job_type): (&str, &str),
    (device_id, attempt): (&str, u32),
    state: &str,
    (at, provenance): (Instant, Provenance),
) -> Draft {
    let id = CommandId::of(job_id, attempt, device_id);
    let event_id = match state {
        "ISSUED" | "ACKNOWLEDGED" => step_id(job_id, &format!("{state}/{attempt}"), device_id),
        _ => end_id(&id),
    };
    Draft::new(Kind::CommandTransition, at, provenance)
        .event_id(event_id)
        .set(command::Column::CommandId, id.to_string().as_str())
        .set(command::Column::JobId, job_id)
        .set(command::Column::JobType, job_type)
        .set(command::Column::DeviceKey, device_id)
        .set(command::Column::Attempt, i64::from(attempt))
        .set(command::Column::State, state)
}

/// The outcome of a job on a device.
pub(super) fn outcome_of(
    job: &OfJob<'_>,
    device_id: &str,
    status: &str,
    (at, provenance): (Instant, Provenance),
) -> Draft {
    let draft = Draft::new(Kind::JobOutcome, at, provenance)
        .event_id(step_id(job.job_id, "ENDED", device_id))
        .set(outcome::Column::Scope, "DEVICE")
        .set(outcome::Column::Status, status)
        .set(outcome::Column::DeviceKey, device_id);
    job.named(draft)
}

/// What outcomes say of their job.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfJob<'a> {
    pub(super) job_id: &'a str,
    pub(super) job_type: &'a str,
    pub(super) created_by: Option<&'a str>,
}

impl<'a> OfJob<'a> {
    pub(super) fn of(job: &'a JobRow) -> Self {
        Self {
            job_id: &job.job_id,
            job_type: &job.job_type,
            created_by: job.created_by.as_deref(),
        }
    }

    /// An outcome with what it says of the job.
    pub(super) fn named(&self, draft: Draft) -> Draft {
        draft
            .set(outcome::Column::JobId, self.job_id)
            .set(outcome::Column::JobType, self.job_type)
            .set(outcome::Column::InitiatedBy, self.created_by)
    }
}

/// A duration as an outcome says it: one that is longer than it can say is absent, not cut.
pub(super) fn duration(ms: i64) -> Cell {
    let within = (0..=i64::from(i32::MAX)).contains(&ms);
    within.then_some(ms).into()
}

/// A step of a job. One that is paused and resumed has the same steps again and again, so that their ids
/// are those of the steps that they follow.
pub(super) fn moved(
    job: &JobRow,
    state: JobState,
    (by, reason): (&str, Option<&str>),
    at: Instant,
) -> Result<NewEvent, Refusal> {
    let step = if state.is_open() {
        format!("{}/{}", state.word(), job.position)
    } else {
        // a job ends once
        "JOB_ENDED".to_owned()
    };
    Draft::new(Kind::JobTransition, at, Provenance::Real)
        .event_id(step_id(&job.job_id, &step, ""))
        .set(transition::Column::JobId, job.job_id.as_str())
        .set(transition::Column::JobType, job.job_type.as_str())
        .set(transition::Column::State, state.word())
        .set(transition::Column::ChangedBy, by)
        .given(transition::Column::Reason, reason)
        .finish()
}
