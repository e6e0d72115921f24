//! What people do with alerts: they take one up, have it silent for a time, or close it.

use super::record::{Step, moved, silenced_seconds};
use super::{AlertError, DECISIONS_MAX};
use crate::event::Instant;
use crate::history::alerts::{self, AlertRow};
use crate::ingest::Ingest;
use crate::kinds::alert_transition::SILENCED_SECONDS_MAX;
use crate::kinds::{Code, Refusal};
use crate::projections::alerts::cause_entity;
use crate::store::{AppendError, Expect, Outcome};

/// Who moves which alert, on what version, and why.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// The alert.
    pub alert_id: &'a str,
    /// Its version as the caller has read it.
    pub expected: Option<i64>,
    /// Who moves it.
    pub by: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
}

/// Takes an alert up. Taking it up again changes nothing.
///
/// # Errors
/// When there is none, it is over, it has moved, or that cannot be recorded.
pub async fn acknowledge(ingest: &Ingest, of: Move<'_>) -> Result<(), AlertError> {
    to(ingest, of, ("ACKNOWLEDGED", None)).await
}

/// Closes an alert, also while what it is for lasts: it is not opened again for that. Closing it again
/// changes nothing.
///
/// # Errors
/// When there is none, it has moved, or that cannot be recorded.
pub async fn resolve(ingest: &Ingest, of: Move<'_>) -> Result<(), AlertError> {
    to(ingest, of, ("RESOLVED", None)).await
}

/// Has nobody told of an alert until an instant, nor of further ones of the same rule and cause.
///
/// # Errors
/// When there is none, it is over, it has moved, the instant is past or too far off, or that cannot be
/// recorded.
pub async fn silence(ingest: &Ingest, of: Move<'_>, until: Instant) -> Result<(), AlertError> {
    let now = ingest.clock().now();
    if until <= now || until > now.plus_ms(SILENCED_SECONDS_MAX * 1_000) {
        let message = "until is not in the future, or more than 31 days off";
        return Err(Refusal::of("until", Code::OutOfRange, message).into());
    }
    to(ingest, of, ("SILENCED", Some(until))).await
}

async fn to(
    ingest: &Ingest,
    of: Move<'_>,
    (state, silenced_until): (&str, Option<Instant>),
) -> Result<(), AlertError> {
    let store = ingest.store();
    for _ in 0..DECISIONS_MAX {
        let unknown = || AlertError::Unknown("alert");
        let row = alerts::alert(store, of.alert_id).await?;
        let row: AlertRow = row.ok_or_else(unknown)?;
        let entity = cause_entity(&row.rule_id, &row.cause);
        let version = store.version(&entity).await?;
        // read behind the version, so that a step after it is noticed
        let row = alerts::alert(store, of.alert_id).await?;
        let row = row.ok_or_else(unknown)?;
        if row.state == state && silenced_until.is_none() {
            return Ok(());
        }
        if of.expected.is_some_and(|expected| expected != row.position) {
            let version = row.position;
            return Err(AlertError::Stale { version });
        }
        if row.state == "RESOLVED" {
            return Err(AlertError::Over);
        }
        let now = ingest.clock().now();
        let seconds = silenced_until.map(|until| silenced_seconds(now, until));
        // whole seconds are recorded: so many before the instant, so that it is the very one that was given
        let begins = silenced_until.zip(seconds);
        let at = begins.map_or(now, |(until, seconds)| until.plus_ms(-1_000 * seconds));
        let step = Step {
            state,
            at: at.max(Instant(row.started_at)),
            by: of.by,
            reason: of.reason,
            silenced_seconds: seconds,
        };
        let event = moved(store, &row, &step).await?;
        let expect = Expect::changing(entity, version);
        let appended = match ingest.command(vec![event], Some(expect)).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        return match appended.outcomes.into_iter().next() {
            Some(Outcome::Rejected(refusal)) => Err(refusal.into()),
            // somebody has done so at the same instant
            Some(Outcome::Recorded(_) | Outcome::Duplicate(_) | Outcome::Conflict(_)) | None => {
                Ok(())
            }
        };
    }
    Err(AlertError::Contended)
}
