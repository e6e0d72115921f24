//! Whether something is done on a connection: a request is being answered, or bytes wait for its client.
//! A server that stops waits for that, and for nothing else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// What is done on a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    requests: AtomicUsize,
    is_waiting: AtomicBool,
}

impl Activity {
    /// Whether nothing is done.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0 && !self.is_waiting.load(Ordering::Acquire)
    }

    /// Whether bytes wait for the client.
    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.is_waiting.store(is_waiting, Ordering::Release);
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Busy {
    /// The body of its answer: when it is sent, or given up, the request is answered.
    pub(super) fn with(self, body: Body) -> Body {
        Body::new(Answering { body, _busy: self })
    }
}

struct Answering {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_when_its_body_is_gone() {
        let activity = Arc::<Activity>::default();
        let (one, other) = (activity.begin(), activity.begin());
        let body = one.with(Body::from("answer"));
        assert_eq!(body.size_hint().exact(), Some(6));
        drop(other);
        assert!(!activity.is_idle());
        drop(body);
        assert!(activity.is_idle());
        activity.set_waiting(true);
        assert!(!activity.is_idle());
    }
}
