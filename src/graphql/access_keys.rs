//! Who asks, and the access keys: listed, made and revoked.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use super::access_key_input::CreateAccessKeyInput;
use super::command::{UserError, UserErrorCode, keyed_id, tell_refused, unappended};
use super::order::InOrder;
use super::pages::TypedEdge;
use super::scalars::{DateTime, Long};
use super::words::{EventKinds, Shown};
use super::{access, api, loaders, of_failed};
use crate::event::Instant;
use crate::history::fleet::{DeviceFilter, IdPage};
use crate::history::keys;
use crate::identity::{self, Caller, Created, Grant, KeyError, Made, Reach, Role, Rotation};
use crate::kinds::Kind;

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "Role", remote = "Role")]
pub(super) enum RoleWord {
    /// Reads what is recorded.
    Viewer,
    /// Reads, and gives commands: jobs, configuration, schedules.
    Operator,
    /// Everything: also records, gives out access keys and reads the audit.
    Admin,
    /// One device: records and reads what is its own.
    Device,
    /// Records, and reads nothing.
    Ingest,
    /// Has devices enrol, and nothing else: the role of tokens, which let nobody in and are made by
    /// `createEnrolmentToken` alone.
    Enrol,
}

/// Who asks.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Viewer {
    /// Name of the caller: of an access key with its beginning, or of whoever a token is for.
    name: String,
    /// What the caller may do.
    role: RoleWord,
    /// The sites that the caller is bound to; null for one who is bound to none.
    site_ids: Option<Vec<String>>,
    /// The device that the caller is; null for one who is none.
    device_id: Option<String>,
    /// From when on the caller is to prove anew who they are; null when that is never.
    expires_at: Option<DateTime>,
}

impl Viewer {
    /// What a caller is told of themselves.
    pub(super) fn of(caller: &Caller) -> Self {
        let (site_ids, device_id) = match &caller.reach {
            Reach::Whole => (None, None),
            Reach::Sites(ids) => (Some(ids.iter().map(ToString::to_string).collect()), None),
            Reach::Device(id) => (None, Some(id.to_string())),
        };
        Self {
            name: caller.name.to_string(),
            role: caller.role.into(),
            site_ids,
            device_id,
            expires_at: caller.expires_at.map(DateTime),
        }
    }
}

/// An access key; the key itself is kept nowhere and was shown when it was made.
#[derive(Clone, Debug)]
pub(super) struct AccessKey {
    row: Arc<keys::KeyRow>,
    grant: Arc<Grant>,
    used_at: Option<Instant>,
}

/// An access key: by it a program proves who it is. The key itself is kept nowhere; it was shown when it
/// was made.
#[Object]
impl AccessKey {
    /// Its id, for `revokeAccessKey`.
    async fn id(&self) -> ID {
        ID(self.row.key_id.clone())
    }

    /// Its beginning, by which its holder can tell which it is.
    async fn prefix(&self) -> &str {
        &self.grant.prefix
    }

    /// Name for people.
    async fn name(&self) -> &str {
        &self.grant.name
    }

    /// What its holder may do.
    async fn role(&self) -> RoleWord {
        self.grant.role.into()
    }

    /// The sites that its holder is bound to; null when that is none.
    async fn site_ids(&self) -> Option<&[String]> {
        let ids = self.grant.site_ids.as_slice();
        (!ids.is_empty()).then_some(ids)
    }

    /// The device that its holder is; null when that is none.
    async fn device_id(&self) -> Option<&str> {
        self.grant.device_id.as_deref()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(Instant(self.row.created_at.unwrap_or_default()))
    }

    /// Who made it.
    async fn created_by(&self) -> &str {
        self.row.created_by.as_deref().unwrap_or_default()
    }

    /// From when on it holds no more; null when that is never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.grant.expires_at.map(DateTime)
    }

    /// Whether what it records of a device that is not known registers that device.
    async fn registers_devices(&self) -> bool {
        self.grant.more.registers_devices
    }

    /// The origins whose pages alone may use it; null when it is bound to none.
    async fn origins(&self) -> Option<&[String]> {
        let origins = self.grant.more.origins.as_slice();
        (!origins.is_empty()).then_some(origins)
    }

    /// The kinds of events that alone it records; null when it is bound to none.
    async fn kinds(&self) -> Option<Vec<Shown<EventKinds>>> {
        let kinds = self.grant.more.kinds.iter();
        let kinds: Vec<_> = kinds.filter_map(|wire| Kind::of_wire(wire)).collect();
        let words = kinds.iter().map(|kind| Shown::new(kind.spec().wire));
        (!kinds.is_empty()).then(|| words.collect())
    }

    /// Id of the key in the place of which it was made by rotation; null when that is none.
    async fn rotated_from(&self) -> Option<ID> {
        self.grant.more.rotated_from.as_deref().map(ID::from)
    }

    /// When it was revoked, or will be, as one that was rotated is when its overlap is over; null when
    /// neither.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.row.revoked_at.map(|at| DateTime(Instant(at)))
    }

    /// Who revoked it.
    async fn revoked_by(&self) -> Option<&str> {
        self.row.revoked_by.as_deref()
    }

    /// When it was last used, to about a minute; null when it never was.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.used_at.map(DateTime)
    }

    /// Position of the event that changed it last, for `expectedVersion`.
    async fn version(&self) -> Long {
        Long(self.row.position)
    }
}

impl AccessKey {
    async fn all(ctx: &Context<'_>, rows: Vec<keys::KeyRow>) -> Result<Vec<Self>, Error> {
        let api = api(ctx);
        let ids: Vec<String> = rows.iter().map(|row| row.key_id.clone()).collect();
        let written = keys::usage(api.store(), &ids).await;
        let written = written.map_err(|error| of_failed(api, &error))?;
        let key = |row: keys::KeyRow| {
            let grant = serde_json::from_str(row.key_grant.as_deref()?).ok()?;
            let there = written.get(&row.key_id).copied().map(Instant);
            Some(Self {
                used_at: api.keys.used_at(&row.key_id).max(there),
                row: Arc::new(row),
                grant: Arc::new(grant),
            })
        };
        Ok(rows.into_iter().filter_map(key).collect())
    }

    async fn of(ctx: &Context<'_>, key_id: &str) -> Result<Option<Self>, Error> {
        let row = keys::key(api(ctx).store(), key_id).await;
        let row = row.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(Self::all(ctx, row.into_iter().collect()).await?.pop())
    }
}

impl TypedEdge for InOrder<AccessKey> {
    const NAME: &'static str = "AccessKey";

    fn id(&self) -> &str {
        &self.0.row.key_id
    }

    fn weight_bytes(&self) -> usize {
        2 * self.0.row.key_grant.as_ref().map_or(0, String::len) + size_of::<keys::KeyRow>()
    }

    async fn count(
        ctx: &Context<'_>,
        _filter: &DeviceFilter,
        _at_site: Option<i64>,
    ) -> Result<u64, Error> {
        let count = keys::keys_count(api(ctx).store()).await;
        count.map_err(|error| of_failed(api(ctx), &error))
    }

    async fn rows(
        ctx: &Context<'_>,
        _filter: &DeviceFilter,
        _at_site: Option<i64>,
        page: &IdPage,
    ) -> Result<Vec<Self>, Error> {
        let allowance = loaders(ctx).allowance();
        let rows = keys::keys_page(api(ctx).store(), page, allowance).await;
        let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
        let keys = AccessKey::all(ctx, rows).await?;
        Ok(keys.into_iter().map(InOrder).collect())
    }
}

/// An access key to be revoked.
#[derive(Debug, InputObject)]
struct RevokeAccessKeyInput {
    /// Its id.
    id: ID,
    /// Why.
    reason: Option<String>,
    /// Refused as CONFLICT when the key has another `version`.
    expected_version: Option<Long>,
}

/// The answer to `createAccessKey` and `rotateAccessKey`.
#[derive(Debug, SimpleObject)]
struct CreateAccessKeyPayload {
    /// The key as it is listed.
    access_key: Option<InOrder<AccessKey>>,
    /// The key itself, to be sent as `Authorization: Bearer …`. It is shown now and never again; null
    /// when the request repeats one that was answered.
    secret: Option<String>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// An access key to be replaced.
#[derive(Debug, InputObject)]
struct RotateAccessKeyInput {
    /// Its id.
    id: ID,
    /// Seconds for which it holds on beside the new one, 0 to 604,800.
    #[graphql(default = 3600)]
    overlap_seconds: i32,
    /// A repeat with the same key makes no other access key, and does not show the first again; 1 to 255
    /// characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
    /// Refused as CONFLICT when the key has another `version`.
    expected_version: Option<Long>,
}

/// How a device has its own access key replaced.
#[derive(Debug, InputObject)]
struct RotateOwnKeyInput {
    /// Seconds for which the old one holds on beside the new one, 0 to 604,800.
    #[graphql(default = 3600)]
    overlap_seconds: i32,
}

/// The answer to `revokeAccessKey`.
#[derive(Debug, SimpleObject)]
struct RevokeAccessKeyPayload {
    /// The key as it is listed.
    access_key: Option<InOrder<AccessKey>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `rotateOwnKey`.
#[derive(Debug, SimpleObject)]
struct RotateOwnKeyPayload {
    /// Id of the new key.
    access_key_id: Option<ID>,
    /// The key itself, to be sent as `Authorization: Bearer …`. It is shown now and never again.
    secret: Option<String>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on access keys.
#[derive(Debug)]
pub(super) struct KeyCommands;

#[Object]
impl KeyCommands {
    /// Makes an access key.
    async fn create_access_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: CreateAccessKeyInput,
    ) -> Result<InOrder<CreateAccessKeyPayload>, Error> {
        let (grant, key) = match input.grant() {
            Ok(given) => given,
            Err(error) => {
                tell_refused(ctx, &("createAccessKey", None), &error).await?;
                return Ok(InOrder(CreateAccessKeyPayload {
                    access_key: None,
                    secret: None,
                    user_errors: vec![InOrder(error)],
                }));
            }
        };
        let event_id = key.map(|key| keyed_id(access::caller(ctx), Some(&key), "access key"));
        let operation = "createAccessKey";
        let made = (made(ctx, operation), event_id);
        let made = identity::create(&api(ctx).ingest, grant, made).await;
        Ok(InOrder(created(ctx, operation, made).await?))
    }

    /// Makes an access key that gives the same as another, and ends that one when the overlap is over: whoever
    /// has it takes over the new one meanwhile.
    async fn rotate_access_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key.")] input: RotateAccessKeyInput,
    ) -> Result<InOrder<CreateAccessKeyPayload>, Error> {
        let event_id = input.idempotency_key;
        let event_id = event_id.map(|key| keyed_id(access::caller(ctx), Some(&key), "rotation"));
        let rotation = Rotation {
            key_id: &input.id,
            overlap_seconds: i64::from(input.overlap_seconds),
            expected: input.expected_version.map(|version| version.0),
            event_id,
        };
        let operation = "rotateAccessKey";
        let made = identity::rotate(&api(ctx).ingest, rotation, made(ctx, operation)).await;
        Ok(InOrder(created(ctx, operation, made).await?))
    }

    /// Has a device replace the access key by which it asks, so that it need not wait for anybody. Should the
    /// answer be lost, it asks again: the old one holds until the overlap is over.
    async fn rotate_own_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "For how long both hold.")] input: RotateOwnKeyInput,
    ) -> Result<InOrder<RotateOwnKeyPayload>, Error> {
        // of who came by a token of an issuer there is no such key
        let rotation = Rotation {
            key_id: &access::caller(ctx).account,
            overlap_seconds: i64::from(input.overlap_seconds),
            expected: None,
            event_id: None,
        };
        let operation = "rotateOwnKey";
        let made = identity::rotate(&api(ctx).ingest, rotation, made(ctx, operation)).await;
        Ok(InOrder(match made {
            Ok(created) => RotateOwnKeyPayload {
                access_key_id: Some(ID(created.key_id)),
                secret: created.secret.map(|secret| secret.reveal().to_owned()),
                user_errors: Vec::new(),
            },
            Err(error) => RotateOwnKeyPayload {
                access_key_id: None,
                secret: None,
                user_errors: vec![InOrder(refused(ctx, operation, error).await?)],
            },
        }))
    }

    /// Revokes an access key: it holds no more, and what its holder has open is closed. Revoking it again
    /// changes nothing.
    async fn revoke_access_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key, and why.")] input: RevokeAccessKeyInput,
    ) -> Result<InOrder<RevokeAccessKeyPayload>, Error> {
        let which = (input.id.as_str(), input.expected_version.map(|v| v.0));
        let why = (made(ctx, "revokeAccessKey"), input.reason.as_deref());
        let revoked = identity::revoke(&api(ctx).ingest, which, why).await;
        let user_errors = match revoked {
            Ok(()) => Vec::new(),
            Err(error) => vec![InOrder(refused(ctx, "revokeAccessKey", error).await?)],
        };
        Ok(InOrder(RevokeAccessKeyPayload {
            access_key: AccessKey::of(ctx, &input.id).await?.map(InOrder),
            user_errors,
        }))
    }
}

async fn created(
    ctx: &Context<'_>,
    operation: &str,
    made: Result<Created, KeyError>,
) -> Result<CreateAccessKeyPayload, Error> {
    Ok(match made {
        Ok(created) => CreateAccessKeyPayload {
            access_key: AccessKey::of(ctx, &created.key_id).await?.map(InOrder),
            secret: created.secret.map(|secret| secret.reveal().to_owned()),
            user_errors: Vec::new(),
        },
        Err(error) => CreateAccessKeyPayload {
            access_key: None,
            secret: None,
            user_errors: vec![InOrder(refused(ctx, operation, error).await?)],
        },
    })
}

pub(super) fn made<'a>(ctx: &'a Context<'_>, operation: &'a str) -> Made<'a> {
    let caller = access::caller(ctx);
    Made {
        actor: &caller.name,
        operation,
        network: caller.network.as_deref(),
        keys: Some(&api(ctx).keys),
    }
}

/// What a command was refused for, which is told in the audit too; or its failure.
pub(super) async fn refused(
    ctx: &Context<'_>,
    operation: &str,
    error: KeyError,
) -> Result<UserError, Error> {
    let (field, code) = match &error {
        KeyError::Grant(error) => (error.field(), UserErrorCode::Invalid),
        KeyError::NotRegistered { field, .. } => (*field, UserErrorCode::NotFound),
        KeyError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        KeyError::Unknown => ("id", UserErrorCode::NotFound),
        KeyError::Retired => ("deviceId", UserErrorCode::WrongState),
        KeyError::Ended => ("id", UserErrorCode::WrongState),
        KeyError::Token => ("id", UserErrorCode::WrongState),
        KeyError::Overlap => ("overlapSeconds", UserErrorCode::Invalid),
        KeyError::Contended => ("id", UserErrorCode::Conflict),
        KeyError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        KeyError::Store(error) => return Err(of_failed(api(ctx), error)),
        KeyError::Append(error) => return Err(unappended(api(ctx), error)),
    };
    let refused = UserError::new(field, code, error.to_string());
    tell_refused(ctx, &(operation, None), &refused).await?;
    Ok(refused)
}
