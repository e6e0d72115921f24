//! GraphQL over a socket: `graphql-transport-ws`, how many sockets there may be, and what may be asked
//! on each.
//!
//! A message is looked at before it is read as a request. What holds for a body holds for it: it has at
//! most so many bytes and values, and what it takes is counted as long as its operation lives. Room for
//! that is apart from the room for bodies, since a subscription may live for days. An operation that is
//! refused is answered with an error of its own; the socket and its other operations go on.

mod message;
mod session;

use std::sync::Arc;

use axum::extract::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Web;
use super::answer::refused;
use super::connections::Place;
use super::room::Room;
use super::status::Counted;
use crate::graphql::ErrorCode;
use crate::identity::{Caller, Role};
use message::PROTOCOL;

/// Bytes at most of a message on a socket. What has come of a message is counted nowhere before it is
/// whole, so each socket there may be is good for so many; what is recorded in bulk is posted.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of the buffers of a socket, which it has also while nothing comes: those of the library are
/// 128 KiB, more than a gigabyte for as many sockets as there may be. What clients say is short.
const BUFFER_BYTES: usize = 512;

/// Of so many places devices leave one to others.
const PART_LEFT_BY_DEVICES: usize = 10;

/// Places for sockets and streams, and room for the operations on all of them.
#[derive(Clone, Debug)]
pub struct Places {
    sockets: Arc<Semaphore>,
    /// Those of them that devices may have: a fleet, each of whose agents follows its commands, leaves some to people.
    of_devices: Arc<Semaphore>,
    pub(super) room: Room,
}

impl Places {
    /// Places for so many sockets.
    #[must_use]
    pub fn new(sockets_max: usize) -> Self {
        let of_devices = sockets_max - sockets_max / PART_LEFT_BY_DEVICES;
        Self {
            sockets: Arc::new(Semaphore::new(sockets_max)),
            of_devices: Arc::new(Semaphore::new(of_devices)),
            room: Room::default(),
        }
    }

    /// A place until it is dropped, or how it is refused. Who gives a proof only in the greeting of a socket is not
    /// known to be a device yet.
    pub(super) fn take(&self, caller: Option<&Caller>) -> Result<Seat, Box<Response>> {
        let is_device = caller.is_some_and(|caller| caller.role == Role::Device);
        self.seat(is_device).ok_or_else(|| {
            let message = "too many sockets and streams are open; try again";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Box::new(refused(status, ErrorCode::Overloaded, message))
        })
    }

    fn seat(&self, is_device: bool) -> Option<Seat> {
        let one = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let of_device = if is_device {
            Some(one(&self.of_devices)?)
        } else {
            None
        };
        let place = one(&self.sockets)?;
        Some(Seat {
            _place: place,
            _of_device: of_device,
        })
    }
}

/// A place for a socket or a stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _place: OwnedSemaphorePermit,
    _of_device: Option<OwnedSemaphorePermit>,
}

/// Who opens a socket: what is known of them before they greet.
#[derive(Debug)]
pub(super) struct By {
    /// The caller, if one was proved by a header.
    pub(super) caller: Option<Caller>,
    /// From where: an address without its last part.
    pub(super) network: Option<Arc<str>>,
}

/// Opens a socket, if there is a place for it. One on which nobody speaks the protocol is closed with
/// the code that says so: a refusal before it is open is not shown to the pages of a browser. It keeps
/// the place of the connection that it was.
pub(super) fn open(
    web: Web,
    upgrade: WebSocketUpgrade,
    by: By,
    connection: Option<Arc<Place>>,
) -> Response {
    let place = match web.places.take(by.caller.as_ref()) {
        Ok(place) => place,
        Err(refused) => return *refused,
    };
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| {
            let counted = web.monitor.socket();
            let held = Held {
                _place: place,
                _connection: connection,
                _counted: counted,
            };
            let served = session::serve(web.clone(), (by, held), socket);
            web.sockets.track_future(served)
        })
}

/// What a socket holds as long as it is open.
struct Held {
    _place: Seat,
    _connection: Option<Arc<Place>>,
    _counted: Counted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_leave_a_tenth_of_the_places_to_others() {
        let places = Places::new(20);
        let devices: Vec<Seat> = std::iter::from_fn(|| places.seat(true)).collect();
        assert_eq!(devices.len(), 18);
        let others: Vec<Seat> = std::iter::from_fn(|| places.seat(false)).collect();
        assert_eq!(others.len(), 2);
        drop(others);
        assert!(places.seat(true).is_none());
        drop(devices);
        // who is refused since all places are taken keeps none of those of devices
        let others: Vec<Seat> = std::iter::from_fn(|| places.seat(false)).collect();
        assert_eq!((others.len(), places.seat(true).is_none()), (20, true));
        drop(others);
        let devices: Vec<Seat> = std::iter::from_fn(|| places.seat(true)).collect();
        assert_eq!(devices.len(), 18);
    }
}
