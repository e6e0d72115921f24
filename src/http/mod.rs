//! HTTP: the routes, what stands around all of them, and the GraphQL transport.

mod accept;
mod activity;
mod answer;
mod args;
mod bodies;
mod connections;
mod exports;
mod graphql;
mod halves;
mod held;
mod hosts;
mod intake;
mod live;
mod operation;
mod origins;
mod pace;
mod pages;
mod peers;
mod persisted;
mod position;
mod prepared;
mod room;
mod server;
mod sign_in;
mod socket;
mod sse;
mod status;
mod tls;
mod unread;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};

use crate::exports::Files;
use crate::graphql::{Api, ApiSchema};
use crate::identity::Authority;
use crate::ingest::RequestLog;

pub use args::EdgeArgs;
pub use bodies::Bodies;
pub use connections::Connections;
pub use hosts::Hosts;
pub use live::Topics;
pub use peers::{NetworkError, Peers};
pub use persisted::Documents;
pub use server::serve;
pub use socket::Places;
pub use status::Monitor;
pub use tls::{Tls, TlsError};

/// Bytes at most of a request's body.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where pages send what people do on them.
const USER_ACTIVITY: &str = "/api/v1/analytics/user-activity";
/// The program of pages that does so.
const TRACKER: &str = "/tracker.js";

/// Queries and mutations that are executed at once on all sockets; more wait for their turn.
pub const EXECUTED_ON_SOCKETS_MAX: usize = 1_000;

/// What the routes work with.
#[derive(Clone)]
pub struct Web {
    /// The schema.
    pub schema: ApiSchema,
    /// What resolvers work with.
    pub api: Api,
    /// What is told of the server.
    pub monitor: Arc<Monitor>,
    /// Tasks of open sockets.
    pub sockets: TaskTracker,
    /// Tells open sockets to close.
    pub drain: CancellationToken,
    /// Tells them that their time to end what is executed on them is over.
    pub cut: CancellationToken,
    /// The room for bodies of requests.
    pub bodies: Bodies,
    /// Places for sockets, and room for what is asked on them.
    pub places: Places,
    /// Queries and mutations that are executed at once on all sockets.
    pub executing: Arc<Semaphore>,
    /// What is being followed.
    pub topics: Topics,
    /// The documents that are known by a name.
    pub documents: Documents,
    /// Where it is found out who asks.
    pub authority: Authority,
    /// The access key by which the pages of this server tell what people do on them.
    pub tracking_key: Option<Arc<str>>,
    /// The files of exports, if there is a place for them.
    pub exports: Option<Arc<Files>>,
    /// How long a request may take to be executed.
    pub request_within: Duration,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

/// The routes of the server, and who reaches them under which name.
pub fn router(web: Web, (hosts, peers): (Hosts, Peers), log: RequestLog) -> Router {
    // lines are answers to what is still being sent, and none is held back to be packed with others
    let packed = DefaultPredicate::new().and(NotForContentType::const_new(intake::LINES));
    // what is taken in parts is sent as it lies
    let is_whole = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        !headers.contains_key(header::ACCEPT_RANGES)
    };
    let packed = packed.and(is_whole);
    let sent_to = |route: MethodRouter<Web>| route.fallback(intake::other_method);
    Router::new()
        .route("/", get(pages::home))
        .route("/home.css", get(pages::home_style))
        .route(TRACKER, get(pages::tracker))
        .route("/graphiql", get(pages::graphiql))
        .route("/graphiql/{file}", get(pages::graphiql_file))
        .route(
            "/graphql",
            get(graphql::get)
                .post(graphql::post)
                .fallback(graphql::other_method),
        )
        .route("/v1/ingest", sent_to(post(intake::ingest)))
        .route(USER_ACTIVITY, sent_to(post(intake::user_activity)))
        .route("/v1/metrics", sent_to(post(intake::metrics)))
        .route("/v1/logs", sent_to(post(intake::logs)))
        .route("/exports/{id}", get(exports::download))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .fallback(status::nothing)
        .with_state(web.clone())
        .layer(from_fn_with_state(web.clone(), sign_in::layer))
        .layer(from_fn_with_state(web.clone(), status::panics))
        .layer(from_fn(status::kept_nowhere))
        .layer(from_fn_with_state((hosts, web), Hosts::layer))
        .layer(from_fn(intake::told_exporters))
        .layer(from_fn_with_state(log, RequestLog::layer))
        .layer(from_fn_with_state(peers, Peers::layer))
        .layer(CompressionLayer::new().gzip(true).compress_when(packed))
        .layer(from_fn(status::trace))
}
