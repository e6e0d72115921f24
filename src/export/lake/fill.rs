//! Brings a lake up to date, round by round, as far as it is let.

use tokio_util::sync::CancellationToken;

use super::{Lake, Round};
use crate::event::Position;
use crate::export::ExportError;
use crate::places::Place;
use crate::store::Store;

/// Brings a lake to where the log is when this begins; tells up to which position it is whole, and answers how many
/// events were brought.
///
/// # Errors
/// When the lake cannot be filled, another fills it, or it was told to end before. What is whole by then stays so, and
/// it is gone on from there the next time, also with a round that was broken off.
pub async fn fill(
    store: &Store,
    place: &Place,
    (told, stop): (&(dyn Fn(Position) + Sync), &CancellationToken),
) -> Result<Round, ExportError> {
    let lake = Lake::new(store.clone(), place.open_checked().await?);
    let _claim = lake.claim().await?;
    lake.prepare(place).await?;
    let head = store.head();
    let mut filled = Round {
        events: 0,
        position: lake.reached().await?,
    };
    loop {
        told(filled.position);
        let round = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            round = next(&lake, place) => round?,
        };
        filled.events += round.events;
        filled.position = round.position;
        if round.events == 0 && round.position >= head {
            break;
        }
    }
    let position = filled.position;
    if position < head {
        return Err(ExportError::Interrupted { position, head });
    }
    Ok(filled)
}

async fn next(lake: &Lake, place: &Place) -> Result<Round, ExportError> {
    place.has_room().await?;
    lake.round().await
}
