//! The loop that accepts connections: how many there may be and from whom, and how long a client may
//! take for what.
//!
//! A client that sends slowly, or takes slowly, holds memory and a place. So a head has to come within
//! a time, a connection on which nothing is asked is closed, and so is one whose client takes nothing
//! of what is there for it; a body has its own clock (see [`super::bodies`]).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::ingest::Peer;

/// How long a client may take to send a head, and may ask nothing between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
/// How long a client may take nothing of what is there for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes at most of a head; an answer is written through a buffer of this size too.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers at most of a request.
const HEADERS_MAX: usize = 100;
/// How soon it is tried again to accept connections when the system has no room for one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// In all.
    pub connections_max: usize,
    /// From one address; loopback is a proxy on this machine, and has no limit of its own.
    pub per_address_max: usize,
}

/// Accepts connections and serves each until it is told to drain; returns when all have ended.
///
/// # Errors
/// Never; what fails is of one connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    drain: CancellationToken,
) -> io::Result<()> {
    let places = Places::new(connections);
    let served = TaskTracker::new();
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
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // one too many is closed at once: it cannot be told why before it has asked for something
        let Some(place) = places.take(address.ip()) else {
            tracing::debug!(%address, "there are too many connections");
            continue;
        };
        let (router, drain) = (router.clone(), drain.clone());
        served.spawn(async move {
            if let Err(error) = connection(stream, address, router, drain).await {
                tracing::debug!(%address, error = %crate::telemetry::chain(&error), "a connection broke off");
            }
            drop(place);
        });
    }
    drop(listener);
    served.close();
    served.wait().await;
    Ok(())
}

/// Whether accepting failed because of the one who connected.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    drain: CancellationToken,
) -> Result<(), hyper::Error> {
    // items of streams are small, and each is to go at once
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection holds back small messages");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(Peer(address)));
        router.clone().call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    tokio::select! {
        served = &mut serving => return served,
        () = drain.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

/// Places for connections.
#[derive(Clone, Debug)]
struct Places {
    all: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address_max: usize,
}

/// A place that is free again when it is dropped.
#[derive(Debug)]
struct Place {
    _of_all: tokio::sync::OwnedSemaphorePermit,
    address: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    fn new(connections: Connections) -> Self {
        Self {
            all: Arc::new(Semaphore::new(connections.connections_max)),
            taken: Arc::default(),
            per_address_max: connections.per_address_max,
        }
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.per_address_max && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place {
            _of_all: place,
            address,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_so_many_for_one_address() {
        let places = Places::new(Connections {
            connections_max: 4,
            per_address_max: 2,
        });
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let _third = places.take(other).unwrap();
        drop(first);
        let _fourth = places.take(one).unwrap();
        let local: IpAddr = [127, 0, 0, 1].into();
        let last = places.take(local).unwrap();
        assert!(places.take(local).is_none());
        drop(last);
        for _ in 0..2 {
            assert!(places.take(local).is_some());
        }
        assert_eq!(places.taken.lock().unwrap().len(), 2);
    }
}
