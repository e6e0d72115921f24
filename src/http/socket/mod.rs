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

/// Of so many places for sockets and streams devices leave one to others. Each agent follows what its device is
/// commanded as long as it runs, and asks now and then where there is no place for it; people have nothing
/// else to follow by.
const LEFT_BY_DEVICES_OF: usize = 10;

/// Places for sockets and streams, and room for the operations on all of them.
#[derive(Clone, Debug)]
pub struct Places {
    sockets: Arc<Semaphore>,
    /// As many of them as devices may have.
    of_devices: Arc<Semaphore>,
    pub(super) room: Room,
}

impl Places {
    /// Places for so many sockets and streams.
    #[must_use]
    pub fn new(sockets_max: usize) -> Self {
        let left_by_devices = sockets_max / LEFT_BY_DEVICES_OF;
        Self {
            sockets: Arc::new(Semaphore::new(sockets_max)),
            of_devices: Arc::new(Semaphore::new(sockets_max - left_by_devices)),
            room: Room::default(),
        }
    }

    /// A place for the stream of somebody.
    pub(super) fn of_stream(&self, caller: &Caller) -> Result<Taken, Box<Response>> {
        Ok(Taken {
            _of_device: self.of_device(caller)?,
            _of_all: self.of_socket()?,
        })
    }

    /// A place for the socket of somebody who has not said yet who they are.
    fn of_socket(&self) -> Result<OwnedSemaphorePermit, Box<Response>> {
        taken(&self.sockets)
    }

    /// What a device takes beside a place, of which it may not have all; others take nothing.
    fn of_device(&self, caller: &Caller) -> Result<Option<OwnedSemaphorePermit>, Box<Response>> {
        let is_device = caller.role == Role::Device;
        is_device.then(|| taken(&self.of_devices)).transpose()
    }
}

/// A place until it is dropped, or how it is refused.
fn taken(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Box<Response>> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        let message = "too many sockets and streams are open; try again";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Box::new(refused(status, ErrorCode::Overloaded, message))
    })
}

/// The place of a stream, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _of_device: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
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
    let place = match web.places.of_socket() {
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
    _place: OwnedSemaphorePermit,
    _connection: Option<Arc<Place>>,
    _counted: Counted,
}
