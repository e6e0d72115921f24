//! What the server tells of itself: whether it lives, whether it is ready, its metrics, and a trace
//! of each request.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use serde_json::json;
use tracing::Instrument;
use uuid::Uuid;

use super::Web;
use super::answer::refused;
use crate::graphql::ErrorCode;
use crate::store::{Standing, Trouble};

/// Events that the projections may be behind before the server is not ready.
const LAG_EVENTS_MAX: i64 = 100_000;
/// Bytes of free disk below which the server is not ready.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// What is told of the server.
#[derive(Debug)]
pub struct Monitor {
    registry: Registry,
    disk: Disk,
    /// Open sockets.
    pub sockets: Gauge,
    operations: Gauge,
}

impl Monitor {
    /// Shows what is already registered, and what is measured when it is asked for. `file` is that
    /// of the database, where it has one.
    #[must_use]
    pub fn new(mut registry: Registry, file: Option<PathBuf>) -> Self {
        let (sockets, operations) = (Gauge::default(), Gauge::default());
        let disk = Disk { file };
        let help = "Open WebSocket connections, each with its subscriptions";
        registry.register("subscriber_sockets", help, sockets.clone());
        let help = "Operations over WebSocket connections that have not ended: subscriptions, but \
                    for a query that is just answered";
        registry.register("socket_operations", help, operations.clone());
        registry.register_collector(Box::new(disk.clone()));
        Self {
            registry,
            disk,
            sockets,
            operations,
        }
    }

    /// Counts a socket until what is returned is dropped.
    pub(super) fn socket(&self) -> Counted {
        Counted::on(&self.sockets)
    }

    /// Counts an operation of a socket until what is returned is dropped.
    pub(super) fn operation(&self) -> Counted {
        Counted::on(&self.operations)
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What is counted as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Counted {
    fn on(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The disk of the database, measured when it is asked for. What cannot be measured is left out: a
/// zero would be an alarm.
#[derive(Clone, Debug)]
struct Disk {
    file: Option<PathBuf>,
}

impl Disk {
    fn free(&self) -> Option<u64> {
        let folder = match self.file.as_deref()?.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let disk = rustix::fs::statvfs(&folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn wal(&self) -> Option<u64> {
        let mut wal = self.file.clone()?.into_os_string();
        wal.push("-wal");
        std::fs::metadata(wal).ok().map(|file| file.len())
    }
}

impl Collector for Disk {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let wal = (
            "wal_bytes",
            "Size of the write-ahead log of SQLite",
            self.wal(),
        );
        let free = (
            "disk_free_bytes",
            "Free space of the disk of the database",
            self.free(),
        );
        for (name, help, bytes) in [wal, free] {
            if let Some(bytes) = bytes.and_then(|bytes| i64::try_from(bytes).ok()) {
                let gauge = ConstGauge::new(bytes);
                let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
                gauge.encode(metric)?;
            }
        }
        Ok(())
    }
}

/// Whether the process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// What the server can be without: it takes what is recorded and answers what is newer.
const CAN_BE_WITHOUT: &str = "archive";

/// Whether the server can do its work, and if not, what is missing. Without what was archived it is ready and tells that
/// it is degraded: all servers of a log share that, so that none would be left to record if it counted.
pub(super) async fn readyz(State(web): State<Web>) -> Response {
    let store = web.api.store();
    let database = store.after(store.head(), 1).await.is_ok();
    let lag = store.head().0 - web.api.folded.borrow().0;
    let free = web.monitor.disk.free();
    let checks = json!({
        "database": if database { "ok" } else { "cannot be read" },
        "appends": match store.standing() {
            Standing::Sound => "ok",
            Standing::AppendsFail => "the last one failed",
            Standing::WentBack => "refused, since the database has lost commits",
            Standing::Superseded => {
                "refused, since a newer version has taken over: start this server again with it"
            }
        },
        "projections": if lag <= LAG_EVENTS_MAX { "ok" } else { "too far behind" },
        "disk": if free.is_none_or(|free| free >= FREE_BYTES_MIN) { "ok" } else { "nearly full" },
        "serving": if web.drain.is_cancelled() { "stopping" } else { "ok" },
        CAN_BE_WITHOUT: store.archive_trouble().map_or("ok", Trouble::words),
    });
    let mut parts = checks.as_object().into_iter().flatten();
    let ready = parts.all(|(part, check)| part == CAN_BE_WITHOUT || check == "ok");
    let degraded = checks[CAN_BE_WITHOUT] != "ok";
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        axum::Json(json!({ "ready": ready, "degraded": degraded, "checks": checks })),
    )
        .into_response()
}

/// Metrics in the form of Prometheus.
pub(super) async fn metrics(State(web): State<Web>) -> Response {
    let store = web.api.store();
    store.metrics().queue(store.queued_events());
    let is_readable = store.archive_trouble().is_none();
    store.metrics().archive(is_readable);
    match web.monitor.text() {
        Ok(text) => {
            let ty = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, ty)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// There is nothing at the address.
pub(super) async fn nothing() -> Response {
    let message = "there is nothing here; GraphQL is at /graphql";
    refused(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
}

/// Answers a request also when what serves it panics; what it said is in the log of the process.
pub(super) async fn panics(State(web): State<Web>, request: Request, next: Next) -> Response {
    let served = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    served.unwrap_or_else(|_| {
        let body = json!({ "errors": crate::graphql::panicked(&web.api).errors });
        (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response()
    })
}

/// What is answered is kept nowhere on its way, and taken for nothing but what it says it is.
pub(super) async fn kept_nowhere(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Gives each request an id, and its logs that id and the trace that the caller is in, or else a
/// trace of its own; and logs how it was answered.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = Uuid::now_v7();
    // a trace id of its own has the random bits of the request's id
    let trace_id = trace_id(&request).unwrap_or_else(|| id.simple().to_string());
    // of the highest level, so that an error bears the ids whatever else is logged
    let span = tracing::error_span!("request", request.id = %id, trace.id = %trace_id);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answered = async {
        let response = next.run(request).await;
        tracing::debug!(
            http.method = %method,
            http.route = route.as_ref().map_or("(no route)", MatchedPath::as_str),
            http.status = response.status().as_u16(),
            duration_ms = began.elapsed().as_secs_f64() * 1_000.0,
            "answered"
        );
        response
    };
    let mut response = answered.instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn trace_id(request: &Request) -> Option<String> {
    let parent = request.headers().get(TRACE_PARENT)?.to_str().ok()?;
    trace_of(parent).map(str::to_owned)
}

/// The trace id of a `traceparent` (W3C Trace Context, level 1): version, trace, parent and flags in
/// lower hexadecimal, neither id zero; a later version may have more behind them.
fn trace_of(parent: &str) -> Option<&str> {
    let mut parts = parent.split('-');
    let mut part = |length: usize| {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let part = parts.next()?;
        (part.len() == length && part.bytes().all(lower)).then_some(part)
    };
    let (version, trace, caller, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let is_whole = version != "00" || parts.next().is_none();
    let valid = version != "ff" && is_whole && !is_zero(trace) && !is_zero(caller);
    valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::trace_of;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_parent_is_taken_only_in_the_form_of_its_standard() {
        let taken = |parent: &str| trace_of(parent) == Some(TRACE);
        assert!(taken(&format!("00-{TRACE}-00f067aa0ba902b7-01")));
        assert!(taken(&format!("01-{TRACE}-00f067aa0ba902b7-01-more")));
        for refused in [
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("0-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}"),
        ] {
            assert_eq!(trace_of(&refused), None, "{refused}");
        }
    }
}
