//! `POST /api/v1/analytics/user-activity`: what people do on pages, `{"events": [{"userActivity": …}, …]}` in
//! their wire shape, each answered by a line as at `/v1/ingest`. Nothing but user activity is taken here.
//!
//! A page may give its access key as `key` in the body, and call that `text/plain`: what a browser sends of
//! a page that is being left can have no headers, and for such a body it asks nobody beforehand.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::super::Web;
use super::super::answer::refused;
use super::super::sign_in;
use super::LINES;
use super::gathered::given;
use super::ingest::outcome_line;
use super::told::Told;
use super::unpacked::read_whole;
use crate::event::Instant;
use crate::graphql::{self, ErrorCode};
use crate::identity::Caller;
use crate::ingest::{AnsweredTo, FUTURE_MAX_MS, Given};
use crate::kinds::{Code, Kind, Refusal};
use crate::store::Appended;

/// Bytes at most of a body, once it is unpacked: as much as browsers let a page send that is being left.
const BYTES_MAX: u64 = 64 * 1024;
/// Events at most of a request, which are recorded in one commit.
const EVENTS_MAX: usize = 500;

/// What a page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    /// The access key, unless it stands in a header.
    #[serde(default, borrow)]
    key: Option<Cow<'a, str>>,
    /// The events.
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// Answers a request.
pub(in super::super) async fn post(
    State(web): State<Web>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if !is_taken(&parts.headers) {
        let message =
            "send {\"events\": [{\"userActivity\": …}, …]} as application/json or text/plain";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refused(status, ErrorCode::BadRequest, message);
    }
    // who says in a header that it is somebody proves it before the body is read
    let says_who = sign_in::credential(&parts.headers).is_some();
    if says_who && let Err(refused) = sign_in::recording(&web, &parts, None) {
        return *refused;
    }
    if !says_who && parts.headers.contains_key(header::CONTENT_ENCODING) {
        // there is little room to unpack, and it is for those who are known
        let message = "a body that is packed comes with its access key in a header";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refused(status, ErrorCode::BadRequest, message);
    }
    let (bytes, _room) = match read_whole(&web, &parts.headers, (body, BYTES_MAX)).await {
        Ok(read) => read,
        Err(error) => return Told::unread(&error).response(),
    };
    match recorded(&web, &parts, &bytes).await {
        Ok((caller, appended)) => {
            let lines = appended.outcomes.iter().enumerate();
            let lines = lines.map(|(index, of)| format!("{}\n", outcome_line(index, of)));
            let ty = HeaderValue::from_static(LINES);
            let lines: String = lines.collect();
            let mut response = ([(header::CONTENT_TYPE, ty)], lines).into_response();
            response.extensions_mut().insert(AnsweredTo(caller.name));
            response
        }
        Err(refused) => *refused,
    }
}

fn is_taken(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|ty| ty.to_str().ok()).unwrap_or_default();
    let ty = given.split(';').next().unwrap_or_default().trim();
    ["application/json", "text/plain"]
        .iter()
        .any(|taken| ty.eq_ignore_ascii_case(taken))
}

/// Records what a body has, for whoever sends it.
async fn recorded(
    web: &Web,
    parts: &Parts,
    bytes: &[u8],
) -> Result<(Caller, Appended), Box<Response>> {
    let told = |status, code, message: &str| Box::new(Told::new(status, code, message).response());
    let sent: Sent<'_> = serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the body is not {{\"events\": [event, …]}}: {error}");
        told(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, &message)
    })?;
    let caller = sign_in::recording(web, parts, sent.key.as_deref())?;
    if sent.events.len() > EVENTS_MAX {
        let message = format!("at most {EVENTS_MAX} events are taken at once");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(told(status, ErrorCode::LimitExceeded, &message));
    }
    let now = web.api.ingest.clock().now();
    let events = sent.events.iter();
    let events: Vec<Given> = events.map(|event| activity(event, now)).collect();
    if events.is_empty() {
        return Ok((caller, Appended::default()));
    }
    let allowance = web.api.store().allowance();
    let recorder = web.api.recorder(&caller);
    let recorded = timeout(
        web.request_within,
        recorder.record(events, None, &allowance),
    );
    let recorded = recorded.await;
    let recorded = recorded.map_err(|_| Box::new(Told::late(web.request_within).response()))?;
    let appended = recorded.map_err(|failed| {
        let error = graphql::of_unrecorded(&web.api, &failed);
        Box::new(Told::of(&error).response())
    })?;
    Ok((caller, appended))
}

/// An event of a page. What is of the future happens now: the clocks of people's machines are set by
/// hand, and what they do is not to be lost by that.
fn activity(text: &RawValue, now: Instant) -> Given {
    let (kind, event) = given(text.get().as_bytes(), now);
    let event = event.and_then(|mut event| {
        if event.fact.kind != Kind::UserActivity {
            let message = "nothing but userActivity is taken here; send it to /v1/ingest";
            return Err(Refusal::of_event(Code::NotAllowed, message));
        }
        if event.fact.occurred_at > now.plus_ms(FUTURE_MAX_MS) {
            event.fact.occurred_at = now;
        }
        Ok(event)
    });
    (kind, event)
}
