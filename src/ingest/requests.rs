//! Records each HTTP request that this server answers as an event of kind `apiRequest`, but for
//! those by which it is watched over.
//!
//! It stands around all routes. It never slows or fails a request: the event goes into the queue
//! for what this server says of itself, and is dropped and counted when that is full. Recording is
//! no request, so nothing logs itself in a loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant as Stopwatch;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use entity::api_request_logs::Column;

use super::{Background, Strangers};
use crate::clock::Clock;
use crate::event::{Cell, Provenance};
use crate::kinds::{Draft, Kind};

/// Routes by which others watch over this server. They are asked every few seconds and say nothing
/// of what anybody did, so they are left out.
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Name of the GraphQL operation that was answered, put on the answer by its handler.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Name of the operation, if it has one.
    pub name: Option<String>,
    /// The first error, if there was one.
    pub error: Option<String>,
}

/// Name of the caller to whom was answered, put on the answer by whoever let the caller in.
#[derive(Clone, Debug)]
pub struct AnsweredTo(pub Arc<str>);

/// From where a request comes, as it is told of it; put on the request by whoever found that out.
#[derive(Clone, Debug)]
pub struct AskedFrom(pub Arc<str>);

/// Where requests are recorded.
#[derive(Clone, Debug)]
pub struct RequestLog {
    /// The queue.
    pub background: Background,
    /// When they came.
    pub clock: Clock,
    /// What is recorded of those who prove nothing.
    pub strangers: Strangers,
}

/// Status of a request whose client gave up before it was answered, as proxies record it.
const CLIENT_GAVE_UP: i64 = 499;

impl RequestLog {
    /// Answers a request and records that it was answered, or that nobody waited for the answer.
    pub async fn layer(State(log): State<Self>, request: Request, next: Next) -> Response {
        let route = request.extensions().get::<MatchedPath>();
        if route.is_some_and(|route| WATCHED.contains(&route.as_str())) {
            return next.run(request).await;
        }
        let mut asked = Asked::new(log, &request);
        let response = next.run(request).await;
        asked.answered(&response);
        response
    }
}

/// An operation that was executed on a socket.
#[derive(Debug)]
pub struct OnSocket<'a> {
    /// Name of the caller.
    pub caller: &'a str,
    /// From where it came.
    pub from: Option<&'a str>,
    /// Name of the operation, if it has one.
    pub operation: Option<&'a str>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// Records an operation on a socket as a request of its own: of the socket no more is told than that it
/// was opened.
pub fn record_on_socket(background: &Background, clock: &Clock, done: &OnSocket<'_>) {
    let drafted = Draft::new(Kind::ApiRequest, clock.now(), Provenance::Real)
        .set(Column::Endpoint, "/graphql")
        .set(Column::Method, "GET")
        .set(Column::StatusCode, 200)
        .set(Column::ResponseTimeMs, done.took_ms)
        .set(Column::OperationName, done.operation)
        .set(Column::UserId, Some(done.caller))
        .set(Column::IpAddress, done.from)
        .finish();
    if let Ok(event) = drafted {
        background.offer(event);
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Whose request it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of a caller who was proved.
    ACaller,
    /// Of nobody who is known.
    AStranger,
}

/// A request that is being answered. The server drops it when its client goes away; then that is
/// recorded.
struct Asked {
    log: RequestLog,
    began: Stopwatch,
    /// What is known before the answer; taken when that is there.
    draft: Option<Draft>,
}

impl Asked {
    fn new(log: RequestLog, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        // what has no route is recorded under one name: raw paths have no end
        let endpoint = route.map_or("(no route)", MatchedPath::as_str);
        let address = request.extensions().get::<AskedFrom>();
        let address = address.map(|AskedFrom(from)| &**from);
        let agent = text(request.headers(), &header::USER_AGENT);
        let draft = Draft::new(Kind::ApiRequest, log.clock.now(), Provenance::Real)
            .set(Column::Endpoint, endpoint)
            .set(Column::Method, request.method().as_str())
            .set(Column::IpAddress, address)
            .set(Column::UserAgent, agent.as_deref())
            .set(Column::RequestBytes, length(request.headers()));
        Self {
            log,
            began: Stopwatch::now(),
            draft: Some(draft),
        }
    }

    fn answered(&mut self, response: &Response) {
        let operation = response.extensions().get::<Operation>().cloned();
        let (name, error) = operation.map_or((None, None), |o| (o.name, o.error));
        let status = i64::from(response.status().as_u16());
        let caller = response.extensions().get::<AnsweredTo>().cloned();
        let caller = caller.as_ref().map(|AnsweredTo(name)| &**name);
        let whose = caller.map_or(Whose::AStranger, |_| Whose::ACaller);
        self.end(whose, |draft| {
            draft
                .set(Column::StatusCode, status)
                .set(Column::UserId, caller)
                .set(Column::OperationName, name.as_deref())
                .set(Column::ResponseBytes, body_length(response.body()))
                .set(Column::ErrorMessage, error.as_deref())
        });
    }

    fn end(&mut self, whose: Whose, complete: impl FnOnce(Draft) -> Draft) {
        let Some(draft) = self.draft.take() else {
            return;
        };
        let log = &self.log;
        if whose == Whose::AStranger && !log.strangers.may_say_more(log.clock.now()) {
            return;
        }
        let took_ms = self.began.elapsed().as_secs_f64() * 1_000.0;
        let drafted = complete(draft)
            .set(Column::ResponseTimeMs, took_ms)
            .finish();
        if let Ok(event) = drafted {
            self.log.background.offer(event);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.end(Whose::AStranger, |draft| {
            draft
                .set(Column::StatusCode, CLIENT_GAVE_UP)
                .set(Column::ErrorMessage, "the client gave up before the answer")
        });
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
