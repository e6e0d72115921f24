//! What the server tells of itself: whether it lives, whether it is ready, its metrics, and a trace
//! of each request.

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;
use tracing::Instrument;
use uuid::Uuid;

use super::Web;
use crate::store::Standing;

/// Events that the projections may be behind before the server is not ready.
const LAG_EVENTS_MAX: i64 = 100_000;
/// Bytes of free disk below which the server is not ready.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// What is told of the server.
#[derive(Debug)]
pub struct Monitor {
    registry: Registry,
    file: Option<PathBuf>,
    /// Open sockets.
    pub sockets: Gauge,
    wal_bytes: Gauge<i64, AtomicI64>,
    free_bytes: Gauge<i64, AtomicI64>,
}

impl Monitor {
    /// Shows what is already registered, and what is measured when it is asked for. `file` is that
    /// of the database, where it has one.
    #[must_use]
    pub fn new(mut registry: Registry, file: Option<PathBuf>) -> Self {
        let sockets = Gauge::default();
        let (wal_bytes, free_bytes) = (Gauge::default(), Gauge::default());
        let help = "Open WebSocket connections, each with its subscriptions";
        registry.register("subscriber_sockets", help, sockets.clone());
        let help = "Size of the write-ahead log of SQLite";
        registry.register("wal_bytes", help, wal_bytes.clone());
        let help = "Free space of the disk of the database";
        registry.register("disk_free_bytes", help, free_bytes.clone());
        Self {
            registry,
            file,
            sockets,
            wal_bytes,
            free_bytes,
        }
    }

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

    fn text(&self) -> Result<String, std::fmt::Error> {
        let gauge = |bytes: Option<u64>| bytes.and_then(|b| i64::try_from(b).ok()).unwrap_or(0);
        self.wal_bytes.set(gauge(self.wal()));
        self.free_bytes.set(gauge(self.free()));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Whether the process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the server can do its work, and if not, what is missing.
pub(super) async fn readyz(State(web): State<Web>) -> Response {
    let store = web.api.store();
    let database = store.after(store.head(), 1).await.is_ok();
    let lag = store.head().0 - web.api.folded.borrow().0;
    let free = web.monitor.free();
    let checks = json!({
        "database": if database { "ok" } else { "cannot be read" },
        "appends": match store.standing() {
            Standing::Sound => "ok",
            Standing::AppendsFail => "the last one failed",
            Standing::WentBack => "refused, since the database has lost commits",
        },
        "projections": if lag <= LAG_EVENTS_MAX { "ok" } else { "too far behind" },
        "disk": if free.is_none_or(|free| free >= FREE_BYTES_MIN) { "ok" } else { "nearly full" },
        "serving": if web.drain.is_cancelled() { "stopping" } else { "ok" },
    });
    let ready = checks
        .as_object()
        .is_some_and(|all| all.values().all(|check| check == "ok"));
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        axum::Json(json!({ "ready": ready, "checks": checks })),
    )
        .into_response()
}

/// Metrics in the form of Prometheus.
pub(super) async fn metrics(State(web): State<Web>) -> Response {
    match web.monitor.text() {
        Ok(text) => {
            let ty = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, ty)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Gives each request an id, and its logs that id and the trace that the caller is in.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let trace_id = trace_id(&request).unwrap_or_default();
    let span = tracing::info_span!("request", request.id = %id, trace.id = %trace_id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The trace id of a W3C `traceparent`: version, trace, parent, flags, in hexadecimal.
fn trace_id(request: &Request) -> Option<String> {
    let parent = request.headers().get(TRACE_PARENT)?.to_str().ok()?;
    let trace = parent.split('-').nth(1)?;
    let valid = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| trace.to_owned())
}
