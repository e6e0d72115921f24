//! Mutations by which people take alerts up, have them silent for a time, and close them.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::alerts::Alert;
use super::command::{UserError, UserErrorCode, What, door, tell_refused, unappended};
use super::order::InOrder;
use super::scalars::{DateTime, Long};
use super::{Api, access, api, of_failed};
use crate::alerts::{self, AlertError, Move};

/// An alert to be moved.
#[derive(Debug, InputObject)]
struct MoveAlertInput {
    /// The alert.
    alert_id: ID,
    /// Why; at most 1000 characters.
    reason: Option<String>,
    /// Refused as CONFLICT when the alert has another `version`.
    expected_version: Option<Long>,
}

/// An alert of which nobody is to be told for a time.
#[derive(Debug, InputObject)]
struct SilenceAlertInput {
    /// The alert.
    alert_id: ID,
    /// Until when; at most 31 days from now.
    until: DateTime,
    /// Why; at most 1000 characters.
    reason: Option<String>,
    /// Refused as CONFLICT when the alert has another `version`.
    expected_version: Option<Long>,
}

/// The answer to a command on an alert.
#[derive(Debug, SimpleObject)]
struct AlertPayload {
    /// The alert as it stands now.
    alert: Option<InOrder<Alert>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on alerts.
#[derive(Debug)]
pub(super) struct AlertCommands;

#[Object]
impl AlertCommands {
    /// Takes an alert up: somebody works on it. Taking it up again changes nothing.
    async fn acknowledge_alert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which alert, and why.")] input: MoveAlertInput,
    ) -> Result<InOrder<AlertPayload>, Error> {
        Command::Acknowledge.give(ctx, input).await
    }

    /// Closes an alert. If what it is for lasts, it is not opened again for that: only when it is over and
    /// begins anew. Closing it again changes nothing.
    async fn resolve_alert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which alert, and why.")] input: MoveAlertInput,
    ) -> Result<InOrder<AlertPayload>, Error> {
        Command::Resolve.give(ctx, input).await
    }

    /// Has nobody told of an alert for a time, nor of further ones of the same rule and cause that are
    /// opened in it; then it is OPEN again, unless it is over.
    async fn silence_alert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which alert, until when, and why.")] input: SilenceAlertInput,
    ) -> Result<InOrder<AlertPayload>, Error> {
        let of = MoveAlertInput {
            alert_id: input.alert_id,
            reason: input.reason,
            expected_version: input.expected_version,
        };
        Command::Silence(input.until).give(ctx, of).await
    }
}

/// A command on an alert that is there.
#[derive(Clone, Debug)]
enum Command {
    Acknowledge,
    Resolve,
    Silence(DateTime),
}

impl Command {
    const fn operation(&self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledgeAlert",
            Self::Resolve => "resolveAlert",
            Self::Silence(_) => "silenceAlert",
        }
    }

    async fn give(
        self,
        ctx: &Context<'_>,
        input: MoveAlertInput,
    ) -> Result<InOrder<AlertPayload>, Error> {
        let deed: What<'_> = (self.operation(), Some(input.alert_id.to_string()));
        let of = Move {
            alert_id: &input.alert_id,
            expected: input.expected_version.map(|version| version.0),
            by: &access::caller(ctx).name,
            reason: input.reason.as_deref(),
        };
        let door = door(ctx, &deed);
        // what is out of reach is as if it were not there
        let done = match (Alert::of(ctx, &input.alert_id).await?, self) {
            (None, _) => Err(AlertError::Unknown("alert")),
            (Some(_), Self::Acknowledge) => alerts::acknowledge(&door, of).await,
            (Some(_), Self::Resolve) => alerts::resolve(&door, of).await,
            (Some(_), Self::Silence(until)) => alerts::silence(&door, of, until.0).await,
        };
        let mut user_errors = Vec::new();
        if let Err(error) = done {
            let error = of_alert(api(ctx), error, "alertId")?;
            tell_refused(ctx, &deed, &error).await?;
            user_errors.push(InOrder(error));
        }
        let alert = Alert::of(ctx, &input.alert_id).await?.map(InOrder);
        Ok(InOrder(AlertPayload { alert, user_errors }))
    }
}

/// For what a command on alerts or their rules was refused, unless it failed.
pub(super) fn of_alert(api: &Api, error: AlertError, id: &'static str) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        AlertError::Unknown(_) => (id, UserErrorCode::NotFound),
        AlertError::Over => (id, UserErrorCode::WrongState),
        AlertError::TooMany | AlertError::TooManyWithin => ("name", UserErrorCode::TooMany),
        AlertError::OtherCondition => ("condition", UserErrorCode::WrongState),
        AlertError::Contended => (id, UserErrorCode::Conflict),
        AlertError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        AlertError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        AlertError::Refused(refusal) => return Ok(UserError::of(refusal)),
        AlertError::Store(error) => return Err(of_failed(api, &error)),
        AlertError::Append(error) => return Err(unappended(api, &error)),
    };
    Ok(UserError::new(field, code, told))
}
