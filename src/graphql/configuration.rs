//! Configuration: parameters are registered, set and rolled back, and it is told what holds.

use async_graphql::{Context, Error, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::command::{
    UserError, UserErrorCode, What, door, keyed_id, reaches_device, reaches_site, tell_refused,
    unappended,
};
use super::commands::EventOf;
use super::configuration_values::{
    ConfigurationParameter, ConfigurationValue, EntityConfiguration,
};
use super::job::Job;
use super::order::InOrder;
use super::scalars::{JsonScalar, Long};
use super::words::{ConfigurationChangeTypes, ConfigurationEntities, Word};
use super::{Api, access, api, of_failed};
use crate::configuration::{
    self, ConfigurationError, Done, Parameter, ParameterChange, Registration, Rollback, SCOPES,
    SYSTEM, Setting, Thing,
};
use crate::event::json_bytes;
use crate::history::Within;
use crate::identity::Permission;

/// Code of evidence in the tables.
const EVIDENCE: u8 = 18;

/// A parameter to be registered.
#[derive(Debug, InputObject)]
pub(super) struct RegisterParameterInput {
    /// Its name; 1 to 255 characters.
    parameter_name: String,
    /// JSON Schema (draft 2020-12) of its values: at most 32 KiB, 16 levels deep, and without references. With
    /// `"sensitive": true` or `"writeOnly": true` its values are secret.
    schema: JsonScalar,
    /// What it is for; at most 1,000 characters.
    description: Option<String>,
    /// Whether its values are secret: sealed where they are kept, and told to the device alone.
    #[graphql(default)]
    sensitive: bool,
    /// On what it may be set; on everything when it is left out.
    scopes: Option<Vec<Word<ConfigurationEntities>>>,
    /// Refused as CONFLICT when the parameter has another `version`; "0" for one that is not registered.
    expected_version: Option<Long>,
    /// A repeat with the same key registers nothing anew; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// A parameter to be set.
#[derive(Debug, InputObject)]
pub(super) struct ParameterChangeInput {
    /// Its name.
    parameter_name: String,
    /// Its value, at most 32 KiB; null, or left out, unsets it, so that it is inherited.
    value: Option<JsonScalar>,
    /// Refused as CONFLICT when another value is set on the thing itself; null for none. Not of a sensitive
    /// parameter.
    expected_value: MaybeUndefined<JsonScalar>,
    /// Refused as CONFLICT when it was set on the thing itself with another version; "0" for never.
    expected_version: Option<Long>,
}

/// Parameters to be set, all or none.
#[derive(Debug, InputObject)]
pub(super) struct SetConfigurationInput {
    /// On what.
    entity_type: Word<ConfigurationEntities>,
    /// Id of the device or site; left out, or `system`, for the whole system.
    entity_id: Option<ID>,
    /// The parameters: 1 to 100, each once.
    changes: Vec<ParameterChangeInput>,
    /// Why.
    reason: Option<String>,
    /// How it came about; MANUAL when it is left out.
    change_type: Option<Word<ConfigurationChangeTypes>>,
    /// A repeat with the same key sets nothing anew; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
    /// Refused as CONFLICT when the device, site or system has another `version`; "0" for one on which nothing
    /// was ever set.
    expected_version: Option<Long>,
}

/// A device, a site or the system that is to be configured as it was.
#[derive(Debug, InputObject)]
pub(super) struct RollbackConfigurationInput {
    /// On what.
    entity_type: Word<ConfigurationEntities>,
    /// Id of the device or site; left out, or `system`, for the whole system.
    entity_id: Option<ID>,
    /// The version; "0" is before anything was set.
    to_version: Long,
    /// Why.
    reason: Option<String>,
    /// A repeat with the same key sets nothing anew; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
    /// Refused as CONFLICT when the device, site or system has another `version`.
    expected_version: Option<Long>,
}

/// The answer to `registerParameter`.
#[derive(Debug, SimpleObject)]
pub(super) struct RegisterParameterPayload {
    /// The parameter; null when the command was refused.
    parameter: Option<InOrder<ConfigurationParameter>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to a command that sets parameters.
#[derive(Debug, SimpleObject)]
pub(super) struct ConfigurationPayload {
    /// What is set on the thing now; null when the command was refused.
    configuration: Option<InOrder<EntityConfiguration>>,
    /// The version that the command made, of a repeat the one that it made then; null when it was refused.
    version: Option<Long>,
    /// The jobs by which devices are told; none when nothing changes for any. That a device has applied it is
    /// a `configurationChange`.
    jobs: Vec<InOrder<Job>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// What a device measured around a change.
#[derive(Debug, SimpleObject)]
pub(super) struct ChangeEvidence {
    /// The hour before, as it was known when the device applied the change.
    before: Option<EventOf<EVIDENCE>>,
    /// The hour after; null until it has passed, and when the device stands at a site out of reach by then.
    after: Option<EventOf<EVIDENCE>>,
}

/// What is asked of configuration.
#[derive(Debug)]
pub(super) struct Configurations;

#[Object]
impl Configurations {
    /// What holds on a device: of each parameter the value that is set on it, on its site or on the system, in
    /// this order, or else its default.
    async fn effective_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The device.")] device_id: ID,
    ) -> Result<Option<Vec<InOrder<ConfigurationValue>>>, Error> {
        let is_reached = !device_id.contains('\0') && reaches_device(ctx, &device_id).await?;
        let found = Thing::find(api(ctx).store(), "DEVICE", Some(&device_id)).await;
        if !is_reached || there(ctx, found)?.is_none() {
            return Ok(None);
        }
        super::fleet::configured(ctx, "DEVICE", &device_id)
            .await
            .map(Some)
    }

    /// What is set on a device, a site or the system, and its versions.
    async fn configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "On what.")] entity_type: Word<ConfigurationEntities>,
        #[graphql(desc = "Id of the device or site; left out, or `system`, for the system.")]
        entity_id: Option<ID>,
    ) -> Result<Option<InOrder<EntityConfiguration>>, Error> {
        let found = thing(ctx, (&entity_type, entity_id.as_ref())).await?;
        let Some(thing) = there(ctx, found)? else {
            return Ok(None);
        };
        let of = (thing.entity_type.as_str(), thing.entity_id.as_str());
        let read = EntityConfiguration::read(ctx, of, &["values", "value"]).await?;
        Ok(Some(InOrder(read)))
    }

    /// The parameters that may be set, by their names.
    async fn configuration_parameters(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<InOrder<ConfigurationParameter>>>, Error> {
        let (api, loaders) = (api(ctx), super::loaders(ctx));
        let parameters = configuration::parameters(api.store(), None, loaders.allowance()).await;
        let parameters = parameters.map_err(|error| of_failed(api, &error))?;
        loaders.count(parameters.len())?;
        let schemas = parameters.iter().map(|one| json_bytes(&one.schema));
        super::take_each_time(ctx, &["schema"], schemas.sum())?;
        let parameters = parameters.into_iter().map(|one| InOrder(one.into()));
        Ok(Some(parameters.collect()))
    }

    /// What a device measured around the changes that it applied with a command.
    async fn change_evidence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The command: `commandId` of a `configurationChange`.")] command_id: ID,
    ) -> Result<Option<InOrder<ChangeEvidence>>, Error> {
        let (api, caller) = (api(ctx), access::caller(ctx));
        let [before, after] = configuration::evidence_of(api.store(), &command_id)
            .await
            .map_err(|error| of_failed(api, &error))?;
        let is_seen = |event: &std::sync::Arc<crate::event::Event>| {
            access::sees(caller, api.store().names(), event)
        };
        let Some(before) = before.filter(is_seen) else {
            return Ok(None);
        };
        Ok(Some(InOrder(ChangeEvidence {
            before: Some(EventOf(before)),
            after: after.filter(is_seen).map(EventOf),
        })))
    }
}

/// The commands on configuration.
#[derive(Debug)]
pub(super) struct ConfigurationCommands;

#[Object]
impl ConfigurationCommands {
    /// Registers a parameter, or registers it anew. What is set already stays as it is.
    async fn register_parameter(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The parameter.")] input: RegisterParameterInput,
    ) -> Result<InOrder<RegisterParameterPayload>, Error> {
        let (caller, key) = (access::caller(ctx), input.idempotency_key.as_deref());
        let deed = ("registerParameter", Some(input.parameter_name.clone()));
        let scopes = match input.scopes {
            Some(scopes) => scopes.iter().map(Word::word).collect(),
            None => SCOPES.map(str::to_owned).to_vec(),
        };
        let registration = Registration {
            parameter: Parameter {
                name: input.parameter_name,
                version: 0,
                schema: input.schema.0,
                description: input.description,
                sensitive: input.sensitive,
                scopes,
            },
            by: caller.name.to_string(),
            expected: input.expected_version.map(|version| version.0),
            event_id: key.map(|key| keyed_id(caller, Some(key), "parameter")),
        };
        let registered = configuration::register(&door(ctx, &deed), registration).await;
        Ok(InOrder(match registered {
            Ok(parameter) => RegisterParameterPayload {
                parameter: Some(InOrder(parameter.into())),
                user_errors: Vec::new(),
            },
            Err(error) => RegisterParameterPayload {
                parameter: None,
                user_errors: refused(ctx, &deed, error).await?,
            },
        }))
    }

    /// Sets parameters of a device, a site or the system, all or none. Devices for which something changes are
    /// told by jobs; what they apply is recorded when they say that they have.
    async fn set_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The parameters and their values.")] input: SetConfigurationInput,
    ) -> Result<InOrder<ConfigurationPayload>, Error> {
        let of = (&input.entity_type, input.entity_id.as_ref());
        let names = input.changes.iter().map(|one| one.parameter_name.as_str());
        let names = names.collect::<Vec<_>>().join(" ");
        let deed = ("setConfiguration", Some(target(of, &names)));
        let (caller, key) = (access::caller(ctx), input.idempotency_key.as_deref());
        let thing = commanded(ctx, of).await?;
        let change_type = input.change_type.map(|word| word.word());
        let setting = |thing| Setting {
            thing,
            changes: input.changes.into_iter().map(change).collect(),
            by: caller.name.to_string(),
            reason: input.reason,
            change_type: change_type.unwrap_or_else(|| "MANUAL".to_owned()),
            command: key.map(|key| keyed_id(caller, Some(key), "configuration")),
            expected: input.expected_version.map(|version| version.0),
        };
        let door = door(ctx, &deed);
        let done = match &thing {
            Ok(thing) => {
                let keyring = &api(ctx).keyring;
                configuration::set(&door, keyring, setting(thing.clone())).await
            }
            Err(_) => Err(ConfigurationError::NotAllowed),
        };
        payload(ctx, deed, (thing, done)).await
    }

    /// Sets on a device, a site or the system what was set on it at an earlier version, and unsets what was not,
    /// as a new version. When all of it is so already, nothing changes.
    async fn rollback_configuration(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What, and to which version.")] input: RollbackConfigurationInput,
    ) -> Result<InOrder<ConfigurationPayload>, Error> {
        let of = (&input.entity_type, input.entity_id.as_ref());
        let deed = ("rollbackConfiguration", Some(target(of, "")));
        let (caller, key) = (access::caller(ctx), input.idempotency_key.as_deref());
        let thing = commanded(ctx, of).await?;
        let rollback = |thing| Rollback {
            thing,
            to_version: input.to_version.0,
            by: caller.name.to_string(),
            reason: input.reason,
            command: key.map(|key| keyed_id(caller, Some(key), "rollback")),
            expected: input.expected_version.map(|version| version.0),
        };
        let done = match &thing {
            Ok(thing) => configuration::rollback(&door(ctx, &deed), rollback(thing.clone())).await,
            Err(_) => Err(ConfigurationError::NotAllowed),
        };
        payload(ctx, deed, (thing, done)).await
    }
}

fn change(input: ParameterChangeInput) -> ParameterChange {
    let value = |json: JsonScalar| (!json.0.is_null()).then_some(json.0);
    ParameterChange {
        parameter: input.parameter_name,
        value: input.value.and_then(value),
        expected_value: match input.expected_value {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(json) => Some(value(json)),
        },
        expected_version: input.expected_version.map(|version| version.0),
    }
}

type Of<'a> = (&'a Word<ConfigurationEntities>, Option<&'a ID>);

/// What a command is given on, for the audit.
fn target((entity_type, id): Of<'_>, parameters: &str) -> String {
    let id = id.map_or(SYSTEM, |id| id.as_str());
    let target = format!("{} {id} {parameters}", entity_type.word());
    target.trim_end().to_owned()
}

/// The thing that is named, if it is there and within reach.
async fn thing(
    ctx: &Context<'_>,
    (entity_type, id): Of<'_>,
) -> Result<Result<Thing, ConfigurationError>, Error> {
    let word = entity_type.word();
    let id = id.map(|id| id.as_str());
    let (is_reached, what) = match (word.as_str(), id) {
        (_, Some(id)) if id.contains('\0') => (true, "thing"),
        ("DEVICE", Some(id)) => (reaches_device(ctx, id).await?, "device"),
        ("SITE", Some(id)) => (reaches_site(ctx, id).await?, "site"),
        ("DEVICE" | "SITE", None) => (true, "thing"),
        _ if access::within(ctx).await? != Within::Whole => {
            return Ok(Err(ConfigurationError::Bound));
        }
        _ => (true, "system"),
    };
    if !is_reached {
        let id = id.unwrap_or_default().to_owned();
        return Ok(Err(ConfigurationError::Unknown { what, id }));
    }
    Ok(Thing::find(api(ctx).store(), &word, id).await)
}

/// The thing that a command is given on. The system is for administrators.
async fn commanded(
    ctx: &Context<'_>,
    of: Of<'_>,
) -> Result<Result<Thing, ConfigurationError>, Error> {
    let found = thing(ctx, of).await?;
    let is_system = found
        .as_ref()
        .is_ok_and(|thing| thing.entity_type == "SYSTEM");
    if is_system && !access::caller(ctx).may(Permission::Administer) {
        return Ok(Err(ConfigurationError::NotAllowed));
    }
    Ok(found)
}

/// The thing, for a query: what is not there is null.
fn there(
    ctx: &Context<'_>,
    found: Result<Thing, ConfigurationError>,
) -> Result<Option<Thing>, Error> {
    match found {
        Ok(thing) => Ok(Some(thing)),
        Err(ConfigurationError::Store(error)) => Err(of_failed(api(ctx), &error)),
        Err(_) => Ok(None),
    }
}

async fn payload(
    ctx: &Context<'_>,
    deed: What<'_>,
    (thing, done): (
        Result<Thing, ConfigurationError>,
        Result<Done, ConfigurationError>,
    ),
) -> Result<InOrder<ConfigurationPayload>, Error> {
    // what is said of the thing goes before
    let done = thing.and_then(|thing| done.map(|done| (thing, done)));
    let (thing, done) = match done {
        Ok(done) => done,
        Err(error) => {
            return Ok(InOrder(ConfigurationPayload {
                configuration: None,
                version: None,
                jobs: Vec::new(),
                user_errors: refused(ctx, &deed, error).await?,
            }));
        }
    };
    let of = (thing.entity_type.as_str(), thing.entity_id.as_str());
    let mut jobs = Vec::with_capacity(done.jobs.len());
    for job in &done.jobs {
        jobs.extend(Job::of(ctx, job).await?.map(InOrder));
    }
    super::loaders(ctx).count(jobs.len())?;
    let path = ["configuration", "values", "value"];
    let configuration = EntityConfiguration::read(ctx, of, &path).await?;
    Ok(InOrder(ConfigurationPayload {
        configuration: Some(InOrder(configuration)),
        version: Some(Long(done.version)),
        jobs,
        user_errors: Vec::new(),
    }))
}

/// What a command was refused for, which is told in the audit too; or its failure.
async fn refused(
    ctx: &Context<'_>,
    deed: &What<'_>,
    error: ConfigurationError,
) -> Result<Vec<InOrder<UserError>>, Error> {
    let error = of_configuration(api(ctx), error)?;
    tell_refused(ctx, deed, &error).await?;
    Ok(vec![InOrder(error)])
}

/// For what nothing was configured, unless that failed.
fn of_configuration(api: &Api, error: ConfigurationError) -> Result<UserError, Error> {
    use ConfigurationError as E;
    let told = error.to_string();
    let of_change = |index: usize, field: &str| format!("changes.{index}.{field}");
    let (field, code) = match error {
        E::Unknown { .. } => ("entityId".to_owned(), UserErrorCode::NotFound),
        E::Scopes(_) => ("scopes".to_owned(), UserErrorCode::Invalid),
        E::Bound => ("entityType".to_owned(), UserErrorCode::NotAllowed),
        E::NotAllowed => ("entityType".to_owned(), UserErrorCode::NotAllowed),
        E::Unnamed { .. } | E::NotTheSystem => ("entityId".to_owned(), UserErrorCode::Invalid),
        E::Contended => ("changes".to_owned(), UserErrorCode::Conflict),
        E::Stale { .. } => ("expectedVersion".to_owned(), UserErrorCode::Conflict),
        E::StaleParameter { index, field } => (of_change(index, field), UserErrorCode::Conflict),
        E::Change { index, field, .. } => (of_change(index, field), UserErrorCode::Invalid),
        E::Unregistered { index } => (of_change(index, "parameterName"), UserErrorCode::NotFound),
        E::Seal(_) => ("changes".to_owned(), UserErrorCode::NoKey),
        E::Changes => ("changes".to_owned(), UserErrorCode::Invalid),
        E::TooManyJobs => ("changes".to_owned(), UserErrorCode::TooMany),
        E::NoVersion(_) => ("toVersion".to_owned(), UserErrorCode::NotFound),
        E::NoValue { .. } => ("toVersion".to_owned(), UserErrorCode::Invalid),
        E::Schema(_) => ("schema".to_owned(), UserErrorCode::Invalid),
        E::Sensitivity => ("sensitive".to_owned(), UserErrorCode::Invalid),
        E::TooManyParameters => ("parameterName".to_owned(), UserErrorCode::TooMany),
        E::OtherRepeat => ("idempotencyKey".to_owned(), UserErrorCode::Conflict),
        E::Refused(refusal) => return Ok(UserError::of(refusal)),
        E::Job(crate::jobs::JobError::Refused(_)) => {
            let told = "all values together have more than 65536 bytes: set fewer at once";
            let field = "changes";
            return Ok(UserError::new(field, UserErrorCode::TooMany, told));
        }
        E::Job(_) => ("changes".to_owned(), UserErrorCode::TooMany),
        E::Store(error) => return Err(of_failed(api, &error)),
        E::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(&field, code, told))
}
