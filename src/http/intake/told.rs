//! How those are told that nothing was recorded who do not speak GraphQL: the same words, and a status.

use std::time::Duration;

use async_graphql::Error;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::unpacked::ReadError;
use crate::graphql::ErrorCode;
use crate::ingest::Operation;

/// How long one is asked to wait who finds no room.
const RETRY_AFTER_MS: u64 = 1_000;

/// Why nothing was recorded.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after_ms: Option<u64>,
    extensions: Box<Json>,
}

impl Told {
    /// A refusal with a code.
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: &str) -> Self {
        let full = matches!(code, ErrorCode::Overloaded | ErrorCode::Unavailable);
        let retry_after_ms = full.then_some(RETRY_AFTER_MS);
        let mut extensions = json!({ "code": code.word(), "retryable": code.is_retryable() });
        if let Some(wait) = retry_after_ms {
            extensions["retryAfterMs"] = wait.into();
        }
        Self {
            status,
            code: code.word().to_owned(),
            message: message.to_owned(),
            retry_after_ms,
            extensions: Box::new(extensions),
        }
    }

    /// A body that was not read.
    pub(super) fn unread(error: &ReadError) -> Self {
        let (status, code) = error.status();
        Self::new(status, code, &error.to_string())
    }

    /// What took too long.
    pub(super) fn late(within: Duration) -> Self {
        let message = format!(
            "recording took longer than {} s and was given up; what was sent may have been recorded: send it \
             again with the same ids",
            within.as_secs()
        );
        Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorCode::Timeout, &message)
    }

    /// What the schema says of it.
    pub(super) fn of(error: &Error) -> Self {
        let extensions = error.extensions.as_ref();
        let extensions = extensions.map_or(Json::Null, |all| json!(all));
        let code = extensions["code"].as_str().unwrap_or_default().to_owned();
        let status = match code.as_str() {
            "RATE_LIMITED" | "OVERLOADED" => StatusCode::TOO_MANY_REQUESTS,
            "UNAVAILABLE" => StatusCode::SERVICE_UNAVAILABLE,
            "LIMIT_EXCEEDED" => StatusCode::PAYLOAD_TOO_LARGE,
            "CONFLICT" => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let given = extensions["retryAfterMs"].as_u64();
        let is_down = status == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            status,
            code,
            message: error.message.clone(),
            retry_after_ms: given.or_else(|| is_down.then_some(RETRY_AFTER_MS)),
            extensions: Box::new(extensions),
        }
    }

    /// As it stands in an answer that has begun.
    pub(super) fn json(&self) -> Json {
        json!({ "message": self.message, "extensions": self.extensions })
    }

    /// As an answer of its own.
    pub(super) fn response(&self) -> Response {
        let body = json!({ "errors": [self.json()] });
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(wait) = self.retry_after_ms {
            let seconds = wait.div_ceil(1_000);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Operation {
            name: None,
            error: Some(self.message.clone()),
        });
        response
    }
}
