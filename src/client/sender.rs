//! The two tasks between a source and the server: one keeps events, one delivers them.
//!
//! There is one path: an event is kept first (many share one sync), then delivered, whether the
//! server can be reached or not. All waits are bounded: the queue in front of the keeper by
//! [`SenderConfig::queue_groups_max`], everything behind it by the backlog.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::api::{Client, Line};
use super::backlog::{Backlog, Kept};
use super::backoff::Backoff;
use super::delivery::Delivery;
use crate::telemetry::chain;

/// Limits of the sender.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Events in a request at most.
    pub batch_events_max: usize,
    /// Bytes of a request at most.
    pub request_bytes_max: usize,
    /// Groups of events that wait to be kept at most; then [`Handle::keep`] waits.
    pub queue_groups_max: usize,
    /// Waits between tries.
    pub backoff: Backoff,
    /// How long delivery goes on after the signal to stop, as long as the server answers.
    pub stop_grace: Duration,
}

impl Default for SenderConfig {
    /// 1,000 events and 1 MiB (what the server takes), 64 groups, 2 s.
    fn default() -> Self {
        Self {
            batch_events_max: 1_000,
            request_bytes_max: 1 << 20,
            queue_groups_max: 64,
            backoff: Backoff::default(),
            stop_grace: Duration::from_secs(2),
        }
    }
}

/// Registrations that go before everything else, and again when the server does not know a device
/// or a site any more. They carry their ids, so that a repeat is a duplicate.
#[derive(Clone, Debug, Default)]
pub struct Preamble {
    /// Sent first.
    pub events: Vec<Line>,
    /// Sent when one of those is refused because its site is unknown.
    pub on_unknown_site: Vec<Line>,
}

/// What became of the events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events stored by the server.
    pub recorded: u64,
    /// Events that the server had already.
    pub duplicate: u64,
    /// Events whose key the server had with another body.
    pub conflict: u64,
    /// Events that the server refused.
    pub rejected: u64,
    /// Events dropped for want of room.
    pub dropped: u64,
    /// Lines on disk that could not be read.
    pub damaged: u64,
    /// Events that wait.
    pub waiting: u64,
}

/// The sender has stopped and keeps nothing any more.
#[derive(Clone, Copy, Debug, Error)]
#[error("the sender has stopped")]
pub struct Stopped;

/// Gives events to the sender. The sender's keeper ends when all handles are gone.
#[derive(Clone, Debug)]
pub struct Handle {
    groups: mpsc::Sender<Group>,
    totals: watch::Receiver<Totals>,
    group_events_max: usize,
}

#[derive(Debug)]
struct Group {
    events: Vec<Line>,
    kept: oneshot::Sender<()>,
}

impl Handle {
    /// Keeps events. When this returns, they outlive a crash, if the backlog is on disk.
    ///
    /// # Errors
    /// When the sender has stopped.
    pub async fn keep(&self, mut events: Vec<Line>) -> Result<(), Stopped> {
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(self.group_events_max));
            let (kept, answer) = oneshot::channel();
            let group = Group { events, kept };
            self.groups.send(group).await.map_err(|_| Stopped)?;
            answer.await.map_err(|_| Stopped)?;
            events = rest;
        }
        Ok(())
    }

    /// Waits until at most this many events wait.
    ///
    /// # Errors
    /// When the sender has stopped.
    pub async fn wait_for_room(&mut self, waiting_max: u64) -> Result<(), Stopped> {
        let room = self.totals.wait_for(|totals| totals.waiting <= waiting_max);
        room.await.map(drop).map_err(|_| Stopped)
    }

    /// What became of the events since the start, now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        *self.totals.borrow()
    }

    /// What became of the events since the start, as it changes.
    #[must_use]
    pub fn watch_totals(&self) -> watch::Receiver<Totals> {
        self.totals.clone()
    }
}

/// What a sender is made of.
#[derive(Debug)]
pub struct Sender {
    /// Where events wait.
    pub backlog: Backlog,
    /// Where they go.
    pub client: Client,
    /// What goes first.
    pub preamble: Preamble,
    /// Limits.
    pub config: SenderConfig,
    /// Draws the waits.
    pub rng: StdRng,
}

impl Sender {
    /// Starts the two tasks; both are the tracker's and end after the token is cancelled: the one
    /// that delivers within [`SenderConfig::stop_grace`], the one that keeps with the last handle.
    #[must_use]
    pub fn start(self, tracker: &TaskTracker, shutdown: CancellationToken) -> Handle {
        let (groups, queue) = mpsc::channel(self.config.queue_groups_max.max(1));
        let (totals, watched) = watch::channel(Totals {
            waiting: self.backlog.waiting(),
            ..Totals::default()
        });
        let desk = Arc::new(Desk {
            backlog: Mutex::new(self.backlog),
            totals,
            tracker: tracker.clone(),
        });
        let group_events_max = self.config.batch_events_max.max(1);
        tracker.spawn(keep(Arc::clone(&desk), queue, group_events_max));
        let grace = self.config.stop_grace;
        let delivery = Delivery::new(desk, self.client, self.preamble, self.config, self.rng);
        tracker.spawn(deliver(delivery, shutdown, grace));
        Handle {
            groups,
            totals: watched,
            group_events_max,
        }
    }
}

/// What the two tasks share.
#[derive(Debug)]
pub(super) struct Desk {
    /// Only ever locked on a thread for blocking work, and for one operation.
    backlog: Mutex<Backlog>,
    pub(super) totals: watch::Sender<Totals>,
    tracker: TaskTracker,
}

impl Desk {
    /// Works on the backlog, which may block, and publishes how it stands then; `None` when that
    /// failed in a way that must not happen.
    pub(super) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Backlog) -> T + Send + 'static,
    ) -> Option<T> {
        let desk = Arc::clone(self);
        let task = self.tracker.spawn_blocking(move || {
            let mut backlog = desk.backlog.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut backlog);
            desk.totals.send_modify(|totals| {
                totals.waiting = backlog.waiting();
                totals.dropped = backlog.dropped();
                totals.damaged = backlog.damaged();
            });
            result
        });
        let done = task.await;
        if let Err(failed) = &done {
            error!(error = %failed, "work on the backlog failed");
        }
        done.ok()
    }
}

/// Keeps what comes, as much at once as there is, until the last handle is gone.
async fn keep(desk: Arc<Desk>, mut queue: mpsc::Receiver<Group>, events_max: usize) {
    let mut disk_is_well = true;
    let mut groups = Vec::new();
    let groups_max = queue.max_capacity();
    while queue.recv_many(&mut groups, groups_max).await > 0 {
        let mut events = Vec::new();
        let mut waiting = Vec::new();
        for group in groups.drain(..) {
            events.extend(group.events);
            waiting.push(group.kept);
        }
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(events_max));
            let Some(kept) = desk.with(|backlog| backlog.keep(events)).await else {
                return;
            };
            tell(&kept, &mut disk_is_well);
            events = rest;
        }
        for kept in waiting {
            // Whoever gave the events may have stopped waiting.
            let _ = kept.send(());
        }
    }
}

/// Logs what was dropped, and once when the disk begins or ceases to refuse.
fn tell(kept: &Kept, disk_is_well: &mut bool) {
    if kept.dropped > 0 {
        warn!(
            events.dropped = kept.dropped,
            "no room: the oldest events were dropped"
        );
    }
    match &kept.error {
        Some(error) if *disk_is_well => {
            warn!(error = %chain(error), "events are held in memory, since they cannot be kept on disk");
        }
        None if !*disk_is_well => info!("events are kept on disk again"),
        Some(_) | None => {}
    }
    *disk_is_well = kept.error.is_none();
}

async fn deliver(mut delivery: Delivery, shutdown: CancellationToken, grace: Duration) {
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        () = delivery.run(&shutdown) => {}
        () = too_late => {}
    }
    delivery.say_totals();
}
