//! How much memory what is read may take: of one reader, and of all readers together.
//!
//! The sizes of pages bound the rows of an answer, but not their bytes: one event may carry texts and
//! JSON of many kilobytes. So whoever reads has an allowance, takes from it as rows arrive, and is
//! stopped when it is used up, before more is read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;

/// In what pieces an allowance draws on the room of all. The first is outside of it: whatever large
/// answers are being made, there is room for a small one.
const PIECE_BYTES: usize = 64 * 1024;

/// The room of all readers together.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// A room of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / PIECE_BYTES)))
    }

    /// An allowance of at most so many bytes of it.
    pub(crate) fn allow(&self, bytes_max: usize) -> Allowance {
        Allowance {
            bytes_max,
            room: Some(self.clone()),
            drawn: Mutex::default(),
        }
    }
}

/// What one reader may take. Its part of the room is free again when it is dropped.
#[derive(Debug)]
pub struct Allowance {
    bytes_max: usize,
    room: Option<Room>,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    bytes: usize,
    held_bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Allowance {
    /// An allowance outside the room of readers, for what this server itself has to read.
    #[must_use]
    pub(crate) fn of(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            room: None,
            drawn: Mutex::default(),
        }
    }

    /// Takes some bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when it is used up; [`StoreError::Crowded`] when others have taken
    /// all the room.
    pub fn take(&self, bytes: usize) -> Result<(), StoreError> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.bytes = drawn.bytes.saturating_add(bytes);
        if drawn.bytes > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(StoreError::TooLarge { bytes_max });
        }
        let Some(room) = &self.room else {
            return Ok(());
        };
        let lacking = drawn.bytes.saturating_sub(PIECE_BYTES + drawn.held_bytes);
        let pieces = lacking.div_ceil(PIECE_BYTES);
        if pieces > 0 {
            let count = u32::try_from(pieces).map_err(|_| StoreError::Crowded)?;
            let more = Arc::clone(&room.0).try_acquire_many_owned(count);
            let more = more.map_err(|_| StoreError::Crowded)?;
            drawn.held_bytes += pieces * PIECE_BYTES;
            match &mut drawn.held {
                Some(held) => held.merge(more),
                None => drawn.held = Some(more),
            }
        }
        Ok(())
    }

    /// What is taken of it for a while.
    pub(crate) const fn lend(&self) -> Lent<'_> {
        Lent {
            allowance: self,
            bytes: 0,
        }
    }

    /// Gives some bytes back.
    fn give(&self, bytes: usize) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.bytes = drawn.bytes.saturating_sub(bytes);
        let needed = drawn.bytes.saturating_sub(PIECE_BYTES);
        let spare = drawn.held_bytes.saturating_sub(needed) / PIECE_BYTES;
        // what is parted from it is free again at once
        if let Some(parted) = drawn.held.as_mut().and_then(|held| held.split(spare)) {
            drop(parted);
            drawn.held_bytes -= spare * PIECE_BYTES;
        }
    }

    /// Gives all back: what was read has been let go.
    pub fn renew(&self) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn = Drawn::default();
    }
}

/// What is taken for a while: it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    allowance: &'a Allowance,
    bytes: usize,
}

impl Lent<'_> {
    /// Takes some bytes more.
    ///
    /// # Errors
    /// As [`Allowance::take`].
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), StoreError> {
        // also what was refused was counted
        self.bytes = self.bytes.saturating_add(bytes);
        self.allowance.take(bytes)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.allowance.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_stopped_at_its_own_bound_and_at_that_of_all() {
        let room = Room::new(4 * PIECE_BYTES);
        let (first, second) = (room.allow(4 * PIECE_BYTES), room.allow(4 * PIECE_BYTES));
        first.take(4 * PIECE_BYTES).unwrap();
        assert!(matches!(first.take(1), Err(StoreError::TooLarge { .. })));
        // one piece is left, and the first of each is its own
        second.take(2 * PIECE_BYTES).unwrap();
        assert!(matches!(second.take(1), Err(StoreError::Crowded)));
        room.allow(PIECE_BYTES).take(PIECE_BYTES).unwrap();
        drop(first);
        second.take(PIECE_BYTES).unwrap();
        second.renew();
        assert_eq!(room.0.available_permits(), 4);
    }

    #[test]
    fn what_was_lent_is_given_back() {
        let room = Room::new(4 * PIECE_BYTES);
        let allowance = room.allow(4 * PIECE_BYTES);
        allowance.take(PIECE_BYTES).unwrap();
        for _ in 0..3 {
            let mut lent = allowance.lend();
            lent.take(2 * PIECE_BYTES + 1).unwrap();
            assert_eq!(room.0.available_permits(), 1);
            assert!(lent.take(PIECE_BYTES).is_err());
        }
        assert_eq!(room.0.available_permits(), 4);
        allowance.take(3 * PIECE_BYTES).unwrap();
        assert_eq!(room.0.available_permits(), 1);
    }
}
