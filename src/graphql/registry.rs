//! Mutations on the registry: sites and devices are registered, changed, moved, retired and put into a state.

use async_graphql::{Context, Error, ID, Object, SimpleObject};
use uuid::Uuid;

use super::command::{
    UserError, UserErrorCode, What, door, keyed_id, reaches_device, reaches_site, tell_refused,
    unappended,
};
use super::commands::{EventOf, STATE_CHANGE, recorded};
use super::fleet::{Device, Site};
use super::order::InOrder;
use super::query::{device_of, site_of};
use super::registry_inputs::{
    MoveDeviceInput, RegisterDeviceInput, RegisterSiteInput, RetireDeviceInput,
    SetDeviceStateInput, UpdateDeviceInput, UpdateSiteInput,
};
use super::scalars::Long;
use super::{Api, access, access_keys, api, of_failed};
use crate::kinds::{Code, Kind, Refusal};
use crate::registry::{self, Asked, Given, RegistryError, StateChange, Thing};
use crate::store::Outcome;

/// The answer to a command on a site.
#[derive(Debug, SimpleObject)]
pub(super) struct SitePayload {
    /// The site as it is now; null when the command was refused.
    site: Option<Site>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to a command on a device.
#[derive(Debug, SimpleObject)]
pub(super) struct DevicePayload {
    /// The device as it is now; null when the command was refused.
    device: Option<Device>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `retireDevice`.
#[derive(Debug, SimpleObject)]
pub(super) struct RetireDevicePayload {
    /// The device as it is now; null when the command was refused.
    device: Option<Device>,
    /// Ids of its access keys that were revoked with it: they hold no more.
    revoked_key_ids: Vec<ID>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `setDeviceState`.
#[derive(Debug, SimpleObject)]
pub(super) struct SetDeviceStatePayload {
    /// The change as it was recorded; null when the command was refused.
    change: Option<EventOf<STATE_CHANGE>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on the registry.
#[derive(Debug)]
pub(super) struct RegistryCommands;

#[Object]
impl RegistryCommands {
    /// Registers a site that is not there yet. Whoever is bound to sites registers none.
    async fn register_site(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The site.")] input: RegisterSiteInput,
    ) -> Result<InOrder<SitePayload>, Error> {
        let asked = asked(ctx, (input.idempotency_key.as_deref(), "site"), None);
        let command = Command::new(ctx, "registerSite", &input.site_id);
        let given = input.given();
        let done = match command.site_is_reached().await? {
            Ok(thing) => registry::register(&command.door(), thing, (&given, asked)).await,
            Err(_) => Err(RegistryError::Refused(Refusal::of(
                "siteId",
                Code::UnknownSite,
                "whoever is bound to sites registers no other",
            ))),
        };
        command.site(done).await
    }

    /// Changes what is given of a site; the rest stays as it is.
    async fn update_site(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The site, and what is to change.")] input: UpdateSiteInput,
    ) -> Result<InOrder<SitePayload>, Error> {
        let key = (input.idempotency_key.as_deref(), "site update");
        let asked = asked(ctx, key, input.expected_version);
        let command = Command::new(ctx, "updateSite", &input.site_id);
        let given = input.given();
        let done = match command.site_is_reached().await? {
            Ok(thing) => registry::update(&command.door(), thing, (&given, asked)).await,
            Err(unknown) => Err(unknown),
        };
        command.site(done).await
    }

    /// Registers a device that is not there yet, at a site.
    async fn register_device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] input: RegisterDeviceInput,
    ) -> Result<InOrder<DevicePayload>, Error> {
        let asked = asked(ctx, (input.idempotency_key.as_deref(), "device"), None);
        let command = Command::new(ctx, "registerDevice", &input.device_id);
        let given = input.given();
        let done = match command.other_site(&input.site_id).await? {
            Ok(()) => {
                let thing = Thing::device(&input.device_id);
                registry::register(&command.door(), thing, (&given, asked)).await
            }
            Err(unknown) => Err(unknown),
        };
        command.device(done).await
    }

    /// Changes what is given of a device; the rest stays as it is.
    async fn update_device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device, and what is to change.")] input: UpdateDeviceInput,
    ) -> Result<InOrder<DevicePayload>, Error> {
        let key = (input.idempotency_key.as_deref(), "device update");
        let asked = asked(ctx, key, input.expected_version);
        let command = Command::new(ctx, "updateDevice", &input.device_id);
        let given = input.given();
        let retires = given.get("lifecycle").is_some_and(|word| word == "RETIRED");
        let done = match command.device_is_reached().await? {
            Ok(_) if retires => Err(RegistryError::Refused(Refusal::of(
                "lifecycle",
                Code::Invalid,
                "a device is retired by retireDevice, which ends its access keys too",
            ))),
            Ok(thing) => registry::update(&command.door(), thing, (&given, asked)).await,
            Err(unknown) => Err(unknown),
        };
        command.device(done).await
    }

    /// Has a device stand at another site from now on; the caller must reach both. History stays where it was:
    /// what happened before is read by the former site and by those who are bound to it, also when it comes in
    /// late. Registrations tell where the device stood when.
    async fn move_device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which device, and where to.")] input: MoveDeviceInput,
    ) -> Result<InOrder<DevicePayload>, Error> {
        let key = (input.idempotency_key.as_deref(), "device move");
        let asked = asked(ctx, key, input.expected_version);
        let command = Command::new(ctx, "moveDevice", &input.device_id);
        let given: Given = [("siteId".to_owned(), input.site_id.as_str().into())]
            .into_iter()
            .collect();
        let done = match (
            command.device_is_reached().await?,
            command.other_site(&input.site_id).await?,
        ) {
            (Ok(thing), Ok(())) => registry::update(&command.door(), thing, (&given, asked)).await,
            (Err(unknown), _) | (_, Err(unknown)) => Err(unknown),
        };
        command.device(done).await
    }

    /// Retires a device: its lifecycle is RETIRED, and the access keys of which it is the holder hold no more,
    /// both in one commit. Its history stays. Retiring it again changes nothing.
    async fn retire_device(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which device, and why.")] input: RetireDeviceInput,
    ) -> Result<InOrder<RetireDevicePayload>, Error> {
        let key = (input.idempotency_key.as_deref(), "device retirement");
        let asked = asked(ctx, key, input.expected_version);
        let command = Command::new(ctx, "retireDevice", &input.device_id);
        let why = (
            access_keys::made(ctx, "retireDevice"),
            input.reason.as_deref(),
        );
        let done = match command.device_is_reached().await? {
            Ok(_) => registry::retire(&command.door(), &input.device_id, asked, why).await,
            Err(unknown) => Err(unknown),
        };
        let revoked = done.as_ref().map(|done| done.revoked.clone());
        let revoked = revoked.unwrap_or_default().into_iter().map(ID);
        let InOrder(payload) = command.device(done.map(|_| ())).await?;
        Ok(InOrder(RetireDevicePayload {
            device: payload.device,
            revoked_key_ids: revoked.collect(),
            user_errors: payload.user_errors,
        }))
    }

    /// Tells the state of a device, such as MAINTENANCE while it is worked on, and ONLINE or OFFLINE when that
    /// is over. While it is in MAINTENANCE the server itself turns it neither OFFLINE nor ONLINE; given back,
    /// it has its whole time to be heard of.
    async fn set_device_state(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which device, and its state.")] input: SetDeviceStateInput,
    ) -> Result<InOrder<SetDeviceStatePayload>, Error> {
        let caller = access::caller(ctx);
        let command = Command::new(ctx, "setDeviceState", &input.device_id);
        let key = (input.idempotency_key.as_deref(), "device state");
        let change = StateChange {
            device_id: &input.device_id,
            state: &input.state.word(),
            reason: input.reason.as_deref(),
            by: &caller.name,
            event_id: asked(ctx, key, None).event_id,
        };
        let done = match command.device_is_reached().await? {
            Ok(_) => registry::set_state(&command.door(), change).await,
            Err(unknown) => Err(unknown),
        };
        Ok(InOrder(match done {
            Ok(position) => {
                let outcome = Outcome::Recorded(position);
                let change = recorded(api(ctx), Kind::DeviceStateChange, &outcome).await?;
                SetDeviceStatePayload {
                    change: change.map(EventOf),
                    user_errors: Vec::new(),
                }
            }
            Err(error) => SetDeviceStatePayload {
                change: None,
                user_errors: vec![InOrder(command.refused(error).await?)],
            },
        }))
    }
}

/// How a command is known again, and on what it was decided.
fn asked(ctx: &Context<'_>, (key, what): (Option<&str>, &str), expected: Option<Long>) -> Asked {
    let event_id: Option<Uuid> = key.map(|key| keyed_id(access::caller(ctx), Some(key), what));
    Asked {
        event_id,
        expected: expected.map(|version| version.0),
    }
}

/// A command on one site or device.
struct Command<'a> {
    ctx: &'a Context<'a>,
    id: &'a ID,
    deed: What<'a>,
}

impl<'a> Command<'a> {
    fn new(ctx: &'a Context<'a>, operation: &'a str, id: &'a ID) -> Self {
        let deed = (operation, Some(id.to_string()));
        Self { ctx, id, deed }
    }

    fn door(&self) -> crate::ingest::Ingest {
        door(self.ctx, &self.deed)
    }

    /// What is out of reach is as if it were not there.
    async fn site_is_reached(&self) -> Result<Result<Thing<'a>, RegistryError>, Error> {
        let is_reached = reaches_site(self.ctx, self.id).await?;
        Ok(if is_reached {
            Ok(Thing::site(self.id))
        } else {
            Err(unknown("siteId", self.id))
        })
    }

    async fn device_is_reached(&self) -> Result<Result<Thing<'a>, RegistryError>, Error> {
        let is_reached = reaches_device(self.ctx, self.id).await?;
        Ok(if is_reached {
            Ok(Thing::device(self.id))
        } else {
            Err(unknown("deviceId", self.id))
        })
    }

    async fn other_site(&self, site: &ID) -> Result<Result<(), RegistryError>, Error> {
        let is_reached = reaches_site(self.ctx, site).await?;
        Ok(if is_reached {
            Ok(())
        } else {
            Err(unknown("siteId", site))
        })
    }

    async fn site(&self, done: Result<(), RegistryError>) -> Result<InOrder<SitePayload>, Error> {
        let user_errors = self.ended(done).await?;
        let site = if user_errors.is_empty() {
            site_of(self.ctx, self.id).await?
        } else {
            None
        };
        Ok(InOrder(SitePayload { site, user_errors }))
    }

    async fn device(
        &self,
        done: Result<(), RegistryError>,
    ) -> Result<InOrder<DevicePayload>, Error> {
        let user_errors = self.ended(done).await?;
        let device = if user_errors.is_empty() {
            device_of(self.ctx, self.id).await?
        } else {
            None
        };
        Ok(InOrder(DevicePayload {
            device,
            user_errors,
        }))
    }

    async fn ended(
        &self,
        done: Result<(), RegistryError>,
    ) -> Result<Vec<InOrder<UserError>>, Error> {
        Ok(match done {
            Ok(()) => Vec::new(),
            Err(error) => vec![InOrder(self.refused(error).await?)],
        })
    }

    /// What the command was refused for, which is told in the audit too; or its failure.
    async fn refused(&self, error: RegistryError) -> Result<UserError, Error> {
        let error = of_registry(api(self.ctx), error)?;
        tell_refused(self.ctx, &self.deed, &error).await?;
        Ok(error)
    }
}

fn unknown(field: &'static str, id: &ID) -> RegistryError {
    let id = id.to_string();
    RegistryError::Unknown { field, id }
}

/// For what a command on the registry was refused, unless it failed.
pub(super) fn of_registry(api: &Api, error: RegistryError) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        RegistryError::Registered { field, .. } => (field, UserErrorCode::Conflict),
        RegistryError::Unknown { field, .. } => (field, UserErrorCode::NotFound),
        RegistryError::Retired => ("deviceId", UserErrorCode::WrongState),
        RegistryError::Contended => ("expectedVersion", UserErrorCode::Conflict),
        RegistryError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        RegistryError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        RegistryError::Refused(refusal) => return Ok(UserError::of(refusal)),
        RegistryError::Store(error) => return Err(of_failed(api, &error)),
        RegistryError::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(field, code, told))
}
