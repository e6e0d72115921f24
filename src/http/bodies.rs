//! Bodies of requests, and how much memory all of them together may take.
//!
//! What arrives is counted as it arrives, so that a slow sender holds only what it has sent.

use std::sync::Arc;

use axum::body::Body;
use futures_util::StreamExt;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::BODY_BYTES_MAX;

/// Bytes at most of all bodies that are being received or worked on.
const BODIES_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// Why a body was not taken.
#[derive(Debug, Error)]
pub(super) enum TakeError {
    /// It is larger than any may be.
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// Others take all the room.
    #[error("too many large requests at once; nothing was done, try again")]
    Full,
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
        while let Some(chunk) = chunks.next().await {
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
