//! Has callers spend what they ask for and record, and tells them what is left.

use std::time::Duration;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Error, ErrorExtensions, Name, Response, ServerError, Value};

use super::Api;
use super::document::{Checked, of_request};
use super::error::{ErrorCode, error};
use super::root::Keys;
use crate::identity::{Balance, Caller, Exceeded, Spent};

/// Spends what a request costs.
pub(super) fn spend(
    api: &Api,
    caller: &Caller,
    checked: Checked,
) -> Result<(Keys, Option<Balance>), ServerError> {
    let Checked { keys, cost, .. } = checked;
    let cost = i64::try_from(cost).unwrap_or(i64::MAX);
    let balance = take(api, caller, (Spent::Cost, cost)).map_err(of_request)?;
    Ok((keys, balance))
}

/// Spends events that are recorded with a command.
pub(super) fn spend_events(api: &Api, caller: &Caller, events: i64) -> Result<(), Error> {
    take(api, caller, (Spent::Events, events)).map(drop)
}

/// Has a caller spend what an item of a stream costs, as soon as there is room for that. What is followed is never
/// refused for its cost, only slowed down.
pub(super) async fn pay(api: &Api, caller: &Caller, cost: i64) {
    let Some(spending) = &api.spending else {
        return;
    };
    let spend = || {
        let now = api.ingest.clock().now();
        spending.spend(caller, (Spent::Cost, cost), now)
    };
    while let Err(exceeded) = spend() {
        let wait = exceeded.retry_after_ms.unsigned_abs();
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

fn take(api: &Api, caller: &Caller, what: (Spent, i64)) -> Result<Option<Balance>, Error> {
    let Some(spending) = &api.spending else {
        return Ok(None);
    };
    let now = api.ingest.clock().now();
    let spent = spending.spend(caller, what, now);
    spent.map_err(|of| exceeded(&of))
}

/// What a caller is told who has spent too much.
pub(super) fn exceeded(exceeded: &Exceeded) -> Error {
    error(ErrorCode::RateLimited, exceeded.to_string()).extend_with(|_, extensions| {
        extensions.set("limit", exceeded.what.word());
        extensions.set("retryAfterMs", exceeded.retry_after_ms);
    })
}

/// An answer that tells what it has cost and what is left.
pub(super) fn told(answer: Response, balance: Option<Balance>) -> Response {
    let Some(balance) = balance else {
        return answer;
    };
    let cost = IndexMap::from([
        (Name::new("requested"), Value::from(balance.requested)),
        (Name::new("limit"), Value::from(balance.limit)),
        (Name::new("remaining"), Value::from(balance.remaining)),
        (
            Name::new("resetAt"),
            Value::from(balance.reset_at.to_string()),
        ),
    ]);
    answer.extension("cost", Value::Object(cost))
}
