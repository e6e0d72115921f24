//! The composition root: opens the log, starts the tasks, serves, and drains when it is told to.

mod start;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analytics::live::Lives;
use crate::analytics::provenance::Preferred;
use crate::config::LimitArgs;
use crate::configuration::Keyring;
use crate::error_groups::Groups;
use crate::event::{NewEvent, Position};
use crate::graphql::{self, Api};
use crate::held::Held;
use crate::http::{self, Hosts, Monitor, Peers, Web};
use crate::identity::{Authority, Denials, Keys, Spending, Tokens, TokensError};
use crate::ingest::{Background, Ingest, RequestLog, Strangers, record_faults};
use crate::jobs::Deliveries;
use crate::nodes::Node;
use crate::projections::{self, Runner};
use crate::store::{OpenError, Store, StoreError, Tasks};
use crate::telemetry::chain;
use crate::webhooks::{Mailer, Reachable, WebhookArgs};
use crate::works::{Kept, Works};
pub use start::{Access, Opened, Start, open};

/// How long a server that stops may take to append what it has accepted: longer than the writer
/// waits for a lock. After it, a database that does not answer holds the stop up no more.
const APPEND_FOR: Duration = Duration::from_secs(10);

/// How long sockets whose time is over have to tell their clients so.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// Events of this server about itself that may wait.
const BACKGROUND_EVENTS_MAX: usize = 10_000;
/// Counts over ranges that are read at once.
const COUNTING_MAX: usize = 2;

/// Why the server cannot start or go on.
#[derive(Debug, Error)]
pub enum AppError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Only loopback is listened on where nobody proves who they are.
    #[error(
        "{0} can be reached from other machines, where nobody would have to prove who they are: listen on 127.0.0.1 or \
         [::1]; others are let in by `serve` without --no-authentication"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}{}", instead(.address, .source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The access keys cannot be read.
    #[error("cannot read the access keys")]
    Keys(#[source] StoreError),
    /// The parameters cannot be read.
    #[error("cannot read the parameters")]
    Parameters(#[source] StoreError),
    /// The tokens that are to be taken cannot be proved.
    #[error(transparent)]
    Tokens(#[from] TokensError),
}

/// What to do when another program listens on an address.
fn instead(address: &SocketAddr, source: &std::io::Error) -> String {
    if source.kind() != std::io::ErrorKind::AddrInUse {
        return String::new();
    }
    let (ip, port) = (address.ip(), address.port().checked_add(1).unwrap_or(8_080));
    let other = SocketAddr::new(ip, port);
    format!(", where another program does; stop that or give another address, --listen {other}")
}

/// What a running server is made of.
#[derive(Debug)]
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// `https` when connections are encrypted, and else `http`.
    pub scheme: &'static str,
    /// The one door.
    pub ingest: Ingest,
    /// How far the projections have folded the log.
    pub folded: tokio::sync::watch::Receiver<Position>,
    /// How far they have, and have put nothing off of it.
    pub settled: tokio::sync::watch::Receiver<Position>,
    /// The access keys that hold.
    pub keys: Arc<Keys>,
    /// Who waits for commands to devices.
    pub deliveries: Deliveries,
    stop: CancellationToken,
    drain: CancellationToken,
    tracker: TaskTracker,
    background: TaskTracker,
    sockets: TaskTracker,
    stop_background: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    tasks: Tasks,
    drain_for: Duration,
}

/// Takes the address to listen on.
///
/// # Errors
/// When other machines can reach it, or it cannot be had.
pub async fn listen(address: SocketAddr, access: Access) -> Result<TcpListener, AppError> {
    if access == Access::Open && !address.ip().is_loopback() {
        return Err(AppError::NotLoopback(address));
    }
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| AppError::Listen { address, source })
}

impl App {
    /// Opens the log and serves it.
    ///
    /// # Errors
    /// When the log cannot be opened, or the address cannot be listened on.
    pub async fn start(start: Start) -> Result<Self, AppError> {
        let listener = listen(start.listen, start.access).await?;
        let opened = start.open().await?;
        Self::start_on(listener, opened, start).await
    }

    /// Serves a log that is open where it is listened already.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn start_on(
        listener: TcpListener,
        opened: Opened,
        start: Start,
    ) -> Result<Self, AppError> {
        let failed = |source| AppError::Listen {
            address: start.listen,
            source,
        };
        let address = listener.local_addr().map_err(failed)?;
        let request_within = start.request_within();
        let Opened {
            store,
            tasks,
            tokens,
        } = opened;
        let served = (start.access, start.preferred);
        let given = (served, start.webhooks, start.mailer);
        let limits = (&start.limits, start.keyring);
        let called = (start.name, address.to_string());
        let kept = Kept::of(&store, &start.exports, start.lake);
        let files = kept.files.clone();
        let mut parts = Parts::start(&store, called, limits, given, kept).await?;
        let log = RequestLog {
            background: parts.api.background.clone(),
            clock: store.clock().clone(),
            strangers: parts.strangers(start.access),
        };
        let authority = parts.authority(start.access, tokens);
        let (drain, sockets) = (CancellationToken::new(), TaskTracker::new());
        let web = Web {
            schema: graphql::schema(parts.api.clone()),
            api: parts.api.clone(),
            topics: http::Topics::new(&mut parts.registry),
            monitor: Arc::new(Monitor::new(parts.registry, store.file())),
            sockets: sockets.clone(),
            drain: drain.clone(),
            cut: parts.stop.clone(),
            bodies: http::Bodies::default(),
            executing: Arc::new(Semaphore::new(http::EXECUTED_ON_SOCKETS_MAX)),
            documents: start.documents,
            authority,
            exports: files,
            tracking_key: start.edge.tracking_key.as_deref().map(Arc::from),
            request_within,
            places: http::Places::new(usize::try_from(start.limits.sockets_max).unwrap_or(1)),
        };
        let hosts = Hosts::new(address, &start.allowed_hosts).with_origins(&start.edge);
        let peers = Peers::new(&start.edge);
        let router = http::router(web, (hosts, peers.clone()), log);
        let connections = connections(&start.limits, peers);
        let scheme = if start.tls.is_some() { "https" } else { "http" };
        let serving = http::serve(listener, router, connections, start.tls, drain.clone());
        Ok(Self {
            server: parts.tracker.spawn(serving),
            address,
            scheme,
            ingest: parts.api.ingest,
            folded: parts.api.folded,
            settled: parts.api.settled,
            keys: parts.api.keys,
            deliveries: parts.api.deliveries,
            stop: parts.stop,
            drain,
            tracker: parts.tracker,
            background: parts.background,
            sockets,
            stop_background: parts.stop_background,
            tasks,
            drain_for: Duration::from_secs(u64::from(start.limits.drain_seconds)),
        })
    }

    /// Runs a task of this server until the server stops.
    pub fn spawn<E: std::error::Error + Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let store = self.ingest.store().clone();
        self.tracker.spawn(reported(name, store, task));
    }

    /// Told when the server stops.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops: no new requests; those that run have their time to end; what was accepted is
    /// appended. If the database does not answer, that is given up after a while and told; none of
    /// it was acknowledged.
    pub async fn stop(self) {
        self.drain.cancel();
        self.sockets.close();
        let drained = async {
            // what panics there is in the log of the process
            let _ = self.server.await;
            self.sockets.wait().await;
        };
        let served = tokio::time::timeout(self.drain_for, drained).await;
        if served.is_err() {
            tracing::warn!("requests that did not end in time were cut off");
        }
        self.stop.cancel();
        if served.is_err() {
            let _ = tokio::time::timeout(CUT_WITHIN, self.sockets.wait()).await;
        }
        self.tracker.close();
        let store = self.ingest.store().clone();
        let appended = async {
            if served.is_ok() {
                self.tracker.wait().await;
            }
            self.stop_background.cancel();
            self.background.close();
            self.background.wait().await;
            self.tasks.stop().await;
        };
        if tokio::time::timeout(APPEND_FOR, appended).await.is_err() {
            tracing::error!(
                waiting_events = store.queued_events(),
                "the database did not answer in time: what it was still to take is given up"
            );
        }
    }
}

/// How many connections there may be by the limits.
fn connections(limits: &LimitArgs, peers: Peers) -> http::Connections {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let connections = http::Connections {
        connections_max: size(limits.connections_max),
        per_address_max: size(limits.connections_per_address_max),
        peers,
    };
    connections.within_files(size(limits.readers_max))
}

/// What runs behind the routes.
struct Parts {
    api: Api,
    registry: Registry,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Tasks that outlive the others, since those still speak of themselves when they stop.
    background: TaskTracker,
    stop_background: CancellationToken,
    /// Those who were not let in.
    refused: Arc<Denials>,
}

impl Parts {
    /// Where it is found out who asks. Keys of tokens are followed as they change.
    fn authority(&self, access: Access, tokens: Option<Arc<Tokens>>) -> Authority {
        if access == Access::Open {
            return Authority::Open;
        }
        if let Some(tokens) = tokens.clone() {
            self.tracker.spawn(tokens.run(self.stop.clone()));
        }
        Authority::Closed {
            keys: Arc::clone(&self.api.keys),
            tokens,
            refused: Arc::clone(&self.refused),
        }
    }

    /// What is recorded of those who prove nothing: all where nobody does.
    fn strangers(&mut self, access: Access) -> Strangers {
        let strangers = match access {
            Access::Open => Strangers::default(),
            Access::Closed => Strangers::few(),
        };
        strangers.register(&mut self.registry);
        strangers
    }

    async fn start(
        store: &Store,
        called: (String, String),
        (limits, keyring): (&LimitArgs, Keyring),
        ((access, preferred), webhooks, mailer): ((Access, Preferred), WebhookArgs, Option<Mailer>),
        kept: Kept,
    ) -> Result<Self, AppError> {
        let refused: Arc<Denials> = Arc::default();
        let keys = Keys::load(store).await.map_err(AppError::Keys)?;
        let warned = keyring.warn_without_key(store).await;
        warned.map_err(AppError::Parameters)?;
        let ingest = Ingest::new(store.clone());
        let runner = Runner::new(store.clone(), projections::following());
        let (background, queue) = Background::new(BACKGROUND_EVENTS_MAX);
        let (stop, stop_background) = (CancellationToken::new(), CancellationToken::new());
        let tracker = TaskTracker::new();
        kept.look(store, (&tracker, &stop)).await;
        let (node, heart) = Node::join(store, called, &kept.works(), stop.clone()).await;
        let mut registry = Registry::with_prefix("homepot");
        node.register(&mut registry);
        store.metrics().register(&mut registry);
        runner.register(&mut registry);
        background.metrics().register(&mut registry);
        let api = Api {
            ingest: ingest.clone(),
            held: Held::new(store.clone()),
            groups: Groups::default(),
            keyring: Arc::new(keyring),
            background,
            folded: runner.folded(),
            settled: runner.settled(),
            node,
            keys: Arc::new(keys),
            deliveries: Deliveries::default(),
            refused: Arc::clone(&refused),
            counting: Arc::new(Semaphore::new(COUNTING_MAX)),
            lives: Lives::default(),
            preferred,
            webhooks: Reachable {
                private: webhooks.allow_private,
                mail: mailer.is_some(),
            },
            exports: kept.files.as_ref().map(|_| kept.bounds),
            spending: (access == Access::Closed).then(|| Arc::new(Spending::new(limits.rates()))),
        };
        let mut parts = Self {
            api,
            registry,
            tracker,
            stop,
            background: TaskTracker::new(),
            stop_background,
            refused: Arc::clone(&refused),
        };
        parts.follow(store);
        parts.tell(store, queue);
        let works = Works {
            node: &parts.api.node,
            tracker: &parts.tracker,
            ingest: &ingest,
        };
        works.fold(&runner);
        works.follow(
            (&parts.api.held, &parts.api.folded),
            limits.offline_after_seconds,
        );
        works.keep(&mut parts.registry, &parts.stop);
        works.learn(&mut parts.registry);
        works.take_out(kept, &mut parts.registry);
        works.send(webhooks, mailer, Arc::clone(&parts.api.keyring));
        // the leases are given back when the works have ended
        let beating = heart.run(parts.stop_background.clone());
        parts.background.spawn(beating);
        Ok(parts)
    }

    /// Begins what every server follows the log for.
    fn follow(&self, store: &Store) {
        let keys = Arc::clone(&self.api.keys);
        let following = keys.run(store.clone(), self.stop.clone());
        self.tracker.spawn(following);
        let ahead = store.clone().keep_partitions_ahead(self.stop.clone());
        self.tracker.spawn(ahead);
        let watching = store.clone().watch_archive(self.stop.clone());
        self.tracker.spawn(watching);
        let deliveries = self.api.deliveries.clone();
        let delivering = deliveries.run(store.clone(), self.stop.clone());
        self.tracker.spawn(delivering);
    }

    /// Begins what writes down what this server tells of itself.
    fn tell(&self, store: &Store, queue: Receiver<NewEvent>) {
        let (ingest, stop) = (&self.api.ingest, &self.stop_background);
        let keys = Arc::clone(&self.api.keys);
        let noting = keys.note(store.clone(), stop.clone());
        self.background.spawn(noting);
        let (refused, told) = (Arc::clone(&self.refused), ingest.clone());
        let stopping = stop.clone();
        self.background
            .spawn(async move { refused.run(told, stopping).await });
        let metrics = self.api.background.metrics().clone();
        let recording = Background::run(ingest.clone(), queue, metrics, stop.clone());
        self.background.spawn(recording);
        let (refusals, store) = (Arc::clone(ingest.refusals()), store.clone());
        let stopping = stop.clone();
        self.background
            .spawn(async move { refusals.run(store, stopping).await });
        self.background
            .spawn(record_faults(ingest.clone(), stop.clone()));
    }
}

async fn reported<E: std::error::Error>(
    name: &'static str,
    store: Store,
    task: impl Future<Output = Result<(), E>>,
) {
    if let Err(error) = task.await {
        let error = chain(&error).to_string();
        tracing::error!(error, "{name} stopped");
        store.faults().tell(name, store.clock().now(), error);
    }
}
