//! The stream of groups of errors that are new, and of those that come back.

use std::time::Duration;

use async_graphql::{Context, Enum, Error, SimpleObject, Subscription};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::error_group::ErrorGroup;
use super::error_groups::one;
use crate::error_groups::{News, What};
use crate::event::{Instant, Position};
use crate::graphql::order::InOrder;
use crate::graphql::subscription::resumed;
use crate::graphql::{Api, access, api, cursor, loaders, of_failed};
use crate::history::Within;
use crate::history::device_keys::device_keys;
use crate::history::fleet::DeviceFilter;
use crate::store::Place;

/// How often it is looked for news when nobody tells that there may be any: what catches up with the log apart tells
/// nobody.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Stands in a cursor for the time of an event where of the position after it is told that a group is new, but not yet that
/// it came back by the same error. No event is as old.
const NEW_IS_TOLD: Instant = Instant(-1);

/// What has become of a group of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ErrorGroupEvent {
    /// It was seen for the first time, on any of the devices that the caller reaches.
    New,
    /// It came back after it was resolved.
    Regressed,
}

impl From<What> for ErrorGroupEvent {
    fn from(what: What) -> Self {
        match what {
            What::New => Self::New,
            What::Regressed => Self::Regressed,
        }
    }
}

/// A group of errors that is new or came back.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ErrorGroupNews {
    /// As `after`: what comes next.
    cursor: String,
    /// What has become of it.
    event: ErrorGroupEvent,
    /// The group as it stands now.
    error_group: InOrder<ErrorGroup>,
}

/// The stream of groups of errors.
#[derive(Debug)]
pub(in crate::graphql) struct GroupStreams;

#[Subscription]
impl GroupStreams {
    /// Groups of errors whenever one is new, or comes back after it was resolved, in the order in which the errors were
    /// recorded by which that was known.
    async fn error_groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Begins after this place: what was recorded since comes first. Without it, or with null, \
                    only what is recorded from now on."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<ErrorGroupNews>, Error>>, Error> {
        let api = api(ctx).clone();
        let (mut position, half_told) = begin(&api, resumed(ctx, after.as_deref())).await?;
        let mut folded = api.folded.clone();
        Ok(async_stream::stream! {
            loop {
                let (news, upto) = match news(ctx, &api, position).await {
                    Ok(news) => news,
                    Err(error) => {
                        yield Err(error);
                        return;
                    }
                };
                let has_some = upto > position;
                let mut news = untold(news, half_told).into_iter().peekable();
                while let Some(first) = news.next() {
                    let more = news.peek().is_some_and(|second| second.position == first.position);
                    let told = item(ctx, &api, (first, more)).await;
                    let has_failed = told.is_err();
                    if let Some(told) = told.transpose() {
                        yield told;
                    }
                    if has_failed {
                        return;
                    }
                    loaders(ctx).begin();
                }
                position = upto;
                if !has_some {
                    next(&mut folded).await;
                    loaders(ctx).begin();
                }
            }
        })
    }
}

/// After which position it begins, and of which position it was told before that a group is new.
fn begin<'a>(
    api: &'a Api,
    after: Option<&'a str>,
) -> BoxFuture<'a, Result<(Position, Option<Position>), Error>> {
    Box::pin(async move {
        let Some(text) = after else {
            let head = api.store().committed_head().await;
            return Ok((head.map_err(|error| of_failed(api, &error))?, None));
        };
        let position = cursor::read_to_follow(api, text, Some(&[])).await?;
        let place = cursor::read(api.store().identity(), text)?;
        let is_half_told = place.occurred_at == NEW_IS_TOLD;
        Ok((position, is_half_told.then_some(Position(position.0 + 1))))
    })
}

/// News without those that were told before: that a group is new, of a position.
fn untold(mut news: Vec<News>, half_told: Option<Position>) -> Vec<News> {
    news.retain(|news| news.what != What::New || Some(news.position) != half_told);
    news
}

/// Where it goes on after an item: if more is to be told of its position, before that.
const fn place_after(position: Position, more: bool) -> Place {
    if more {
        return Place {
            position: Position(position.0 - 1),
            occurred_at: NEW_IS_TOLD,
        };
    }
    Place {
        position,
        occurred_at: Instant(0),
    }
}

/// Waits until something may be new.
fn next(folded: &mut watch::Receiver<Position>) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let changed = async {
            if folded.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    })
}

/// What is new after a position of what the caller reaches.
fn news<'a>(
    ctx: &'a Context<'_>,
    api: &'a Api,
    after: Position,
) -> BoxFuture<'a, Result<(Vec<News>, Position), Error>> {
    Box::pin(async move {
        let (store, failed) = (api.store(), |error| of_failed(api, &error));
        let within = access::within(ctx).await?;
        if within == Within::Whole {
            return api.groups.news(store, after, None).await.map_err(failed);
        }
        let filter = DeviceFilter {
            within,
            ..DeviceFilter::default()
        };
        let keys = device_keys(store, &filter).await.map_err(failed)?;
        let keys: Vec<i64> = keys.into_iter().collect();
        api.groups
            .news(store, after, Some(&keys))
            .await
            .map_err(failed)
    })
}

/// A group that is new or came back, if it is still there; and whether more is to be told of the same position.
fn item<'a>(
    ctx: &'a Context<'_>,
    api: &'a Api,
    (news, more): (News, bool),
) -> BoxFuture<'a, Result<Option<InOrder<ErrorGroupNews>>, Error>> {
    Box::pin(async move {
        let Some(group) = one(ctx, &news.id.to_string(), (None, None)).await? else {
            return Ok(None);
        };
        let place = place_after(news.position, more);
        Ok(Some(InOrder(ErrorGroupNews {
            cursor: cursor::write(api.store().identity(), place),
            event: news.what.into(),
            error_group: InOrder(group),
        })))
    })
}
