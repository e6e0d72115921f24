//! What is the same for all commands: that they are told in the audit, what they are refused for, what is
//! within the reach of who gives them, and that a repeat does nothing.

use std::borrow::Cow;

use async_graphql::{Context, Enum, Error, SimpleObject};
use uuid::Uuid;

use super::error::of_append;
use super::job::Job;
use super::{Api, access, api, of_failed};
use crate::event::own_id;
use crate::history::{Within, jobs};
use crate::identity::{Caller, Deed};
use crate::ingest::Ingest;
use crate::kinds::{Code, Refusal};
use crate::store::{AppendError, EntityType};

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
    /// It would be for nothing: no device is found.
    NoTarget,
    /// It is for more than one command may be for.
    TooMany,
    /// It would never begin.
    NeverStarts,
    /// It came when its time was over.
    Expired,
    /// Whoever gives it may not.
    NotAllowed,
    /// This server has no key for what is secret.
    NoKey,
    /// This server has no SMTP server to mail with.
    NoMail,
    /// This server has nowhere to keep files.
    NoStorage,
    /// There is no room for it in what its account may have.
    NoRoom,
}

/// Why a command was refused.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct UserError {
    /// The input field at fault.
    pub(super) field: Option<String>,
    /// Why, for people.
    pub(super) message: String,
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

    /// Of one of the rows that a command is given.
    pub(super) fn of_row(index: usize, refusal: Refusal) -> Self {
        let mut error = Self::of(refusal);
        error.field = Some(match error.field {
            Some(field) => format!("rows.{index}.{field}"),
            None => format!("rows.{index}"),
        });
        error
    }

    pub(super) fn of(refusal: Refusal) -> Self {
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

/// A command, and what it is given on.
pub(super) type What<'a> = (&'a str, Option<String>);

fn deed(ctx: &Context<'_>, (operation, target): &What<'_>) -> Deed {
    let (caller, now) = (access::caller(ctx), api(ctx).ingest.clock().now());
    let deed = Deed::command(caller, operation, now).from(caller.network.as_deref());
    match target {
        Some(target) => deed.to(target),
        None => deed,
    }
}

/// The door for a command: what it records is told in the audit in the same commit, and once.
pub(super) fn door(ctx: &Context<'_>, what: &What<'_>) -> Ingest {
    let entry = deed(ctx, what).entry().map(|mut entry| {
        entry.fact.event_id = Some(Uuid::now_v7());
        entry
    });
    api(ctx).ingest.audited(entry.ok())
}

/// Tells in the audit that a command was done that records nothing else. It waits while the log is full: who
/// is answered that nothing was done must not have done it.
pub(super) async fn tell_done(ctx: &Context<'_>, what: &What<'_>) -> Result<(), Error> {
    let entry = deed(ctx, what).entry();
    let ingest = &api(ctx).ingest;
    let told = ingest.tell(entry.into_iter().collect()).await;
    told.map(drop).map_err(|error| unappended(api(ctx), &error))
}

/// Tells in the audit for what a command was refused.
pub(super) async fn tell_refused(
    ctx: &Context<'_>,
    what: &What<'_>,
    error: &UserError,
) -> Result<(), Error> {
    let entry = deed(ctx, what).refused(&error.message).entry();
    let ingest = &api(ctx).ingest;
    let told = ingest.command(entry.into_iter().collect(), None).await;
    told.map(drop).map_err(|error| unappended(api(ctx), &error))
}

/// What is said of a command that could not be appended.
pub(super) fn unappended(api: &Api, error: &AppendError) -> Error {
    of_append(&api.background, api.ingest.clock().now(), error)
}

/// Namespace of the ids that follow from idempotency keys of commands.
const KEYS: Uuid = Uuid::from_u128(0x63a9_9c22_14ee_4fd5_a9cb_6d6f_3a5c_10e7);

/// The id of what a command makes: of the same key of the same caller it is the same.
pub(super) fn keyed_id(caller: &Caller, key: Option<&str>, what: &str) -> Uuid {
    key.map_or_else(Uuid::now_v7, |key| {
        let key = caller.reach.own(key);
        own_id(&KEYS, format!("{what}/{key}").as_bytes())
    })
}

/// Whether the caller reaches a site, if there is such a one.
pub(super) async fn reaches_site(ctx: &Context<'_>, id: &str) -> Result<bool, Error> {
    let within = access::within(ctx).await?;
    if within == Within::Whole {
        return Ok(true);
    }
    let key = api(ctx).store().key(EntityType::Site, id).await;
    let key = key.map_err(|error| of_failed(api(ctx), &error))?;
    Ok(key.is_some_and(|key| within.has_site(key)))
}

/// Whether the caller reaches a device, if there is such a one.
pub(super) async fn reaches_device(ctx: &Context<'_>, id: &str) -> Result<bool, Error> {
    let within = access::within(ctx).await?;
    if within == Within::Whole {
        return Ok(true);
    }
    let store = api(ctx).store();
    let key = store.key(EntityType::Device, id).await;
    let key = key.map_err(|error| of_failed(api(ctx), &error))?;
    Ok(key.is_some_and(|key| within.reaches_device(store.names(), key)))
}

/// How much of a job is within reach of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// All of it.
    Wholly,
    /// Some of its devices, which is all that the caller sees of it.
    Partly,
    /// Nothing, or there is no such job.
    Not,
}

/// How much of a job is within: it is commanded wholly or not at all.
pub(super) async fn reached(
    ctx: &Context<'_>,
    within: &Within,
    job_id: &str,
) -> Result<Reached, Error> {
    if job_id.contains('\0') {
        // no id has it, and PostgreSQL takes no such text
        return Ok(Reached::Not);
    }
    if *within == Within::Whole {
        return Ok(Reached::Wholly);
    }
    let store = api(ctx).store();
    let targets = jobs::targets(store, job_id).await;
    let targets = targets.map_err(|error| of_failed(api(ctx), &error))?;
    let reaches =
        |target: &&jobs::TargetRow| within.reaches_device(store.names(), target.device_key);
    let reached = targets.iter().filter(reaches).count();
    if targets.is_empty() {
        // one that recurs is commanded by whoever sees it
        let job = Job::read(api(ctx), within, job_id).await?;
        return Ok(job.map_or(Reached::Not, |_| Reached::Wholly));
    }
    Ok(match reached {
        0 => Reached::Not,
        all if all == targets.len() => Reached::Wholly,
        _ => Reached::Partly,
    })
}
