//! Follows the log and the clock, and records what follows for alerts.
//!
//! It goes on from a checkpoint, which moves only when all that follows from what is before it is
//! recorded: killed anywhere it misses nothing, and what it says again is recorded once.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

use super::evaluate::Evaluator;
use super::insights::Rounds;
use super::{AlertError, begin, judge, record, renew};
use crate::event::{Instant, Position};
use crate::held::Held;
use crate::history::alerts;
use crate::ingest::Ingest;
use crate::kinds::Kind;
use crate::projections::checkpoint;
use crate::store::{Failing, Store, StoreError, Tail};
use crate::ticks;

/// Name of its checkpoint.
const CHECKPOINT: &str = "alerts_evaluated";
/// The checkpoint moves at least this often, also when nothing that is followed is recorded.
const UNMARKED_MAX: i64 = 10_000;
/// How often the checkpoint moves at most.
const MARKED_EVERY: Duration = Duration::from_secs(5);
/// How often it looks whose time has run out.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: "the alerts",
    effect: "alerts are not evaluated, will go on from the checkpoint",
    waits: Duration::from_secs(1),
};
/// What it follows.
const KINDS: &[Kind] = &[
    Kind::SiteRegistration,
    Kind::DeviceRegistration,
    Kind::DeviceMetrics,
    Kind::JobOutcome,
    Kind::DeviceStateChange,
    Kind::ErrorLog,
    Kind::SiteSchedule,
    Kind::AlertRuleChange,
    Kind::AlertTransition,
];

/// Watches for what is to be an alert.
#[derive(Debug)]
pub struct Watcher {
    ingest: Ingest,
    held: Held,
    /// How far the projections have folded the log.
    folded: channel::Receiver<Position>,
    marked: Position,
    marked_at: Moment,
}

impl Watcher {
    /// One that records through a door. It begins when the projections have folded what the log holds
    /// then.
    #[must_use]
    pub fn new(ingest: Ingest, held: Held, folded: channel::Receiver<Position>) -> Self {
        Self {
            ingest,
            held,
            folded,
            marked: Position::START,
            marked_at: Moment::now(),
        }
    }

    /// Watches until it is told to stop. After a failure of the log it goes on from its checkpoint.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            FAILING.failed(self.ingest.store(), &error, &stop).await;
        }
    }

    /// Follows the log.
    async fn follow(&mut self) -> Result<Infallible, AlertError> {
        let store = &self.ingest.store().clone();
        self.marked = self.beginning(store).await?;
        let from = self.marked;
        if self
            .folded
            .wait_for(|folded| *folded >= from)
            .await
            .is_err()
        {
            // nobody folds any more, since the server stops
            return std::future::pending().await;
        }
        let mut evaluator = begin::evaluator(&self.ingest).await?;
        let mut tail = store.tail(from, Some(KINDS));
        let mut looks = ticks::every(LOOK_EVERY);
        let mut look: Option<(Instant, Position)> = None;
        let mut rounds = Rounds::new(self.held.on(store.clone()));
        loop {
            tokio::select! {
                events = tail.next_looked_at() => {
                    let now = self.ingest.clock().now();
                    for event in events? {
                        evaluator.hear(&event, now);
                    }
                    judge::pending(store, &mut evaluator).await?;
                },
                judged = rounds.ended() => match judged {
                    Ok(judged) => evaluator.judged(&judged),
                    Err(error) => rounds.failed(store, &mut evaluator.turns, &error),
                },
                _ = looks.tick() => look = Some((self.ingest.clock().now(), store.head())),
            }
            begin::reschedule(store, &mut evaluator, self.ingest.clock().now()).await?;
            // silence is judged when all that was recorded until then has been heard
            if let Some((now, _)) = look.take_if(|(_, head)| tail.position() >= *head) {
                evaluator.look(now);
                let rules = (evaluator.insights.as_slice(), &mut evaluator.turns);
                rounds.begin(rules, &evaluator.fleet, now);
                for (_, alert_id) in evaluator.silenced.due(now) {
                    evaluator.silenced.clear(&alert_id);
                    record::reopen(&self.ingest, &alert_id).await?;
                }
            }
            self.record(&mut evaluator).await?;
            if std::mem::take(&mut evaluator.is_outdated) {
                let now = self.ingest.clock().now();
                let open = alerts::open(store).await?;
                renew::rules(store, &mut evaluator, &open, now).await?;
                rounds.hurry(&mut evaluator.turns);
                self.record(&mut evaluator).await?;
            }
            self.mark(store, &tail).await?;
        }
    }

    /// Where it goes on; in a log in which it never began, at its head: what is older is history.
    async fn beginning(&self, store: &Store) -> Result<Position, StoreError> {
        let position = checkpoint::position(store, CHECKPOINT).await?;
        if position > Position::START {
            return Ok(position);
        }
        let head = store.committed_head().await?;
        // of an empty log nothing is history
        if head > Position::START {
            checkpoint::advance(store, CHECKPOINT, head).await?;
        }
        Ok(head)
    }

    async fn record(&self, evaluator: &mut Evaluator) -> Result<(), AlertError> {
        let verdicts = std::mem::take(&mut evaluator.verdicts);
        record::record(&self.ingest, &verdicts).await
    }

    async fn mark(&mut self, store: &Store, tail: &Tail) -> Result<(), StoreError> {
        let position = tail.position();
        let is_far = position.0 - self.marked.0 >= UNMARKED_MAX;
        let is_late = position > self.marked && self.marked_at.elapsed() >= MARKED_EVERY;
        if is_far || is_late {
            checkpoint::advance(store, CHECKPOINT, position).await?;
            (self.marked, self.marked_at) = (position, Moment::now());
        }
        Ok(())
    }
}
