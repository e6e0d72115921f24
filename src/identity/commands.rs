//! Access keys are made and revoked.

use thiserror::Error;
use uuid::Uuid;

use super::{Deed, Grant, GrantError, Keys, Secret};
use crate::event::{Cell, Instant, NewEvent, Position};
use crate::history::{fleet, keys::key};
use crate::ingest::Ingest;
use crate::kinds::{Kind, Refusal};
use crate::projections::keys::entity_of;
use crate::projections::registry::entity_of as device_entity;
use crate::store::{AppendError, EntityType, Expect, Outcome, Store, StoreError};

/// How often a decision is made anew when somebody else has decided meanwhile.
const DECISIONS_MAX: usize = 8;

/// Why a key was not made or revoked.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// A site or device that it names is not registered.
    #[error("{id} is not registered")]
    NotRegistered {
        /// The field that names it.
        field: &'static str,
        /// Its id.
        id: String,
    },
    /// The idempotency key was used before for another key.
    #[error("the idempotency key was used before for another access key")]
    OtherRepeat,
    /// There is no such key.
    #[error("there is no such access key")]
    Unknown,
    /// The device is retired, and is given no key.
    #[error("the device is retired and is given no access key")]
    Retired,
    /// It was revoked or has expired.
    #[error("the access key was revoked or has expired; make another")]
    Ended,
    /// It is a token by which devices enrol.
    #[error("it is an enrolment token, which is not replaced; make another")]
    Token,
    /// So long nothing overlaps.
    #[error("overlapSeconds is not between 0 and {}", super::OVERLAP_SECONDS_MAX)]
    Overlap,
    /// Others changed it each time that it was read.
    #[error("the access key was changed by others at the same time; try again")]
    Contended,
    /// The key has changed meanwhile.
    #[error("the access key has changed: its version is {version}")]
    Stale {
        /// Its version.
        version: i64,
    },
    /// The log cannot be read.
    #[error("cannot read the access keys")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the access key")]
    Append(#[from] AppendError),
}

/// A key that was made, with the key itself unless it had been made before.
#[derive(Debug)]
pub struct Created {
    /// Its id.
    pub key_id: String,
    /// The key itself. It is told once.
    pub secret: Option<Secret>,
}

/// Makes a key. A repeat with the same id of its event makes no second one.
///
/// # Errors
/// When it cannot be granted or recorded.
pub async fn create(
    ingest: &Ingest,
    mut grant: Grant,
    (deed, event_id): (Made<'_>, Option<Uuid>),
) -> Result<Created, KeyError> {
    let now = ingest.clock().now();
    grant.check(now)?;
    for _ in 0..DECISIONS_MAX {
        let holder = are_registered(ingest.store(), &grant).await?;
        let New {
            secret,
            key_id,
            mut entry,
        } = New::key(&mut grant, deed, now)?;
        entry.fact.event_id = event_id;
        let appended = match ingest.command(vec![entry], holder).await {
            // the device was registered anew, and may be retired
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        let secret = Some(secret);
        return match appended.outcomes.into_iter().next() {
            Some(Outcome::Recorded(position)) => {
                deed.known(position).await;
                Ok(Created { key_id, secret })
            }
            // the same command makes another key each time, so that a repeat is never the same event
            Some(Outcome::Conflict(first) | Outcome::Duplicate(first)) => {
                let key_id = repeated(ingest.store(), first, &grant).await?;
                Ok(Created {
                    key_id,
                    secret: None,
                })
            }
            Some(Outcome::Rejected(_)) | None => Err(KeyError::Store(StoreError::Closed)),
        };
    }
    Err(KeyError::Contended)
}

/// A key that is about to be made.
pub(crate) struct New {
    /// The key itself.
    pub(crate) secret: Secret,
    /// Its id.
    pub(crate) key_id: String,
    /// The entry that makes it.
    pub(crate) entry: NewEvent,
}

impl New {
    /// A key with a grant, which gets its prefix.
    ///
    /// # Errors
    /// When the ids of all its sites are longer than an entry.
    pub(crate) fn key(grant: &mut Grant, deed: Made<'_>, now: Instant) -> Result<Self, GrantError> {
        let secret = Secret::random();
        secret.prefix().clone_into(&mut grant.prefix);
        let key_id = secret.id();
        let entry = Deed::new("KEY_CREATED", deed.actor, now)
            .by(deed.operation)
            .to(&key_id)
            .from(deed.network)
            .of_key(&key_id, serde_json::to_value(&*grant).unwrap_or_default())
            .entry();
        Ok(Self {
            entry: entry.map_err(|_| GrantError::TooManySites)?,
            secret,
            key_id,
        })
    }
}

/// By whom and how a key is made or revoked.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// Who does it.
    pub actor: &'a str,
    /// By which mutation or command.
    pub operation: &'a str,
    /// From where.
    pub network: Option<&'a str>,
    /// Whose keys are to know it at once.
    pub keys: Option<&'a Keys>,
}

impl Made<'_> {
    /// Waits until the server whose keys are named knows what the log says up to a position.
    pub(crate) async fn known(&self, position: Position) {
        if let Some(keys) = self.keys {
            keys.know(position).await;
        }
    }
}

/// Looks whether what a grant names is registered, and its device not retired: the device is to be what it
/// was found to be when the key is made.
pub(super) async fn are_registered(
    store: &Store,
    grant: &Grant,
) -> Result<Option<Expect>, KeyError> {
    let sites = grant
        .site_ids
        .iter()
        .map(|id| (EntityType::Site, "siteIds", id));
    let device = grant.device_id.iter();
    let device = device.map(|id| (EntityType::Device, "deviceId", id));
    for (ty, field, id) in sites.chain(device) {
        if store.key(ty, id).await?.is_none() {
            let id = id.clone();
            return Err(KeyError::NotRegistered { field, id });
        }
    }
    let Some(id) = grant.device_id.as_deref() else {
        return Ok(None);
    };
    // the version first: what is read after it is at least as new
    let entity = device_entity(Kind::DeviceRegistration, id);
    let version = store.version(&entity).await?;
    let key = store.key(EntityType::Device, id).await?;
    let keys: Vec<i64> = key.into_iter().collect();
    let rows = fleet::devices_by_key(store, &keys, &Store::own_allowance()).await?;
    if rows.values().any(|row| row.is_retired()) {
        return Err(KeyError::Retired);
    }
    Ok(Some(Expect::changing(entity, version)))
}

/// The id of the key that was made first, if it gives the same.
async fn repeated(store: &Store, first: Position, asked: &Grant) -> Result<String, KeyError> {
    use entity::audit_log::Column as Audit;
    let made = store.event(first).await?.ok_or(KeyError::OtherRepeat)?;
    let text = |column| made.fact.cell(column).text();
    let grant = Grant::of_cell(made.fact.cell(Audit::KeyGrant));
    let is_same = grant.is_some_and(|grant| {
        let prefix = grant.prefix.clone();
        grant
            == Grant {
                prefix,
                ..asked.clone()
            }
    });
    let key_id = text(Audit::KeyId).filter(|_| is_same);
    key_id.map(str::to_owned).ok_or(KeyError::OtherRepeat)
}

/// The entry that a key holds no more from an instant on.
///
/// # Errors
/// When the id is none of a key.
pub fn revocation(
    deed: Made<'_>,
    key_id: &str,
    (reason, at): (Option<&str>, Instant),
) -> Result<NewEvent, Refusal> {
    Deed::new("KEY_REVOKED", deed.actor, at)
        .by(deed.operation)
        .to(key_id)
        .from(deed.network)
        .because(reason)
        .of_key(key_id, Cell::Null)
        .entry()
}

/// Revokes a key, if it is of a version. Revoking it again changes nothing.
///
/// # Errors
/// When there is no such key, it has another version, or it cannot be recorded.
pub async fn revoke(
    ingest: &Ingest,
    (key_id, version): (&str, Option<i64>),
    (deed, reason): (Made<'_>, Option<&str>),
) -> Result<(), KeyError> {
    let store = ingest.store();
    if key_id.contains('\0') {
        // no id has it, and PostgreSQL takes no such text
        return Err(KeyError::Unknown);
    }
    for _ in 0..DECISIONS_MAX {
        // the version first: what is read after it is at least as new
        let found = store.version(&entity_of(key_id)).await?;
        let row = key(store, key_id).await?.ok_or(KeyError::Unknown)?;
        if version.is_some_and(|version| version != row.position) {
            let version = row.position;
            return Err(KeyError::Stale { version });
        }
        let now = ingest.clock().now();
        if row.revoked_at.is_some_and(|at| at <= now.0) {
            return Ok(());
        }
        let entry = revocation(deed, key_id, (reason, now));
        let entry = entry.map_err(|_| KeyError::Unknown)?;
        let expect = Expect::changing(entity_of(key_id), found);
        let appended = match ingest.command(vec![entry], Some(expect)).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        if let Some(Outcome::Recorded(position)) = appended.outcomes.into_iter().next() {
            deed.known(position).await;
        }
        return Ok(());
    }
    Err(KeyError::Contended)
}
