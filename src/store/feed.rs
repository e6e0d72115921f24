//! Brings what was committed into the ring, in order, whoever committed it.
//!
//! The writer of this process hands its events over. What another process commits is noticed by
//! asking the database for its head, every so often and whenever a doorbell rings, and read from the
//! tables. A message that was dropped, or came twice, is mended by arithmetic on positions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use sea_orm::sqlx::PgPool;
use sea_orm::sqlx::postgres::PgListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::error::{Cause, Doing, StoreError};
use super::faults::Faults;
use super::metrics::Metrics;
use super::names::Names;
use super::open::Connections;
use super::options::Limits;
use super::read::Tables;
use super::readers::Readers;
use super::ring::Ring;
use super::schema::{SCHEMA, head_and_schema};
use super::slice::Extent;
use super::sql::Sql;
use super::standing::Seen;
use crate::clock::Clock;
use crate::event::{Event, Position};
use crate::ticks;

/// Batches that may wait to be brought into the ring, and their bytes; one more is dropped and read
/// from the tables.
const WAITING_MAX: usize = 64;
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events at most that are read from the tables at once.
const PAGE_EVENTS: usize = 2_000;
/// How often it is logged that the log cannot be followed.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// Channel of the doorbell on PostgreSQL.
const DOORBELL: &str = "homepot_head";

/// Hands events over to the ring.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    ring: Arc<Ring>,
    room: Arc<Semaphore>,
    batches: mpsc::Sender<Waiting>,
}

/// A batch that waits, with its room.
type Waiting = (Vec<Arc<Event>>, OwnedSemaphorePermit);

impl Feed {
    /// Hands over what was committed, at once unless another process has committed before it: the
    /// feeder reads that first. It never waits.
    pub(crate) fn publish(&self, events: Vec<Arc<Event>>) {
        if let Err(events) = self.ring.push(events) {
            let bytes: usize = events.iter().map(|event| event.fact.weight_bytes()).sum();
            let room = u32::try_from(bytes).unwrap_or(u32::MAX);
            // full means that the feeder is busy; it will find the gap and read the tables
            if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(room) {
                let _ = self.batches.try_send((events, room));
            }
        }
    }
}

/// The task that fills the ring.
pub(crate) struct Feeder {
    batches: mpsc::Receiver<Waiting>,
    db: Readers,
    connections: Connections,
    tables: Tables,
    names: Arc<Names>,
    ring: Arc<Ring>,
    metrics: Arc<Metrics>,
    seen: Arc<Seen>,
    poll: Duration,
    events_max: i64,
    bell: Arc<Notify>,
}

impl Feeder {
    /// The two ends: one for the writer, one to be run as a task.
    pub(crate) fn new(
        (db, connections): (Readers, Connections),
        tables: Tables,
        (ring, metrics, seen): (Arc<Ring>, Arc<Metrics>, Arc<Seen>),
        limits: &Limits,
    ) -> (Feed, Self) {
        let (sender, batches) = mpsc::channel(WAITING_MAX);
        let events_max = i64::try_from(limits.ring_events_max).unwrap_or(i64::MAX);
        let names = tables.names();
        let bell = Arc::new(Notify::new());
        (
            Feed {
                ring: Arc::clone(&ring),
                room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
                batches: sender,
            },
            Self {
                batches,
                db,
                connections,
                tables,
                names,
                ring,
                metrics,
                seen,
                poll: limits.tail_poll,
                events_max,
                bell,
            },
        )
    }

    /// The bell that makes the feeder look at the head at once.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(
        mut self,
        (faults, clock): (Arc<Faults>, Clock),
        stop: CancellationToken,
    ) {
        let bell = self.bell();
        let mut warned = None;
        let mut ticks = ticks::every(self.poll);
        loop {
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((events, _room)) = self.batches.recv() => self.take(events).await,
                () = bell.notified() => self.look().await,
                _ = ticks.tick() => {
                    let looked = self.look().await;
                    if looked.is_ok() { self.metrics.looked() }
                    looked
                }
            };
            self.metrics.head(self.ring.head());
            if let Err(error) = done {
                let error = tokio::select! {
                    () = stop.cancelled() => break,
                    told = self.told(&error) => told,
                };
                // it is tried several times a second
                if warned.is_none_or(|at: Instant| at.elapsed() >= WARN_EVERY) {
                    warned = Some(Instant::now());
                    tracing::warn!(error, "cannot follow the log, will try again");
                }
                faults.tell("the follower of the log", clock.now(), error);
            }
        }
    }

    /// What a failure says. A pool whose time for a connection is over does not say why there is none.
    async fn told(&self, error: &StoreError) -> String {
        let told = crate::telemetry::chain(error).to_string();
        if !matches!(error.cause(), Cause::Busy | Cause::Unreachable) {
            return told;
        }
        match self.connections.refused().await {
            Some(reason) => {
                let reason = crate::telemetry::chain(&reason).to_string();
                if told.ends_with(&reason) {
                    told
                } else {
                    format!("{told}: {reason}")
                }
            }
            None => told,
        }
    }

    /// What another process has committed before these events is read first. If it is not to be
    /// read yet, the next look at the head finds both.
    async fn take(&self, events: Vec<Arc<Event>>) -> Result<(), StoreError> {
        if let Some(first) = events.first() {
            self.catch_up(Position(first.position.0 - 1)).await?;
        }
        let _ = self.ring.push(events);
        Ok(())
    }

    async fn look(&self) -> Result<(), StoreError> {
        // asked before the database, so that what is committed meanwhile does not look like a loss
        let known = self.ring.head();
        let (head, schema) = head_and_schema(&self.db).await?;
        if schema > SCHEMA {
            self.seen.superseded(schema);
        }
        if head < known {
            self.seen.went_back(head, known);
        }
        if head > self.ring.head() {
            self.catch_up(head).await
        } else {
            Ok(())
        }
    }

    /// Reads what another process has committed. When that is more than the ring can hold, the ring
    /// begins anew near the head, and followers read the rest from the tables.
    async fn catch_up(&self, to: Position) -> Result<(), StoreError> {
        if to.0 - self.ring.head().0 > self.events_max {
            // somebody else may have registered or moved devices meanwhile
            self.names.load(&self.db).await?;
            self.ring.skip_to(to);
            return Ok(());
        }
        while self.ring.head() < to {
            let slice = self
                .tables
                .after(self.ring.head(), Extent::of_events(PAGE_EVENTS), None)
                .await?;
            if slice.events.is_empty() {
                break;
            }
            for event in &slice.events {
                super::commit::learn_place(&self.names, event);
            }
            if self.ring.push(slice.events).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The head of the log as the database has it.
pub(crate) async fn head_of(db: &impl ConnectionTrait) -> Result<Position, StoreError> {
    let statement =
        Sql::new("SELECT position FROM log_head WHERE id = 1").statement(db.get_database_backend());
    let row = db.query_one_raw(statement).await.doing("read the head")?;
    let row = row.ok_or(StoreError::Row {
        table: "log_head",
        column: "position",
    })?;
    Ok(Position(row.try_get_by_index(0).doing("read the head")?))
}

/// Rings the bell of the other nodes after commits of this one, as often as the database keeps up
/// with and no more, and this node's when another rings.
pub(crate) async fn doorbell(
    db: Readers,
    pool: PgPool,
    ring: Arc<Ring>,
    bell: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut head = ring.watch();
    let mut doorbell = listen(&pool).await;
    // what others have rung for is not rung for again
    let mut rung_for = ring.head();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            position = hear(&mut doorbell) => match position {
                Some(position) => {
                    rung_for = rung_for.max(position);
                    if position > ring.head() { bell.notify_one(); }
                }
                None => doorbell = listen(&pool).await,
            },
            changed = head.changed() => {
                if changed.is_err() { break }
                let position = *head.borrow_and_update();
                if position <= rung_for { continue }
                if doorbell.is_none() { doorbell = listen(&pool).await }
                let mut sql = Sql::new("SELECT pg_notify(");
                sql.bind(DOORBELL).push(", ").bind(position.to_string()).push(")");
                // without the bell the others find out by asking
                let _ = db.query_one_raw(sql.statement(sea_orm::DbBackend::Postgres)).await;
            }
        }
    }
}

/// The head that another node has rung for; `None` when there is nothing to hear with any more.
async fn hear(listener: &mut Option<PgListener>) -> Option<Position> {
    match listener {
        Some(listener) => {
            let notification = listener.recv().await.ok()?;
            // what is no position rings for nothing
            Some(Position(notification.payload().parse().unwrap_or(0)))
        }
        None => std::future::pending().await,
    }
}

async fn listen(pool: &PgPool) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(pool).await.ok()?;
    listener.listen(DOORBELL).await.ok()?;
    Some(listener)
}

#[cfg(test)]
mod tests {
    use super::super::ring::tests::event_with;
    use super::*;
    use crate::event::Cell;

    /// An event of rather more than a mebibyte.
    fn large(position: i64) -> Arc<Event> {
        let text = "x".repeat(1024 * 1024);
        event_with(position, Box::new([Cell::from(text.as_str())]))
    }

    #[test]
    fn what_waits_for_the_feeder_is_bounded_in_bytes() {
        let (sender, mut batches) = mpsc::channel(WAITING_MAX);
        let feed = Feed {
            ring: Arc::new(Ring::new(Position(0), 10, usize::MAX)),
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            batches: sender,
        };
        // the first position is not among them, so none can be taken into the ring
        for position in 2..40 {
            feed.publish(vec![large(position)]);
        }
        assert_eq!(batches.len(), 15);
        assert!(batches.try_recv().is_ok());
        feed.publish(vec![large(40)]);
        assert_eq!(batches.len(), 15);
    }
}
