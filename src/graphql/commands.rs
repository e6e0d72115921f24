//! Mutations by which people set the hours of sites, and what is the same for commands that end in an event.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    Context, ContextSelectionSet, Error, Object, OutputType, Positioned, ServerResult,
    SimpleObject, Value, parser::types::Field,
};

use super::command::{
    UserError, UserErrorCode, door, keyed_id, reaches_site, tell_refused, unappended,
};
use super::order::InOrder;
use super::rows::Stand;
use super::schedule_input::SetSiteScheduleInput;
use super::words::{DeviceLifecycles, DeviceStates, DeviceTypes, Word};
use super::{Api, access, api, of_failed};
use crate::event::Event;
use crate::kinds::{self, Kind};
use crate::schedule::{self, ScheduleError};
use crate::store::Outcome;

/// State of a device, as input.
pub(super) type DeviceState = Word<DeviceStates>;
/// Type of a device, as input.
pub(super) type DeviceType = Word<DeviceTypes>;
/// Lifecycle of a device, as input.
pub(super) type DeviceLifecycle = Word<DeviceLifecycles>;

/// The event that a command ended in.
#[derive(Debug)]
pub(super) struct EventOf<const KIND: u8>(pub(super) Arc<Event>);

impl<const KIND: u8> EventOf<KIND> {
    fn kind() -> Option<Kind> {
        Kind::of_code(i64::from(KIND))
    }
}

impl<const KIND: u8> OutputType for EventOf<KIND> {
    fn type_name() -> Cow<'static, str> {
        Self::kind().map_or("", |kind| kind.spec().type_name).into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Object, |_| {
            super::meta::object_type(&Self::type_name(), "", Vec::new(), false)
        })
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let values = super::rows::render(ctx, Stand::Alone, &[Arc::clone(&self.0)]).await?;
        Ok(values.into_iter().next().unwrap_or_default())
    }
}

/// Code of state changes in the tables.
pub(super) const STATE_CHANGE: u8 = 5;
/// Code of errors in the tables.
pub(super) const ERROR_LOG: u8 = 6;
/// Code of schedules in the tables.
pub(super) const SITE_SCHEDULE: u8 = 8;

/// The answer to `setSiteSchedule`.
#[derive(Debug, SimpleObject)]
pub(super) struct SetSiteSchedulePayload {
    /// The row as it was recorded.
    schedule: Option<EventOf<SITE_SCHEDULE>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands.
#[derive(Debug)]
pub(super) struct Commands;

#[Object]
impl Commands {
    /// Sets the hours of a site on a day of the week or on one date. They hold from now on.
    async fn set_site_schedule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The hours.")] input: SetSiteScheduleInput,
    ) -> Result<InOrder<SetSiteSchedulePayload>, Error> {
        let (api, caller) = (api(ctx), access::caller(ctx));
        let now = api.ingest.clock().now();
        let event_id = input.key;
        let event_id = event_id.map(|key| keyed_id(caller, Some(&key), "schedule"));
        let hours = kinds::parse(Kind::SiteSchedule, &input.hours, now);
        let site = hours.as_ref().ok().and_then(|hours| {
            let site = hours
                .fact
                .cell(entity::site_operating_schedules::Column::SiteKey);
            site.text().map(str::to_owned)
        });
        let is_reached = match &site {
            Some(site) => reaches_site(ctx, site).await?,
            None => true,
        };
        let deed = ("setSiteSchedule", site);
        let set = match hours {
            Ok(_) if !is_reached => Err(ScheduleError::Refused(schedule::unknown_site())),
            Ok(hours) => {
                let ids = (event_id, input.expected_version);
                schedule::set(&door(ctx, &deed), hours, ids).await
            }
            Err(refusal) => Err(ScheduleError::Refused(refusal)),
        };
        match set {
            Ok(outcome) => {
                let schedule = recorded(api, Kind::SiteSchedule, &outcome).await?;
                Ok(InOrder(SetSiteSchedulePayload {
                    schedule: schedule.map(EventOf),
                    user_errors: Vec::new(),
                }))
            }
            Err(error) => {
                let error = of_schedule(api, error)?;
                tell_refused(ctx, &deed, &error).await?;
                Ok(InOrder(SetSiteSchedulePayload {
                    schedule: None,
                    user_errors: vec![InOrder(error)],
                }))
            }
        }
    }
}

/// For what hours were not set, unless that failed.
pub(super) fn of_schedule(api: &Api, error: ScheduleError) -> Result<UserError, Error> {
    let told = error.to_string();
    let field = match error {
        ScheduleError::Refused(refusal) => return Ok(UserError::of(refusal)),
        ScheduleError::OtherRepeat => "idempotencyKey",
        ScheduleError::Stale { .. } => "expectedVersion",
        ScheduleError::Contended => "dayOfWeek",
        ScheduleError::Store(error) => return Err(of_failed(api, &error)),
        ScheduleError::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(field, UserErrorCode::Conflict, told))
}

pub(super) async fn recorded(
    api: &Api,
    kind: Kind,
    outcome: &Outcome,
) -> Result<Option<Arc<Event>>, Error> {
    let (Outcome::Recorded(position) | Outcome::Duplicate(position)) = outcome else {
        return Ok(None);
    };
    let event = api.store().event(*position).await;
    let event = event.map_err(|error| of_failed(api, &error))?;
    Ok(event.filter(|event| event.fact.kind == kind).map(Arc::new))
}
