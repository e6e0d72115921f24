//! Ways in for those who do not speak GraphQL: events in their wire shape, and what exporters of
//! OpenTelemetry and pages send.
//!
//! Whatever comes is read piece by piece, counted as it is once unpacked, and recorded at the same door
//! by the same rules as `recordEvents`.

mod answers;
mod gathered;
mod ingest;
mod otlp;
mod pieces;
mod told;
mod unpacked;
mod user_activity;

use axum::response::Response;

use super::answer::not_allowed;

pub(super) use ingest::post as ingest;
pub(super) use otlp::{layer as told_exporters, logs, metrics};
pub(super) use user_activity::post as user_activity;

/// What one answer a line is.
pub(super) const LINES: &str = "application/x-ndjson";
/// Bytes at most that are read of one request, once they are unpacked.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Refuses all methods but the one by which something is sent.
pub(super) async fn other_method() -> Response {
    not_allowed("what is recorded is sent by POST", "POST")
}
