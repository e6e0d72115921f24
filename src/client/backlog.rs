//! Events that wait for the server: on disk, in memory, or both.
//!
//! With a spool every event goes to disk first. Only when the disk refuses (it is full, perhaps,
//! which is what somebody should be told of) is an event held in memory, bounded, so that a device
//! still reports while the server can be reached. Without a spool all is in memory.

use std::collections::VecDeque;

use super::api::Line;
use super::segment::PageLimits;
use super::spool::{Place, Spool, SpoolError};

/// How much is held in memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Events at most; beyond it the oldest go.
    pub events_max: usize,
    /// Bytes at most; beyond it the oldest go.
    pub bytes_max: usize,
}

/// Events that wait.
#[derive(Debug)]
pub struct Backlog {
    spool: Option<Spool>,
    memory: VecDeque<Line>,
    memory_bytes: usize,
    /// How many events have left the memory: the number of its first one.
    memory_first: u64,
    limits: MemoryLimits,
    dropped_from_memory: u64,
}

/// What became of events that were to be kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Older events that went for want of room.
    pub dropped: u64,
    /// Why they are in memory only, if a spool was to hold them.
    pub error: Option<SpoolError>,
}

/// Events to be sent, oldest first.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<Line>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Spool(Place),
    /// Number of the first event.
    Memory(u64),
}

impl Backlog {
    /// A backlog on disk, with a bounded memory for when the disk refuses.
    #[must_use]
    pub const fn on_disk(spool: Spool, limits: MemoryLimits) -> Self {
        Self::new(Some(spool), limits)
    }

    /// A backlog in memory, which ends with the process.
    #[must_use]
    pub const fn in_memory(limits: MemoryLimits) -> Self {
        Self::new(None, limits)
    }

    const fn new(spool: Option<Spool>, limits: MemoryLimits) -> Self {
        Self {
            spool,
            memory: VecDeque::new(),
            memory_bytes: 0,
            memory_first: 0,
            limits,
            dropped_from_memory: 0,
        }
    }

    /// Keeps events; the oldest go where there is no room.
    pub fn keep(&mut self, events: Vec<Line>) -> Kept {
        let before = self.dropped();
        let error = match &mut self.spool {
            None => {
                self.hold(events);
                None
            }
            Some(spool) => {
                let failed = spool.append(&events).err();
                if failed.is_some() {
                    self.hold(events);
                }
                failed
            }
        };
        Kept {
            dropped: self.dropped() - before,
            error,
        }
    }

    /// The oldest events: those on disk, then those in memory.
    pub(super) fn peek(&mut self, limits: PageLimits) -> Result<Batch, SpoolError> {
        match self.spool.as_mut().map(|spool| spool.peek(limits)) {
            Some(Ok((events, place))) if !events.is_empty() => {
                let source = Source::Spool(place);
                return Ok(Batch { events, source });
            }
            Some(Err(error)) if self.memory.is_empty() => return Err(error),
            None | Some(Ok(_) | Err(_)) => {}
        }
        Ok(Batch {
            events: self.peek_memory(limits),
            source: Source::Memory(self.memory_first),
        })
    }

    fn peek_memory(&self, limits: PageLimits) -> Vec<Line> {
        let mut bytes = 0;
        let fits = |event: &&Line| {
            bytes += event.get().len() + 1;
            bytes <= limits.bytes
        };
        let waiting = self.memory.iter().take(limits.events.max(1));
        let mut events: Vec<Line> = waiting.take_while(fits).cloned().collect();
        if events.is_empty() {
            events.extend(self.memory.front().cloned());
        }
        events
    }

    /// Lets the first events of a batch go. Those that were dropped meanwhile are gone already.
    pub(super) fn settle(&mut self, batch: &Batch, events: usize) {
        match (&batch.source, &mut self.spool) {
            (Source::Spool(place), Some(spool)) => spool.settle(place, events),
            (Source::Spool(_), None) => {}
            (Source::Memory(first), _) => {
                let end = first.saturating_add(u64::try_from(events).unwrap_or(u64::MAX));
                while self.memory_first < end && self.forget_oldest() {}
            }
        }
    }

    /// Events that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let spooled = self.spool.as_ref().map_or(0, Spool::waiting);
        spooled + u64::try_from(self.memory.len()).unwrap_or_default()
    }

    /// Events dropped for want of room since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_from_memory + self.spool.as_ref().map_or(0, Spool::dropped)
    }

    /// Lines on disk that could not be read as events since the start.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::damaged)
    }

    fn hold(&mut self, events: Vec<Line>) {
        for event in events {
            self.memory_bytes += event.get().len();
            self.memory.push_back(event);
        }
        while self.memory.len() > self.limits.events_max
            || self.memory_bytes > self.limits.bytes_max
        {
            self.dropped_from_memory += 1;
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(event) = self.memory.pop_front() else {
            return false;
        };
        self.memory_bytes -= event.get().len();
        self.memory_first += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::spool::SpoolLimits;
    use serde_json::value::to_raw_value;

    const PAGE: PageLimits = PageLimits {
        events: 3,
        bytes: 1_000,
    };

    fn limits(events_max: usize) -> MemoryLimits {
        MemoryLimits {
            events_max,
            bytes_max: 1_000,
        }
    }

    fn events(numbers: std::ops::Range<u64>) -> Vec<Line> {
        numbers
            .map(|number| to_raw_value(&number).unwrap())
            .collect()
    }

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.events.iter().map(|event| event.get()).collect()
    }

    #[test]
    fn memory_gives_events_in_order_and_forgets_them_when_settled() {
        let mut backlog = Backlog::in_memory(limits(10));
        backlog.keep(events(0..5));
        let batch = backlog.peek(PAGE).unwrap();
        assert_eq!(texts(&batch), ["0", "1", "2"]);
        backlog.settle(&batch, 2);
        backlog.settle(&batch, 2);
        assert_eq!(texts(&backlog.peek(PAGE).unwrap()), ["2", "3", "4"]);
    }

    #[test]
    fn full_memory_drops_the_oldest_and_counts_them() {
        let mut backlog = Backlog::in_memory(limits(4));
        backlog.keep(events(0..4));
        let batch = backlog.peek(PAGE).unwrap();
        let kept = backlog.keep(events(4..6));
        assert_eq!((kept.dropped, backlog.waiting()), (2, 4));
        // Events 0 and 1 went while the batch was on its way: only 2 is left of it to settle.
        backlog.settle(&batch, 3);
        assert_eq!(texts(&backlog.peek(PAGE).unwrap()), ["3", "4", "5"]);
    }

    #[test]
    fn memory_is_bounded_in_bytes_too() {
        let mut backlog = Backlog::in_memory(limits(10_000));
        let long = vec![to_raw_value(&"x".repeat(298)).unwrap(); 5];
        assert_eq!(backlog.keep(long).dropped, 2);
    }

    #[test]
    fn event_that_the_disk_refuses_is_held_in_memory_and_sent() {
        let folder = tempfile::tempdir().unwrap();
        let tiny = SpoolLimits {
            bytes_max: 6,
            segment_bytes: 6,
        };
        let spool = Spool::open(folder.path(), tiny).unwrap();
        let mut backlog = Backlog::on_disk(spool, limits(10));
        assert!(backlog.keep(events(100_000..100_001)).error.is_some());
        assert!(backlog.keep(events(0..1)).error.is_none());
        assert_eq!(backlog.waiting(), 2);
        let batch = backlog.peek(PAGE).unwrap();
        assert_eq!(texts(&batch), ["0"]);
        backlog.settle(&batch, 1);
        assert_eq!(texts(&backlog.peek(PAGE).unwrap()), ["100000"]);
    }
}
