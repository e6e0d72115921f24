//! Bodies of requests, and how much memory all of them together may take.
//!
//! What arrives is counted as it arrives, so that a slow sender holds only what it has sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::BODY_BYTES_MAX;

/// Bytes at most of all bodies that are being received or worked on.
const BODIES_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// How long a body may take to come, and how much longer for each byte of it that has come: a sender
/// must keep up at least 32 KiB a second.
const BODY_WITHIN: Duration = Duration::from_secs(15);
const TIME_PER_BYTE: Duration = Duration::from_nanos(1_000_000_000 / (32 * 1024));

/// Why a body was not taken.
#[derive(Debug, Error)]
pub(super) enum TakeError {
    /// It is larger than any may be.
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// Others take all the room.
    #[error("too many large requests at once; nothing was done, try again")]
    Full,
    /// It came too slowly.
    #[error("the body did not come in time")]
    Slow,
    /// It broke off.
    #[error("the body broke off")]
    Broken,
}

/// The room for bodies.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_BYTES_MAX)))
    }
}

/// A body, with its room.
pub(super) struct Taken {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Room for so many bytes until what is returned is dropped; `None` when others take it.
    pub(super) fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).ok()
    }

    /// Receives a body.
    pub(super) async fn take(&self, body: Body) -> Result<Taken, TakeError> {
        let mut chunks = body.into_data_stream();
        let (mut bytes, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
        let began = Instant::now();
        loop {
            // whoever sends slowly holds a place as long as it takes
            let bytes_so_far = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let until = began + BODY_WITHIN + bytes_so_far * TIME_PER_BYTE;
            let next = timeout_at(until, chunks.next()).await;
            let Some(chunk) = next.map_err(|_| TakeError::Slow)? else {
                break;
            };
            let chunk = chunk.map_err(|_| TakeError::Broken)?;
            if bytes.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(TakeError::TooLarge);
            }
            let more = self.reserve(chunk.len()).ok_or(TakeError::Full)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Taken { bytes, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_have_a_limit_each_and_one_together() {
        let bodies = Bodies::default();
        let large = || Body::from(vec![b' '; BODY_BYTES_MAX]);
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(bodies.take(large()).await.unwrap());
        }
        let refused = bodies.take(Body::from("{}")).await;
        assert!(matches!(refused, Err(TakeError::Full)));
        taken.pop();
        let refused = bodies
            .take(Body::from(vec![b' '; BODY_BYTES_MAX + 1]))
            .await;
        assert!(matches!(refused, Err(TakeError::TooLarge)));
        bodies.take(large()).await.unwrap();
    }
}
