//! A log on the database of a test, with limits and folds of the test's choice.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use homepot_analytics::clock::Clock;
use homepot_analytics::event::{NewEvent, Position};
use homepot_analytics::projections;
use homepot_analytics::store::{
    Appended, Fold, Limits, Location, Options, Outcome, Store, Tail, Tasks,
};

use super::database::Database;
use super::events::{self, at};

/// A log that is open.
#[derive(Debug)]
pub(crate) struct TestLog {
    store: Store,
    tasks: Tasks,
    pub(crate) clock: Clock,
}

/// How a log is opened.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) limits: Limits,
    pub(crate) folds: Vec<Arc<dyn Fold>>,
    pub(crate) reads_within: Option<Duration>,
    /// Whether it is said where segments lie.
    pub(crate) archives: bool,
    pub(crate) clock: Clock,
}

impl Default for Opening {
    fn default() -> Self {
        let mut folds = projections::inline();
        folds.push(Arc::new(super::Poison));
        Self {
            limits: Limits {
                queue_events_max: 10_000,
                queue_bytes_max: 1 << 25,
                ring_events_max: 1_000,
                ring_bytes_max: 1 << 24,
                page_events: 500,
                tail_poll: Duration::from_millis(10),
            },
            folds,
            reads_within: None,
            archives: true,
            clock: Clock::by_hand(at("2026-11-23T10:00:00Z")),
        }
    }
}

impl Deref for TestLog {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl TestLog {
    pub(crate) async fn open(database: &Database) -> Self {
        Self::open_with(database, |_| {}).await
    }

    pub(crate) async fn open_with(database: &Database, change: impl FnOnce(&mut Opening)) -> Self {
        let mut opening = Opening::default();
        change(&mut opening);
        let clock = opening.clock.clone();
        let location = database.location();
        let options = Options {
            location: Location {
                reads_within: opening.reads_within,
                segments: location.segments.filter(|_| opening.archives),
                ..database.location()
            },
            limits: opening.limits,
            folds: opening.folds,
            clock: opening.clock,
        };
        let (store, tasks) = Store::open(options).await.unwrap();
        Self {
            store,
            tasks,
            clock,
        }
    }

    /// A second handle on the same log, for a task.
    pub(crate) fn handle(&self) -> Store {
        self.store.clone()
    }

    /// Stops it as a server does that is told to.
    pub(crate) async fn close(self) {
        self.tasks.stop().await;
    }

    /// Registers sites s1 and s2, and devices d1 and d2 at s1 and d3 at s2: [`FLEET_EVENTS`].
    ///
    /// [`FLEET_EVENTS`]: super::FLEET_EVENTS
    pub(crate) async fn with_fleet(self) -> Self {
        let outcomes = self.record(events::fleet()).await;
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Recorded(_))));
        self
    }

    /// Appends events as one request.
    pub(crate) async fn record(&self, events: Vec<NewEvent>) -> Vec<Outcome> {
        let request = events::request(events);
        self.append(request).await.unwrap().outcomes
    }

    /// Reads the log from a position up to another, as a follower does.
    pub(crate) async fn follow(&self, from: Position, upto: Position) -> Vec<i64> {
        let mut tail = self.tail(from, None);
        follow(&mut tail, upto).await
    }
}

/// The positions that a follower sees until it has seen one.
async fn follow(tail: &mut Tail, upto: Position) -> Vec<i64> {
    let mut seen = Vec::new();
    while tail.position() < upto {
        seen.extend(tail.next().await.unwrap().iter().map(|e| e.position.0));
    }
    seen
}

/// The positions of a request of which every event was recorded.
pub(crate) fn recorded(appended: &Appended) -> Vec<i64> {
    let position = |outcome: &Outcome| match outcome {
        Outcome::Recorded(position) => position.0,
        other => panic!("{other:?} where the event was to be recorded"),
    };
    appended.outcomes.iter().map(position).collect()
}

/// Checks that a reader saw each position after one up to another once, in order.
pub(crate) fn exactly_once(seen: &[i64], after: i64, upto: i64) -> Result<(), String> {
    let mut expected = after + 1;
    for position in seen {
        if *position != expected {
            return Err(format!("saw {position} where {expected} was due"));
        }
        expected += 1;
    }
    if expected == upto + 1 {
        Ok(())
    } else {
        Err(format!("saw nothing from {expected} to {upto}"))
    }
}
