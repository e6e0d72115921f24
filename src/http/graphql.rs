//! GraphQL over HTTP.

use std::sync::Arc;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Response as Answer, ServerError};
use async_graphql_axum::GraphQLProtocol;
use axum::extract::{FromRequestParts, Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Web;
use super::bodies::TakeError;
use super::held::Held;
use super::socket;
use crate::graphql::bulk::{self, Body, BodyError};
use crate::graphql::{self, ErrorCode, guard};
use crate::ingest::Operation;
use crate::store::Allowance;

/// How long a caller is asked to wait who finds no room.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Answers a request whose document is in the body.
pub(super) async fn post(State(web): State<Web>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let content = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_json = content.is_some_and(|content| {
        content
            .split(';')
            .next()
            .is_some_and(|ty| ty.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        let message = "send the request as application/json";
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
                TakeError::Broken => (StatusCode::BAD_REQUEST, ErrorCode::BadRequest),
            };
            return refused(status, code, &error.to_string());
        }
    };
    match serde_json::from_slice::<Body<'_>>(&taken.bytes) {
        Ok(body) => execute(&web, &parts.headers, &body, &[]).await,
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
        let Ok(protocol) = GraphQLProtocol::from_request_parts(&mut parts, &web).await else {
            let message = "offer the subprotocol graphql-transport-ws";
            return refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message);
        };
        return socket::open(web, upgrade, protocol);
    }
    let wrong = || {
        let message = "give the document as the parameter `query`, and `variables` as JSON";
        refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message)
    };
    let Ok(Query(given)) = Query::<Given>::try_from_uri(&parts.uri) else {
        return wrong();
    };
    match given.body() {
        Ok(body) => execute(&web, &headers, &body, QUERIES).await,
        Err(_) => wrong(),
    }
}

/// What an address gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    query: String,
    operation_name: Option<String>,
    variables: Option<String>,
}

impl Given {
    fn body(&self) -> Result<Body<'_>, serde_json::Error> {
        let variables = self.variables.as_deref().filter(|text| !text.is_empty());
        Ok(Body {
            query: self.query.as_str().into(),
            operation_name: self.operation_name.clone(),
            variables: variables.map(serde_json::from_str).transpose()?,
        })
    }
}

/// What is answered by GET.
const QUERIES: &[OperationType] = &[OperationType::Query];

/// Executes a request whose operations are of these types, or of any when there are none.
async fn execute(
    web: &Web,
    headers: &HeaderMap,
    body: &Body<'_>,
    types: &[OperationType],
) -> Response {
    let document = match document(&body.query) {
        Ok(document) => document,
        Err(error) => return answer(headers, &error, None, None),
    };
    let mut operations = document.operations.iter();
    if !types.is_empty() && operations.any(|(_, of)| !types.contains(&of.node.ty)) {
        let message = "only queries are answered by GET; post this";
        let mut response = refused(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::BadRequest,
            message,
        );
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(header::ALLOW, post);
        return response;
    }
    let name = name_of(&document, body.operation_name.as_deref());
    let now = web.api.ingest.clock().now();
    let request = match bulk::request(body, document, now) {
        Ok(request) => request,
        Err(error) => {
            let code = match &error {
                BodyError::Malformed(_) => ErrorCode::BadRequest,
                BodyError::TooLarge | BodyError::TooManyValues => ErrorCode::LimitExceeded,
                BodyError::BadEvent(_) => ErrorCode::BadInput,
            };
            return answer(headers, &failed(code, error.to_string()), name, None);
        }
    };
    let room = Arc::new(web.api.store().allowance());
    let executed = graphql::execute(&web.schema, &web.api, request, Arc::clone(&room));
    let response = coded(executed.await);
    answer(headers, &response, name, Some(room))
}

/// Parses a document that the parser can be given.
fn document(text: &str) -> Result<ExecutableDocument, Box<Answer>> {
    if guard::is_too_deep(text) {
        return Err(Box::new(too_deep()));
    }
    parse_query(text).map_err(|error| {
        let error = graphql::of_syntax(ServerError::from(error));
        Box::new(Answer::from_errors(vec![error]))
    })
}

pub(super) fn too_deep() -> Answer {
    let message = format!(
        "the document has more than {} brackets in each other",
        guard::BRACKETS_MAX
    );
    failed(ErrorCode::LimitExceeded, message)
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

pub(super) fn failed(code: ErrorCode, message: String) -> Answer {
    let mut error = ServerError::new(message, None);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code.word());
    extensions.set("retryable", code.is_retryable());
    Answer::from_errors(vec![error])
}

/// What the library says of a document that is larger than it takes.
const TOO_LARGE: [&str; 4] = [
    "Query is nested too deep.",
    "Query is too complex.",
    "The recursion depth of the query cannot be greater than",
    "The number of directives on the field",
];

/// Gives every error a code. What the library refuses before it executes has none of its own: a
/// value of the wrong form is `BAD_INPUT`, a document that is too large `LIMIT_EXCEEDED`, and
/// anything else does not fit the schema.
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
        let too_large = TOO_LARGE
            .iter()
            .any(|start| error.message.starts_with(start));
        let code = if too_large {
            ErrorCode::LimitExceeded
        } else if input {
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

const RESPONSE_JSON: &str = "application/graphql-response+json";

/// An answer, with the room that it holds until it is sent.
fn answer(
    headers: &HeaderMap,
    answer: &Answer,
    operation: Option<String>,
    room: Option<Arc<Allowance>>,
) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let modern = accept.is_some_and(|accept| accept.contains(RESPONSE_JSON));
    let unexecuted = answer.is_err() && answer.errors.iter().all(|error| error.path.is_empty());
    let status = if modern && unexecuted {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    let ty = if modern {
        RESPONSE_JSON
    } else {
        "application/json"
    };
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
