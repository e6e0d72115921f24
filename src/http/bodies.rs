//! Bodies of requests, and how much memory all of them together may take.
//!
//! What arrives is counted as it arrives, so that a slow sender holds only what it has sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

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

/// How many bodies are unpacked at once that are packed in windows of megabytes.
const UNPACKING_MAX: usize = 16;
/// How long one waits to be among them.
const UNPACKING_WITHIN: Duration = Duration::from_secs(5);

/// The room for bodies.
#[derive(Clone, Debug)]
pub struct Bodies {
    bytes: Arc<Semaphore>,
    unpacking: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
            unpacking: Arc::new(Semaphore::new(UNPACKING_MAX)),
        }
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
        Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()
    }

    /// Receives a body.
    pub(super) async fn take(&self, body: Body) -> Result<Taken, TakeError> {
        let mut arriving = Arriving::new(body);
        let (mut bytes, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(chunk) = arriving.next().await? {
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

    /// A place for unpacking what is packed in large windows, once one is free.
    pub(super) async fn unpacking(&self) -> Result<OwnedSemaphorePermit, TakeError> {
        let place = Arc::clone(&self.unpacking).acquire_owned();
        let place = timeout(UNPACKING_WITHIN, place).await;
        place.ok().and_then(Result::ok).ok_or(TakeError::Full)
    }
}

/// A body that is arriving.
pub(super) struct Arriving {
    chunks: BodyDataStream,
    bytes: u64,
    /// How long it has been waited for.
    waited: Duration,
}

impl Arriving {
    pub(super) fn new(body: Body) -> Self {
        Self {
            chunks: body.into_data_stream(),
            bytes: 0,
            waited: Duration::ZERO,
        }
    }

    /// What comes next, if it comes in time: whoever sends slowly holds a place as long as it takes.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, TakeError> {
        let bytes_so_far = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        let within = BODY_WITHIN + bytes_so_far * TIME_PER_BYTE;
        let began = Instant::now();
        let next = timeout(within.saturating_sub(self.waited), self.chunks.next()).await;
        self.waited += began.elapsed();
        let chunk = next.map_err(|_| TakeError::Slow)?;
        let chunk = chunk.transpose().map_err(|_| TakeError::Broken)?;
        let length = chunk.as_ref().map_or(0, Bytes::len);
        self.bytes += u64::try_from(length).unwrap_or(0);
        Ok(chunk)
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
