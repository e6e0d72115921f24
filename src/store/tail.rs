//! Follows the log without end: from the tables until it meets the ring, then from the ring.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::StoreError;
use super::read::Tables;
use super::ring::{Next, Ring};
use super::slice::{Extent, Slice};
use crate::event::{Event, Position};
use crate::kinds::Kind;

/// Events and bytes at most that are handed over at once from the ring: a slow follower keeps them when
/// they have long left it.
const AT_ONCE_MAX: (usize, usize) = (1_000, 1024 * 1024);
/// Positions that are looked at in the tables at least, and at first where slices are to be small.
const POSITIONS: (i64, i64) = (16, 256);

/// A reader that follows the log. It neither loses nor repeats, and slows no other.
#[derive(Debug)]
pub struct Tail {
    tables: Tables,
    ring: Arc<Ring>,
    head: watch::Receiver<Position>,
    position: Position,
    kinds: Option<&'static [Kind]>,
    extent: Extent,
}

impl Tail {
    pub(crate) fn new(
        tables: Tables,
        ring: Arc<Ring>,
        from: Position,
        kinds: Option<&'static [Kind]>,
        extent: Extent,
    ) -> Self {
        let head = ring.watch();
        Self {
            tables,
            ring,
            head,
            position: from,
            kinds,
            extent,
        }
    }

    /// The same, but no more is handed over at once than so many bytes, or one event: for one who may
    /// keep it for long.
    #[must_use]
    pub const fn in_slices_of(mut self, bytes_max: usize) -> Self {
        self.extent.bytes_max = bytes_max;
        self.extent.positions_max = POSITIONS.1;
        self
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
            let (events_max, bytes_max) = AT_ONCE_MAX;
            let at_once = (events_max, bytes_max.min(self.extent.bytes_max));
            match self.ring.after(self.position, at_once) {
                Next::Events(events) => {
                    self.position = events.last().map_or(self.position, |event| event.position);
                    return Ok(self.of_kinds(events));
                }
                Next::Gone => {
                    let slice = self.read().await?;
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

    async fn read(&mut self) -> Result<Slice, StoreError> {
        let (extent, kinds) = (&mut self.extent, self.kinds);
        let slice = self.tables.after(self.position, *extent, kinds).await?;
        // what does not fit is read in vain, so next no more is looked at than has just fitted
        let bytes: usize = slice.events.iter().map(|e| e.fact.weight_bytes()).sum();
        extent.positions_max = if bytes > extent.bytes_max / 2 {
            (slice.upto.0 - self.position.0).max(POSITIONS.0)
        } else {
            extent.positions_max.saturating_mul(2)
        };
        Ok(slice)
    }

    fn of_kinds(&self, mut events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        if let Some(kinds) = self.kinds {
            events.retain(|event| kinds.contains(&event.fact.kind));
        }
        events
    }
}
