//! Mutations by which people decide about groups of errors.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};
use futures_util::future::BoxFuture;

use super::error_group::ErrorGroup;
use super::error_groups::one;
use crate::error_groups::{Change, Decision, GroupError, GroupId, decide, merge};
use crate::graphql::command::{UserError, UserErrorCode, What, door, tell_refused, unappended};
use crate::graphql::order::InOrder;
use crate::graphql::scalars::Long;
use crate::graphql::{Api, access, api, loaders, of_failed};

/// A group of errors that is decided about.
#[derive(Debug, InputObject)]
struct DecideErrorGroupInput {
    /// The group.
    id: ID,
    /// Why; at most 1000 characters.
    reason: Option<String>,
    /// Refused as CONFLICT when the group has another `version`.
    expected_version: Option<Long>,
}

/// Groups of errors that are one.
#[derive(Debug, InputObject)]
struct MergeErrorGroupsInput {
    /// One of the groups. The one that was seen first keeps its id, whichever that is.
    id: ID,
    /// The others; between 1 and 20, of the same provenance.
    merged_ids: Vec<ID>,
    /// Why; at most 1000 characters.
    reason: Option<String>,
    /// Refused as CONFLICT when the group into which they are merged has another `version`.
    expected_version: Option<Long>,
}

/// The answer to a decision about a group of errors.
#[derive(Debug, SimpleObject)]
struct ErrorGroupPayload {
    /// The group as it stands now.
    error_group: Option<InOrder<ErrorGroup>>,
    /// Why the decision was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The decisions about groups of errors.
#[derive(Debug)]
pub(in crate::graphql) struct GroupCommands;

#[Object]
impl GroupCommands {
    /// Says that a group of errors was mended. An error of it that comes later reopens it. What is resolved is not
    /// resolved again.
    async fn resolve_error_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which group, and why.")] input: DecideErrorGroupInput,
    ) -> Result<InOrder<ErrorGroupPayload>, Error> {
        give(ctx, Command::Decide(Change::Resolve, input)).await
    }

    /// Says that a group of errors is of no interest, whatever comes. What is ignored is not ignored again.
    async fn ignore_error_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which group, and why.")] input: DecideErrorGroupInput,
    ) -> Result<InOrder<ErrorGroupPayload>, Error> {
        give(ctx, Command::Decide(Change::Ignore, input)).await
    }

    /// Has a group of errors count again that was resolved or ignored. One that counts is not reopened.
    async fn reopen_error_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which group, and why.")] input: DecideErrorGroupInput,
    ) -> Result<InOrder<ErrorGroupPayload>, Error> {
        give(ctx, Command::Decide(Change::Reopen, input)).await
    }

    /// Makes groups of errors one for good. It has the id of the one that was seen first, and the ids of all lead to it.
    /// What was decided last about any of them holds for it.
    async fn merge_error_groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which groups, and why.")] input: MergeErrorGroupsInput,
    ) -> Result<InOrder<ErrorGroupPayload>, Error> {
        give(ctx, Command::Merge(input)).await
    }
}

/// A decision that is given.
#[derive(Debug)]
enum Command {
    Decide(Change, DecideErrorGroupInput),
    Merge(MergeErrorGroupsInput),
}

impl Command {
    const fn operation(&self) -> &'static str {
        match self {
            Self::Decide(Change::Resolve, _) => "resolveErrorGroup",
            Self::Decide(Change::Ignore, _) => "ignoreErrorGroup",
            Self::Decide(Change::Reopen, _) => "reopenErrorGroup",
            Self::Merge(_) => "mergeErrorGroups",
        }
    }

    const fn id(&self) -> &ID {
        match self {
            Self::Decide(_, input) => &input.id,
            Self::Merge(input) => &input.id,
        }
    }
}

fn give<'a>(
    ctx: &'a Context<'_>,
    command: Command,
) -> BoxFuture<'a, Result<InOrder<ErrorGroupPayload>, Error>> {
    Box::pin(async move {
        let deed: What<'_> = (command.operation(), Some(command.id().to_string()));
        let mut user_errors = Vec::new();
        if let Err(error) = done(ctx, &deed, &command).await? {
            let error = refused(api(ctx), error)?;
            tell_refused(ctx, &deed, &error).await?;
            user_errors.push(InOrder(error));
        }
        // as of now, when it is decided, and not as of when that was asked for
        loaders(ctx).begin();
        let error_group = one(ctx, command.id(), (None, None)).await?;
        Ok(InOrder(ErrorGroupPayload {
            error_group: error_group.map(InOrder),
            user_errors,
        }))
    })
}

fn done<'a>(
    ctx: &'a Context<'_>,
    deed: &'a What<'_>,
    command: &'a Command,
) -> BoxFuture<'a, Result<Result<(), GroupError>, Error>> {
    Box::pin(async move {
        let (api, within) = (api(ctx), access::within(ctx).await?);
        let names = api.store().names();
        let reaches = |key: i64| within.reaches_device(names, key);
        let door = door(ctx, deed);
        let by = &access::caller(ctx).name;
        let of = |id: &ID, reason, expected: Option<Long>| {
            GroupId::read(id).map(|id| Decision {
                id,
                expected: expected.map(|version| version.0),
                by,
                reason,
            })
        };
        Ok(match command {
            Command::Decide(change, input) => {
                match of(&input.id, input.reason.as_deref(), input.expected_version) {
                    Some(of) => decide(&door, (&api.groups, &reaches), of, *change).await,
                    None => Err(GroupError::Unknown),
                }
            }
            Command::Merge(input) => {
                let into = of(&input.id, input.reason.as_deref(), input.expected_version);
                let merged = input.merged_ids.iter().map(|id| GroupId::read(id));
                let merged: Option<Vec<GroupId>> = merged.collect();
                match into.zip(merged) {
                    Some((into, merged)) => {
                        merge(&door, (&api.groups, &reaches), into, &merged).await
                    }
                    None => Err(GroupError::Unknown),
                }
            }
        })
    })
}

/// For what a decision was refused, unless it failed.
fn refused(api: &Api, error: GroupError) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        GroupError::Unknown => ("id", UserErrorCode::NotFound),
        GroupError::Partly => ("id", UserErrorCode::NotAllowed),
        GroupError::OtherProvenance => ("mergedIds", UserErrorCode::Invalid),
        GroupError::TooMany => ("mergedIds", UserErrorCode::TooMany),
        GroupError::Contended => ("id", UserErrorCode::Conflict),
        GroupError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        GroupError::Refused(refusal) => return Ok(UserError::of(refusal)),
        GroupError::Store(error) => return Err(of_failed(api, &error)),
        GroupError::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(field, code, told))
}
