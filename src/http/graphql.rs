//! GraphQL over HTTP.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer};
use axum::extract::{FromRequestParts, Query, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::Web;
use super::accept::{self, Form};
use super::answer::{answer, coded, failed, not_allowed, refused, timed_out};
use super::bodies::TakeError;
use super::connections::Place;
use super::persisted::Undocumented;
use super::position;
use super::prepared::{document, name_of, parsed, request};
use super::sign_in;
use super::socket::By;
use super::{socket, sse};
use crate::graphql::bulk::{self, Body};
use crate::graphql::{self, Api, ErrorCode};
use crate::identity::{Caller, SignInError};
use crate::ingest::Operation;

/// Answers a request whose document is in the body.
pub(super) async fn post(State(web): State<Web>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    match sign_in::asker(&web, &parts.extensions) {
        Ok(caller) if caller.is_nobody() => return enrol(&web, &parts, body).await,
        Ok(_) => {}
        Err(refused) => return *refused,
    }
    if !accept::is_json(&parts.headers) {
        let message = "send the request as application/json in UTF-8";
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::BadRequest,
            message,
        );
    }
    let taken = match web.bodies.take(body).await {
        Ok(taken) => taken,
        Err(error) => {
            let (status, code) = match &error {
                TakeError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitExceeded),
                TakeError::Full => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded),
                TakeError::Slow => (StatusCode::REQUEST_TIMEOUT, ErrorCode::BadRequest),
                TakeError::Broken => (StatusCode::BAD_REQUEST, ErrorCode::BadRequest),
            };
            return refused(status, code, &error.to_string());
        }
    };
    // the form of an object could also be read from a list
    if taken.bytes.trim_ascii_start().starts_with(b"[") {
        let message = "several requests in one body are not taken; send each apart";
        return refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message);
    }
    match serde_json::from_slice::<Body<'_>>(&taken.bytes) {
        Ok(body) => execute(&web, &parts, (&body, &taken.bytes), &[]).await,
        Err(error) => {
            let message = format!("the body is no GraphQL request: {error}");
            refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, &message)
        }
    }
}

/// Answers a request of whoever has proved nothing: to have a device enrol, which its token proves, and
/// nothing else. All else is told to prove who it is, as if it had not been read.
async fn enrol(web: &Web, parts: &Parts, body: axum::body::Body) -> Response {
    let refused = || sign_in::unauthenticated(&SignInError::Missing);
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_small = length.is_some_and(|length| length <= ENROL_BYTES_MAX);
    if !is_small || !accept::is_json(&parts.headers) {
        return refused();
    }
    let Ok(taken) = web.bodies.take(body).await else {
        return refused();
    };
    match serde_json::from_slice::<Body<'_>>(&taken.bytes) {
        Ok(body) if taken.bytes.trim_ascii_start().starts_with(b"{") && only_enrols(&body) => {
            execute(web, parts, (&body, &taken.bytes), &[]).await
        }
        Ok(_) | Err(_) => refused(),
    }
}

/// Bytes at most of a request to enrol.
const ENROL_BYTES_MAX: usize = 64 * 1024;

/// Whether a request is to have one device enrol; one that names a document to be kept is not.
fn only_enrols(body: &Body<'_>) -> bool {
    let Some(query) = body.query.as_deref() else {
        return false;
    };
    let is_plain = body.extensions.is_none() && body.document_id.is_none();
    let document = is_plain.then(|| parsed(query).ok()).flatten();
    document.is_some_and(|document| graphql::only_enrols(&document, body.operation_name.as_deref()))
}

/// Answers a query given in the address, or opens a socket.
pub(super) async fn get(State(web): State<Web>, request: axum::extract::Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &web).await {
        let by = By {
            caller: sign_in::asker(&web, &parts.extensions).ok(),
            network: sign_in::network(&parts.extensions),
        };
        let place = parts.extensions.remove::<Arc<Place>>();
        return socket::open(web, upgrade, by, place);
    }
    let wrong = || {
        let message = "give the document as the parameter `query`, and `variables` and `extensions` \
            as JSON objects";
        refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message)
    };
    let Ok(Query(given)) = Query::<Given>::try_from_uri(&parts.uri) else {
        return wrong();
    };
    match given.body() {
        Ok(body) => {
            let text = parts.uri.query().unwrap_or_default().as_bytes();
            execute(&web, &parts, (&body, text), &READS).await
        }
        Err(_) => wrong(),
    }
}

/// What an address gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl Given {
    fn body(&self) -> Result<Body<'_>, serde_json::Error> {
        let given = |text: &&str| !text.is_empty();
        let variables = self.variables.as_deref().filter(given);
        let extensions = self.extensions.as_deref().filter(given);
        Ok(Body {
            query: self.query.as_deref().map(Into::into),
            document_id: self.document_id.clone(),
            operation_name: self.operation_name.clone(),
            variables: variables.map(bulk::variables).transpose()?.flatten(),
            extensions: extensions.map(serde_json::from_str).transpose()?,
        })
    }
}

/// What is answered by GET; a subscription as a stream.
const READS: [OperationType; 2] = [OperationType::Query, OperationType::Subscription];

/// Executes a request whose operations are of these types, or of any when there are none.
async fn execute(
    web: &Web,
    parts: &Parts,
    (body, text): (&Body<'_>, &[u8]),
    types: &[OperationType],
) -> Response {
    let caller = match sign_in::asker(web, &parts.extensions) {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let headers = &parts.headers;
    let Some(form) = accept::wanted(headers) else {
        let message = "an answer is application/graphql-response+json, application/json or \
            text/event-stream; accept one of them";
        return refused(StatusCode::NOT_ACCEPTABLE, ErrorCode::BadRequest, message);
    };
    // what cannot be executed is told in the form that is wanted
    let told = |error: Box<Answer>, name| match form {
        Form::EventStream => sse::open(web, (Err(error), None), &caller, (text, "")),
        Form::Json | Form::GraphqlResponse => answer(form, &error, name, None),
    };
    let known = match web.documents.of(body) {
        Ok(known) => known,
        Err(error) if error == Undocumented::NotFound => {
            let error = failed(error.code(), error.to_string());
            return told(Box::new(error), None);
        }
        Err(error) => {
            let status = if error == Undocumented::Unregistered {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::BAD_REQUEST
            };
            return refused(status, error.code(), &error.to_string());
        }
    };
    let document = match document(web, known.text()) {
        Ok(document) => document,
        Err(error) => return told(error, None),
    };
    let ty = graphql::operation_type(&document, body.operation_name.as_deref());
    if let Some(refused) = unanswered(ty, form, types) {
        return refused;
    }
    let name = name_of(&document, body.operation_name.as_deref());
    let request = request(web, (body, known.text()), document);
    if form == Form::EventStream {
        if ty == Some(OperationType::Subscription)
            && let Some(refused) = sse::unresumable(web, headers).await
        {
            return refused;
        }
        let request = (request, sse::last_seen(headers));
        let mut response = sse::open(web, request, &caller, (text, known.text()));
        let operation = Operation { name, error: None };
        response.extensions_mut().insert(operation);
        return response;
    }
    match request {
        Ok(request) => {
            let api = position::api_for(web, headers, ty).await;
            let executed = executed(web, &api, (request, caller), (form, name));
            position::told(web, executed.await)
        }
        Err(error) => answer(form, &error, name, None),
    }
}

/// Executes a query or mutation, within the time that a request has.
async fn executed(
    web: &Web,
    api: &Api,
    (request, caller): (Request, Caller),
    (form, name): (Form, Option<String>),
) -> Response {
    let room = Arc::new(web.api.store().allowance());
    let executed = graphql::execute(&web.schema, api, request, (caller, Arc::clone(&room)));
    let executed = AssertUnwindSafe(executed).catch_unwind();
    let (failed, status) = match timeout(web.request_within, executed).await {
        Ok(Ok(executed)) => return answer(form, &coded(executed), name, Some(room)),
        Ok(Err(_)) => (
            graphql::panicked(&web.api),
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
        Err(_) => (timed_out(web), StatusCode::GATEWAY_TIMEOUT),
    };
    let mut response = answer(form, &failed, name, None);
    *response.status_mut() = status;
    response
}

/// Refuses an operation that is not answered so: by a method for other types, or once where it follows
/// something. Where there is no operation to choose, its execution says so.
fn unanswered(ty: Option<OperationType>, form: Form, types: &[OperationType]) -> Option<Response> {
    let ty = ty?;
    if !types.is_empty() && !types.contains(&ty) {
        let message = "a mutation is not executed by GET; post it";
        return Some(not_allowed(message, "POST"));
    }
    if ty == OperationType::Subscription && form != Form::EventStream {
        let message = "a subscription is answered as events: accept text/event-stream, or open a \
            socket with the protocol graphql-transport-ws";
        let status = StatusCode::NOT_ACCEPTABLE;
        return Some(refused(status, ErrorCode::BadRequest, message));
    }
    None
}

/// Refuses all methods but those of GraphQL.
pub(super) async fn other_method() -> Response {
    not_allowed("GraphQL is asked by POST, or by GET", "GET, HEAD, POST")
}
