//! As of when an insight is asked.

use async_graphql::{Context, Error};
use futures_util::future::BoxFuture;

use super::reads::first_event;
use crate::event::Instant;
use crate::graphql::error::bad_input;
use crate::graphql::loaders;
use crate::graphql::scalars::DateTime;

/// Now, or an instant of which the log tells: not before its first event, and not after now.
///
/// # Errors
/// When it is not, or the log cannot be read.
pub(in crate::graphql) fn as_of<'a>(
    ctx: &'a Context<'_>,
    asked: Option<DateTime>,
) -> BoxFuture<'a, Result<Instant, Error>> {
    Box::pin(async move {
        let now = loaders(ctx).now();
        let Some(DateTime(asked)) = asked else {
            return Ok(now);
        };
        if asked > now {
            return Err(bad_input(format!(
                "asOf {asked} is in the future: it is {now}"
            )));
        }
        match first_event(ctx).await?.filter(|first| asked < *first) {
            Some(first) => Err(bad_input(format!(
                "asOf {asked} is before the first event, which happened at {first}"
            ))),
            None => Ok(asked),
        }
    })
}
