//! What webhooks and recipients of mail have in common: how they are named and told, and why they are refused.

use std::sync::Arc;

use async_graphql::{Context, Error, ID};

use super::command::{UserError, UserErrorCode, What, tell_done, tell_refused, unappended};
use super::order::InOrder;
use super::scalars::Long;
use super::words::{AlertStates, Word};
use super::{api, of_failed};
use crate::history::webhooks::{self as rows, WebhookRow};
use crate::webhooks::{Way, WebhookError, Which};

/// The input fields of which refusals speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Names the thing.
    pub(super) id: &'static str,
    /// Says where it goes.
    pub(super) address: &'static str,
}

/// A list of texts as it is kept.
pub(super) fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

/// States as they are given.
pub(super) fn words(states: Option<Vec<Word<AlertStates>>>) -> Option<Vec<String>> {
    states.map(|words| words.iter().map(Word::word).collect())
}

/// Ids as they are given.
pub(super) fn ids(ids: Option<Vec<ID>>) -> Option<Vec<String>> {
    ids.map(|ids| ids.into_iter().map(|id| id.0).collect())
}

/// Which webhook or recipient is meant, by the way on which it is told.
pub(super) fn which(way: Way, id: &ID, expected: Option<Long>) -> Which<'_> {
    Which {
        webhook_id: id.as_str(),
        way,
        expected: expected.map(|version| version.0),
    }
}

/// A webhook or recipient as it is now, if there is such a one.
pub(super) async fn as_it_is(
    ctx: &Context<'_>,
    way: Way,
    id: &str,
) -> Result<Option<Arc<WebhookRow>>, Error> {
    let row = rows::one(api(ctx).store(), id).await;
    let row = row.map_err(|error| of_failed(api(ctx), &error))?;
    Ok(row.filter(|row| Way::of(row) == way).map(Arc::new))
}

/// Tells in the audit how a command went, and answers for what it was refused.
pub(super) async fn told(
    ctx: &Context<'_>,
    deed: &What<'_>,
    done: Result<(), WebhookError>,
    fields: Fields,
) -> Result<Vec<InOrder<UserError>>, Error> {
    let mut user_errors = Vec::new();
    match done {
        Ok(()) => tell_done(ctx, deed).await?,
        Err(error) => {
            let error = of_webhook(ctx, error, fields)?;
            tell_refused(ctx, deed, &error).await?;
            user_errors.push(InOrder(error));
        }
    }
    Ok(user_errors)
}

/// For what a command on webhooks was refused, unless it failed.
fn of_webhook(ctx: &Context<'_>, error: WebhookError, fields: Fields) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        WebhookError::Unknown(_) => (fields.id, UserErrorCode::NotFound),
        WebhookError::NoSite(_) => ("siteIds", UserErrorCode::NotFound),
        WebhookError::TooMany => (fields.address, UserErrorCode::TooMany),
        WebhookError::NoMail => (fields.address, UserErrorCode::NoMail),
        WebhookError::Stale { .. } => ("expectedVersion", UserErrorCode::Conflict),
        WebhookError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        WebhookError::Pending => (fields.id, UserErrorCode::WrongState),
        WebhookError::Refused(refusal) => return Ok(UserError::of(refusal)),
        WebhookError::Store(error) => return Err(of_failed(api(ctx), &error)),
        WebhookError::Append(error) => return Err(unappended(api(ctx), &error)),
    };
    Ok(UserError::new(field, code, told))
}
