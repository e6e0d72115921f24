//! The events of a job, and the ids under which they are recorded.
//!
//! The ids are fixed, so that what is tried again or decided on two nodes is recorded once. Somebody
//! may have recorded something else under one of them: the event then gets an id that follows from
//! the position of that, and the job goes on.

use entity::{job_outcomes as outcome, job_transitions as transition};
use uuid::Uuid;

use super::JobError;
use crate::event::{Cell, Fact, Instant, NewEvent, Provenance};
use crate::history::jobs::JobRow;
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{AppendError, Expect, Outcome, Store};

/// Namespace of the ids of a job's events.
const STEPS: Uuid = Uuid::from_u128(0x2f0d_61de_51c1_4e0e_9ac2_70c8_6f0c_88aa);
/// How many ids at most are tried for an event.
const IDS_MAX: usize = 8;

pub(super) fn step_id(job_id: &str, step: &str, device_id: &str) -> Uuid {
    Uuid::new_v5(&STEPS, format!("{job_id}/{step}/{device_id}").as_bytes())
}

/// Records events of a job that are not recorded yet, on what is expected: if that has changed,
/// nothing, and who asked reads the job anew.
///
/// # Errors
/// When an event is refused, none of its ids is free, or the log fails.
pub(super) async fn record(
    ingest: &Ingest,
    job_id: &str,
    mut events: Vec<NewEvent>,
    mut expect: Option<Expect>,
) -> Result<(), JobError> {
    for _ in 0..IDS_MAX {
        events = unrecorded(ingest.store(), job_id, events).await?;
        if events.is_empty() {
            return Ok(());
        }
        let appended = match ingest.command(events.clone(), expect.take()).await {
            Err(AppendError::Stale { .. }) => return Ok(()),
            appended => appended?,
        };
        let mut conflicts = Vec::new();
        for (event, outcome) in events.into_iter().zip(appended.outcomes) {
            match outcome {
                Outcome::Rejected(refusal) => return Err(refusal.into()),
                // somebody was faster; a job is not moved before it is read anew
                Outcome::Conflict(_) if event.fact.kind == Kind::JobOutcome => {
                    conflicts.push(event);
                }
                Outcome::Conflict(_) | Outcome::Recorded(_) | Outcome::Duplicate(_) => {}
            }
        }
        events = conflicts;
    }
    Err(JobError::Taken)
}

/// The events of a job that are not recorded yet, each under an id that no other event has.
async fn unrecorded(
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

/// Whether an event is the step of the job that another is, whatever else the two say of it.
fn is_same_step(stored: &Fact, event: &Fact) -> bool {
    let same = |column: outcome::Column| stored.cell(column).text() == event.cell(column).text();
    let moved = |column: transition::Column| stored.cell(column) == event.cell(column);
    stored.kind == event.kind
        && if event.kind == Kind::JobOutcome {
            same(outcome::Column::JobId)
                && same(outcome::Column::Scope)
                && same(outcome::Column::DeviceKey)
        } else {
            moved(transition::Column::JobId) && moved(transition::Column::State)
        }
}

pub(super) fn of_job(draft: Draft, job: &JobRow) -> Draft {
    draft
        .set(outcome::Column::JobId, job.job_id.as_str())
        .set(outcome::Column::JobType, job.job_type.as_str())
        .set(outcome::Column::InitiatedBy, job.created_by.as_deref())
}

/// A duration as an outcome says it: one that is longer than it can say is absent, not cut.
pub(super) fn duration(ms: i64) -> Cell {
    let within = (0..=i64::from(i32::MAX)).contains(&ms);
    within.then_some(ms).into()
}

pub(super) fn moved(
    job: &JobRow,
    state: &str,
    (by, reason): (&str, Option<&str>),
    at: Instant,
) -> Result<NewEvent, Refusal> {
    Draft::new(Kind::JobTransition, at, Provenance::Real)
        .event_id(step_id(&job.job_id, state, ""))
        .set(transition::Column::JobId, job.job_id.as_str())
        .set(transition::Column::JobType, job.job_type.as_str())
        .set(transition::Column::State, state)
        .set(transition::Column::ChangedBy, by)
        .given(transition::Column::Reason, reason)
        .finish()
}
