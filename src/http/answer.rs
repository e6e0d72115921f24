//! Answers as they are sent: their codes, statuses and headers.

use std::sync::Arc;

use async_graphql::{Response as Answer, ServerError, Value};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use super::accept::Form;
use super::held::Held;
use crate::graphql::{self, ErrorCode, code_of};
use crate::ingest::Operation;
use crate::store::Allowance;

/// How long a caller is asked to wait who finds no room.
const RETRY_AFTER_SECONDS: u16 = 1;

/// The answer to a request that is refused before it is executed.
pub(super) fn failed(code: ErrorCode, message: String) -> Answer {
    let mut error = ServerError::new(message, None);
    code.mark(&mut error);
    if code == ErrorCode::Overloaded {
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("retryAfterMs", RETRY_AFTER_SECONDS * 1_000);
    }
    Answer::from_errors(vec![error])
}

/// Gives every error a code. What the library refuses before it executes has none of its own: a
/// value of the wrong form is `BAD_INPUT`, and anything else does not fit the schema.
pub(super) fn coded(mut answer: Answer) -> Answer {
    for error in &mut answer.errors {
        if code_of(error).is_some() {
            continue;
        }
        let input = !error.path.is_empty()
            || error.message.starts_with("Invalid value for argument")
            || error
                .message
                .starts_with("Invalid default value for argument")
            || error.message.starts_with("Failed to parse");
        let code = if input {
            ErrorCode::BadInput
        } else {
            ErrorCode::ValidationFailed
        };
        code.mark(error);
    }
    answer
}

/// Whether a request failed before anything of it was executed.
pub(super) fn is_unexecuted(answer: &Answer) -> bool {
    let is_of_request = |error: &ServerError| error.path.is_empty();
    answer.is_err() && answer.data == Value::Null && answer.errors.iter().all(is_of_request)
}

/// An answer, with the room that it holds until it is sent.
pub(super) fn answer(
    form: Form,
    answer: &Answer,
    operation: Option<String>,
    room: Option<Arc<Allowance>>,
) -> Response {
    let unexecuted = is_unexecuted(answer);
    let is_forbidden = answer.errors.iter().any(|e| ErrorCode::Forbidden.is_of(e));
    let wait = rate_limited(answer);
    let status = match form {
        Form::Json | Form::GraphqlResponse if wait.is_some() => StatusCode::TOO_MANY_REQUESTS,
        Form::GraphqlResponse if unexecuted && is_forbidden => StatusCode::FORBIDDEN,
        Form::GraphqlResponse if unexecuted => StatusCode::BAD_REQUEST,
        Form::GraphqlResponse | Form::Json | Form::EventStream => StatusCode::OK,
    };
    let ty = form.content_type();
    let error = answer.errors.first().map(|error| error.message.clone());
    let body = if unexecuted {
        serde_json::json!({ "errors": answer.errors }).to_string()
    } else {
        graphql::json(answer)
    };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(ty))];
    let body = match room {
        Some(room) => Held::body(body.into_bytes(), room),
        None => body.into(),
    };
    let mut response = (status, headers, body).into_response();
    if let Some(seconds) = wait {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response.extensions_mut().insert(Operation {
        name: operation,
        error,
    });
    response
}

/// After how many seconds a request is to be sent again of which nothing was done, since its caller has
/// spent too much.
fn rate_limited(answer: &Answer) -> Option<u64> {
    let is_empty = match &answer.data {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(|field| *field == Value::Null),
        Value::Number(_) | Value::String(_) | Value::Boolean(_) => false,
        Value::Binary(_) | Value::Enum(_) | Value::List(_) => false,
    };
    let wait = |error: &ServerError| {
        let ms = error.extensions.as_ref()?.get("retryAfterMs");
        let ms = ms.filter(|_| ErrorCode::RateLimited.is_of(error))?;
        let Value::Number(ms) = ms else { return None };
        ms.as_u64()
    };
    let waits: Option<Vec<u64>> = answer.errors.iter().map(wait).collect();
    let longest = waits.filter(|_| is_empty)?.into_iter().max()?;
    Some(longest.div_ceil(1_000))
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

/// Refuses a method, and says which are taken.
pub(super) fn not_allowed(message: &str, allowed: &'static str) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refused(status, ErrorCode::BadRequest, message);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

/// The answer to a request that was given up.
pub(super) fn timed_out(web: &Web) -> Answer {
    let seconds = web.request_within.as_secs();
    let message = format!(
        "the request took longer than {seconds} s and was given up; ask for less at once. What it was \
         to record may have been recorded: send it again with the same ids"
    );
    failed(ErrorCode::Timeout, message)
}
