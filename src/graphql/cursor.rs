//! Cursors: opaque places of the API. One names a log, its epoch, and an event by both of its
//! places, so that a row of any connection can be gone on from live.

use async_graphql::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{ErrorCode, error};
use super::{Api, of_failed};
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::store::{Identity, Place};

/// Version of the form.
const FORM: u8 = 1;
const BYTES: usize = 1 + 8 + 4 + 8 + 8;

/// Writes the cursor of a place.
pub(super) fn write(identity: Identity, place: Place) -> String {
    // the low half differs between two logs that were made in the same millisecond
    let (high, low) = identity.log_id.as_u64_pair();
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(FORM);
    bytes.extend((high ^ low).to_be_bytes());
    bytes.extend(
        u32::try_from(identity.epoch)
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    bytes.extend(place.position.0.to_be_bytes());
    bytes.extend(place.occurred_at.0.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Writes the cursor of an event.
pub(super) fn of(identity: Identity, event: &Event) -> String {
    write(identity, Place::of(event))
}

/// Reads the cursor of one who wants to follow the log. A place that the log has not reached is of
/// a later one that is lost: following from it would be silence, and then a gap. So would be what was deleted
/// after it of the kinds that are followed, save what was too old already when it came (see `is_lost_after` of the store).
pub(super) async fn read_to_follow(
    api: &Api,
    text: &str,
    kinds: Option<&[Kind]>,
) -> Result<Position, Error> {
    let store = api.store();
    let position = read(store.identity(), text)?.position;
    let lost = store.is_lost_after(position, kinds).await;
    if lost.map_err(|failed| of_failed(api, &failed))? {
        let message = "what comes after this cursor was deleted in part; begin again without it";
        return Err(error(ErrorCode::CursorExpired, message));
    }
    if position > store.head() {
        let head = store.committed_head().await;
        if position > head.map_err(|failed| of_failed(api, &failed))? {
            let message =
                "this cursor is of events that the log no longer has; begin again without it";
            return Err(error(ErrorCode::CursorExpired, message));
        }
    }
    Ok(position)
}

/// Reads a cursor.
pub(super) fn read(identity: Identity, text: &str) -> Result<Place, Error> {
    let wrong = || error(ErrorCode::BadInput, "not a cursor of this API");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let (form, rest) = bytes.split_first().ok_or_else(wrong)?;
    let (log, rest) = rest.split_at_checked(12).ok_or_else(wrong)?;
    let (position, at) = rest.split_at_checked(8).ok_or_else(wrong)?;
    let number = |bytes: &[u8]| {
        bytes
            .try_into()
            .map(i64::from_be_bytes)
            .map_err(|_| wrong())
    };
    let place = Place {
        position: Position(number(position)?),
        occurred_at: Instant(number(at)?),
    };
    if *form != FORM || place.position < Position::START {
        return Err(wrong());
    }
    let ours = write(identity, place);
    if ours != text {
        let ours = URL_SAFE_NO_PAD.decode(ours).map_err(|_| wrong())?;
        if ours.get(1..13) == Some(log) {
            return Err(wrong());
        }
        let message = "this cursor is of another log, or of this one before it was restored; \
                       begin again without it";
        return Err(error(ErrorCode::CursorExpired, message));
    }
    Ok(place)
}
