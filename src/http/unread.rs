//! What of a request's body nobody has read when the request is answered.
//!
//! HTTP/1.1 goes on with the next request where a body ends. So of a request that is refused for its
//! head, a bounded rest is read and dropped, for a bounded time; and where that is not enough, the answer
//! says that the connection ends with it. Otherwise a client would learn it only from its next request,
//! which may be one that must not be sent twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use http_body::{Frame, SizeHint};
use tokio::time::timeout;

/// Bytes at most of what is read and dropped, and how long that may take.
const DROPPED_BYTES_MAX: usize = 2 * super::BODY_BYTES_MAX;
const DROPPED_WITHIN: Duration = Duration::from_secs(1);

/// What is left of a body, when whoever had it has let go of it.
pub(super) struct Rest {
    left: Arc<Mutex<Option<Body>>>,
    /// Whether the client sends the body only when it is told to.
    is_held_back: bool,
}

/// A body that leaves what was not read of it.
struct Left {
    body: Option<Body>,
    left: Arc<Mutex<Option<Body>>>,
}

/// A body to be read, and what will be left of it.
pub(super) fn watched(headers: &HeaderMap, body: Body) -> (Body, Rest) {
    let rest = Rest {
        left: Arc::default(),
        is_held_back: headers.contains_key(header::EXPECT),
    };
    if body.is_end_stream() {
        return (body, rest);
    }
    let left = Left {
        body: Some(body),
        left: Arc::clone(&rest.left),
    };
    (Body::new(left), rest)
}

impl Rest {
    /// An answer that can be sent: what is left has been read, or it says that the connection ends.
    pub(super) async fn settle(self, mut response: Response) -> Response {
        let left = self
            .left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(body) = left else {
            return response;
        };
        let dropped =
            !self.is_held_back && timeout(DROPPED_WITHIN, dropped(body)).await == Ok(true);
        if !dropped {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// Reads the rest of a body; whether it came to its end.
async fn dropped(body: Body) -> bool {
    let (mut chunks, mut bytes) = (body.into_data_stream(), 0);
    while let Some(chunk) = chunks.next().await {
        bytes += chunk.as_ref().map_or(0, Bytes::len);
        if chunk.is_err() || bytes > DROPPED_BYTES_MAX {
            return false;
        }
    }
    true
}

impl HttpBody for Left {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = body;
    }
}
