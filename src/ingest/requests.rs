//! Records each HTTP request that this server answers as an event of kind `apiRequest`.
//!
//! It stands around all routes. It never slows or fails a request: the event goes into the queue
//! for what this server says of itself, and is dropped and counted when that is full. Recording is
//! no request, so nothing logs itself in a loop.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant as Stopwatch;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use entity::api_request_logs::Column;

use super::Background;
use crate::clock::Clock;
use crate::event::{Cell, Provenance};
use crate::kinds::{Draft, Kind};

/// Name of the GraphQL operation that was answered, put on the answer by its handler.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Name of the operation, if it has one.
    pub name: Option<String>,
    /// The first error, if there was one.
    pub error: Option<String>,
}

/// Where requests are recorded.
#[derive(Clone, Debug)]
pub struct RequestLog {
    /// The queue.
    pub background: Background,
    /// When they came.
    pub clock: Clock,
}

impl RequestLog {
    /// Answers a request and records that it was answered.
    pub async fn layer(State(log): State<Self>, request: Request, next: Next) -> Response {
        let began = Stopwatch::now();
        let at = log.clock.now();
        let route = request.extensions().get::<MatchedPath>();
        // what has no route is recorded under one name: raw paths have no end
        let endpoint = route.map_or_else(|| "(no route)".to_owned(), |r| r.as_str().to_owned());
        let method = request.method().as_str().to_owned();
        let address = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip());
        let agent = text(request.headers(), &header::USER_AGENT);
        let request_bytes = length(request.headers());
        let response = next.run(request).await;
        let operation = response.extensions().get::<Operation>().cloned();
        let (name, error) = operation.map_or((None, None), |o| (o.name, o.error));
        let drafted = Draft::new(Kind::ApiRequest, at, Provenance::Real)
            .set(Column::Endpoint, endpoint.as_str())
            .set(Column::Method, method.as_str())
            .set(Column::StatusCode, i64::from(response.status().as_u16()))
            .set(
                Column::ResponseTimeMs,
                began.elapsed().as_secs_f64() * 1_000.0,
            )
            .set(Column::OperationName, name.as_deref())
            .set(Column::IpAddress, address.map(truncated).as_deref())
            .set(Column::UserAgent, agent.as_deref())
            .set(Column::RequestBytes, request_bytes)
            .set(Column::ResponseBytes, body_length(response.body()))
            .set(Column::ErrorMessage, error.as_deref())
            .finish();
        if let Ok(event) = drafted {
            log.background.offer(event);
        }
        response
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

fn length(headers: &HeaderMap) -> Cell {
    text(headers, &header::CONTENT_LENGTH)
        .and_then(|text| text.parse::<i64>().ok())
        .into()
}

fn body_length(body: &Body) -> Cell {
    body.size_hint()
        .exact()
        .and_then(|bytes| i64::try_from(bytes).ok())
        .into()
}

/// An address names a household, not a person: the last byte of IPv4 and all but the first three
/// groups of IPv6 are left out.
fn truncated(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}
