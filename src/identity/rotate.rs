//! An access key is replaced by another that gives the same. The old one holds on for a while, so that
//! whoever has it can take over the new one without being locked out.

use uuid::Uuid;

use super::commands::{New, are_registered};
use super::{Created, Grant, KeyError, Made, More, Role, revocation};
use crate::event::Instant;
use crate::history::keys::key;
use crate::ingest::Ingest;
use crate::projections::keys::entity_of;
use crate::store::{AppendError, Expect, Outcome, Store, StoreError};

/// Seconds at most for which both keys hold: a week.
pub const OVERLAP_SECONDS_MAX: i64 = 7 * 24 * 3_600;
/// How often a decision is made anew when somebody else has decided meanwhile.
const DECISIONS_MAX: usize = 8;

/// Which key is replaced, and for how long both hold.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// Id of the old one.
    pub key_id: &'a str,
    /// Seconds for which it holds on.
    pub overlap_seconds: i64,
    /// Position of the event that changed it last, as the caller has read it.
    pub expected: Option<i64>,
    /// Id of the event that makes the new one, under which a repeat is known.
    pub event_id: Option<Uuid>,
}

/// Replaces a key: makes another with the same grant, and ends the old one when the overlap is over, in one
/// commit. A repeat with the same id makes no other, and does not show the first again.
///
/// # Errors
/// When there is no such key or it has ended, or it cannot be recorded.
pub async fn rotate(
    ingest: &Ingest,
    of: Rotation<'_>,
    deed: Made<'_>,
) -> Result<Created, KeyError> {
    let store = ingest.store();
    if !(0..=OVERLAP_SECONDS_MAX).contains(&of.overlap_seconds) {
        return Err(KeyError::Overlap);
    }
    if of.key_id.contains('\0') {
        // no id has it, and PostgreSQL takes no such text
        return Err(KeyError::Unknown);
    }
    for _ in 0..DECISIONS_MAX {
        if let Some(key_id) = repeated(store, of).await? {
            let secret = None;
            return Ok(Created { key_id, secret });
        }
        // the version first: what is read after it is at least as new
        let expect = Expect::changing(
            entity_of(of.key_id),
            store.version(&entity_of(of.key_id)).await?,
        );
        let now = ingest.clock().now();
        let mut grant = held(store, of, now).await?;
        let holder = are_registered(store, &grant).await?;
        let New {
            secret,
            key_id,
            mut entry,
        } = New::key(&mut grant, deed, now)?;
        entry.fact.event_id = of.event_id;
        let ends_at = now.plus_ms(of.overlap_seconds * 1_000);
        let why = format!("replaced by {key_id}");
        let end = revocation(deed, of.key_id, (Some(&why), ends_at));
        let end = end.map_err(|_| KeyError::Unknown)?;
        let expected = holder.into_iter().chain([expect]);
        let appended = match ingest.command(vec![entry, end], expected).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        let Some(Outcome::Recorded(position)) = appended.outcomes.into_iter().next_back() else {
            return Err(KeyError::Store(StoreError::Closed));
        };
        deed.known(position).await;
        let secret = Some(secret);
        return Ok(Created { key_id, secret });
    }
    Err(KeyError::Contended)
}

/// What the new key gives, if the old one holds.
async fn held(store: &Store, of: Rotation<'_>, now: Instant) -> Result<Grant, KeyError> {
    let row = key(store, of.key_id).await?.ok_or(KeyError::Unknown)?;
    if of.expected.is_some_and(|version| version != row.position) {
        let version = row.position;
        return Err(KeyError::Stale { version });
    }
    let grant = row.key_grant.as_deref().unwrap_or_default();
    let grant: Grant = serde_json::from_str(grant).map_err(|_| KeyError::Unknown)?;
    if grant.role == Role::Enrol {
        return Err(KeyError::Token);
    }
    let is_revoked = row.revoked_at.is_some_and(|at| at <= now.0);
    if is_revoked || grant.expires_at.is_some_and(|end| end <= now) {
        return Err(KeyError::Ended);
    }
    Ok(Grant {
        more: More {
            rotated_from: Some(of.key_id.to_owned()),
            ..grant.more
        },
        ..grant
    })
}

/// The id of the key that was made by the same command before.
async fn repeated(store: &Store, of: Rotation<'_>) -> Result<Option<String>, KeyError> {
    use entity::audit_log::Column as Audit;
    let Some(event_id) = of.event_id else {
        return Ok(None);
    };
    let Some(first) = store.positions(&[event_id]).await?.get(&event_id).copied() else {
        return Ok(None);
    };
    let made = store.event(first).await?.ok_or(KeyError::OtherRepeat)?;
    let grant = Grant::of_cell(made.fact.cell(Audit::KeyGrant));
    let from = grant.and_then(|grant| grant.more.rotated_from);
    let key_id = made.fact.cell(Audit::KeyId).text();
    let key_id = key_id.filter(|_| from.as_deref() == Some(of.key_id));
    key_id
        .map(|id| Some(id.to_owned()))
        .ok_or(KeyError::OtherRepeat)
}
