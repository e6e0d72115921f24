//! A replica of PostgreSQL, which is read in place of the primary as far as it has come.
//!
//! It follows the primary with some delay. So whoever reads says up to which position the answer has to
//! know the log; when the replica is not there within a moment, or cannot answer, the primary does.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Store;
use super::error::{Doing, StoreError};
use super::identity::{Identity, read_identity};
use super::location::Location;
use super::names::Names;
use super::open::{OpenError, postgres_options, postgres_readers};
use super::read::Tables;
use super::readers::Readers;
use super::segments::Segments;
use super::sql::Sql;
use crate::event::Position;
use crate::telemetry::chain;

/// How long a reader waits for the replica before the primary answers.
const WAITED_FOR: Duration = Duration::from_millis(100);
/// How often the replica is asked how far it is, while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long nobody is sent to a replica that could not answer.
const RESTS: Duration = Duration::from_secs(1);
/// How often it is told that it cannot answer.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// A replica, and how far it is known to have come.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) readers: Readers,
    pub(super) tables: Tables,
    /// Its head; `None` while it cannot be read from.
    head: watch::Sender<Option<Position>>,
    /// What somebody waits for, and until when.
    wanted: watch::Sender<(Position, Instant)>,
}

impl Replica {
    /// The replica of a location, if it has one. What it cannot answer, `primary` does.
    pub(super) fn of(
        location: &Location,
        primary: &Readers,
        (names, segments): (&Arc<Names>, &Arc<Segments>),
    ) -> Result<Option<Self>, OpenError> {
        let Some(url) = &location.replica else {
            return Ok(None);
        };
        if ConnectionTrait::get_database_backend(primary) != DbBackend::Postgres {
            return Err(OpenError::NoReplica(location.url.clone()));
        }
        let readers = postgres_readers(postgres_options(url)?, location);
        let readers = readers.or(primary.clone());
        Ok(Some(Self {
            tables: Tables::new(readers.clone(), Arc::clone(names), Arc::clone(segments)),
            readers,
            head: watch::channel(Some(Position::START)).0,
            wanted: watch::channel((Position::START, Instant::now())).0,
        }))
    }

    /// Whether it has come to a position, at once or within a moment.
    async fn has(&self, position: Position) -> bool {
        let mut head = self.head.subscribe();
        if head.borrow().is_some_and(|head| head >= position) {
            return true;
        }
        self.wanted.send_modify(|(wanted, until)| {
            let now = Instant::now();
            // what nobody waits for any more counts no more
            let others = if *until > now { *wanted } else { position };
            (*wanted, *until) = (position.max(others), now + WAITED_FOR);
        });
        let decided = |head: &Option<Position>| head.is_none_or(|head| head >= position);
        let waited = timeout(WAITED_FOR, head.wait_for(decided)).await;
        waited.is_ok_and(|head| head.is_ok_and(|head| head.is_some()))
    }

    /// Asks it how far it is, whenever somebody waits to know.
    async fn follow(&self, identity: Identity) {
        let (mut wanted, mut warned) = (self.wanted.subscribe(), None);
        loop {
            match self.look(identity).await {
                Ok(head) => {
                    self.head.send_replace(Some(head));
                    let (position, until) = *wanted.borrow_and_update();
                    if position > head && Instant::now() < until {
                        tokio::time::sleep(LOOK_EVERY).await;
                    } else if wanted.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.head.send_replace(None);
                    if warned.is_none_or(|at: Instant| at.elapsed() >= WARN_EVERY) {
                        warned = Some(Instant::now());
                        let error = chain(&error).to_string();
                        tracing::warn!(error, "the replica cannot be read; the primary answers");
                    }
                    tokio::time::sleep(RESTS).await;
                }
            }
        }
    }

    async fn look(&self, identity: Identity) -> Result<Position, StoreError> {
        let db = self.readers.once();
        let doing = "read the head of the replica";
        let found = read_identity(db).await?;
        if found != identity {
            return Err(StoreError::OtherLog {
                found: found.log_id,
            });
        }
        let sql = Sql::new("SELECT position FROM log_head WHERE id = 1");
        let row = db.query_one_raw(sql.statement(DbBackend::Postgres)).await;
        let head = row.doing(doing)?.map(|row| row.try_get_by_index(0));
        let head = head.transpose().doing(doing)?.unwrap_or_default();
        Ok(Position(head))
    }
}

impl Store {
    /// The same log for one who reads and has to know it up to a position: from the replica, if there is one
    /// and it has come so far.
    pub async fn knowing(&self, position: Position) -> Self {
        let has = match &self.shared.replica {
            Some(replica) => replica.has(position).await,
            None => false,
        };
        Self {
            reads_replica: has,
            ..self.clone()
        }
    }

    /// Whether this handle reads from a replica.
    #[must_use]
    pub const fn reads_replica(&self) -> bool {
        self.reads_replica
    }

    /// The last position that the replica is known to have; `None` when there is none that can be read.
    #[must_use]
    pub fn replica_head(&self) -> Option<Position> {
        *self.shared.replica.as_ref()?.head.borrow()
    }

    /// Whether there is a replica.
    #[must_use]
    pub fn has_replica(&self) -> bool {
        self.shared.replica.is_some()
    }

    /// Follows the replica until it is told to stop.
    pub(super) async fn follow_replica(self, stop: CancellationToken) {
        if let Some(replica) = &self.shared.replica {
            tokio::select! {
                () = stop.cancelled() => {}
                () = replica.follow(self.shared.identity) => {}
            }
        }
    }

    /// The tables, where this handle reads them.
    pub(super) fn tables(&self) -> &Tables {
        match &self.shared.replica {
            Some(replica) if self.reads_replica => &replica.tables,
            _ => &self.shared.tables,
        }
    }

    /// Connections for reading state, where this handle reads it.
    pub(crate) fn readers(&self) -> &Readers {
        match &self.shared.replica {
            Some(replica) if self.reads_replica => &replica.readers,
            _ => &self.shared.connections.readers,
        }
    }
}
