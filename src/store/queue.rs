//! Takes requests into the queue of the writer, and looks outside of it for what they may repeat of what was
//! archived.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::append::{AppendError, Appended, Request};
use super::error::StoreError;
use super::recall::{Recall, Sought};
use super::writer::{Answered, Pending};
use super::{Store, closed};

/// How often it is looked for what a request may repeat: once, unless an archiver makes a new segment meanwhile
/// in which that may be, which takes longer than a look into it.
const LOOKS_MAX: usize = 16;

/// How long one waits for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    NotAtAll,
    AsLongAsItTakes,
}

/// What a request takes of the queue: events, and bytes.
type Held = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Store {
    /// Appends a request, or refuses it at once when the queue is full.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended, unless the log failed in committing.
    pub async fn append(&self, request: Request) -> Result<Appended, AppendError> {
        self.admit(request, Waits::NotAtAll).await
    }

    /// Appends a request, and waits for a place in the queue if it is full: for sources inside this
    /// process, which can wait.
    ///
    /// # Errors
    /// [`AppendError`], but never that the queue is full.
    pub async fn append_patiently(&self, request: Request) -> Result<Appended, AppendError> {
        self.admit(request, Waits::AsLongAsItTakes).await
    }

    async fn admit(&self, mut request: Request, waits: Waits) -> Result<Appended, AppendError> {
        let bytes = request.weight_bytes()?;
        let mut place = self.place((&request, bytes), waits).await?;
        let mut recall = Recall::default();
        for _ in 0..=LOOKS_MAX {
            let again = match self.enqueue((request, bytes), recall, place).await? {
                Answered::Given(answer) => return answer,
                Answered::Look(again) => *again,
            };
            (request, recall) = (again.request, again.recall);
            // its place in the queue is free meanwhile, so that it keeps nobody waiting
            let room = self.held(&self.shared.looks.bytes, self.bytes(bytes), waits);
            let room = room.await?;
            self.look(&again.sought, (&request, &mut recall)).await?;
            // what it was looked for is not to be in vain
            place = self
                .place((&request, bytes), Waits::AsLongAsItTakes)
                .await?;
            drop(room);
        }
        Err(AppendError::Store(Arc::new(StoreError::SegmentsMoved)))
    }

    async fn look(
        &self,
        sought: &Sought,
        (request, recall): (&Request, &mut Recall),
    ) -> Result<(), AppendError> {
        let shared = &self.shared;
        let looks = (&shared.tables, &shared.looks);
        let looked = recall.look(looks, (sought, request)).await;
        looked.map_err(|error| self.unseen(error))
    }

    /// It cannot be found out what a request repeats. That what was archived cannot be read is told when that begins.
    fn unseen(&self, error: StoreError) -> AppendError {
        let shared = &self.shared;
        let told = crate::telemetry::chain(&error).to_string();
        let what = "cannot look for what an append may repeat of what was archived";
        if error.is_of_archive() {
            tracing::debug!(error = told, "{what}");
        } else {
            tracing::error!(error = told, "{what}");
        }
        shared.faults.tell("an append", shared.clock.now(), told);
        shared.metrics.failed(1);
        AppendError::Store(Arc::new(error))
    }

    /// What a request takes of the queue. One that is larger than the queue takes all of it, so that
    /// it has its turn when nothing else waits.
    async fn place(
        &self,
        (request, bytes): (&Request, usize),
        waits: Waits,
    ) -> Result<Held, AppendError> {
        let shared = &self.shared;
        let events_max = shared.limits.queue_events_max;
        let events = request.all().count().max(1).min(events_max);
        let events = self.held(&shared.queue_events, events, waits).await?;
        let bytes = self.held(&shared.queue_bytes, self.bytes(bytes), waits);
        Ok((events, bytes.await?))
    }

    fn bytes(&self, bytes: usize) -> usize {
        bytes.min(self.shared.limits.queue_bytes_max)
    }

    async fn held(
        &self,
        of: &Arc<Semaphore>,
        count: usize,
        waits: Waits,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match waits {
            Waits::NotAtAll => Arc::clone(of).try_acquire_many_owned(count).map_err(|_| {
                self.shared.metrics.overloaded();
                AppendError::Overloaded
            }),
            Waits::AsLongAsItTakes => {
                let held = Arc::clone(of).acquire_many_owned(count).await;
                held.map_err(|_| closed())
            }
        }
    }

    async fn enqueue(
        &self,
        (request, bytes): (Request, usize),
        recall: Recall,
        place: Held,
    ) -> Result<Answered, AppendError> {
        let (answer, answered) = oneshot::channel();
        let pending = Pending {
            request,
            recall,
            bytes,
            fence: self.fence.clone(),
            answer,
            place,
        };
        let sent = self.shared.appends.send(pending).await;
        sent.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }
}
