//! How the log stands, and which servers share it.

use async_graphql::{ComplexObject, Context, Error, SimpleObject};

use super::order::InOrder;
use super::scalars::{DateTime, Long};
use super::{Api, api, of_failed};
use crate::event::Instant;
use crate::store::{Peer, Place};

/// How the log stands.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct StoreHealth {
    /// Which database keeps the log.
    database: &'static str,
    /// The last position given.
    head: Long,
    /// Cursor of the head: as `after` of a subscription it gives what comes next.
    cursor: String,
    /// Id of the log.
    log_id: String,
    /// Raised by each restore.
    epoch: Long,
    /// The last position that the replica of the database is known to have; null when queries are not read from
    /// one.
    replica_head: Option<Long>,
    /// TimescaleDB, where the database has it; null where it has not.
    timescale: Option<InOrder<TimescaleHealth>>,
    /// Events that wait to be appended.
    queued_events: i32,
    /// Events that the slowest projection has not folded yet.
    projection_lag_events: Long,
    /// Events of this server about itself that were dropped since it started.
    dropped_events: Long,
}

/// TimescaleDB in the database of the log.
#[derive(Debug, SimpleObject)]
struct TimescaleHealth {
    /// Its version.
    version: String,
    /// The tables of the log that are hypertables, as of when this server started.
    hypertables: Vec<String>,
}

/// A server on the database of the log.
#[derive(Debug, SimpleObject)]
struct ServerNode {
    /// Its id, given when it started.
    node_id: String,
    /// What people call it.
    name: String,
    /// Where it listens.
    address: String,
    /// Version of its program.
    version: String,
    /// When it joined the others.
    started_at: DateTime,
    /// Whether it is alive. One that has died is shown for an hour.
    is_alive: bool,
    /// Whether it is the one that answers.
    is_this: bool,
    /// What it does that only one server does at a time, such as `projections` and `jobs`.
    works: Vec<String>,
}

#[ComplexObject]
impl StoreHealth {
    /// The servers on the database, in the order in which they joined.
    async fn nodes(&self, ctx: &Context<'_>) -> Result<Option<Vec<InOrder<ServerNode>>>, Error> {
        let api = api(ctx);
        let peers = api.node.peers(api.store()).await;
        let peers = peers.map_err(|error| of_failed(api, &error))?;
        let nodes = peers.into_iter().map(|peer| ServerNode::of(peer, api));
        Ok(Some(nodes.map(InOrder).collect()))
    }
}

impl StoreHealth {
    pub(super) fn of(api: &Api) -> Self {
        let store = api.store();
        let (identity, head) = (store.identity(), store.head());
        let place = Place {
            position: head,
            occurred_at: Instant::default(),
        };
        let dropped = api.background.metrics().dropped();
        Self {
            database: if store.file().is_some() {
                "SQLite"
            } else {
                "PostgreSQL"
            },
            head: Long(head.0),
            cursor: super::cursor::write(identity, place),
            log_id: identity.log_id.to_string(),
            epoch: Long(identity.epoch),
            replica_head: store.replica_head().map(|head| Long(head.0)),
            timescale: store.timescale().cloned().map(|found| {
                InOrder(TimescaleHealth {
                    version: found.version,
                    hypertables: found.hypertables,
                })
            }),
            queued_events: i32::try_from(store.queued_events()).unwrap_or(i32::MAX),
            projection_lag_events: Long((head.0 - api.folded.borrow().0).max(0)),
            dropped_events: Long(i64::try_from(dropped).unwrap_or(i64::MAX)),
        }
    }
}

impl ServerNode {
    fn of(peer: Peer, api: &Api) -> Self {
        Self {
            is_this: peer.id == api.node.id(),
            node_id: peer.id,
            name: peer.name,
            address: peer.address,
            version: peer.version,
            started_at: DateTime(peer.started_at),
            is_alive: peer.is_alive,
            works: peer.works,
        }
    }
}
