//! The protocol of devices: the commands that are for them, and what they answer.

use std::cmp::Reverse;
use std::collections::HashMap;

use async_graphql::{
    ComplexObject, Context, Error, ID, InputObject, Object, SimpleObject, Subscription,
};
use futures_util::Stream;
use serde_json::Value as Json;

use super::command::{UserError, UserErrorCode, unappended};
use super::error::{ErrorCode, error};
use super::job_input::JobPriority;
use super::listed::at_most;
use super::obeying::{Rest, Waiting};
use super::order::InOrder;
use super::scalars::{DateTime, JsonScalar, Long};
use super::subscription::resumed;
use super::words::{CommandStates, JobStatuses, Word};
use super::{Api, access, api, cursor, of_failed};
use crate::configuration;
use crate::event::{Position, Provenance, json_bytes};
use crate::history::Within;
use crate::history::jobs::JobRow;
use crate::identity::Reach;
use crate::jobs::machine::{Ended, Step};
use crate::jobs::{
    self, Answer, COMMANDS_MAX, Command, CommandError, CommandId, Happening, acknowledge, complete,
};
use crate::store::{Allowance, EntityType, Place};

/// Commands of a page when no number is given.
const COMMANDS_DEFAULT: usize = 100;
/// Commands that a stream reads at once: each may be of a job of its own, with all that it is to be done with.
const FOLLOWED_AT_ONCE: usize = 50;

/// Something that a device is to do.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct DeviceCommand {
    /// Its id, for `acknowledgeCommand` and `completeCommand`. A device does what has an id that it has not
    /// done yet.
    command_id: ID,
    /// The job that it is part of.
    job_id: ID,
    /// What is to be done: a type of job, or the name of a CUSTOM one.
    job_type: String,
    /// The device that is to do it.
    device_id: ID,
    /// Which command of the job to the device it is, from 1: more than 1 is a retry.
    attempt: i32,
    /// In which order a device takes commands of several jobs.
    priority: JobPriority,
    /// ISSUED or ACKNOWLEDGED, or CANCELLED when it was taken back or its time was over: a device that is at
    /// work on it may give it up.
    state: Word<CommandStates>,
    /// Since when, by the clock of the server.
    since: DateTime,
    /// When it is over, unless it is acknowledged, or once that is done, ended before. One of a job that is
    /// done in maintenance windows alone is taken back with the window, if it was not acknowledged by then.
    expires_at: DateTime,
    /// Seconds that the device has to end it once it has acknowledged it.
    timeout_seconds: i32,
    #[graphql(skip)]
    command: Command,
    #[graphql(skip)]
    is_withdrawn: bool,
}

#[ComplexObject]
impl DeviceCommand {
    /// What it is to be done with. Values of sensitive parameters are told to the device itself, by a key of
    /// its own, and are `***` to everybody else.
    async fn payload(&self, ctx: &Context<'_>) -> Option<JsonScalar> {
        let (api, command) = (api(ctx), &self.command);
        let payload = payload_of(&command.job)?;
        let reach = &access::caller(ctx).reach;
        let is_own = matches!(reach, Reach::Device(id) if **id == *command.id.device_id);
        Some(JsonScalar(if is_own && !self.is_withdrawn {
            configuration::opened(api.store(), &api.keyring, command, payload)
        } else {
            payload
        }))
    }
}

fn payload_of(job: &JobRow) -> Option<Json> {
    serde_json::from_str(job.payload.as_deref()?).ok()
}

impl DeviceCommand {
    fn of(command: Command, is_withdrawn: bool) -> Self {
        let plan = &command.plan;
        let (state, seconds) = match command.step {
            _ if is_withdrawn => ("CANCELLED", 0),
            Step::Acknowledged => ("ACKNOWLEDGED", plan.timeout_seconds),
            Step::Issued | Step::Waiting => ("ISSUED", plan.time_to_live_seconds),
        };
        let int = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let expires_at = command.since.plus_ms(i64::from(seconds) * 1_000);
        Self {
            command_id: ID(command.id.to_string()),
            job_id: ID(command.id.job_id.clone()),
            job_type: command.job.job_type.clone(),
            device_id: ID(command.id.device_id.clone()),
            attempt: int(command.id.attempt),
            priority: plan.priority.into(),
            state: Word::known(state),
            since: DateTime(command.since),
            expires_at: DateTime(expires_at),
            timeout_seconds: int(plan.timeout_seconds),
            command,
            is_withdrawn,
        }
    }
}

/// A command that was given to a device, or taken back.
#[derive(Debug, SimpleObject)]
pub(super) struct DeviceCommandEvent {
    /// As `after`: what comes next.
    cursor: String,
    /// The command.
    command: InOrder<DeviceCommand>,
}

/// A device has a command and works on it.
#[derive(Debug, InputObject)]
pub(super) struct AcknowledgeCommandInput {
    /// The command.
    command_id: ID,
}

/// A command has ended.
#[derive(Debug, InputObject)]
pub(super) struct CompleteCommandInput {
    /// The command.
    command_id: ID,
    /// COMPLETED, FAILED (the device tried and failed: it may be told to try again) or ERROR (it cannot do it:
    /// it does not know how, or it does not apply to it).
    status: Word<JobStatuses>,
    /// Milliseconds that the device worked on it; measured from its acknowledgement when it is left out.
    duration_ms: Option<Long>,
    /// Code of the failure.
    error_code: Option<String>,
    /// What went wrong, for people.
    error_message: Option<String>,
    /// What the device gives back, such as what it has found; at most 64 KiB.
    result: Option<JsonScalar>,
}

/// The answer to what a device says of a command.
#[derive(Debug, SimpleObject)]
pub(super) struct CommandPayload {
    /// The command that it was said of; null when it does not count.
    command_id: Option<ID>,
    /// Why it does not count; empty when it does.
    user_errors: Vec<InOrder<UserError>>,
}

/// The queries of devices.
#[derive(Debug)]
pub(super) struct DeviceQueries;

#[Object]
impl DeviceQueries {
    /// The commands that are open: of a device, the most urgent first and then the oldest, or the oldest of
    /// all devices within reach when none is named.
    async fn pending_commands(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this device.")] device_id: Option<ID>,
        #[graphql(desc = "Commands at most; 100 when it is left out, 1000 at most.")] first: Option<
            i32,
        >,
    ) -> Result<Option<Vec<InOrder<DeviceCommand>>>, Error> {
        let limit = match first {
            None => COMMANDS_DEFAULT,
            Some(first) => at_most("first", first, COMMANDS_MAX)?,
        };
        let (api, loaders) = (api(ctx), super::loaders(ctx));
        let within = access::within(ctx).await?;
        let allowance = loaders.allowance();
        let device_key = device(ctx, &within, device_id.as_ref()).await?;
        let commands = if let Some(key) = device_key {
            jobs::most_urgent(api.store(), (&within, key), limit, allowance).await
        } else {
            let page = (Position(0), limit);
            jobs::pending(api.store(), (&within, None), page, allowance).await
        };
        let mut commands = commands.map_err(|error| of_failed(api, &error))?;
        commands.sort_by_key(|one| (Reverse(one.plan.priority), one.position));
        loaders.count(commands.len())?;
        take_payloads(ctx, &["payload"], &commands)?;
        let commands = commands.into_iter();
        let shown = commands.map(|one| InOrder(DeviceCommand::of(one, false)));
        Ok(Some(shown.collect()))
    }
}

/// What devices say of commands.
#[derive(Debug)]
pub(super) struct DeviceAnswers;

#[Object]
impl DeviceAnswers {
    /// Tells that a device has a command and works on it. Telling it again changes nothing.
    async fn acknowledge_command(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which command.")] input: AcknowledgeCommandInput,
    ) -> Result<InOrder<CommandPayload>, Error> {
        let id = reached(ctx, &input.command_id).await?;
        let by = &*access::caller(ctx).name;
        let told = match &id {
            Some(id) => acknowledge(&api(ctx).ingest, id, (by, Provenance::Real)).await,
            None => Err(CommandError::Unknown),
        };
        answered(ctx, input.command_id, told)
    }

    /// Tells how a command ended on a device. Telling the same again changes nothing.
    async fn complete_command(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which command, and how it ended.")] input: CompleteCommandInput,
    ) -> Result<InOrder<CommandPayload>, Error> {
        let id = reached(ctx, &input.command_id).await?;
        let by = &*access::caller(ctx).name;
        let Some(ended) = ended(&input.status.word()) else {
            let message = "status is COMPLETED, FAILED or ERROR";
            let error = UserError::new("status", UserErrorCode::Invalid, message);
            return Ok(refused(error));
        };
        let answer = Answer {
            ended,
            duration_ms: input.duration_ms.map(|ms| ms.0),
            error_code: input.error_code,
            error_message: input.error_message,
            result: input.result.map(|result| result.0),
            provenance: Provenance::Real,
        };
        let told = match &id {
            Some(id) => {
                let api = api(ctx);
                complete(&api.ingest, (id, Some(&api.keyring)), (&answer, by)).await
            }
            None => Err(CommandError::Unknown),
        };
        answered(ctx, input.command_id, told)
    }
}

/// Ends that a device tells of itself.
fn ended(word: &str) -> Option<Ended> {
    match Ended::of_word(word)? {
        told @ (Ended::Completed | Ended::Failed | Ended::Error) => Some(told),
        Ended::Timeout | Ended::Cancelled => None,
    }
}

/// The command of an id, if it is to a device within reach.
async fn reached(ctx: &Context<'_>, id: &ID) -> Result<Option<CommandId>, Error> {
    let Some(id) = CommandId::read(id) else {
        return Ok(None);
    };
    let within = access::within(ctx).await?;
    let store = api(ctx).store();
    let key = store.key(EntityType::Device, &id.device_id).await;
    let key = key.map_err(|error| of_failed(api(ctx), &error))?;
    let is_reached = key.is_some_and(|key| within.reaches_device(store.names(), key));
    Ok(is_reached.then_some(id))
}

/// The key of the device that is named, or of the one that the caller is; `None` for all within reach.
async fn device(ctx: &Context<'_>, within: &Within, id: Option<&ID>) -> Result<Option<i64>, Error> {
    let own = match &access::caller(ctx).reach {
        Reach::Device(id) => Some(id.to_string()),
        Reach::Whole | Reach::Sites(_) => None,
    };
    let Some(id) = id.map(|id| id.0.clone()).or(own) else {
        return Ok(None);
    };
    let store = api(ctx).store();
    let key = if id.contains('\0') {
        None
    } else {
        let key = store.key(EntityType::Device, &id).await;
        key.map_err(|error| of_failed(api(ctx), &error))?
    };
    let key = key.filter(|key| within.reaches_device(store.names(), *key));
    let message = || format!("there is no device {id}");
    key.map(Some)
        .ok_or_else(|| error(ErrorCode::NotFound, message()))
}

fn answered(
    ctx: &Context<'_>,
    command_id: ID,
    told: Result<(), CommandError>,
) -> Result<InOrder<CommandPayload>, Error> {
    let Err(error) = told else {
        return Ok(InOrder(CommandPayload {
            command_id: Some(command_id),
            user_errors: Vec::new(),
        }));
    };
    let message = error.to_string();
    let code = match error {
        CommandError::Unknown => UserErrorCode::NotFound,
        CommandError::Over { .. } => UserErrorCode::Expired,
        CommandError::Contended => UserErrorCode::Conflict,
        CommandError::Refused(refusal) => return Ok(refused(UserError::of(refusal))),
        CommandError::Store(error) => return Err(of_failed(api(ctx), &error)),
        CommandError::Append(error) => return Err(unappended(api(ctx), &error)),
        CommandError::Job(_) => UserErrorCode::Conflict,
    };
    Ok(refused(UserError::new("commandId", code, message)))
}

fn refused(error: UserError) -> InOrder<CommandPayload> {
    InOrder(CommandPayload {
        command_id: None,
        user_errors: vec![InOrder(error)],
    })
}

/// Takes what commands are, and what they are to be done with each time that it is asked for under a field, by
/// the names down to it. Several may be of one job.
fn take_payloads(ctx: &Context<'_>, path: &[&str], commands: &[Command]) -> Result<(), Error> {
    super::take(
        ctx,
        size_of_val(commands) + commands.len() * size_of::<DeviceCommand>(),
    )?;
    if super::times(ctx.field(), path) == 0 {
        return Ok(());
    }
    let mut of_jobs: HashMap<&str, usize> = HashMap::new();
    let bytes = commands.iter().map(|command| {
        let of_job = of_jobs.entry(&command.job.job_id);
        *of_job.or_insert_with(|| payload_of(&command.job).as_ref().map_or(0, json_bytes))
    });
    super::take_each_time(ctx, path, bytes.sum())
}

/// The streams of devices.
#[derive(Debug)]
pub(super) struct DeviceStreams;

#[Subscription]
impl DeviceStreams {
    /// The commands to a device, or to all devices within reach when none is named: first those that are
    /// open, then each as it is given or taken back. A command may come more than once, and never less: a
    /// device does what has an id that it has not done yet.
    async fn device_commands(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "To this device.")] device_id: Option<ID>,
        #[graphql(
            desc = "Leaves out what was given before this place: of what is open, all that is newer is told."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<DeviceCommandEvent>, Error>>, Error> {
        let api = api(ctx).clone();
        let loaders = super::loaders(ctx);
        let rest = ctx.data_opt::<Rest>().cloned();
        let (mut at, mut is_to_be_read) = match rest.as_ref().and_then(Rest::take) {
            Some(at) => (at, false),
            // what begins it is not held while it is followed
            None => (Box::pin(begun(ctx, device_id, after)).await?, true),
        };
        Ok(async_stream::stream! {
            loop {
                let mut happenings = Vec::new();
                if is_to_be_read {
                    // what reads is not held while nothing is to be read
                    match Box::pin(open(&api, &at, loaders.allowance())).await {
                        Ok(open) => happenings = open,
                        Err(error) => {
                            yield Err(error);
                            break;
                        }
                    }
                    // there may be more than are read at once
                    is_to_be_read = happenings.len() == FOLLOWED_AT_ONCE;
                } else {
                    let happened = match &rest {
                        Some(_) => at.followed.happened(),
                        None => at.followed.next().await,
                    };
                    match (happened, &rest) {
                        (None, _) => is_to_be_read = true,
                        (Some(happened), Some(rest)) if happened.is_empty() => {
                            rest.put(at);
                            break;
                        }
                        (Some(happened), _) => {
                            let is_new = |happening: &Happening| is_to_be_told(&api, &at, happening);
                            happenings.extend(happened.into_iter().filter(is_new));
                        }
                    }
                }
                for happening in happenings {
                    at.upto = at.upto.max(command_of(&happening).position);
                    let command = std::slice::from_ref(command_of(&happening));
                    let taken = take_payloads(ctx, &["command", "payload"], command);
                    yield taken.map(|()| InOrder(told(&api, happening)));
                    loaders.begin();
                }
            }
        })
    }
}

fn is_to_be_told(api: &Api, at: &Waiting, happening: &Happening) -> bool {
    let command = command_of(happening);
    let names = api.store().names();
    command.position > at.upto && at.within.reaches_device(names, command.device_key)
}

/// Whose commands are followed, and after which place.
async fn begun(
    ctx: &Context<'_>,
    device_id: Option<ID>,
    after: Option<String>,
) -> Result<Waiting, Error> {
    let within = access::within(ctx).await?;
    let device_key = device(ctx, &within, device_id.as_ref()).await?;
    let upto = match resumed(ctx, after.as_deref()) {
        Some(text) => cursor::read_to_follow(api(ctx), text, Some(&[])).await?,
        None => Position(0),
    };
    Ok(Waiting {
        within,
        device_key,
        upto,
        followed: api(ctx).deliveries.follow(device_key),
    })
}

/// The commands that are open and moved last behind a place, in the order of their places; so many at most
/// as are read at once.
async fn open(api: &Api, at: &Waiting, allowance: &Allowance) -> Result<Vec<Happening>, Error> {
    let (of, page) = ((&at.within, at.device_key), (at.upto, FOLLOWED_AT_ONCE));
    let commands = jobs::pending(api.store(), of, page, allowance).await;
    let commands = commands.map_err(|error| of_failed(api, &error))?;
    Ok(commands.into_iter().map(Happening::Issued).collect())
}

fn command_of(happening: &Happening) -> &Command {
    let (Happening::Issued(command) | Happening::Withdrawn(command)) = happening;
    command
}

fn told(api: &Api, happening: Happening) -> DeviceCommandEvent {
    let is_withdrawn = matches!(happening, Happening::Withdrawn(_));
    let (Happening::Issued(command) | Happening::Withdrawn(command)) = happening;
    let place = Place {
        position: command.position,
        occurred_at: command.since,
    };
    DeviceCommandEvent {
        cursor: cursor::write(api.store().identity(), place),
        command: InOrder(DeviceCommand::of(command, is_withdrawn)),
    }
}
