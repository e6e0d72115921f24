//! Appenders that each wait for the answer before they give the next events, and how fast they were
//! served. The events are made before the time is taken.

use std::future::Future;
use std::time::{Duration, Instant as Stopwatch};

use homepot_analytics::event::NewEvent;
use homepot_analytics::store::{Outcome, Request, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::figures::{float, milliseconds, percentile};
use crate::metrics::Fleet;

/// How much is appended, and by how many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) appenders: usize,
    /// Requests of each appender.
    pub(crate) requests: usize,
    /// Events of a request.
    pub(crate) events: usize,
}

/// How fast it was appended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speed {
    pub(crate) events_per_second: f64,
    pub(crate) p50_ms: f64,
}

/// Something that makes events durable.
pub(crate) trait Append: Clone + Send + 'static {
    /// Comes back when the events are durable.
    fn append(&self, events: Vec<NewEvent>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Append for Store {
    async fn append(&self, events: Vec<NewEvent>) -> anyhow::Result<()> {
        let request = Request {
            events,
            expect: Vec::new(),
            registrations: Vec::new(),
            told: None,
        };
        let appended = self.append_patiently(request).await?;
        let recorded = |outcome: &Outcome| matches!(outcome, Outcome::Recorded(_));
        anyhow::ensure!(
            appended.outcomes.iter().all(recorded),
            "an event was refused"
        );
        Ok(())
    }
}

/// Something that commits the events of a batch.
pub(crate) trait Commit: Send + 'static {
    /// Events at most in a commit.
    const EVENTS_MAX: usize;

    /// Comes back when the batch is committed.
    fn commit(&mut self, events: &[NewEvent]) -> impl Future<Output = anyhow::Result<()>> + Send;
}

type Waiting = (Vec<NewEvent>, oneshot::Sender<()>);

/// Commits for many appenders, whatever waits at once: group commit and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Group(mpsc::Sender<Waiting>);

impl Group {
    /// A group, and the task that commits for it until the group is dropped.
    pub(crate) fn new<C: Commit>(
        committer: C,
    ) -> (Self, impl Future<Output = anyhow::Result<()>> + Send) {
        let (sender, receiver) = mpsc::channel(1_024);
        (Self(sender), commit_waiting(committer, receiver))
    }
}

impl Append for Group {
    async fn append(&self, events: Vec<NewEvent>) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.0.send((events, answer)).await?;
        Ok(answered.await?)
    }
}

async fn commit_waiting<C: Commit>(
    mut committer: C,
    mut waiting: mpsc::Receiver<Waiting>,
) -> anyhow::Result<()> {
    while let Some((mut events, answer)) = waiting.recv().await {
        let mut answers = vec![answer];
        while events.len() < C::EVENTS_MAX {
            let Ok((more, answer)) = waiting.try_recv() else {
                break;
            };
            events.extend(more);
            answers.push(answer);
        }
        committer.commit(&events).await?;
        for answer in answers {
            // the appender waits for it, or has failed
            let _ = answer.send(());
        }
    }
    Ok(())
}

impl Load {
    /// Events in all.
    pub(crate) fn total(self) -> usize {
        self.appenders * self.requests * self.events
    }

    /// Appends the next events of a fleet.
    pub(crate) async fn run(
        self,
        door: &(impl Append + Sync),
        fleet: &mut Fleet,
    ) -> anyhow::Result<Speed> {
        let mut of_appenders = vec![Vec::with_capacity(self.requests); self.appenders];
        for _ in 0..self.requests {
            for requests in &mut of_appenders {
                requests.push(fleet.batch(self.events)?);
            }
        }
        let mut appenders = JoinSet::new();
        let started = Stopwatch::now();
        for requests in of_appenders {
            appenders.spawn(append_all(door.clone(), requests));
        }
        let mut times = Vec::with_capacity(self.appenders * self.requests);
        while let Some(done) = appenders.join_next().await {
            times.extend(done??.into_iter().map(milliseconds));
        }
        Ok(Speed {
            events_per_second: float(self.total()) / started.elapsed().as_secs_f64(),
            p50_ms: percentile(&times, 50),
        })
    }
}

async fn append_all(
    door: impl Append,
    requests: Vec<Vec<NewEvent>>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(requests.len());
    for events in requests {
        let started = Stopwatch::now();
        door.append(events).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}
