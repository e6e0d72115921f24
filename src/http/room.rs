//! Room for what is asked on all sockets and streams: an operation may live for days, and with it its
//! request. It is apart from the room for bodies, which are gone when they are answered.
//!
//! What is counted is what lies in memory: the text, the values in it, and the parsed document, also of
//! one that the request only names. A connection has a share of the room, so that one client cannot
//! take all of it from the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::graphql::bulk::VALUES_MAX;
use crate::graphql::{ErrorCode, guard};

/// Bytes of all operations on sockets and streams.
const ROOM_BYTES: usize = 128 * 1024 * 1024;
/// Bytes at most of those on one connection.
const SHARE_BYTES_MAX: usize = ROOM_BYTES / 4;
/// Bytes that an operation takes whatever it asks: its task, its channels, the futures in it.
const OPERATION_BYTES: usize = 2 * 1024;
/// Bytes that a value takes at least once it is read.
const VALUE_BYTES: usize = size_of::<async_graphql::Value>();
/// Bytes that a token of a document takes once it is parsed, about: a field has 250 and a name of its
/// own, a bracket nothing.
const TOKEN_BYTES: usize = 128;

/// Why an operation does not begin.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

/// The room of all.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_BYTES)))
    }
}

impl Room {
    /// The share of a connection.
    pub(super) fn share(&self) -> Share {
        Share {
            all: Arc::clone(&self.0),
            own: Arc::new(Semaphore::new(SHARE_BYTES_MAX)),
        }
    }
}

/// What the operations of a connection may take.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// What an operation takes; it is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    all: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

impl Share {
    /// Takes what the request of an operation needs, before it is read.
    pub(super) fn request(&self, text: &[u8]) -> Result<Taken, Refusal> {
        let values = guard::json_values(text);
        if values > VALUES_MAX {
            return Err(Refusal {
                code: ErrorCode::LimitExceeded,
                message: format!("the request of an operation has at most {VALUES_MAX} values"),
            });
        }
        self.take(OPERATION_BYTES + text.len() + VALUE_BYTES * values)
    }

    /// Takes what its document needs too, before that is parsed.
    pub(super) fn document(&self, taken: &mut Taken, text: &str) -> Result<(), Refusal> {
        let more = self.take(text.len() + TOKEN_BYTES * guard::tokens(text))?;
        taken.all.merge(more.all);
        taken.own.merge(more.own);
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<Taken, Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let own = Arc::clone(&self.own).try_acquire_many_owned(bytes);
        let own = own.map_err(|_| Refusal {
            code: ErrorCode::LimitExceeded,
            message: format!(
                "the operations of a connection take at most {SHARE_BYTES_MAX} bytes of memory; end \
                 others first"
            ),
        })?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(bytes);
        let all = all.map_err(|_| Refusal {
            code: ErrorCode::Overloaded,
            message:
                "too much is asked on sockets and streams at once; nothing was done, try again"
                    .to_owned(),
        })?;
        Ok(Taken { all, own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_takes_its_tokens_and_a_connection_has_a_share() {
        let room = Room::default();
        let share = room.share();
        let free = || ROOM_BYTES - room.0.available_permits();
        let request = br#"{"documentId":"all"}"#;
        let mut taken = share.request(request).unwrap();
        let of_request = free();
        assert!(of_request >= OPERATION_BYTES + request.len());
        share.document(&mut taken, "{ a b c }").unwrap();
        assert_eq!(free(), of_request + 9 + 5 * TOKEN_BYTES);
        drop(taken);
        assert_eq!(free(), 0);
        let shares: Vec<Share> = (0..5).map(|_| room.share()).collect();
        let mut taken = Vec::new();
        for share in &shares[..4] {
            taken.push(share.take(SHARE_BYTES_MAX).unwrap());
            let beyond = share.request(b"{}").unwrap_err();
            assert_eq!(beyond.code, ErrorCode::LimitExceeded);
        }
        let beyond = shares[4].request(b"{}").unwrap_err();
        assert_eq!(beyond.code, ErrorCode::Overloaded);
        taken.pop();
        shares[4].request(b"{}").unwrap();
    }
}
