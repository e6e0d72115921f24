//! A device enrols by a token: it is registered at the token's site and is given its own access key, in one
//! commit with the use of the token, so that no use is spent twice or for nothing, on any node.
//!
//! A repeat of a request that got no answer, with the same token and key, registers nothing and spends no
//! use. A key is never shown again, so it makes another and ends those that the device was given by the
//! token before.

use serde_json::json;
use thiserror::Error;
use uuid::Uuid;

use super::{Asked, Given, RegistryError, Thing, event, first_of, held};
use crate::event::{Instant, NewEvent, Position, own_id};
use crate::history::keys;
use crate::identity::{self, Enrols, Grant, GrantError, Keys, Made, More, New, Role, Secret};
use crate::ingest::Ingest;
use crate::kinds::{Code, Refusal};
use crate::projections::keys::entity_of as key_entity;
use crate::store::{AppendError, EntityType, Expect, Outcome, Store, StoreError};

/// How often it is decided anew when others have enrolled meanwhile: many devices are switched on at once.
const DECISIONS_MAX: usize = 64;
/// Characters at most of the name of a key.
const NAME_CHARACTERS_MAX: usize = 100;
/// Namespace of the ids of devices and commands that follow from the keys of requests.
const COMMANDS: Uuid = Uuid::from_u128(0x5b0e_7d0c_3f4e_4a8e_9a63_0e1c_27d1_66b4);

/// Why a device did not enrol.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// Nobody is known by the token, or not any more.
    #[error("the enrolment token does not hold: it is unknown, revoked or expired")]
    Token,
    /// As many devices have enrolled by it as may.
    #[error("the enrolment token has been used {uses} times, which is as often as it may")]
    UsedUp {
        /// How often.
        uses: u32,
    },
    /// The key that the device got by the same request was revoked.
    #[error(
        "the access key that the device got by this request was revoked; create another token, or a key for \
         it"
    )]
    Revoked,
    /// The device cannot be registered.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<StoreError> for EnrolError {
    fn from(error: StoreError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<AppendError> for EnrolError {
    fn from(error: AppendError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<GrantError> for EnrolError {
    fn from(error: GrantError) -> Self {
        let refusal = Refusal::of("name", Code::Invalid, error.to_string());
        Self::Registry(RegistryError::Refused(refusal))
    }
}

/// A device that enrols.
#[derive(Clone, Debug, Default)]
pub struct Enrolling {
    /// Id that its operator gives it; one is made up when there is none.
    pub device_id: Option<String>,
    /// What else is given of it.
    pub given: Given,
    /// Key under which a repeat is known.
    pub key: Option<String>,
}

/// A device that has enrolled, with its key.
#[derive(Debug)]
pub struct Enrolled {
    /// The device.
    pub device_id: String,
    /// The site at which it stands.
    pub site_id: String,
    /// Id of its access key.
    pub key_id: String,
    /// The key itself. It is told once.
    pub secret: Secret,
}

/// Name under which the uses of a token are counted.
pub(crate) fn uses_of(token_id: &str) -> String {
    format!("enrolment/{token_id}")
}

/// A token that holds.
struct Token {
    id: String,
    grant: Grant,
    enrols: Enrols,
    /// How often it was used.
    used: i64,
    /// How often it was changed.
    version: i64,
}

impl Token {
    /// Reads a token from the log.
    async fn read(store: &Store, id: String, now: Instant) -> Result<Option<Self>, StoreError> {
        // the versions first: what is read after them is at least as new
        let names = vec![key_entity(&id), uses_of(&id)];
        let versions = store.versions(names).await?;
        let version = |entity: String| versions.get(&entity).copied().unwrap_or(0);
        let Some(row) = keys::key(store, &id).await? else {
            return Ok(None);
        };
        let grant = row.key_grant.as_deref().unwrap_or_default();
        let grant = serde_json::from_str::<Grant>(grant).ok();
        let grant = grant.filter(|grant| {
            let has_expired = grant.expires_at.is_some_and(|end| end <= now);
            grant.role == Role::Enrol && row.revoked_at.is_none() && !has_expired
        });
        let read = |grant: Grant| {
            Some(Self {
                enrols: grant.more.enrols.clone()?,
                grant,
                used: version(uses_of(&id)),
                version: version(key_entity(&id)),
                id,
            })
        };
        Ok(grant.and_then(read))
    }

    fn site(&self) -> &str {
        self.grant.site_ids.first().map_or("", String::as_str)
    }

    /// As whom it is told of in the audit.
    fn actor(&self) -> String {
        format!("{} ({}…)", self.grant.name, self.grant.prefix)
    }

    fn command(&self, key: &str) -> Uuid {
        own_id(&COMMANDS, format!("{}/{key}", self.id).as_bytes())
    }

    fn unchanged(&self) -> Expect {
        Expect::changing(key_entity(&self.id), self.version)
    }

    /// The fields of a device that may enrol by it.
    fn fields(&self, of: &Enrolling) -> Given {
        let mut fields = of.given.clone();
        if let Some(device_type) = &self.enrols.device_type {
            fields.insert("deviceType".to_owned(), json!(device_type));
        }
        let ty = fields.entry("deviceType").or_insert(json!("UNKNOWN"));
        if ty.is_null() {
            *ty = json!("UNKNOWN");
        }
        fields.insert("siteId".to_owned(), json!(self.site()));
        fields
    }
}

/// Has a device enrol by a token. `network` is from where it asks.
///
/// # Errors
/// When the token does not hold or is used up, the device is registered already, a value is out of bounds,
/// or it cannot be recorded.
pub async fn enrol(
    ingest: &Ingest,
    (keys, token): (&Keys, &Secret),
    (of, network): (Enrolling, Option<&str>),
) -> Result<Enrolled, EnrolError> {
    let store = ingest.store();
    // whoever guesses costs a look into a map
    if !keys.enrols(token, ingest.clock().now()) {
        return Err(EnrolError::Token);
    }
    for _ in 0..DECISIONS_MAX {
        let now = ingest.clock().now();
        let read = Token::read(store, token.id(), now).await?;
        let token = read.ok_or(EnrolError::Token)?;
        let command = of.key.as_deref().map(|key| token.command(key));
        let actor = token.actor();
        let made = Made {
            actor: &actor,
            operation: "enrolDevice",
            network,
            keys: Some(keys),
        };
        let first = first_of(store, command).await?;
        let planned = match first {
            Some(first) => again(store, (&token, first), (&of, made, now)).await?,
            None => anew(store, (&token, command), (&of, made, now)).await?,
        };
        let Planned {
            events,
            expected,
            enrolled,
        } = planned;
        let appended = match ingest.command(events, expected).await {
            Err(AppendError::Stale { .. }) => continue,
            appended => appended?,
        };
        for outcome in appended.outcomes {
            match outcome {
                Outcome::Recorded(position) => made.known(position).await,
                Outcome::Rejected(refusal) => return Err(RegistryError::Refused(refusal).into()),
                Outcome::Conflict(_) => return Err(RegistryError::OtherRepeat.into()),
                Outcome::Duplicate(_) => {}
            }
        }
        return Ok(enrolled);
    }
    Err(RegistryError::Contended.into())
}

/// What is to be recorded, and on what.
struct Planned {
    events: Vec<NewEvent>,
    expected: Vec<Expect>,
    enrolled: Enrolled,
}

/// A device that was not there: it is registered, and a use is spent.
async fn anew(
    store: &Store,
    (token, command): (&Token, Option<Uuid>),
    (of, made, now): (&Enrolling, Made<'_>, Instant),
) -> Result<Planned, EnrolError> {
    let uses = token.enrols.uses;
    if token.used >= i64::from(uses) {
        return Err(EnrolError::UsedUp { uses });
    }
    let made_up = || format!("device-{}", command.unwrap_or_else(Uuid::now_v7).simple());
    let device_id = of.device_id.clone().unwrap_or_else(made_up);
    let thing = Thing::device(&device_id);
    let version = store.version(&thing.entity()).await?;
    if store.key(EntityType::Device, &device_id).await?.is_some() {
        let (field, id) = ("deviceId", device_id);
        return Err(RegistryError::Registered { field, id }.into());
    }
    let asked = Asked {
        event_id: command,
        expected: None,
    };
    let registration = event(thing, token.fields(of), (None, now), asked)?;
    let mut grant = grant_of(&device_id, token);
    let New {
        secret,
        key_id,
        entry,
    } = New::key(&mut grant, made, now)?;
    let of_device = Expect::changing(thing.entity(), version);
    let of_uses = Expect::changing(uses_of(&token.id), token.used);
    Ok(Planned {
        events: vec![registration, entry],
        expected: vec![token.unchanged(), of_uses, of_device],
        enrolled: Enrolled {
            device_id,
            site_id: token.site().to_owned(),
            key_id,
            secret,
        },
    })
}

/// A device that enrolled by the same request: it gets another key in the place of those before.
async fn again(
    store: &Store,
    (token, first): (&Token, Position),
    (of, made, now): (&Enrolling, Made<'_>, Instant),
) -> Result<Planned, EnrolError> {
    use entity::device_registrations::Column;
    let registered = store.event(first).await?;
    let device_id = registered.and_then(|event| {
        let id = event.fact.cell(Column::DeviceKey).text();
        id.map(str::to_owned)
    });
    let device_id = device_id.ok_or(RegistryError::OtherRepeat)?;
    if of.device_id.as_ref().is_some_and(|id| *id != device_id) {
        return Err(RegistryError::OtherRepeat.into());
    }
    let thing = Thing::device(&device_id);
    let version = store.version(&thing.entity()).await?;
    let device = held(store, thing).await?.ok_or_else(|| thing.unknown())?;
    if device.fields.get("lifecycle") == Some(&json!("RETIRED")) {
        return Err(RegistryError::Retired.into());
    }
    let before: Vec<String> = keys::of_device(store, &device_id, now)
        .await?
        .into_iter()
        .filter(|row| is_by(row, &token.id))
        .map(|row| row.key_id)
        .collect();
    if before.is_empty() {
        return Err(EnrolError::Revoked);
    }
    let mut grant = grant_of(&device_id, token);
    let New {
        secret,
        key_id,
        entry,
    } = New::key(&mut grant, made, now)?;
    let mut events = vec![entry];
    let why = Some("the device enrolled again by the same request");
    for key_id in &before {
        let end = identity::revocation(made, key_id, (why, now));
        events.push(end.map_err(RegistryError::Refused)?);
    }
    let of_device = Expect::changing(thing.entity(), version);
    let site = device.fields.get("siteId").and_then(|site| site.as_str());
    Ok(Planned {
        events,
        expected: vec![token.unchanged(), of_device],
        enrolled: Enrolled {
            site_id: site.unwrap_or_default().to_owned(),
            device_id,
            key_id,
            secret,
        },
    })
}

fn is_by(row: &keys::KeyRow, token_id: &str) -> bool {
    let grant = row.key_grant.as_deref().unwrap_or_default();
    let grant = serde_json::from_str::<Grant>(grant).ok();
    grant.and_then(|grant| grant.more.enrolled_by).as_deref() == Some(token_id)
}

/// What the key of a device gives that enrols by a token.
fn grant_of(device_id: &str, token: &Token) -> Grant {
    let name = device_id.chars().filter(|letter| !letter.is_control());
    Grant {
        name: name.take(NAME_CHARACTERS_MAX).collect(),
        prefix: String::new(),
        role: Role::Device,
        site_ids: Vec::new(),
        device_id: Some(device_id.to_owned()),
        expires_at: None,
        more: More {
            enrolled_by: Some(token.id.clone()),
            ..More::default()
        },
    }
}
