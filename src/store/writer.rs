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
use super::error::StoreError;
use super::feed::Feed;
use super::metrics::Metrics;
use super::{BATCH_BYTES_MAX, EVENTS_MAX};

/// A request that waits, with its place in the queue and the way back.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Appended, AppendError>>,
    pub(crate) _place: (OwnedSemaphorePermit, OwnedSemaphorePermit),
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
    /// A request that did not fit into the batch before.
    pub(crate) held_over: Option<Pending>,
}

impl Writer {
    /// Runs until it is told to stop and nothing waits any more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut in_a_row = 0;
        loop {
            if let Some(first) = self.held_over.take() {
                self.append(first).await;
                continue;
            }
            let jobs_first = in_a_row >= APPENDS_IN_A_ROW_MAX;
            if jobs_first {
                in_a_row = 0;
                if let Ok(job) = self.jobs.try_recv() {
                    self.transact(job).await;
                    continue;
                }
            }
            tokio::select! {
                biased;
                Some(first) = self.appends.recv() => {
                    in_a_row += 1;
                    self.append(first).await;
                }
                Some(job) = self.jobs.recv() => {
                    in_a_row = 0;
                    self.transact(job).await;
                }
                () = stop.cancelled() => break,
                else => break,
            }
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
        let mut batch = vec![first];
        while let Ok(next) = self.appends.try_recv() {
            events += next.request.events.len();
            bytes += next.bytes;
            if events > EVENTS_MAX || bytes > BATCH_BYTES_MAX {
                self.held_over = Some(next);
                break;
            }
            batch.push(next);
        }
        let started = self.metrics.batch_begins();
        let requests: Vec<&Request> = batch.iter().map(|pending| &pending.request).collect();
        match self.committer.commit(&requests).await {
            Ok(committed) => self.answer(batch, committed),
            Err(failed) if failed.before_commit && batch.len() > 1 => self.one_by_one(batch).await,
            Err(failed) => refuse(batch, failed.error),
        }
        self.metrics.batch_ends(started);
    }

    /// A batch failed before it was committed: each request is tried alone, so that a bad one does
    /// not fail its neighbours.
    async fn one_by_one(&mut self, batch: Vec<Pending>) {
        for pending in batch {
            match self.committer.commit(&[&pending.request]).await {
                Ok(committed) => self.answer(vec![pending], committed),
                Err(failed) => refuse(vec![pending], failed.error),
            }
        }
    }

    fn answer(&self, batch: Vec<Pending>, committed: Committed) {
        self.metrics.committed(&committed);
        self.feed.publish(committed.events);
        for (pending, answer) in batch.into_iter().zip(committed.answers) {
            // the one who asked may have gone
            let _ = pending.answer.send(answer);
        }
    }
}

fn refuse(batch: Vec<Pending>, error: StoreError) {
    tracing::error!(error = %crate::telemetry::chain(&error), requests = batch.len(), "append failed");
    let error = Arc::new(error);
    for pending in batch {
        let _ = pending
            .answer
            .send(Err(AppendError::Store(Arc::clone(&error))));
    }
}
