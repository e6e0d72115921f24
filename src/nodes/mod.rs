//! The servers that share a database, and which of them does what only one may do.
//!
//! Each of these [`Work`]s has a lease, which a server holds as long as it says every second that it is
//! alive. One that cannot say so stops its works before the others take it for dead, and one that stalls
//! meanwhile and wakes up too late writes nothing any more: all that is written for a work goes through
//! a log that knows its lease ([`Lease::store`], [`Lease::door`]). A server that is told to stop gives its
//! leases back, so that another has them within a second; one that dies is replaced within
//! [`REPLACED_WITHIN`].
//!
//! Whoever comes first takes all works. Each second a server that has at least two more than another gives that one of
//! them, straight into its hands, until all have as many but for one. A work that is given begins anew within a second;
//! as each gift makes servers more alike, none is given to and fro. Who gives a work stops it before that is said. If the
//! answer is lost, it may be the other's: whoever wanted to give it does it no more unless it has taken it anew, and then
//! the gift comes to nothing.
//!
//! What a work does beside the log (a webhook, a mail, a file of an export or of the data lake) passes no fence. It ends
//! when the work is told to stop, which is before another begins with it; what was under way at that instant may be done
//! twice, as after a server has died.
//!
//! A server that is older than the log can record nothing that follows from a work, and gives all of them back.
//!
//! A file of SQLite has one server, which has every work and asks nobody: a second is refused when it opens the log.

mod heart;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::event::Instant;
use crate::ingest::Ingest;
use crate::store::{Card, Fence, Peer, Store, StoreError};

pub use heart::Heart;

/// A server that has died is replaced within this time: what a lease lasts, the time until the next look
/// of another, and that for which the database keeps what a server that is frozen was writing.
pub const REPLACED_WITHIN: Duration = Duration::from_secs(10);

/// What only one server does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Folds the log into what follows it.
    Projections,
    /// Carries jobs out.
    Jobs,
    /// Watches for what is to be an alert.
    Alerts,
    /// Sends what becomes of alerts.
    Webhooks,
    /// Watches over the silence of devices.
    Health,
    /// Tells of the hours after changes of configuration.
    Evidence,
    /// Tells devices that come what holds for them.
    Arrivals,
    /// Archives and deletes what is old.
    Retention,
    /// Erases what is personal of those who are to be forgotten.
    Erasures,
    /// Makes exports.
    Exports,
    /// Sums fleets up each night, and learns from them.
    Models,
    /// Fills the data lake.
    Lake,
}

impl Work {
    /// All of them. A server that has more than another gives the last of them away first: what follows the log stays
    /// together as long as it can, and what takes its time beside it goes.
    pub const ALL: [Self; 12] = [
        Self::Projections,
        Self::Jobs,
        Self::Alerts,
        Self::Webhooks,
        Self::Health,
        Self::Evidence,
        Self::Arrivals,
        Self::Retention,
        Self::Erasures,
        Self::Exports,
        Self::Models,
        Self::Lake,
    ];

    /// Its name, in the table of leases and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Projections => "projections",
            Self::Jobs => "jobs",
            Self::Alerts => "alerts",
            Self::Webhooks => "webhooks",
            Self::Health => "health",
            Self::Evidence => "configuration_evidence",
            Self::Arrivals => "configuration_arrivals",
            Self::Retention => "retention",
            Self::Erasures => "erasures",
            Self::Exports => "exports",
            Self::Models => "models",
            Self::Lake => "lake",
        }
    }
}

/// That a work is this server's.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What what is written for it has to pass; none where there is but one server.
    fence: Option<Fence>,
    stop: CancellationToken,
}

impl Lease {
    /// The log, as the one who does the work writes it.
    #[must_use]
    pub fn store(&self, store: &Store) -> Store {
        store.fenced(self.fence.clone())
    }

    /// The door, as the one who does the work records through it.
    #[must_use]
    pub fn door(&self, ingest: &Ingest) -> Ingest {
        ingest.fenced(self.fence.clone())
    }

    /// Told when the work is to stop: the server stops, or has lost the lease.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    fn is_held(&self) -> bool {
        !self.stop.is_cancelled()
    }
}

/// What a server tells of its works.
#[derive(Clone, Debug, Default)]
struct NodeMetrics {
    held: Family<[(&'static str, &'static str); 1], Gauge>,
    lost: Counter,
    alive: Gauge,
}

impl NodeMetrics {
    fn holds(&self, work: Work, is_held: bool) {
        let gauge = self.held.get_or_create(&[("work", work.name())]);
        gauge.set(i64::from(is_held));
    }
}

/// This server among those that share its database.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    card: Card,
    started_at: Instant,
    leases: BTreeMap<Work, watch::Sender<Option<Lease>>>,
    metrics: NodeMetrics,
    /// That this server stops.
    stop: CancellationToken,
}

impl Node {
    /// Joins the servers that share a log, under a name for people, for the works that it can do. What it
    /// returns beside it is to be run until the works have ended: it keeps the leases.
    ///
    /// No failure of the database keeps it from joining: it has no work until it can say that it is alive.
    pub async fn join(
        store: &Store,
        (name, address): (String, String),
        works: &[Work],
        stop: CancellationToken,
    ) -> (Self, Heart) {
        let leases = works.iter().map(|work| (*work, watch::channel(None).0));
        let card = Card {
            node_id: Uuid::now_v7().to_string(),
            name,
            address,
        };
        let node = Self {
            shared: Arc::new(Shared {
                card,
                started_at: store.clock().now(),
                leases: leases.collect(),
                metrics: NodeMetrics::default(),
                stop,
            }),
        };
        for work in node.able() {
            // who watches is to see that it is nobody's, also where it never was this server's
            node.shared.metrics.holds(work, false);
        }
        let heart = Heart::begin(node.clone(), store).await;
        (node, heart)
    }

    /// Shows the counters.
    pub fn register(&self, registry: &mut Registry) {
        let metrics = &self.shared.metrics;
        let held = "Whether this server does what only one may do, of what it can";
        registry.register("lease_held", held, metrics.held.clone());
        let lost = "Leases that were lost, and not given back";
        registry.register("leases_lost", lost, metrics.lost.clone());
        let alive = "Servers on this database that are alive, as far as this one knows";
        registry.register("nodes_alive", alive, metrics.alive.clone());
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.card.node_id
    }

    /// All servers that share the log, in the order in which they joined.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn peers(&self, store: &Store) -> Result<Vec<Peer>, StoreError> {
        let others = store.peers().await?;
        if !others.is_empty() {
            return Ok(others);
        }
        let card = self.shared.card.clone();
        Ok(vec![Peer {
            id: card.node_id,
            name: card.name,
            address: card.address,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.shared.started_at,
            is_alive: true,
            works: self
                .works()
                .into_iter()
                .map(|work| work.name().to_owned())
                .collect(),
        }])
    }

    /// The works that it can do.
    fn able(&self) -> Vec<Work> {
        self.shared.leases.keys().copied().collect()
    }

    /// The works that are this server's now.
    #[must_use]
    pub fn works(&self) -> Vec<Work> {
        let leases = self.shared.leases.iter();
        let held = leases.filter(|(_, lease)| lease.borrow().as_ref().is_some_and(Lease::is_held));
        held.map(|(work, _)| *work).collect()
    }

    /// Does a work whenever it is this server's, until the server stops. The work has to end soon after its
    /// lease tells it to.
    pub async fn once<F: Future<Output = ()> + Send>(
        self,
        work: Work,
        run: impl Fn(Lease) -> F + Send + Sync,
    ) {
        while let Some(lease) = self.granted(work).await {
            let stopping = lease.stopping();
            run(lease).await;
            stopping.cancelled().await;
        }
    }

    /// Does something whenever a work is not this server's, until the server stops.
    pub async fn meanwhile<F: Future<Output = ()> + Send>(
        self,
        work: Work,
        run: impl Fn() -> F + Send + Sync,
    ) {
        loop {
            let doing = async {
                run().await;
                std::future::pending::<()>().await;
            };
            let lease = tokio::select! {
                lease = self.granted(work) => lease,
                () = doing => None,
            };
            match lease {
                Some(lease) => lease.stopping().cancelled().await,
                None => return,
            }
        }
    }

    /// Waits until a work is this server's; `None` when the server stops.
    async fn granted(&self, work: Work) -> Option<Lease> {
        let stop = &self.shared.stop;
        let mut lease = self.shared.leases.get(&work)?.subscribe();
        let held = |lease: &Option<Lease>| lease.as_ref().is_some_and(Lease::is_held);
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            granted = lease.wait_for(held) => granted.ok()?.clone(),
        }
    }

    /// Takes a work over, which was taken with a token; without one where nobody else is there.
    fn grant(&self, work: Work, token: Option<i64>) {
        let stop = self.shared.stop.child_token();
        let fence = token.map(|token| Fence::new(work.name(), token, stop.clone()));
        if let Some(lease) = self.shared.leases.get(&work) {
            lease.send_replace(Some(Lease { fence, stop }));
            self.shared.metrics.holds(work, true);
        }
    }

    /// Stops a work, if it is this server's.
    fn stop(&self, work: Work) -> bool {
        let Some(lease) = self.shared.leases.get(&work) else {
            return false;
        };
        let Some(lease) = lease.send_replace(None) else {
            return false;
        };
        lease.stop.cancel();
        self.shared.metrics.holds(work, false);
        true
    }
}
