//! Who acts next: the waiting actors of the simulation in order of time.
//!
//! Each actor waits at most once. Of two actors at the same instant the one that is less acts
//! first, so that the order never depends on how the time was sliced.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, TimeDelta, Utc};

/// Something that acts by itself; the number is its index in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actor {
    /// A device measures and reports.
    Report(usize),
    /// A device gets into trouble, is noticed, or comes out of it.
    Trouble(usize),
    /// A device calls the API of the back office.
    Request(usize),
    /// A site runs its jobs.
    Jobs(usize),
    /// Somebody at a site changes the configuration.
    Change(usize),
    /// Somebody of the staff uses the console.
    Person(usize),
}

/// Actors that wait, the next one first.
#[derive(Debug, Default)]
pub(super) struct Queue(BinaryHeap<Reverse<(DateTime<Utc>, Actor)>>);

impl Queue {
    /// Lets an actor wait for an instant.
    pub(super) fn push(&mut self, at: DateTime<Utc>, actor: Actor) {
        self.0.push(Reverse((at, actor)));
    }

    /// When the next actor acts; without an actor, never.
    pub(super) fn next_at(&self) -> DateTime<Utc> {
        self.0
            .peek()
            .map_or(DateTime::<Utc>::MAX_UTC, |Reverse((at, _))| *at)
    }

    /// The next actor, if it acts at `until` or before.
    pub(super) fn pop(&mut self, until: DateTime<Utc>) -> Option<(DateTime<Utc>, Actor)> {
        if self.next_at() > until {
            return None;
        }
        self.0.pop().map(|Reverse(next)| next)
    }
}

/// The later of the two instants, and always after `now`: an actor never stands still.
pub(super) fn after(now: DateTime<Utc>, at: DateTime<Utc>) -> DateTime<Utc> {
    at.max(now + TimeDelta::milliseconds(1))
}
