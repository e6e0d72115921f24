//! GraphQL over HTTP.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Request, Response as Answer, ServerError, Value};
use axum::extract::{FromRequestParts, Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::Web;
use super::accept::{self, Form};
use super::bodies::TakeError;
use super::held::Held;
use super::persisted::Undocumented;
use super::{socket, sse};
use crate::graphql::bulk::{self, Body, BodyError};
use crate::graphql::{self, ErrorCode, guard};
use crate::ingest::Operation;
use crate::store::Allowance;

/// How long a caller is asked to wait who finds no room.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Answers a request whose document is in the body.
pub(super) async fn post(State(web): State<Web>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
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
    match serde_json::from_slice::<Body<'_>>(&taken.bytes) {
        Ok(body) => execute(&web, &parts.headers, (&body, &taken.bytes), &[]).await,
        Err(error) => {
            let message = format!("the body is no GraphQL request: {error}");
            refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, &message)
        }
    }
}

/// Answers a query given in the address, or opens a socket.
pub(super) async fn get(
    State(web): State<Web>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &web).await {
        return socket::open(web, upgrade);
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
            execute(&web, &headers, (&body, text), &READS).await
        }
        Err(_) => wrong(),
    }
}

/// What an address gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    #[serde(default)]
    query: String,
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
            query: self.query.as_str().into(),
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
    headers: &HeaderMap,
    (body, text): (&Body<'_>, &[u8]),
    types: &[OperationType],
) -> Response {
    let Some(form) = accept::wanted(headers) else {
        let message = "an answer is application/graphql-response+json, application/json or \
            text/event-stream; accept one of them";
        return refused(StatusCode::NOT_ACCEPTABLE, ErrorCode::BadRequest, message);
    };
    let known = match web.documents.of(body) {
        Ok(known) => known,
        Err(error) if error == Undocumented::NotFound => {
            let answered = failed(error.code(), error.to_string());
            return answer(form, &answered, None, None);
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
    let document = match document(known.text()) {
        Ok(document) => document,
        Err(error) if form == Form::EventStream => return sse::open(web, Err(error), text),
        Err(error) => return answer(form, &error, None, None),
    };
    let mut operations = document.operations.iter();
    if !types.is_empty() && operations.any(|(_, of)| !types.contains(&of.node.ty)) {
        let message = "a mutation is not executed by GET; post it";
        return not_allowed(message, "POST");
    }
    let name = name_of(&document, body.operation_name.as_deref());
    let request = request(web, (body, known.text()), document);
    if form == Form::EventStream {
        let request = request.map(|request| sse::resumed(request, headers));
        let mut response = sse::open(web, request, text);
        let operation = Operation { name, error: None };
        response.extensions_mut().insert(operation);
        return response;
    }
    let request = match request {
        Ok(request) => request,
        Err(error) => return answer(form, &error, name, None),
    };
    let room = Arc::new(web.api.store().allowance());
    let executed = graphql::execute(&web.schema, &web.api, request, Arc::clone(&room));
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

/// The answer to a request that was given up.
fn timed_out(web: &Web) -> Answer {
    let seconds = web.request_within.as_secs();
    let message = format!(
        "the request took longer than {seconds} s and was given up; ask for less at once. What it was \
         to record may have been recorded: send it again with the same ids"
    );
    failed(ErrorCode::Timeout, message)
}

/// Refuses a method, and says which are taken.
fn not_allowed(message: &str, allowed: &'static str) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refused(status, ErrorCode::BadRequest, message);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

/// Refuses all methods but those of GraphQL.
pub(super) async fn other_method() -> Response {
    not_allowed("GraphQL is asked by POST, or by GET", "GET, HEAD, POST")
}

/// The request of a body, with its document parsed.
pub(super) fn prepared(web: &Web, body: &Body<'_>) -> Result<Request, Box<Answer>> {
    let known = web.documents.of(body);
    let known = known.map_err(|error| Box::new(failed(error.code(), error.to_string())))?;
    request(web, (body, known.text()), document(known.text())?)
}

fn request(
    web: &Web,
    (body, text): (&Body<'_>, &str),
    document: ExecutableDocument,
) -> Result<Request, Box<Answer>> {
    let now = web.api.ingest.clock().now();
    bulk::request((body, text), document, now).map_err(|error| {
        let code = match &error {
            BodyError::Malformed(_) => ErrorCode::BadRequest,
            BodyError::TooLarge | BodyError::TooManyValues => ErrorCode::LimitExceeded,
            BodyError::BadEvent(_) => ErrorCode::BadInput,
        };
        Box::new(failed(code, error.to_string()))
    })
}

/// Parses a document that the parser can be given.
fn document(text: &str) -> Result<ExecutableDocument, Box<Answer>> {
    let looked = guard::check(text);
    looked.map_err(|refused| Box::new(failed(ErrorCode::LimitExceeded, refused.to_string())))?;
    parse_query(text).map_err(|error| {
        let error = graphql::of_syntax(ServerError::from(error));
        Box::new(Answer::from_errors(vec![error]))
    })
}

/// The name of the operation that is executed.
fn name_of(document: &ExecutableDocument, given: Option<&str>) -> Option<String> {
    given
        .map(str::to_owned)
        .or_else(|| match &document.operations {
            DocumentOperations::Single(_) => None,
            DocumentOperations::Multiple(operations) => {
                let mut names = operations.keys().map(ToString::to_string);
                names.next().filter(|_| operations.len() == 1)
            }
        })
}

fn failed(code: ErrorCode, message: String) -> Answer {
    let mut error = ServerError::new(message, None);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code.word());
    extensions.set("retryable", code.is_retryable());
    Answer::from_errors(vec![error])
}

/// Gives every error a code. What the library refuses before it executes has none of its own: a
/// value of the wrong form is `BAD_INPUT`, and anything else does not fit the schema.
pub(super) fn coded(mut answer: Answer) -> Answer {
    for error in &mut answer.errors {
        let given = error
            .extensions
            .as_ref()
            .is_some_and(|e| e.get("code").is_some());
        if given {
            continue;
        }
        let input = !error.path.is_empty()
            || error.message.starts_with("Invalid value for argument")
            || error.message.starts_with("Failed to parse");
        let code = if input {
            ErrorCode::BadInput
        } else {
            ErrorCode::ValidationFailed
        };
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", code.word());
        extensions.set("retryable", code.is_retryable());
    }
    answer
}

/// Whether a request failed before anything of it was executed.
pub(super) fn is_unexecuted(answer: &Answer) -> bool {
    let is_of_request = |error: &ServerError| error.path.is_empty();
    answer.is_err() && answer.data == Value::Null && answer.errors.iter().all(is_of_request)
}

/// An answer, with the room that it holds until it is sent.
fn answer(
    form: Form,
    answer: &Answer,
    operation: Option<String>,
    room: Option<Arc<Allowance>>,
) -> Response {
    let unexecuted = is_unexecuted(answer);
    let status = match form {
        Form::GraphqlResponse if unexecuted => StatusCode::BAD_REQUEST,
        Form::GraphqlResponse | Form::Json | Form::EventStream => StatusCode::OK,
    };
    let ty = form.content_type();
    let error = answer.errors.first().map(|error| error.message.clone());
    let body = if unexecuted {
        serde_json::to_vec(&serde_json::json!({ "errors": answer.errors }))
    } else {
        serde_json::to_vec(answer)
    };
    let Ok(body) = body else {
        let message = "the answer could not be written";
        return refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Internal,
            message,
        );
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(ty)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    let body = match room {
        Some(room) => Held::body(body, room),
        None => body.into(),
    };
    let mut response = (status, headers, body).into_response();
    response.extensions_mut().insert(Operation {
        name: operation,
        error,
    });
    response
}

/// An error of the transport.
pub(super) fn error(code: ErrorCode, message: &str) -> serde_json::Value {
    let mut extensions = serde_json::json!({
        "code": code.word(),
        "retryable": code.is_retryable(),
    });
    if code == ErrorCode::Overloaded {
        extensions["retryAfterMs"] = (RETRY_AFTER_SECONDS * 1_000).into();
    }
    serde_json::json!({ "message": message, "extensions": extensions })
}

pub(super) fn refused(status: StatusCode, code: ErrorCode, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [error(code, message)] });
    let mut response = (status, axum::Json(body)).into_response();
    if code == ErrorCode::Overloaded {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    let error = Some(message.to_owned());
    response
        .extensions_mut()
        .insert(Operation { name: None, error });
    response
}
