//! Mutations by which people configure the fleet: parameters and schedules.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    Context, ContextSelectionSet, Error, ID, InputObject, Object, OutputType, Positioned,
    ServerResult, SimpleObject, Value, parser::types::Field,
};

use super::command::{
    UserError, UserErrorCode, door, keyed_id, reaches_device, reaches_site, tell_refused,
    unappended,
};
use super::order::InOrder;
use super::rows::Stand;
use super::scalars::{DateTime, JsonScalar, Long};
use super::schedule_input::SetSiteScheduleInput;
use super::words::{ConfigurationEntities, DeviceLifecycles, DeviceStates, DeviceTypes, Word};
use super::{Api, access, api, of_failed};
use crate::configuration::{self, Change, ConfigurationError};
use crate::event::{Event, Instant, json_bytes};
use crate::history::Within;
use crate::kinds::{self, Kind};
use crate::schedule::{self, ScheduleError};
use crate::store::Outcome;

/// State of a device, as input.
pub(super) type DeviceState = Word<DeviceStates>;
/// Type of a device, as input.
pub(super) type DeviceType = Word<DeviceTypes>;
/// Lifecycle of a device, as input.
pub(super) type DeviceLifecycle = Word<DeviceLifecycles>;

/// A parameter and its value now.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ConfigurationValue {
    /// Name of the parameter.
    parameter_name: String,
    /// Its value.
    value: JsonScalar,
    /// Since when it has it.
    changed_at: DateTime,
    /// Position of the change that set it, for `expectedVersion`.
    version: Long,
}

impl From<entity::configuration_values::Model> for ConfigurationValue {
    fn from(row: entity::configuration_values::Model) -> Self {
        let value = serde_json::from_str(&row.value).unwrap_or_default();
        Self {
            parameter_name: row.parameter_name,
            value: JsonScalar(value),
            changed_at: DateTime(Instant(row.occurred_at)),
            version: Long(row.position),
        }
    }
}

impl ConfigurationValue {
    /// Bytes that it takes, roughly.
    pub(super) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.parameter_name.len() + json_bytes(&self.value.0)
    }
}

/// A parameter to be set.
#[derive(Debug, InputObject)]
pub(super) struct SetConfigurationInput {
    /// What is configured.
    entity_type: Word<ConfigurationEntities>,
    /// Id of the device or site; left out, or `system`, for the whole system.
    entity_id: Option<ID>,
    /// Name of the parameter.
    parameter_name: String,
    /// Its new value.
    value: JsonScalar,
    /// Why.
    reason: Option<String>,
    /// A repeat with the same key records no second change; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
    /// Refused as CONFLICT when the parameter has another `version`; "0" for one that was never set.
    expected_version: Option<Long>,
}

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
/// Code of configuration changes in the tables.
const CONFIGURATION_CHANGE: u8 = 7;
/// Code of schedules in the tables.
pub(super) const SITE_SCHEDULE: u8 = 8;

/// The answer to `setConfiguration`.
#[derive(Debug, SimpleObject)]
pub(super) struct SetConfigurationPayload {
    /// The change as it was recorded.
    change: Option<EventOf<CONFIGURATION_CHANGE>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

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
    /// Sets a parameter of a device, a site or the system; the value before is recorded with it.
    async fn set_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The parameter and its value.")] input: SetConfigurationInput,
    ) -> Result<InOrder<SetConfigurationPayload>, Error> {
        let (api, caller, key) = (api(ctx), access::caller(ctx), input.idempotency_key);
        let change = Change {
            entity_type: input.entity_type.word(),
            entity_id: input.entity_id.map(|id| id.0),
            parameter: input.parameter_name,
            value: input.value.0,
            changed_by: caller.name.to_string(),
            reason: input.reason,
            event_id: key.map(|key| keyed_id(caller, Some(&key), "configuration")),
            expected: input.expected_version.map(|version| version.0),
        };
        let target = change.entity_id.as_deref().unwrap_or(configuration::SYSTEM);
        let target = format!("{} {target} {}", change.entity_type, change.parameter);
        let deed = ("setConfiguration", Some(target));
        let set = match out_of_reach(ctx, &change).await? {
            Some(unknown) => Err(unknown),
            None => configuration::set(&door(ctx, &deed), change).await,
        };
        match set {
            Ok(outcome) => {
                let change = recorded(api, Kind::ConfigurationChange, &outcome).await?;
                Ok(InOrder(SetConfigurationPayload {
                    change: change.map(EventOf),
                    user_errors: Vec::new(),
                }))
            }
            Err(error) => {
                let error = of_configuration(api, error)?;
                tell_refused(ctx, &deed, &error).await?;
                Ok(InOrder(SetConfigurationPayload {
                    change: None,
                    user_errors: vec![InOrder(error)],
                }))
            }
        }
    }

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

/// For what a parameter was not set, unless that failed.
fn of_configuration(api: &Api, error: ConfigurationError) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        ConfigurationError::Unknown { .. } => ("entityId", UserErrorCode::NotFound),
        ConfigurationError::Bound => ("entityType", UserErrorCode::NotFound),
        ConfigurationError::Unnamed { .. } | ConfigurationError::NotTheSystem => {
            ("entityId", UserErrorCode::Invalid)
        }
        ConfigurationError::Refused(refusal) => {
            let mut error = UserError::of(refusal);
            // the input calls it otherwise than the event
            if error.field.as_deref() == Some("newValue") {
                error.field = Some("value".to_owned());
            }
            return Ok(error);
        }
        ConfigurationError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        ConfigurationError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        ConfigurationError::Contended => ("value", UserErrorCode::Conflict),
        ConfigurationError::Store(error) => return Err(of_failed(api, &error)),
        ConfigurationError::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(field, code, told))
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

/// What is said of a thing that is to be configured and is out of the caller's reach.
async fn out_of_reach(
    ctx: &Context<'_>,
    change: &Change,
) -> Result<Option<ConfigurationError>, Error> {
    let (is_reached, what, id) = match (change.entity_type.as_str(), change.entity_id.as_deref()) {
        ("DEVICE", Some(id)) => (reaches_device(ctx, id).await?, "device", id),
        ("SITE", Some(id)) => (reaches_site(ctx, id).await?, "site", id),
        ("DEVICE" | "SITE", None) => return Ok(None),
        _ => {
            let is_bound = access::within(ctx).await? != Within::Whole;
            return Ok(is_bound.then_some(ConfigurationError::Bound));
        }
    };
    let id = id.to_owned();
    Ok((!is_reached).then_some(ConfigurationError::Unknown { what, id }))
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
