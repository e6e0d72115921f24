//! A replica of PostgreSQL, which is read in place of the primary as far as it has come.
//!
//! It follows the primary with some delay. So for each answer the primary is asked how far its write-ahead log
//! is kept, and the replica has to have replayed as much: an answer knows all that any answer before it knew,
//! be it of the log, of what is folded from it, or of what is no event at all. While the primary does not tell,
//! it is what it told last that counts, the position up to which whoever reads has to know the log, and the list
//! of segments that this process holds. When the replica is not there within a moment, or cannot answer, the
//! primary does. It does so too when it turns out only in reading that segments were removed of which the replica
//! has not heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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

/// Up to which byte of the write-ahead log a primary keeps what it has written.
const KEPT: &str = "(pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint";
/// The same of what a replica has replayed, or what became a primary has kept.
const REPLAYED: &str = "(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
    ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::bigint";

/// How far a database has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    position: i64,
    /// The generation of its list of segments.
    generation: i64,
    /// The byte of the write-ahead log.
    byte: i64,
}

impl Reached {
    /// Whether it has come as far as another.
    const fn has(self, other: Self) -> bool {
        self.position >= other.position
            && self.generation >= other.generation
            && self.byte >= other.byte
    }

    /// Where both are.
    fn and(self, other: Self) -> Self {
        Self {
            position: self.position.max(other.position),
            generation: self.generation.max(other.generation),
            byte: self.byte.max(other.byte),
        }
    }
}

/// A replica, and how far it is known to have come.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) readers: Readers,
    pub(super) tables: Tables,
    /// How far it is; `None` while it cannot be read from.
    reached: watch::Sender<Option<Reached>>,
    /// What somebody waits for, and until when.
    wanted: watch::Sender<(Reached, Instant)>,
    /// The byte that the primary told last.
    byte: AtomicI64,
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
            reached: watch::channel(Some(Reached::default())).0,
            wanted: watch::channel((Reached::default(), Instant::now())).0,
            byte: AtomicI64::default(),
        }))
    }

    /// Up to where a primary keeps what it has written by now; what it told before, if it does not tell soon.
    async fn byte_of(&self, primary: &Readers) -> i64 {
        let statement = Sql::new(format!("SELECT {KEPT}")).statement(DbBackend::Postgres);
        let asked = timeout(WAITED_FOR, primary.once().query_one_raw(statement)).await;
        let row = asked.ok().and_then(Result::ok).flatten();
        match row.and_then(|row| row.try_get_by_index(0).ok()) {
            Some(byte) => {
                self.byte.store(byte, Ordering::Relaxed);
                byte
            }
            None => self.byte.load(Ordering::Relaxed),
        }
    }

    /// Whether it has come as far as the primary, to a position and to the list of segments that is held, at once
    /// or within a moment.
    async fn has(&self, position: Position, primary: &Readers) -> bool {
        let needed = Reached {
            position: position.0,
            generation: self.tables.segments.catalog().generation,
            byte: self.byte_of(primary).await,
        };
        let mut reached = self.reached.subscribe();
        if reached.borrow().is_some_and(|reached| reached.has(needed)) {
            return true;
        }
        self.wanted.send_modify(|(wanted, until)| {
            let now = Instant::now();
            // what nobody waits for any more counts no more
            let others = if *until > now { *wanted } else { needed };
            (*wanted, *until) = (needed.and(others), now + WAITED_FOR);
        });
        let decided = |reached: &Option<Reached>| reached.is_none_or(|reached| reached.has(needed));
        let waited = timeout(WAITED_FOR, reached.wait_for(decided)).await;
        waited.is_ok_and(|reached| reached.is_ok_and(|reached| reached.is_some()))
    }

    /// Asks it how far it is, whenever somebody waits to know.
    async fn follow(&self, identity: Identity) {
        let (mut wanted, mut warned) = (self.wanted.subscribe(), None);
        loop {
            match self.look(identity).await {
                Ok(reached) => {
                    self.reached.send_replace(Some(reached));
                    let (needed, until) = *wanted.borrow_and_update();
                    if !reached.has(needed) && Instant::now() < until {
                        tokio::time::sleep(LOOK_EVERY).await;
                    } else if wanted.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.reached.send_replace(None);
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

    async fn look(&self, identity: Identity) -> Result<Reached, StoreError> {
        let db = self.readers.once();
        let doing = "read the head of the replica";
        let found = read_identity(db).await?;
        if found != identity {
            return Err(StoreError::OtherLog {
                found: found.log_id,
            });
        }
        let sql = format!("SELECT position, segments, {REPLAYED} FROM log_head WHERE id = 1");
        let sql = Sql::new(sql);
        let row = db.query_one_raw(sql.statement(DbBackend::Postgres)).await;
        let Some(row) = row.doing(doing)? else {
            return Ok(Reached::default());
        };
        Ok(Reached {
            position: row.try_get_by_index(0).doing(doing)?,
            generation: row.try_get_by_index(1).doing(doing)?,
            byte: row.try_get_by_index(2).doing(doing)?,
        })
    }
}

impl Store {
    /// The same log for one who reads and has to know it up to a position: from the replica, if there is one
    /// and it has come so far, and as far as the primary by now.
    pub async fn knowing(&self, position: Position) -> Self {
        let primary = &self.shared.connections.readers;
        let has = match &self.shared.replica {
            Some(replica) => replica.has(position, primary).await,
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
        let reached = *self.shared.replica.as_ref()?.reached.borrow();
        reached.map(|reached| Position(reached.position))
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

    /// The same log, as the primary has it.
    pub(crate) fn of_primary(&self) -> Self {
        Self {
            reads_replica: false,
            ..self.clone()
        }
    }

    /// Whether something was to be read from a replica that knows less of the segments than this process, or
    /// than whoever removed some.
    pub(super) fn is_behind<T>(&self, read: &Result<T, StoreError>) -> bool {
        let is_of_segments = |error: &StoreError| {
            matches!(error, StoreError::SegmentsMoved) || error.is_of_missing_segment()
        };
        self.reads_replica && read.as_ref().is_err_and(is_of_segments)
    }

    /// Connections for reading state, where this handle reads it.
    pub(crate) fn readers(&self) -> &Readers {
        match &self.shared.replica {
            Some(replica) if self.reads_replica => &replica.readers,
            _ => &self.shared.connections.readers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reached;

    #[test]
    fn what_is_written_without_an_event_is_waited_for_too() {
        let primary = Reached {
            position: 7,
            generation: 2,
            byte: 9_000,
        };
        assert!(primary.has(primary));
        let before = Reached {
            byte: 8_999,
            ..primary
        };
        assert!(!before.has(primary));
        assert_eq!(before.and(primary), primary);
    }
}
