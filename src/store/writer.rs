//! The one task that writes: it takes whatever waits and commits it as one batch.
//!
//! On SQLite every write of this process passes here, appends before projections, so that writers
//! never wait for each other's locks; on PostgreSQL projections write on connections of their own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::append::{AppendError, Appended, Request};
use super::commit::{Committed, Committer};
use super::error::{Cause, StoreError};
use super::faults::Faults;
use super::feed::Feed;
use super::fence::Fence;
use super::metrics::Metrics;
use super::open::LOCK_WAIT;
use super::recall::{Answer, Recall, Sought};
use super::standing::Seen;
use super::wal::{self, Wal};
use super::{COMMIT_BYTES_MAX, commit_events_max};
use crate::ticks;

/// A request that waits, with its place in the queue and the way back.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    /// What was found of it in segments.
    pub(crate) recall: Recall,
    pub(crate) bytes: usize,
    /// What it has to pass.
    pub(crate) fence: Option<Fence>,
    pub(crate) answer: oneshot::Sender<Answered>,
    pub(crate) place: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// What the queue answers.
#[derive(Debug)]
pub(crate) enum Answered {
    /// The request was decided on.
    Given(Result<Appended, AppendError>),
    /// It comes back, to be sent again.
    Look(Box<Again>),
}

/// A request for which is to be looked in segments before it is sent again.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) request: Request,
    pub(crate) recall: Recall,
    pub(crate) sought: Sought,
}

/// Statements that are run in a transaction of their own.
pub(crate) type Statements = Box<
    dyn for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<(), StoreError>> + Send,
>;

/// When a transaction lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// With the next append: what it does can be done again.
    WithTheNextAppend,
    /// At once.
    AtOnce,
}

/// A transaction that waits, with the way back.
pub(crate) struct Job {
    pub(crate) statements: Statements,
    pub(crate) lasting: Lasting,
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
    /// Parts of a batch that failed, the first one last: they are tried before what came after them.
    pub(crate) halves: Vec<Vec<Pending>>,
    /// A request that did not fit into the batch before.
    pub(crate) held_over: Option<Pending>,
}

impl Writer {
    /// Runs until it is told to stop. From then on new requests are refused, and what waits is done.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (mut in_a_row, mut stopping) = (0, false);
        let mut looks = ticks::every(wal::LOOK_EVERY);
        loop {
            if !stopping && stop.is_cancelled() {
                stopping = true;
                self.appends.close();
                self.jobs.close();
            }
            if in_a_row >= APPENDS_IN_A_ROW_MAX {
                in_a_row = 0;
                if let Ok(job) = self.jobs.try_recv() {
                    self.transact(job).await;
                }
            }
            if let Some(half) = self.halves.pop() {
                in_a_row += 1;
                self.commit(half).await;
                continue;
            }
            if let Some(first) = self.held_over.take() {
                in_a_row += 1;
                self.append(first).await;
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {}
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
        let done = self.committer.transact(job.statements, job.lasting).await;
        // the one who asked may have gone
        let _ = job.answer.send(done);
    }

    /// Gathers a batch around a request, without waiting for more, and commits it.
    async fn append(&mut self, first: Pending) {
        // those who were just answered may ask again before the batch is closed
        tokio::task::yield_now().await;
        let (mut events, mut bytes) = (first.request.all().count(), first.bytes);
        let events_max = commit_events_max(self.committer.db.get_database_backend());
        let mut batch = vec![first];
        while let Ok(next) = self.appends.try_recv() {
            events += next.request.all().count();
            bytes += next.bytes;
            if events > events_max || bytes > COMMIT_BYTES_MAX {
                self.held_over = Some(next);
                break;
            }
            batch.push(next);
        }
        self.commit(batch).await;
    }

    /// Commits a batch. When it failed before it was committed, its halves are tried apart, and so on
    /// until a bad request stands alone, so that it does not fail its neighbours: one of `n` costs
    /// about twice as many commits as `n` has binary digits, and not `n`.
    async fn commit(&mut self, mut batch: Vec<Pending>) {
        let started = std::time::Instant::now();
        match self.committer.commit(&batch).await {
            Ok(committed) => self.answer(batch, committed),
            Err(failed) if failed.before_commit && batch.len() > 1 && is_of_one(&failed.error) => {
                let second = batch.split_off(batch.len() / 2);
                self.halves.extend([second, batch]);
            }
            Err(failed) => self.refuse(batch, failed.error),
        }
        self.metrics.batch_ends(started);
    }

    fn answer(&self, batch: Vec<Pending>, committed: Committed) {
        let upto = committed.events.last().map(|event| event.position);
        self.seen.appended(upto);
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
        } else if let StoreError::Superseded { schema, .. } = &error {
            self.seen.superseded(*schema);
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
            let failed = AppendError::Store(Arc::clone(&error));
            pending.answer_with(Answer::Given(Err(failed)));
        }
    }
}

impl Pending {
    /// Gives the place in the queue back first, so that whoever is answered finds it free.
    fn answer_with(self, answer: Answer) {
        let Self {
            request, recall, ..
        } = self;
        drop(self.place);
        let answered = match answer {
            Answer::Given(given) => Answered::Given(given),
            Answer::Look(sought) => Answered::Look(Box::new(Again {
                request,
                recall,
                sought,
            })),
        };
        // the one who asked may have gone
        let _ = self.answer.send(answered);
    }
}

/// Whether a failure may be the fault of one request. What holds for the whole database fails all of
/// a batch at once: tried apart, each part would wait for the same lock or connection in turn.
fn is_of_one(error: &StoreError) -> bool {
    if matches!(error, StoreError::Files(_) | StoreError::Columnar(_)) {
        // the files of segments are beside the database, and not all need the same
        return true;
    }
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
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::event::{Event, Instant, NewEvent, Provenance};
    use crate::kinds::{Draft, Kind};
    use crate::store::{EVENTS_MAX, FilesError, Fold, Limits, Location, Options, Store};

    fn event() -> Result<NewEvent, Box<dyn Error>> {
        let draft = Draft::new(Kind::UserActivity, Instant::OLDEST, Provenance::Real);
        let column = entity::user_activity::Column::ActivityType;
        let made = draft.set(column, "PAGE_VIEW").finish();
        made.map_err(|refusal| refusal.message.into())
    }

    #[test]
    fn what_fails_for_all_is_not_tried_apart() {
        assert!(is_of_one(&StoreError::Fold { what: "a job" }));
        assert!(is_of_one(&StoreError::Files(FilesError::Nowhere)));
        assert!(!is_of_one(&StoreError::Closed));
    }

    /// A fold that takes nothing.
    #[derive(Debug)]
    struct Failing;

    impl Fold for Failing {
        fn name(&self) -> &'static str {
            "test_failing"
        }

        fn kinds(&self) -> &'static [Kind] {
            &[Kind::UserActivity]
        }

        fn tables(&self) -> &'static [&'static str] {
            &[]
        }

        fn apply<'a>(
            &'a self,
            _: &'a DatabaseTransaction,
            _: &'a [&'a Event],
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            Box::pin(async { Err(StoreError::Fold { what: "nothing" }) })
        }
    }

    fn options(dir: &Path, folds: Vec<Arc<dyn Fold>>) -> Options {
        Options {
            location: Location {
                url: format!("sqlite://{}", dir.join("log.db").display()),
                readers_max: 1,
                reads_within: None,
                create: true,
                ..Location::default()
            },
            limits: Limits {
                queue_events_max: 100_000,
                queue_bytes_max: 1 << 30,
                ring_events_max: 0,
                ring_bytes_max: 0,
                page_events: 100,
                tail_poll: Duration::from_secs(1),
            },
            folds,
            clock: Clock::by_hand(Instant::OLDEST),
        }
    }

    /// How many of some requests are answered before a transaction that waits with them is done.
    async fn answered_before_a_transaction(
        folds: Vec<Arc<dyn Fold>>,
        requests: Vec<Request>,
    ) -> Result<usize, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let (store, tasks) = Store::open(options(dir.path(), folds)).await?;
        let (done, before_it) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let appends = requests.into_iter().map(async |request| {
            let appended = store.append(request).await;
            done.fetch_add(1, Ordering::SeqCst);
            appended
        });
        let transaction = async {
            let done_before = store.transact(|_| Box::pin(async { Ok(()) })).await;
            before_it.store(done.load(Ordering::SeqCst), Ordering::SeqCst);
            done_before
        };
        let appends = futures_util::future::join_all(appends);
        let (_, transacted) = futures_util::future::join(appends, transaction).await;
        transacted?;
        tasks.stop().await;
        Ok(before_it.load(Ordering::SeqCst))
    }

    /// Requests of which some never fit into the batch with the rest must not keep transactions waiting.
    #[tokio::test]
    async fn a_transaction_has_its_turn_among_large_requests() -> Result<(), Box<dyn Error>> {
        let request = Request {
            events: vec![event()?; EVENTS_MAX],
            expect: Vec::new(),
            registrations: Vec::new(),
            told: None,
        };
        let before = answered_before_a_transaction(Vec::new(), vec![request; 40]).await?;
        assert!(before < 24);
        Ok(())
    }

    #[tokio::test]
    async fn a_transaction_has_its_turn_among_the_parts_of_a_batch_that_failed()
    -> Result<(), Box<dyn Error>> {
        let request = Request {
            events: vec![event()?],
            expect: Vec::new(),
            registrations: Vec::new(),
            told: None,
        };
        let folds: Vec<Arc<dyn Fold>> = vec![Arc::new(Failing)];
        let before = answered_before_a_transaction(folds, vec![request; 64]).await?;
        assert!(before < 8);
        Ok(())
    }
}
