//! Follows the log without end: from the tables until it meets the ring, then from the ring.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::StoreError;
use super::read::Tables;
use super::ring::{Next, Ring};
use crate::event::{Event, Position};
use crate::kinds::Kind;

/// Events and bytes at most that are handed over at once from the ring: a slow follower keeps them when
/// they have long left it.
const AT_ONCE_MAX: (usize, usize) = (1_000, 1024 * 1024);

/// A reader that follows the log. It neither loses nor repeats, and slows no other.
#[derive(Debug)]
pub struct Tail {
    tables: Tables,
    ring: Arc<Ring>,
    head: watch::Receiver<Position>,
    position: Position,
    kinds: Option<&'static [Kind]>,
    page_events: usize,
}

impl Tail {
    pub(crate) fn new(
        tables: Tables,
        ring: Arc<Ring>,
        from: Position,
        kinds: Option<&'static [Kind]>,
        page_events: usize,
    ) -> Self {
        let head = ring.watch();
        Self {
            tables,
            ring,
            head,
            position: from,
            kinds,
            page_events,
        }
    }

    /// The last position that was looked at: everything up to it has been handed over.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The next events of the kinds asked for, in order of positions; waits until there are some.
    ///
    /// # Errors
    /// When the tables cannot be read. The position stays, so it may be called again.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, StoreError> {
        loop {
            let events = self.next_looked_at().await?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Like [`Tail::next`], but comes back with nothing when all that was looked at was of other
    /// kinds, so that a checkpoint can move on.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn next_looked_at(&mut self) -> Result<Vec<Arc<Event>>, StoreError> {
        loop {
            // marked as seen before the ring is asked, so that what comes meanwhile wakes us
            self.head.borrow_and_update();
            match self.ring.after(self.position, AT_ONCE_MAX) {
                Next::Events(events) => {
                    self.position = events.last().map_or(self.position, |event| event.position);
                    return Ok(self.of_kinds(events));
                }
                Next::Gone => {
                    let slice = self
                        .tables
                        .after(self.position, self.page_events, self.kinds)
                        .await?;
                    if slice.upto > self.position {
                        self.position = slice.upto;
                        return Ok(slice.events);
                    }
                }
                Next::Nothing => {}
            }
            if self.head.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
    }

    fn of_kinds(&self, mut events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        if let Some(kinds) = self.kinds {
            events.retain(|event| kinds.contains(&event.fact.kind));
        }
        events
    }
}
