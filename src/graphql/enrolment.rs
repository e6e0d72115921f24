//! Devices enrol by tokens: the tokens are made, listed and revoked by those who run a site, and whoever has
//! one has a device enrol and is given its access key.

use async_graphql::{Context, Error, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::access_keys::made;
use super::command::{UserError, UserErrorCode, keyed_id, reaches_site, tell_refused};
use super::commands::DeviceType;
use super::error::{ErrorCode, error as error_of};
use super::order::InOrder;
use super::registry::of_registry;
use super::registry_inputs::{add, put};
use super::scalars::{DateTime, Long};
use super::spending::spend_events;
use super::words::{DeviceTypes, Word};
use super::{access, access_keys, api, loaders, of_failed};
use crate::event::Instant;
use crate::history::keys::{self, KeyRow};
use crate::identity::{self, Enrols, Grant, KeyError, More, Role, Secret, SignInError};
use crate::registry::{self, EnrolError, Enrolling, Given};

/// Tokens at most of a list.
const TOKENS_MAX: u64 = 1_000;
/// Events of an enrolment: the registration, and the key.
const EVENTS: i64 = 2;

/// A token by which devices enrol at a site; the token itself is kept nowhere and was shown when it was made.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct EnrolmentToken {
    /// Its id, for `revokeEnrolmentToken`.
    id: ID,
    /// Its beginning, by which its holder can tell which it is.
    prefix: String,
    /// Name for people.
    name: String,
    /// The site at which devices enrol by it.
    site_id: ID,
    /// How many devices may enrol by it.
    uses: i32,
    /// How many more may.
    uses_left: i32,
    /// What they are, if it is to be one thing.
    device_type: Option<Word<DeviceTypes>>,
    /// When it was made.
    created_at: DateTime,
    /// Who made it.
    created_by: String,
    /// From when on it holds no more; null when that is never.
    expires_at: Option<DateTime>,
    /// When it was revoked; null while it is not.
    revoked_at: Option<DateTime>,
    /// Position of the event that changed it last, for `expectedVersion`.
    version: Long,
}

impl EnrolmentToken {
    fn new(row: KeyRow, used: i64) -> Option<Self> {
        let grant: Grant = serde_json::from_str(row.key_grant.as_deref()?).ok()?;
        let enrols = grant.more.enrols?;
        let uses = i32::try_from(enrols.uses).unwrap_or(i32::MAX);
        let used = i32::try_from(used).unwrap_or(i32::MAX);
        Some(Self {
            id: ID(row.key_id),
            prefix: grant.prefix,
            name: grant.name,
            site_id: ID(grant.site_ids.into_iter().next()?),
            uses,
            uses_left: uses.saturating_sub(used).max(0),
            device_type: enrols.device_type.as_deref().map(Word::known),
            created_at: DateTime(Instant(row.created_at.unwrap_or_default())),
            created_by: row.created_by.unwrap_or_default(),
            expires_at: grant.expires_at.map(DateTime),
            revoked_at: row.revoked_at.map(|at| DateTime(Instant(at))),
            version: Long(row.position),
        })
    }

    /// Tokens, with how often each was used.
    async fn all(ctx: &Context<'_>, rows: Vec<KeyRow>) -> Result<Vec<InOrder<Self>>, Error> {
        let uses = |row: &KeyRow| registry::uses_of(&row.key_id);
        let used = api(ctx).store().versions(rows.iter().map(uses).collect());
        let used = used.await.map_err(|error| of_failed(api(ctx), &error))?;
        let token = |row: KeyRow| {
            let used = used.get(&uses(&row)).copied().unwrap_or(0);
            Self::new(row, used).map(InOrder)
        };
        Ok(rows.into_iter().filter_map(token).collect())
    }

    async fn of(ctx: &Context<'_>, id: &str) -> Result<Option<InOrder<Self>>, Error> {
        let row = keys::key(api(ctx).store(), id).await;
        let row = row.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(Self::all(ctx, row.into_iter().collect()).await?.pop())
    }
}

/// A token to be made.
#[derive(Debug, InputObject)]
struct CreateEnrolmentTokenInput {
    /// The site at which devices enrol by it.
    site_id: ID,
    /// How many devices may enrol by it, 1 to 10,000.
    uses: i32,
    /// From when on it holds no more; left out, it holds until it is used up or revoked.
    expires_at: Option<DateTime>,
    /// What the devices are, whatever they say; left out, each says it itself.
    device_type: Option<DeviceType>,
    /// Name for people, 1 to 100 characters; `enrolment` when it is left out.
    name: Option<String>,
    /// A repeat with the same key makes no second token, and does not show the first again; 1 to 255
    /// characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// A token to be revoked.
#[derive(Debug, InputObject)]
struct RevokeEnrolmentTokenInput {
    /// Its id.
    id: ID,
    /// Why.
    reason: Option<String>,
    /// Refused as CONFLICT when the token has another `version`.
    expected_version: Option<Long>,
}

/// A device that is to enrol.
#[derive(Debug, InputObject)]
struct EnrolDeviceInput {
    /// The token. Who has it needs no access key.
    token: String,
    /// Id of the device; left out, one is made up.
    device_id: Option<ID>,
    /// Name for people.
    name: MaybeUndefined<String>,
    /// What it is, where the token does not say it; UNKNOWN when neither does.
    device_type: Option<DeviceType>,
    /// Model, as its maker calls it.
    model: MaybeUndefined<String>,
    /// Version of its firmware.
    firmware: MaybeUndefined<String>,
    /// Operating system and version.
    os: MaybeUndefined<String>,
    /// Labels for grouping, at most 64 of 64 characters.
    tags: MaybeUndefined<Vec<String>>,
    /// Under this key a repeat is known of a request that got no answer: it registers nothing and spends no
    /// use, but makes another access key, and ends the one that nobody has seen. Give a random one of 1 to
    /// 255 characters, and keep it to yourself: who has it and the token is given a key of the device.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

impl EnrolDeviceInput {
    fn enrolling(&self) -> Enrolling {
        let mut given = Given::new();
        if let Some(device_type) = &self.device_type {
            let word = device_type.word();
            put(&mut given, "deviceType", &async_graphql::Value::from(word));
        }
        add(&mut given, "name", &self.name);
        add(&mut given, "model", &self.model);
        add(&mut given, "firmware", &self.firmware);
        add(&mut given, "os", &self.os);
        add(&mut given, "tags", &self.tags);
        Enrolling {
            device_id: self.device_id.as_ref().map(|id| id.0.clone()),
            given,
            key: self.idempotency_key.clone(),
        }
    }
}

/// The answer to `createEnrolmentToken`.
#[derive(Debug, SimpleObject)]
struct CreateEnrolmentTokenPayload {
    /// The token as it is listed.
    enrolment_token: Option<InOrder<EnrolmentToken>>,
    /// The token itself, for `enrolDevice`. It is shown now and never again; null when the request repeats one
    /// that was answered.
    secret: Option<String>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `revokeEnrolmentToken`.
#[derive(Debug, SimpleObject)]
struct RevokeEnrolmentTokenPayload {
    /// The token as it is listed.
    enrolment_token: Option<InOrder<EnrolmentToken>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `enrolDevice`.
#[derive(Debug, Default, SimpleObject)]
struct EnrolDevicePayload {
    /// The device.
    device_id: Option<ID>,
    /// The site at which it is registered.
    site_id: Option<ID>,
    /// Id of its access key.
    access_key_id: Option<ID>,
    /// Its access key, to be sent as `Authorization: Bearer …`. It is shown now and never again.
    secret: Option<String>,
    /// Why the device did not enrol; empty when it did.
    user_errors: Vec<InOrder<UserError>>,
}

/// The part of the queries that is about tokens.
#[derive(Debug)]
pub(super) struct Tokens;

#[Object]
impl Tokens {
    /// The enrolment tokens of a site, those first that changed last; at most 1,000. Null for a site that the
    /// caller does not reach.
    async fn enrolment_tokens(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The site at which devices enrol by them.")] site_id: ID,
    ) -> Result<Option<Vec<InOrder<EnrolmentToken>>>, Error> {
        if !reaches_site(ctx, &site_id).await? {
            return Ok(None);
        }
        let allowance = loaders(ctx).allowance();
        let rows = keys::tokens_of_site(api(ctx).store(), &site_id, (TOKENS_MAX, allowance));
        let rows = rows.await.map_err(|error| of_failed(api(ctx), &error))?;
        loaders(ctx).count(rows.len())?;
        EnrolmentToken::all(ctx, rows).await.map(Some)
    }
}

/// The commands on tokens.
#[derive(Debug)]
pub(super) struct EnrolmentCommands;

#[Object]
impl EnrolmentCommands {
    /// Makes a token by which devices enrol at a site.
    async fn create_enrolment_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: CreateEnrolmentTokenInput,
    ) -> Result<InOrder<CreateEnrolmentTokenPayload>, Error> {
        let operation = "createEnrolmentToken";
        let grant = Grant {
            name: input.name.unwrap_or_else(|| "enrolment".to_owned()),
            prefix: String::new(),
            role: Role::Enrol,
            site_ids: vec![input.site_id.0],
            device_id: None,
            expires_at: input.expires_at.map(|at| at.0),
            more: More {
                enrols: Some(Enrols {
                    uses: u32::try_from(input.uses).unwrap_or(0),
                    device_type: input.device_type.map(|ty| ty.word()),
                }),
                ..More::default()
            },
        };
        let site = grant.site_ids.first().map_or("", String::as_str);
        let event_id = input.idempotency_key;
        let event_id = event_id.map(|key| keyed_id(access::caller(ctx), Some(&key), "token"));
        let made = if reaches_site(ctx, site).await? {
            let made = made(ctx, operation);
            identity::create(&api(ctx).ingest, grant, (made, event_id)).await
        } else {
            let (field, id) = ("siteIds", site.to_owned());
            Err(KeyError::NotRegistered { field, id })
        };
        Ok(InOrder(match made {
            Ok(created) => CreateEnrolmentTokenPayload {
                enrolment_token: EnrolmentToken::of(ctx, &created.key_id).await?,
                secret: created.secret.map(|secret| secret.reveal().to_owned()),
                user_errors: Vec::new(),
            },
            Err(error) => CreateEnrolmentTokenPayload {
                enrolment_token: None,
                secret: None,
                user_errors: vec![InOrder(refused(ctx, operation, error).await?)],
            },
        }))
    }

    /// Revokes a token: no more devices enrol by it. Those that have keep their access keys. Revoking it again
    /// changes nothing.
    async fn revoke_enrolment_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which token, and why.")] input: RevokeEnrolmentTokenInput,
    ) -> Result<InOrder<RevokeEnrolmentTokenPayload>, Error> {
        let operation = "revokeEnrolmentToken";
        let token = EnrolmentToken::of(ctx, &input.id).await?;
        let is_reached = match &token {
            Some(InOrder(token)) => reaches_site(ctx, &token.site_id).await?,
            None => false,
        };
        let which = (input.id.as_str(), input.expected_version.map(|v| v.0));
        let why = (made(ctx, operation), input.reason.as_deref());
        let revoked = if is_reached {
            identity::revoke(&api(ctx).ingest, which, why).await
        } else {
            Err(KeyError::Unknown)
        };
        let user_errors = match revoked {
            Ok(()) => Vec::new(),
            Err(error) => vec![InOrder(refused(ctx, operation, error).await?)],
        };
        let enrolment_token = if is_reached {
            EnrolmentToken::of(ctx, &input.id).await?
        } else {
            None
        };
        Ok(InOrder(RevokeEnrolmentTokenPayload {
            enrolment_token,
            user_errors,
        }))
    }

    /// Has a device enrol by a token: it is registered at the token's site and is given its own access key, of
    /// the role DEVICE. It needs no access key. A token that does not hold is refused as a key that does not
    /// (UNAUTHENTICATED); each device spends one use, exactly.
    async fn enrol_device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token, and the device.")] input: EnrolDeviceInput,
    ) -> Result<InOrder<EnrolDevicePayload>, Error> {
        let (api, caller) = (api(ctx), access::caller(ctx));
        spend_events(api, caller, EVENTS)?;
        let network = caller.network.as_deref();
        let enrolled = match Secret::read(input.token.trim()) {
            Some(token) => {
                let of = (input.enrolling(), network);
                registry::enrol(&api.ingest, (&api.keys, &token), of).await
            }
            None => Err(EnrolError::Token),
        };
        let error = match enrolled {
            Ok(enrolled) => {
                return Ok(InOrder(EnrolDevicePayload {
                    device_id: Some(ID(enrolled.device_id)),
                    site_id: Some(ID(enrolled.site_id)),
                    access_key_id: Some(ID(enrolled.key_id)),
                    secret: Some(enrolled.secret.reveal().to_owned()),
                    user_errors: Vec::new(),
                }));
            }
            Err(error) => error,
        };
        let told = error.to_string();
        let wrong = |field: &str| UserError::new(field, UserErrorCode::WrongState, told.clone());
        let error = match error {
            EnrolError::Token => {
                api.refused.sign_in(network, &SignInError::Key);
                return Err(error_of(ErrorCode::Unauthenticated, told));
            }
            EnrolError::UsedUp { .. } | EnrolError::Revoked => wrong("token"),
            EnrolError::Registry(error) => of_registry(api, error)?,
        };
        let target = input.device_id.map(|id| id.0);
        tell_refused(ctx, &("enrolDevice", target), &error).await?;
        Ok(InOrder(EnrolDevicePayload {
            user_errors: vec![InOrder(error)],
            ..EnrolDevicePayload::default()
        }))
    }
}

/// What a command on tokens was refused for: its input has one site, where a key may have several.
async fn refused(ctx: &Context<'_>, operation: &str, error: KeyError) -> Result<UserError, Error> {
    let mut error = access_keys::refused(ctx, operation, error).await?;
    if error.field.as_deref() == Some("siteIds") {
        error.field = Some("siteId".to_owned());
    }
    Ok(error)
}
