//! What exporters are told whose request was not taken: a `google.rpc.Status`, written as the request was.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

use super::Wire;
use crate::ingest::Operation;

/// `google.rpc.Status` without details (googleapis, `google/rpc/status.proto`).
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    /// A `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    code: i32,
    /// What happened, for people.
    #[prost(string, tag = "2")]
    message: String,
}

/// Where exporters send.
const ROUTES: [&str; 2] = ["/v1/metrics", "/v1/logs"];

/// Answers exporters as they expect it, whoever refused them.
pub(in super::super::super) async fn layer(request: Request, next: Next) -> Response {
    let is_exporter = ROUTES.contains(&request.uri().path());
    let wire = Wire::of(request.headers()).unwrap_or(Wire::Json);
    let response = next.run(request).await;
    if !is_exporter || response.status().is_success() {
        return response;
    }
    let operation = response.extensions().get::<Operation>();
    let message = operation.and_then(|operation| operation.error.clone());
    let message = message.unwrap_or_default();
    let code = code(response.status());
    let told = json!({ "code": code, "message": message });
    let status = Status { code, message };
    let (mut parts, _) = response.into_parts();
    let (written, body) = wire.answer(parts.status, &status, &told).into_parts();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(&name);
    }
    parts.headers.extend(written.headers);
    Response::from_parts(parts, body)
}

/// The code of a status (googleapis, `google/rpc/code.proto`).
fn code(status: StatusCode) -> i32 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        409 => 10,
        429 => 8,
        503 => 14,
        504 | 408 => 4,
        400..500 => 3,
        _ => 13,
    }
}
