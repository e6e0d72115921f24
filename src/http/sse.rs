//! Operations as server-sent events (github.com/enisdenjo/graphql-sse, PROTOCOL.md, "distinct connections
//! mode"): what cannot open a socket follows by an ordinary request.
//!
//! Each item of a subscription bears its place in the log as the id of its event, so that a browser
//! which has lost the connection goes on there by itself (`Last-Event-ID`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Response as Answer};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, interval_at};

use super::Web;
use super::accept::Form;
use super::answer::{answer, refused};
use super::operation::{self, Output};
use super::sign_in;
use super::socket::MESSAGE_BYTES_MAX;
use crate::graphql::{self, ErrorCode};
use crate::identity::Caller;

/// How often something is sent where nothing happens, so that nobody between takes it for dead.
const BEAT_EVERY: Duration = Duration::from_secs(12);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The last event that a client has seen.
pub(super) fn last_seen(headers: &HeaderMap) -> Option<&str> {
    let last = headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    Some(last).filter(|last| !last.is_empty())
}

/// Refuses to go on after an event of another log, or of one that was restored since. A browser comes
/// back with the same one for ever where a stream ends, and gives up where the status is no 200; so it
/// is not told as other faults of an operation are. Clients of the protocol give the cursor as `after`.
pub(super) async fn unresumable(web: &Web, headers: &HeaderMap) -> Option<Response> {
    let refused = graphql::unfollowable(&web.api, last_seen(headers)?).await?;
    let is_expired = ErrorCode::CursorExpired.is_of(refused.errors.first()?);
    let mut response = answer(Form::Json, &refused, None, None);
    *response.status_mut() = if is_expired {
        StatusCode::GONE
    } else {
        StatusCode::BAD_REQUEST
    };
    Some(response)
}

/// Answers with what comes of an operation, until it ends or the server stops. It takes room for the
/// text that asks for it, and for its document if that is known.
pub(super) fn open(
    web: &Web,
    (request, last): (Result<Request, Box<Answer>>, Option<&str>),
    caller: &Caller,
    (text, document): (&[u8], &str),
) -> Response {
    let place = match web.places.of_stream(caller) {
        Ok(place) => place,
        Err(refused) => return *refused,
    };
    if text.len() > MESSAGE_BYTES_MAX {
        let message = format!("the request of a stream has at most {MESSAGE_BYTES_MAX} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return refused(status, ErrorCode::LimitExceeded, &message);
    }
    let share = web.places.room.share();
    let room = share.request(text).and_then(|mut room| {
        share.document(&mut room, document)?;
        Ok(room)
    });
    let room = match room {
        Ok(room) => room,
        Err(refusal) => {
            let status = if refusal.code == ErrorCode::Overloaded {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::PAYLOAD_TOO_LARGE
            };
            return refused(status, refusal.code, &refusal.message);
        }
    };
    let (items, mut handed) = mpsc::channel(1);
    let asked = (request, last.map(str::to_owned), caller.clone());
    let name = (Arc::from(""), 0);
    let to: (_, operation::Write, _) = (items, write, Arc::new(Semaphore::new(1)));
    let operation = operation::begin(&Arc::new(web.clone()), name, (asked, room), to);
    let ended = if operation.is_following {
        web.drain.clone()
    } else {
        web.cut.clone()
    };
    let (caller, clock) = (caller.clone(), web.api.ingest.clock().clone());
    let events = async_stream::stream! {
        let _held = (place, operation);
        let mut beats = interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                // whoever asks again is told why
                () = sign_in::ended(&caller, &clock) => break,
                _ = beats.tick() => yield Ok::<_, Infallible>(Bytes::from_static(b":\n\n")),
                item = handed.recv() => {
                    let Some(mut item) = item else { break };
                    if let Some(text) = item.text.take() {
                        yield Ok(Bytes::from(text));
                    }
                    // the next is asked for when this one has been sent
                    if item.is_last {
                        break;
                    }
                }
            }
        }
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(Form::EventStream.content_type()),
        ),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// The last event of an operation; browsers pass over one without data.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// How the output of an operation is told. JSON has no line breaks of its own.
fn write(_: &str, output: &Output<'_>) -> String {
    let next = |data: &str, cursor: Option<&str>| {
        let id = cursor.map_or_else(String::new, |cursor| format!("id: {cursor}\n"));
        format!("event: next\n{id}data: {data}\n\n")
    };
    match output {
        Output::Next(answer, cursor) => next(&graphql::json(answer), *cursor),
        Output::Written(item) => next(&item.json, item.cursor.as_deref()),
        Output::Refused(refused) => {
            let errors = serde_json::json!({ "errors": refused.errors });
            format!("event: next\ndata: {errors}\n\n{COMPLETE}")
        }
        Output::Complete => COMPLETE.to_owned(),
    }
}
