//! The one task that writes: it takes whatever waits and commits it as one batch.
//!
//! On SQLite every write of this process passes here, appends before projections, so that writers
//! never wait for each other's locks; on PostgreSQL projections write on connections of their own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::append::{AppendError, Appended, Request};
use super::commit::{Committed, Committer};
use super::error::{Cause, StoreError};
use super::faults::Faults;
use super::feed::Feed;
use super::metrics::Metrics;
use super::open::LOCK_WAIT;
use super::standing::Seen;
use super::wal::{self, Wal};
use super::{COMMIT_BYTES_MAX, commit_events_max};

/// A request that waits, with its place in the queue and the way back.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Appended, AppendError>>,
    pub(crate) place: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Statements that are run in a transaction of their own.
pub(crate) type Statements = Box<
    dyn for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<(), StoreError>> + Send,
>;

/// A transaction that waits, with the way back.
pub(crate) struct Job {
    pub(crate) statements: Statements,
    pub(crate) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Appends in a row after which a waiting transaction has its turn.
const APPENDS_IN_A_ROW_MAX: u32 = 4;

/// The writer task.
pub(crate) struct Writer {
    pub(crate) committer: Committer,
    pub(crate) appends: mpsc::Receiver<Pending>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) feed: Feed,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) seen: Arc<Seen>,
    /// The write-ahead log of SQLite.
    pub(crate) wal: Option<Wal>,
    /// A request that did not fit into the batch before.
    pub(crate) held_over: Option<Pending>,
}

impl Writer {
    /// Runs until it is told to stop. From then on new requests are refused, and what waits is done.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (mut in_a_row, mut stopping) = (0, false);
        let mut looks = tokio::time::interval(wal::LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if in_a_row >= APPENDS_IN_A_ROW_MAX {
                in_a_row = 0;
                if let Ok(job) = self.jobs.try_recv() {
                    self.transact(job).await;
                }
            }
            if let Some(first) = self.held_over.take() {
                in_a_row += 1;
                self.append(first).await;
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.appends.close();
                    self.jobs.close();
                }
                _ = looks.tick(), if self.wal.is_some() && !stopping => self.shrink().await,
                Some(first) = self.appends.recv() => {
                    in_a_row += 1;
                    self.append(first).await;
                }
                Some(job) = self.jobs.recv() => {
                    in_a_row = 0;
                    self.transact(job).await;
                }
                else => break,
            }
        }
    }

    async fn shrink(&self) {
        if let Some(wal) = &self.wal {
            wal.shrink(&self.committer.db, LOCK_WAIT).await;
        }
    }

    async fn transact(&mut self, job: Job) {
        let done = self.committer.transact(job.statements).await;
        // the one who asked may have gone
        let _ = job.answer.send(done);
    }

    /// Gathers a batch around a request, without waiting for more, and commits it.
    async fn append(&mut self, first: Pending) {
        // those who were just answered may ask again before the batch is closed
        tokio::task::yield_now().await;
        let (mut events, mut bytes) = (first.request.events.len(), first.bytes);
        let events_max = commit_events_max(self.committer.db.get_database_backend());
        let mut batch = vec![first];
        while let Ok(next) = self.appends.try_recv() {
            events += next.request.events.len();
            bytes += next.bytes;
            if events > events_max || bytes > COMMIT_BYTES_MAX {
                self.held_over = Some(next);
                break;
            }
            batch.push(next);
        }
        let started = std::time::Instant::now();
        let requests: Vec<&Request> = batch.iter().map(|pending| &pending.request).collect();
        match self.committer.commit(&requests).await {
            Ok(committed) => self.answer(batch, committed),
            Err(failed) if failed.before_commit && batch.len() > 1 && is_of_one(&failed.error) => {
                self.one_by_one(batch).await;
            }
            Err(failed) => self.refuse(batch, failed.error),
        }
        self.metrics.batch_ends(started);
    }

    /// A batch failed before it was committed: each request is tried alone, so that a bad one does
    /// not fail its neighbours.
    async fn one_by_one(&mut self, batch: Vec<Pending>) {
        for pending in batch {
            match self.committer.commit(&[&pending.request]).await {
                Ok(committed) => self.answer(vec![pending], committed),
                Err(failed) => self.refuse(vec![pending], failed.error),
            }
        }
    }

    fn answer(&self, batch: Vec<Pending>, committed: Committed) {
        self.seen.appended();
        self.metrics.committed(&committed);
        self.feed.publish(committed.events);
        for (pending, answer) in batch.into_iter().zip(committed.answers) {
            pending.answer_with(answer);
        }
    }

    fn refuse(&self, batch: Vec<Pending>, error: StoreError) {
        self.metrics.failed(batch.len());
        if let StoreError::WentBack { head, known } = &error {
            self.seen.went_back(*head, *known);
        } else {
            let told = crate::telemetry::chain(&error).to_string();
            tracing::error!(error = told, requests = batch.len(), "append failed");
            let now = self.committer.clock.now();
            self.faults.tell("an append", now, told);
        }
        if !is_of_one(&error) {
            self.seen.append_failed();
        }
        let error = Arc::new(error);
        for pending in batch {
            pending.answer_with(Err(AppendError::Store(Arc::clone(&error))));
        }
    }
}

impl Pending {
    /// Gives the place in the queue back first, so that whoever is answered finds it free.
    fn answer_with(self, answer: Result<Appended, AppendError>) {
        drop(self.place);
        // the one who asked may have gone
        let _ = self.answer.send(answer);
    }
}

/// Whether a failure may be the fault of one request. What holds for the whole database fails all of
/// a batch at once: tried one by one, each would wait for the same lock or connection in turn.
fn is_of_one(error: &StoreError) -> bool {
    match error.cause() {
        Cause::Busy
        | Cause::Full
        | Cause::ReadOnly
        | Cause::Unreachable
        | Cause::Unopened
        | Cause::Io
        | Cause::NoDatabase
        | Cause::Denied => false,
        Cause::Corrupt | Cause::Constraint | Cause::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::event::{Instant, NewEvent, Provenance};
    use crate::kinds::{Draft, Kind};
    use crate::store::{EVENTS_MAX, Limits, Location, Options, Store};

    fn event() -> Result<NewEvent, Box<dyn Error>> {
        let draft = Draft::new(Kind::UserActivity, Instant::OLDEST, Provenance::Real);
        let column = entity::user_activity::Column::ActivityType;
        let made = draft.set(column, "PAGE_VIEW").finish();
        made.map_err(|refusal| refusal.message.into())
    }

    #[test]
    fn what_fails_for_all_is_not_tried_one_by_one() {
        assert!(is_of_one(&StoreError::Fold { what: "a job" }));
        assert!(!is_of_one(&StoreError::Closed));
    }

    /// Requests of which some never fit into the batch with the rest must not keep transactions waiting.
    #[tokio::test]
    async fn a_transaction_has_its_turn_among_large_requests() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let url = format!("sqlite://{}", dir.path().join("log.db").display());
        let options = Options {
            location: Location {
                url,
                readers_max: 1,
                create: true,
            },
            limits: Limits {
                queue_events_max: 100_000,
                queue_bytes_max: 1 << 30,
                ring_events_max: 0,
                ring_bytes_max: 0,
                page_events: 100,
                tail_poll: Duration::from_secs(1),
            },
            folds: Vec::new(),
            clock: Clock::by_hand(Instant::OLDEST),
        };
        let (store, tasks) = Store::open(options).await?;
        let (done, before_it) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let request = Request {
            events: vec![event()?; EVENTS_MAX],
            expect: None,
        };
        let appends = (0..40).map(|_| async {
            let appended = store.append(request.clone()).await;
            done.fetch_add(1, Ordering::SeqCst);
            appended
        });
        let transaction = async {
            let done_before = store.transact(|_| Box::pin(async { Ok(()) })).await;
            before_it.store(done.load(Ordering::SeqCst), Ordering::SeqCst);
            done_before
        };
        let appends = futures_util::future::try_join_all(appends);
        let (appended, transacted) = futures_util::future::join(appends, transaction).await;
        appended?;
        transacted?;
        assert!(before_it.load(Ordering::SeqCst) < 24);
        tasks.stop().await;
        Ok(())
    }
}
