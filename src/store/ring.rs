//! The newest events, in memory, so that those who follow the log need not read it from disk.
//!
//! The ring holds an unbroken run of positions up to its newest. Whoever has fallen behind its
//! oldest reads the tables and comes back; nobody ever waits for a slow reader.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::event::{Event, Position};

/// The newest events and their head.
#[derive(Debug)]
pub(crate) struct Ring {
    events: RwLock<Held>,
    head: watch::Sender<Position>,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
}

/// What the ring has after a position.
#[derive(Debug)]
pub(crate) enum Next {
    /// These follow.
    Events(Vec<Arc<Event>>),
    /// Nothing has been appended since.
    Nothing,
    /// They have left the ring: read the tables.
    Gone,
}

impl Ring {
    /// An empty ring at a head.
    pub(crate) fn new(head: Position, events_max: usize, bytes_max: usize) -> Self {
        let (head, _) = watch::channel(head);
        Self {
            events: RwLock::default(),
            head,
            events_max,
            bytes_max,
        }
    }

    /// The newest position that followers are told of.
    pub(crate) fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// Tells of every change of the head; changes may be coalesced.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// Adds events that follow the head, and wakes the followers; those that it has already are
    /// passed over. When there is a gap before them it takes none and gives them back.
    pub(crate) fn push(&self, events: Vec<Arc<Event>>) -> Result<(), Vec<Arc<Event>>> {
        let mut held = self.events.write().unwrap_or_else(PoisonError::into_inner);
        let mut head = self.head();
        if events
            .first()
            .is_some_and(|first| first.position > head.next())
        {
            return Err(events);
        }
        for event in events {
            if event.position != head.next() {
                continue;
            }
            head = event.position;
            let bytes = event.fact.weight_bytes();
            held.bytes += bytes;
            held.events.push_back((event, bytes));
        }
        while held.events.len() > self.events_max || held.bytes > self.bytes_max {
            let Some((_, bytes)) = held.events.pop_front() else {
                break;
            };
            held.bytes -= bytes;
        }
        // told under the lock, so that of two who push the head never goes back
        self.head.send_replace(head);
        drop(held);
        Ok(())
    }

    /// Begins anew at a later head, empty: what came before must be read from the tables.
    pub(crate) fn skip_to(&self, head: Position) {
        let mut held = self.events.write().unwrap_or_else(PoisonError::into_inner);
        if head > self.head() {
            *held = Held::default();
            self.head.send_replace(head);
        }
    }

    /// Lets go of all events: they must be read from the tables, which say something else of them by now.
    pub(crate) fn forget(&self) {
        let mut held = self.events.write().unwrap_or_else(PoisonError::into_inner);
        *held = Held::default();
    }

    /// What follows a position, at most so many events and bytes, and at least one event.
    pub(crate) fn after(
        &self,
        position: Position,
        (events_max, bytes_max): (usize, usize),
    ) -> Next {
        let held = self.events.read().unwrap_or_else(PoisonError::into_inner);
        if position >= self.head() {
            return Next::Nothing;
        }
        let oldest = held.events.front().map(|(oldest, _)| oldest.position.0);
        let skipped = oldest.and_then(|oldest| position.0.checked_add(1)?.checked_sub(oldest));
        let Some(skipped) = skipped.and_then(|skipped| usize::try_from(skipped).ok()) else {
            return Next::Gone;
        };
        let mut room = bytes_max;
        let fits = |(ordinal, (_, bytes)): &(usize, &(Arc<Event>, usize))| {
            let fits = *ordinal == 0 || *bytes <= room;
            room = room.saturating_sub(*bytes);
            fits
        };
        let events = held.events.iter().skip(skipped).take(events_max.max(1));
        let events = events.enumerate().take_while(fits);
        Next::Events(events.map(|(_, (event, _))| Arc::clone(event)).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::{Cell, Fact, Instant, Provenance};
    use crate::kinds::Kind;

    fn event(position: i64) -> Arc<Event> {
        event_with(position, Box::default())
    }

    /// An event that says nothing but these.
    pub(in crate::store) fn event_with(position: i64, cells: Box<[Cell]>) -> Arc<Event> {
        let fact = Fact {
            kind: Kind::ErrorLog,
            event_id: None,
            occurred_at: Instant(position),
            provenance: Provenance::Real,
            cells,
            extra: Cell::Null,
        };
        Arc::new(Event {
            position: Position(position),
            recorded_at: Instant(position),
            fact,
        })
    }

    #[test]
    fn a_reader_behind_the_ring_is_sent_to_the_tables() {
        let ring = Ring::new(Position(10), 3, usize::MAX);
        assert!(ring.push((11..=15).map(event).collect()).is_ok());
        assert!(matches!(
            ring.after(Position(11), (9, usize::MAX)),
            Next::Gone
        ));
        assert!(matches!(
            ring.after(Position(15), (9, usize::MAX)),
            Next::Nothing
        ));
        assert!(matches!(
            ring.after(Position(i64::MIN), (9, usize::MAX)),
            Next::Gone
        ));
        assert!(matches!(
            ring.after(Position(i64::MAX), (9, usize::MAX)),
            Next::Nothing
        ));
        let Next::Events(events) = ring.after(Position(12), (2, usize::MAX)) else {
            panic!("events expected")
        };
        assert_eq!(
            events.iter().map(|e| e.position.0).collect::<Vec<_>>(),
            [13, 14]
        );
    }

    #[test]
    fn what_comes_twice_is_passed_over_and_what_lacks_its_beginning_is_given_back() {
        let ring = Ring::new(Position(10), 9, usize::MAX);
        assert!(ring.push((11..=13).map(event).collect()).is_ok());
        assert!(ring.push((12..=14).map(event).collect()).is_ok());
        assert_eq!(ring.head(), Position(14));
        let refused = ring.push((16..=17).map(event).collect());
        assert_eq!(refused.map_err(|events| events.len()), Err(2));
        assert_eq!(ring.head(), Position(14));
        let Next::Events(events) = ring.after(Position(10), (9, usize::MAX)) else {
            panic!("events expected")
        };
        assert_eq!(events.len(), 4);
    }

    #[test]
    fn the_ring_is_bounded_in_bytes() {
        let ring = Ring::new(Position(0), 1_000, 2 * event(1).fact.weight_bytes());
        assert!(ring.push((1..=100).map(event).collect()).is_ok());
        assert!(matches!(
            ring.after(Position(0), (9, usize::MAX)),
            Next::Gone
        ));
        let Next::Events(events) = ring.after(Position(98), (9, usize::MAX)) else {
            panic!("events expected")
        };
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn what_is_handed_over_at_once_is_bounded_in_bytes_and_at_least_one_event() {
        let ring = Ring::new(Position(0), 1_000, usize::MAX);
        assert!(ring.push((1..=9).map(event).collect()).is_ok());
        let weight = event(1).fact.weight_bytes();
        for (bytes_max, handed_over) in [(0, 1), (3 * weight, 3), (4 * weight - 1, 3)] {
            let Next::Events(events) = ring.after(Position(0), (9, bytes_max)) else {
                panic!("events expected")
            };
            assert_eq!(events.len(), handed_over);
        }
    }
}
