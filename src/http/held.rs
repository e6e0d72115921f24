//! The body of an answer, which keeps its room among what is read until it has been sent: one who
//! reads slowly, or not at all, holds memory, and that is counted.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use crate::store::Allowance;

/// Bytes that are handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What is left to be sent, and the room that it takes.
#[derive(Debug)]
pub(super) struct Held {
    rest: Bytes,
    _room: Arc<Allowance>,
}

impl Held {
    /// A body that holds room until it is sent.
    pub(super) fn body(bytes: Vec<u8>, room: Arc<Allowance>) -> Body {
        Body::new(Self {
            rest: bytes.into(),
            _room: room,
        })
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Room;

    /// What a small answer takes outside of the room.
    const FREE_BYTES: usize = 64 * 1024;

    #[tokio::test]
    async fn an_answer_is_sent_whole_and_holds_its_room_until_then() {
        let room = Room::new(1 << 20);
        let allowance = Arc::new(room.allow(2 << 20));
        allowance.take((1 << 20) + FREE_BYTES).unwrap();
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(PIECE_BYTES * 2 + 9).collect();
        let mut body = Held::body(sent.clone(), allowance);
        assert_eq!(body.size_hint().exact(), u64::try_from(sent.len()).ok());
        let mut received = Vec::new();
        while let Some(frame) = next(&mut body).await {
            assert!(room.allow(1 << 20).take(FREE_BYTES + 1).is_err());
            received.extend_from_slice(&frame);
        }
        assert_eq!(received, sent);
        drop(body);
        room.allow(1 << 20).take(FREE_BYTES + 1).unwrap();
    }

    async fn next(body: &mut Body) -> Option<Bytes> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }
}
