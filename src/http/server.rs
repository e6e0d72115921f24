//! The loop that accepts connections, and how long a client may take for what.
//!
//! A client that sends slowly, or takes slowly, holds memory and a place. So a handshake and a head
//! have to come within a time, a connection on which nothing is asked is closed, and so is one whose
//! client takes too little of what is there for it (see [`super::pace`]); a body has its own clock (see
//! [`super::bodies`]). Each connection is a task of its own, so none of that keeps another waiting.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::activity::{Activity, Busy};
use super::connections::{Connections, Place, Places};
use super::hosts::Encrypted;
use super::pace::Paced;
use super::tls::Tls;
use super::unread;
use crate::ingest::Peer;

/// How long a client may take to send a head, and may ask nothing between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
/// How long a head may still take to come when the server stops.
const HEAD_AT_STOP_WITHIN: Duration = Duration::from_millis(500);
/// Bytes at most of a head; an answer is written through a buffer of this size too.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers at most of a request.
const HEADERS_MAX: usize = 100;
/// How soon it is tried again to accept connections when the system has no room for one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// Bytes that the system takes ahead of what a client has room for: with more, it would take them in
/// lumps, between which a client that takes its time would seem to take nothing. More is taken when half
/// of it is sent and what lies in one piece of the system's is acknowledged.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// Browsers that have reached this server encrypted ask it in no other way, for a year.
pub(super) const ENCRYPTED_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Why a connection broke off.
#[derive(Debug, Error)]
enum ConnectionError {
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    #[error("it could not be served")]
    Http(#[source] hyper::Error),
}

/// Accepts connections and serves each until it is told to drain; returns when all have ended. With a
/// certificate they are encrypted, and no others are served.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    tls: Option<Tls>,
    drain: CancellationToken,
) {
    let places = Places::new(connections);
    let served = TaskTracker::new();
    if let Some(tls) = &tls {
        served.spawn(tls.clone().keep_current(drain.clone()));
    }
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_client(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection, will try again");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // one too many is closed at once: it cannot be told why before it has asked for something
        let Some(place) = places.take(address.ip()) else {
            tracing::debug!(%address, "there are too many connections");
            continue;
        };
        let connection = Connection {
            address,
            router: router.clone(),
            place: Arc::new(place),
            drain: drain.clone(),
            activity: Arc::default(),
            encrypted: None,
        };
        let tls = tls.clone();
        served.spawn(async move {
            if let Err(error) = connection.begin(stream, tls).await {
                tracing::debug!(%address, error = %crate::telemetry::chain(&error), "a connection broke off");
            }
        });
    }
    drop(listener);
    served.close();
    served.wait().await;
}

/// Whether accepting failed because of the one who connected.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// What a connection is served with.
struct Connection {
    address: SocketAddr,
    router: Router,
    /// Each request has it too, so that one which becomes a socket keeps it.
    place: Arc<Place>,
    drain: CancellationToken,
    activity: Arc<Activity>,
    encrypted: Option<Encrypted>,
}

impl Connection {
    /// Serves a connection, after the handshake if there is to be one.
    async fn begin(mut self, stream: TcpStream, tls: Option<Tls>) -> Result<(), ConnectionError> {
        prepare(&stream);
        let stream = Paced::new(stream, Arc::clone(&self.activity));
        let Some(tls) = tls else {
            return self.serve(stream).await;
        };
        let stream = tokio::select! {
            accepted = tls.accept(stream) => accepted.map_err(ConnectionError::Handshake)?,
            () = self.drain.cancelled() => return Ok(()),
        };
        self.encrypted = Some(Encrypted);
        self.serve(stream).await
    }

    async fn serve<S>(self, stream: S) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (drain, activity) = (self.drain.clone(), Arc::clone(&self.activity));
        let service = service_fn(move |request| self.answer(request));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut serving = pin!(serving);
        tokio::select! {
            served = &mut serving => return served.map_err(ConnectionError::Http),
            () = drain.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        loop {
            tokio::select! {
                served = &mut serving => return served.map_err(ConnectionError::Http),
                // what has begun is answered; nobody waits for a head that does not come
                () = sleep(HEAD_AT_STOP_WITHIN) => if activity.is_idle() {
                    return Ok(());
                },
            }
        }
    }

    fn answer(
        &self,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Result<Response, std::convert::Infallible>> + Send + use<> {
        let (parts, body) = request.into_parts();
        let (body, rest) = unread::watched(&parts.headers, Body::new(body));
        let mut request = hyper::Request::from_parts(parts, body);
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(Peer(self.address)));
        extensions.insert(Arc::clone(&self.place));
        if let Some(encrypted) = self.encrypted {
            extensions.insert(encrypted);
        }
        let (busy, encrypted) = (self.activity.begin(), self.encrypted);
        let answered = self.router.clone().call(request);
        async move {
            let answered = rest.settle(answered.await?).await;
            Ok(sent(answered, busy, encrypted))
        }
    }
}

/// An answer as it goes over its connection.
fn sent(mut response: Response, busy: Busy, encrypted: Option<Encrypted>) -> Response {
    if encrypted.is_some() {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ENCRYPTED_ONLY);
    }
    response.map(|body| busy.with(body))
}

/// Has the system hold nothing back, neither small messages nor lumps of large ones: items of streams
/// are small, and each is to go at once.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection holds back small messages");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%error, "a connection takes large answers in lumps");
    }
}
