//! Mutations by which people command the fleet: jobs, configuration, schedules.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    Context, ContextSelectionSet, Enum, Error, ID, InputObject, Object, OutputType, Positioned,
    ServerResult, SimpleObject, Value, parser::types::Field,
};
use serde_json::json;
use uuid::Uuid as RawUuid;

use super::error::of_append;
use super::job::Job;
use super::order::InOrder;
use super::rows::Stand;
use super::scalars::{DateTime, JsonScalar};
use super::schedule_input::SetSiteScheduleInput;
use super::words::{ConfigurationEntities, DeviceLifecycles, DeviceStates, DeviceTypes, Word};
use super::{Api, api, of_failed};
use crate::configuration::{self, Change, ConfigurationError};
use crate::event::{Event, Instant, json_bytes};
use crate::jobs::{self, JobError, NewJob};
use crate::kinds::{self, Code, Kind, Refusal};
use crate::schedule::{self, ScheduleError};
use crate::store::Outcome;

/// State of a device, as input.
pub(super) type DeviceState = Word<DeviceStates>;
/// Type of a device, as input.
pub(super) type DeviceType = Word<DeviceTypes>;
/// Lifecycle of a device, as input.
pub(super) type DeviceLifecycle = Word<DeviceLifecycles>;

/// Who commands, until callers have names.
const OPERATOR: &str = "operator";

/// A parameter and its value now.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ConfigurationValue {
    /// Name of the parameter.
    parameter_name: String,
    /// Its value.
    value: JsonScalar,
    /// Since when it has it.
    changed_at: DateTime,
}

impl From<entity::configuration_values::Model> for ConfigurationValue {
    fn from(row: entity::configuration_values::Model) -> Self {
        let value = serde_json::from_str(&row.value).unwrap_or_default();
        Self {
            parameter_name: row.parameter_name,
            value: JsonScalar(value),
            changed_at: DateTime(Instant(row.occurred_at)),
        }
    }
}

impl ConfigurationValue {
    /// Bytes that it takes, roughly.
    pub(super) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.parameter_name.len() + json_bytes(&self.value.0)
    }
}

/// Why a command was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum UserErrorCode {
    /// Something that it names does not exist.
    NotFound,
    /// A value is out of its bounds.
    Invalid,
    /// It cannot be done in the state that the thing is in.
    WrongState,
    /// Somebody else changed the thing at the same time.
    Conflict,
}

/// Why a command was refused.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct UserError {
    /// The input field at fault.
    field: Option<String>,
    /// Why, for people.
    message: String,
    /// Why, for programs.
    code: UserErrorCode,
}

impl UserError {
    pub(super) fn new(field: &str, code: UserErrorCode, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            message: message.into(),
            code,
        }
    }

    fn of(refusal: Refusal) -> Self {
        let field = refusal.field.map(Cow::into_owned);
        Self {
            field,
            message: refusal.message,
            code: if matches!(refusal.code, Code::UnknownDevice | Code::UnknownSite) {
                UserErrorCode::NotFound
            } else {
                UserErrorCode::Invalid
            },
        }
    }
}

/// A job to be made, and started at once.
#[derive(Debug, InputObject)]
pub(super) struct CreateJobInput {
    /// What kind of job, such as FIRMWARE_UPDATE, RESTART, HEALTH_CHECK or LOG_COLLECTION.
    job_type: String,
    /// What the devices are given to do the job with.
    payload: Option<JsonScalar>,
    /// Devices to run it on.
    #[graphql(default)]
    device_ids: Vec<ID>,
    /// Sites on all of whose devices to run it, save those that are RETIRED.
    #[graphql(default)]
    site_ids: Vec<ID>,
    /// A repeat with the same key makes no second job; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// A job to be stopped.
#[derive(Debug, InputObject)]
pub(super) struct CancelJobInput {
    /// The job.
    job_id: ID,
    /// Why.
    reason: Option<String>,
}

/// The answer to a command on a job.
#[derive(Debug, SimpleObject)]
pub(super) struct JobPayload {
    /// The job as it stands now.
    job: Option<InOrder<Job>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<UserError>,
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
}

/// The event that a command ended in.
#[derive(Debug)]
pub(super) struct EventOf<const KIND: u8>(Arc<Event>);

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

/// Code of configuration changes in the tables.
const CONFIGURATION_CHANGE: u8 = 7;
/// Code of schedules in the tables.
const SITE_SCHEDULE: u8 = 8;

/// The answer to `setConfiguration`.
#[derive(Debug, SimpleObject)]
pub(super) struct SetConfigurationPayload {
    /// The change as it was recorded.
    change: Option<EventOf<CONFIGURATION_CHANGE>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The answer to `setSiteSchedule`.
#[derive(Debug, SimpleObject)]
pub(super) struct SetSiteSchedulePayload {
    /// The row as it was recorded.
    schedule: Option<EventOf<SITE_SCHEDULE>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The commands.
#[derive(Debug)]
pub(super) struct Commands;

#[Object]
impl Commands {
    /// Makes a job for devices or for all devices of sites, and starts it at once.
    async fn create_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: CreateJobInput,
    ) -> Result<JobPayload, Error> {
        let api = api(ctx);
        let strings = |ids: Vec<ID>| ids.into_iter().map(|id| id.0).collect::<Vec<_>>();
        let (devices, sites) = (strings(input.device_ids), strings(input.site_ids));
        let targets = jobs::resolve_targets(&api.ingest, &devices, &sites).await;
        let targets = match targets.map_err(|error| of_failed(api, &error))? {
            Ok(targets) => targets,
            Err(id) => {
                let field = if devices.contains(&id) {
                    "deviceIds"
                } else {
                    "siteIds"
                };
                let message = format!("{id} is not registered");
                return Ok(refused(UserError::new(
                    field,
                    UserErrorCode::NotFound,
                    message,
                )));
            }
        };
        let asked = || json!({ "deviceIds": devices, "siteIds": sites });
        let asked = (!sites.is_empty()).then(asked);
        let job_id = keyed_id(input.idempotency_key.as_deref(), "job");
        let payload = input.payload.map(|json| json.0);
        let created_by = OPERATOR.to_owned();
        let job = NewJob {
            job_id,
            job_type: input.job_type,
            payload,
            asked,
            targets,
            created_by,
        };
        let made = jobs::create(&api.ingest, job).await;
        job_payload(api, &job_id.to_string(), made).await
    }

    /// Stops a job: devices that have not ended it are CANCELLED. Stopping it again changes nothing.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and why.")] input: CancelJobInput,
    ) -> Result<JobPayload, Error> {
        let api = api(ctx);
        let done = jobs::cancel(
            &api.ingest,
            &input.job_id,
            OPERATOR,
            input.reason.as_deref(),
        )
        .await;
        job_payload(api, &input.job_id, done).await
    }

    /// Sets a parameter of a device, a site or the system; the value before is recorded with it.
    async fn set_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The parameter and its value.")] input: SetConfigurationInput,
    ) -> Result<SetConfigurationPayload, Error> {
        let api = api(ctx);
        let change = Change {
            entity_type: input.entity_type.word(),
            entity_id: input.entity_id.map(|id| id.0),
            parameter: input.parameter_name,
            value: input.value.0,
            changed_by: OPERATOR.to_owned(),
            reason: input.reason,
            event_id: input
                .idempotency_key
                .map(|key| keyed_id(Some(&key), "configuration")),
        };
        let refused = |error| {
            Ok(SetConfigurationPayload {
                change: None,
                user_errors: vec![error],
            })
        };
        match configuration::set(&api.ingest, change).await {
            Ok(outcome) => {
                let change = recorded(api, Kind::ConfigurationChange, &outcome).await?;
                Ok(SetConfigurationPayload {
                    change: change.map(EventOf),
                    user_errors: Vec::new(),
                })
            }
            Err(error @ ConfigurationError::Unknown { .. }) => refused(UserError::new(
                "entityId",
                UserErrorCode::NotFound,
                error.to_string(),
            )),
            Err(
                error @ (ConfigurationError::Unnamed { .. } | ConfigurationError::NotTheSystem),
            ) => refused(UserError::new(
                "entityId",
                UserErrorCode::Invalid,
                error.to_string(),
            )),
            Err(ConfigurationError::Refused(refusal)) => {
                let mut error = UserError::of(refusal);
                // the input calls it otherwise than the event
                if error.field.as_deref() == Some("newValue") {
                    error.field = Some("value".to_owned());
                }
                refused(error)
            }
            Err(error @ ConfigurationError::OtherRepeat) => refused(UserError::new(
                "idempotencyKey",
                UserErrorCode::Conflict,
                error.to_string(),
            )),
            Err(error @ ConfigurationError::Contended) => refused(UserError::new(
                "value",
                UserErrorCode::Conflict,
                error.to_string(),
            )),
            Err(ConfigurationError::Store(error)) => Err(of_failed(api, &error)),
            Err(ConfigurationError::Append(error)) => {
                Err(of_append(&api.background, api.ingest.clock().now(), &error))
            }
        }
    }

    /// Sets the hours of a site on a day of the week or on one date. They hold from now on.
    async fn set_site_schedule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The hours.")] input: SetSiteScheduleInput,
    ) -> Result<SetSiteSchedulePayload, Error> {
        let api = api(ctx);
        let now = api.ingest.clock().now();
        let event_id = input.key.map(|key| keyed_id(Some(&key), "schedule"));
        let refused = |error| {
            Ok(SetSiteSchedulePayload {
                schedule: None,
                user_errors: vec![error],
            })
        };
        let set = match kinds::parse(Kind::SiteSchedule, &input.hours, now) {
            Ok(hours) => schedule::set(&api.ingest, hours, event_id).await,
            Err(refusal) => Err(ScheduleError::Refused(refusal)),
        };
        match set {
            Ok(outcome) => {
                let schedule = recorded(api, Kind::SiteSchedule, &outcome).await?;
                Ok(SetSiteSchedulePayload {
                    schedule: schedule.map(EventOf),
                    user_errors: Vec::new(),
                })
            }
            Err(ScheduleError::Refused(refusal)) => refused(UserError::of(refusal)),
            Err(error @ ScheduleError::OtherRepeat) => refused(UserError::new(
                "idempotencyKey",
                UserErrorCode::Conflict,
                error.to_string(),
            )),
            Err(error @ ScheduleError::Contended) => {
                let field = "dayOfWeek";
                refused(UserError::new(
                    field,
                    UserErrorCode::Conflict,
                    error.to_string(),
                ))
            }
            Err(ScheduleError::Store(error)) => Err(of_failed(api, &error)),
            Err(ScheduleError::Append(error)) => Err(of_append(&api.background, now, &error)),
        }
    }
}

/// Namespace of the ids that follow from idempotency keys of commands.
const KEYS: RawUuid = RawUuid::from_u128(0x63a9_9c22_14ee_4fd5_a9cb_6d6f_3a5c_10e7);

fn keyed_id(key: Option<&str>, what: &str) -> RawUuid {
    key.map_or_else(RawUuid::now_v7, |key| {
        RawUuid::new_v5(&KEYS, format!("{what}/{key}").as_bytes())
    })
}

async fn recorded(api: &Api, kind: Kind, outcome: &Outcome) -> Result<Option<Arc<Event>>, Error> {
    let (Outcome::Recorded(position) | Outcome::Duplicate(position)) = outcome else {
        return Ok(None);
    };
    let event = api.store().event(*position).await;
    let event = event.map_err(|error| of_failed(api, &error))?;
    Ok(event.filter(|event| event.fact.kind == kind).map(Arc::new))
}

fn refused(error: UserError) -> JobPayload {
    JobPayload {
        job: None,
        user_errors: vec![error],
    }
}

async fn job_payload(
    api: &Api,
    job_id: &str,
    done: Result<(), JobError>,
) -> Result<JobPayload, Error> {
    let code = match &done {
        Ok(()) => None,
        Err(JobError::Unknown) => Some(("jobId", UserErrorCode::NotFound)),
        Err(JobError::Ended { .. }) => Some(("jobId", UserErrorCode::WrongState)),
        Err(JobError::Contended | JobError::Taken) => Some(("jobId", UserErrorCode::Conflict)),
        Err(JobError::NoTarget | JobError::TooManyTargets { .. }) => {
            Some(("deviceIds", UserErrorCode::Invalid))
        }
        Err(JobError::OtherRepeat) => {
            let field = "idempotencyKey";
            let message = JobError::OtherRepeat.to_string();
            return Ok(refused(UserError::new(
                field,
                UserErrorCode::Conflict,
                message,
            )));
        }
        Err(JobError::Refused(refusal)) => return Ok(refused(UserError::of(refusal.clone()))),
        Err(JobError::Store(error)) => return Err(of_failed(api, error)),
        Err(JobError::Append(error)) => {
            return Err(of_append(&api.background, api.ingest.clock().now(), error));
        }
    };
    let user_errors = match (code, done) {
        (Some((field, code)), Err(error)) => vec![UserError::new(field, code, error.to_string())],
        _ => Vec::new(),
    };
    let job = Job::read(api, job_id).await?.map(InOrder);
    Ok(JobPayload { job, user_errors })
}
