//! The stream of what becomes of alerts.

use async_graphql::{Context, Error, SimpleObject, Subscription};
use entity::alert_transitions::Column;
use futures_util::Stream;

use super::alerts::Alert;
use super::order::InOrder;
use super::subscription::{SLICE_BYTES_MAX, resumed};
use super::words::{AlertStates, Word};
use super::{access, api, cursor, of_failed};
use crate::kinds::Kind;
use crate::store::Place;

/// An alert that has moved.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct AlertMove {
    /// As `after`: what comes next.
    cursor: String,
    /// The state that it has come to.
    state: Word<AlertStates>,
    /// The alert as it stands now.
    alert: InOrder<Alert>,
}

/// The stream of alerts.
#[derive(Debug)]
pub(super) struct AlertStreams;

#[Subscription]
impl AlertStreams {
    /// Alerts whenever one moves: is opened, acknowledged, silenced or resolved.
    async fn alerts(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Begins after this place: what was recorded since comes first. Without it, or with null, \
                    only what is recorded from now on."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<InOrder<AlertMove>, Error>>, Error> {
        let api = api(ctx).clone();
        let (loaders, caller) = (super::loaders(ctx), access::caller(ctx));
        let from = if let Some(text) = resumed(ctx, after.as_deref()) {
            cursor::read_to_follow(&api, text, Some(&[])).await?
        } else {
            // what is committed is old, also when this node has not heard of it yet
            let head = api.store().committed_head().await;
            head.map_err(|error| of_failed(&api, &error))?
        };
        let within = access::within(ctx).await?;
        Ok(async_stream::stream! {
            let tail = api.store().tail(from, Some(&[Kind::AlertTransition]));
            let mut tail = tail.in_slices_of(SLICE_BYTES_MAX);
            loop {
                let events = match tail.next().await {
                    Ok(events) => events,
                    Err(error) => {
                        yield Err(of_failed(&api, &error));
                        break;
                    }
                };
                for event in events {
                    if !access::sees(caller, api.store().names(), &event) {
                        continue;
                    }
                    let text = |column: Column| event.fact.cell(column).text().unwrap_or_default();
                    let alert = Alert::read(&api, &within, text(Column::AlertId)).await;
                    let moved = match alert {
                        Ok(Some(alert)) => Ok(InOrder(AlertMove {
                            cursor: cursor::write(api.store().identity(), Place::of(&event)),
                            state: Word::known(text(Column::State)),
                            alert: InOrder(alert),
                        })),
                        Ok(None) => continue,
                        Err(error) => Err(error),
                    };
                    let has_failed = moved.is_err();
                    yield moved;
                    loaders.begin();
                    if has_failed {
                        return;
                    }
                }
            }
        })
    }
}
