//! Takes events out of the backlog to the server, batch by batch, and acts on what it answers.
//!
//! One batch is under way at a time, so events arrive in their order. An event leaves the backlog
//! only when the server has answered it: a request that fails is sent again after a wait, and one
//! that the server finds fault with is halved until the event at fault stands alone.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::answer::{CallError, Outcome, Remedy, Status};
use super::api::{Client, Line, event_bytes_max};
use super::backlog::Batch;
use super::segment::PageLimits;
use super::sender::{Desk, Preamble, SenderConfig};
use crate::event::Instant;
use crate::telemetry::chain;

/// Refusals in a row after which a server that answers counts as lost.
const PATIENCE: u32 = 3;

/// How far ahead of the server an event may be and is still held until its time comes; one that is
/// further ahead comes of a clock that tells nothing, and is let go as refused.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// Registrations in one request.
const REGISTRATIONS_MAX: usize = 500;

/// Whether the server knows our devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    /// To be sent before anything else.
    Needed,
    /// Just sent: a device that is unknown now is not one of ours.
    Fresh,
    /// Events were taken since: a device that is unknown now was forgotten.
    Settled,
}

/// How the server was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Unknown,
    Up,
    /// No answer, or no time for us.
    Away,
    /// It answers, but refuses us: somebody must act.
    Refusing,
}

/// Delivers.
#[derive(Debug)]
pub(super) struct Delivery {
    desk: Arc<Desk>,
    client: Client,
    preamble: Preamble,
    config: SenderConfig,
    rng: StdRng,
    registration: Registration,
    link: Link,
    failures: u32,
    /// Events in the next batch at most.
    batch_events: usize,
    /// Events put back since the last wait, because their time has not come.
    early: u64,
    /// Whether somebody was told that the clock of this machine is ahead.
    is_clock_told: bool,
}

/// What to do after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Go on at once.
    Batch,
    /// The server is away: go on after a wait.
    Wait(Duration),
    /// The backlog is out of order.
    End,
}

impl Delivery {
    pub(super) fn new(
        desk: Arc<Desk>,
        client: Client,
        preamble: Preamble,
        config: SenderConfig,
        rng: StdRng,
    ) -> Self {
        Self {
            desk,
            client,
            preamble,
            config,
            rng,
            registration: Registration::Needed,
            link: Link::Unknown,
            failures: 0,
            batch_events: config.batch_events_max,
            early: 0,
            is_clock_told: false,
        }
    }

    /// Delivers until it is stopped and nothing waits any more, or the server is away then.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) {
        loop {
            let next = match self.registration {
                Registration::Needed => self.register().await,
                Registration::Fresh | Registration::Settled => {
                    if !self.wait_for_events(shutdown).await {
                        return;
                    }
                    self.send_batch().await
                }
            };
            match next {
                Next::Batch => {}
                Next::End => return,
                Next::Wait(wait) => tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    pub(super) fn say_totals(&self) {
        let totals = *self.desk.totals.borrow();
        info!(
            events.recorded = totals.recorded,
            events.duplicate = totals.duplicate,
            events.conflict = totals.conflict,
            events.rejected = totals.rejected,
            events.dropped = totals.dropped,
            events.damaged = totals.damaged,
            events.waiting = totals.waiting,
            "delivery has stopped"
        );
    }

    /// Whether there are events to send; false when there are none and none is to come.
    async fn wait_for_events(&self, shutdown: &CancellationToken) -> bool {
        let mut totals = self.desk.totals.subscribe();
        tokio::select! {
            biased;
            some = totals.wait_for(|totals| totals.waiting > 0) => some.is_ok(),
            () = shutdown.cancelled() => false,
        }
    }

    async fn send_batch(&mut self) -> Next {
        let limits = PageLimits {
            events: self.batch_events,
            bytes: event_bytes_max(self.config.request_bytes_max),
        };
        match self.desk.with(move |backlog| backlog.peek(limits)).await {
            None => Next::End,
            Some(Err(error)) => {
                error!(error = %chain(&error), "events that wait cannot be read");
                Next::Wait(self.config.backoff.most)
            }
            Some(Ok(batch)) if batch.events.is_empty() => Next::Batch,
            Some(Ok(batch)) => match self.client.record(&batch.events).await {
                Ok(outcomes) => self.settle(batch, &outcomes).await,
                Err(error) => self.recover(batch, &error).await,
            },
        }
    }

    async fn settle(&mut self, batch: Batch, outcomes: &[Outcome]) -> Next {
        self.server_answered();
        if !outcomes.is_empty() && outcomes.iter().all(Outcome::is_not_allowed) {
            warn!(
                "the access key may not record these events: they are kept; is it the key of this \
                 device (--device, --site)?"
            );
            return Next::Wait(self.config.backoff.most);
        }
        let mut answered = outcomes;
        let forgotten = outcomes.iter().position(Outcome::is_of_unknown_place);
        if let (Registration::Settled, Some(first)) = (self.registration, forgotten) {
            // The server forgot the device, by a restore perhaps: register, then send these again.
            answered = outcomes.get(..first).unwrap_or_default();
            self.registration = Registration::Needed;
        } else if answered.iter().any(is_taken) {
            self.registration = Registration::Settled;
        }
        let early = self.early(&batch, answered);
        let settled = answered.iter().zip(&early);
        let settled = settled.filter_map(|(outcome, early)| (!early).then_some(outcome));
        self.count(&settled.collect::<Vec<_>>());
        if early.contains(&true) {
            self.put_back(batch, early).await
        } else {
            self.let_go(batch, answered.len()).await
        }
    }

    /// Which of the first events of a batch are to be held until the server's clock reaches them.
    fn early(&self, batch: &Batch, outcomes: &[Outcome]) -> Vec<bool> {
        let server_now = self.client.server_now();
        let is_near = |event: &Line| {
            let at = occurred_at(event);
            at.is_none_or(|at| at.0.saturating_sub(server_now.0) <= microseconds(AHEAD_MAX))
        };
        let events = batch.events.iter().zip(outcomes);
        events
            .map(|(event, outcome)| outcome.is_early() && is_near(event))
            .collect()
    }

    /// Keeps events anew behind all others, so that they hold nothing up, and lets the batch go.
    /// Waits once all that is kept was put back.
    async fn put_back(&mut self, batch: Batch, early: Vec<bool>) -> Next {
        if !self.is_clock_told {
            self.is_clock_told = true;
            warn!(
                "the clock of this machine is ahead of the server's: events are kept until the \
                 server's clock reaches them; set the clock right"
            );
        }
        let held = early.iter().filter(|early| **early).count();
        self.early += u64::try_from(held).unwrap_or(u64::MAX);
        let done = self.desk.with(move |backlog| {
            let events = batch.events.iter().zip(&early);
            let held = events.filter(|(_, early)| **early);
            let held = held.map(|(event, _)| event.clone());
            // kept before it is let go: after a crash between the two it is sent twice, not never
            let kept = backlog.keep(held.collect());
            backlog.settle(&batch, early.len());
            kept
        });
        match done.await {
            None => Next::End,
            Some(kept) => {
                if kept.dropped > 0 {
                    warn!(
                        events.dropped = kept.dropped,
                        "no room: the oldest events were dropped"
                    );
                }
                if self.early < self.desk.totals.borrow().waiting {
                    return Next::Batch;
                }
                self.early = 0;
                Next::Wait(self.config.backoff.most)
            }
        }
    }

    async fn recover(&mut self, batch: Batch, error: &CallError) -> Next {
        let events = batch.events.len();
        if error.remedy() != Remedy::Split {
            return Next::Wait(self.failed(error));
        }
        if events > 1 {
            debug!(error = %chain(error), batch.events = events, "a batch is halved");
            self.batch_events = events / 2;
            return Next::Batch;
        }
        if !error.is_fault_of_events() {
            return Next::Wait(self.failed(error));
        }
        self.server_answered();
        warn!(error = %chain(error), "the server can make nothing of an event; it was removed");
        self.desk.totals.send_modify(|totals| totals.rejected += 1);
        self.let_go(batch, 1).await
    }

    async fn let_go(&mut self, batch: Batch, events: usize) -> Next {
        let done = self
            .desk
            .with(move |backlog| backlog.settle(&batch, events));
        let next = done.await.map_or(Next::End, |()| Next::Batch);
        self.is_clock_told &= self.desk.totals.borrow().waiting > 0;
        next
    }

    /// Counts outcomes and logs what was not taken: code and field only, never what it held.
    fn count(&self, outcomes: &[&Outcome]) {
        let number = |status| {
            let same = outcomes.iter().filter(|outcome| outcome.status == status);
            u64::try_from(same.count()).unwrap_or_default()
        };
        let (conflict, rejected) = (number(Status::Conflict), number(Status::Rejected));
        self.desk.totals.send_modify(|totals| {
            totals.recorded += number(Status::Recorded);
            totals.duplicate += number(Status::Duplicate);
            totals.conflict += conflict;
            totals.rejected += rejected;
        });
        if let Some(first) = outcomes.iter().copied().find(|outcome| !is_taken(outcome)) {
            warn!(
                events.conflict = conflict,
                events.rejected = rejected,
                first.code = first.code.as_deref().unwrap_or("none"),
                first.field = first.field.as_deref().unwrap_or("none"),
                "the server refused events; they were removed"
            );
        }
    }

    async fn register(&mut self) -> Next {
        if self.preamble.events.is_empty() {
            self.registration = Registration::Fresh;
            return Next::Batch;
        }
        let mut answer = self.record_all(&self.preamble.events).await;
        let is_site_unknown =
            |outcomes: &Vec<Outcome>| outcomes.iter().any(Outcome::is_of_unknown_place);
        if answer.as_ref().is_ok_and(is_site_unknown) && !self.preamble.on_unknown_site.is_empty() {
            answer = self.record_all(&self.preamble.on_unknown_site).await;
        }
        match answer {
            Err(error) => Next::Wait(self.failed(&error)),
            Ok(outcomes) => {
                self.server_answered();
                self.registration = Registration::Fresh;
                if let Some(first) = outcomes.iter().find(|outcome| !is_taken(outcome)) {
                    warn!(
                        first.code = first.code.as_deref().unwrap_or("none"),
                        first.field = first.field.as_deref().unwrap_or("none"),
                        "the server refused a registration"
                    );
                }
                Next::Batch
            }
        }
    }

    async fn record_all(&self, events: &[Line]) -> Result<Vec<Outcome>, CallError> {
        let mut outcomes = Vec::new();
        while let Some(rest) = events.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            let some = rest.get(..REGISTRATIONS_MAX).unwrap_or(rest);
            outcomes.extend(self.client.record(some).await?);
        }
        Ok(outcomes)
    }

    /// Notes a failure, logs it if it is news, and tells how long to wait.
    fn failed(&mut self, error: &CallError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let (link, asked) = match error.remedy() {
            Remedy::Retry(asked) => (Link::Away, asked),
            Remedy::Split | Remedy::Hold => (Link::Refusing, None),
        };
        let server = self.client.server();
        let is_silent = matches!(error, CallError::Unreachable(_));
        match link {
            _ if link == self.link => {}
            Link::Refusing => {
                self.link = link;
                error!(server.url = server, error = %chain(error), "the server refuses events; they are kept");
            }
            Link::Away if is_silent || self.failures >= PATIENCE => {
                self.link = link;
                warn!(server.url = server, error = %chain(error), "the server cannot be reached; events are kept");
            }
            Link::Away | Link::Up | Link::Unknown => {}
        }
        let failures = match link {
            Link::Refusing => u32::MAX,
            Link::Away | Link::Up | Link::Unknown => self.failures,
        };
        self.config.backoff.wait(failures, asked, &mut self.rng)
    }

    fn server_answered(&mut self) {
        let waiting = self.desk.totals.borrow().waiting;
        let server = self.client.server();
        match self.link {
            Link::Up => {}
            Link::Unknown => info!(server.url = server, events.waiting = waiting, "connected"),
            Link::Away | Link::Refusing => {
                info!(
                    server.url = server,
                    events.waiting = waiting,
                    "the server answers again"
                );
            }
        }
        self.link = Link::Up;
        self.failures = 0;
        self.batch_events = (self.batch_events * 2).min(self.config.batch_events_max);
    }
}

/// When an event occurred, as far as its line says so.
fn occurred_at(event: &Line) -> Option<Instant> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        occurred_at: Option<String>,
    }
    let bodies: std::collections::HashMap<String, Body> = serde_json::from_str(event.get()).ok()?;
    let body = bodies.into_values().next()?;
    Instant::parse(&body.occurred_at?)
}

fn microseconds(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn is_taken(outcome: &Outcome) -> bool {
    matches!(outcome.status, Status::Recorded | Status::Duplicate)
}
