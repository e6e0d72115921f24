//! What a log is opened with, and its limits.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbBackend;

use super::fold::Fold;
use super::location::Location;
use crate::clock::Clock;

/// Events at most in a request.
pub const EVENTS_MAX: usize = 1_000;
/// Registrations at most that a request has beside its events.
pub const REGISTRATIONS_MAX: usize = 100;
/// Events at most in a commit. On SQLite large commits share the pages of the indexes that their events
/// change, and each page is written once; on PostgreSQL they only keep those waiting who could already
/// make the next. (Batches of 1,000 of 1,000 devices, with 4,000 instead of 1,000 in a commit: 1.3 times
/// as many events a second over HTTP on SQLite, 0.7 times as many through the store on PostgreSQL.)
#[must_use]
pub(crate) fn commit_events_max(backend: DbBackend) -> usize {
    if backend == DbBackend::Sqlite {
        4_000
    } else {
        EVENTS_MAX
    }
}

/// Bytes at most in a commit, unless one request has more.
pub(crate) const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes at most that are read and rendered for one request.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes at most of what is being read and rendered for all requests together.
pub(crate) const READERS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Limits of the log.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Events that may wait to be appended.
    pub queue_events_max: usize,
    /// Bytes that may wait to be appended.
    pub queue_bytes_max: usize,
    /// Events in memory for those who follow.
    pub ring_events_max: usize,
    /// Bytes in memory for those who follow.
    pub ring_bytes_max: usize,
    /// Events that a follower reads from the tables at once.
    pub page_events: usize,
    /// How often the database is asked for its head.
    pub tail_poll: Duration,
}

/// What a log is opened with.
#[derive(Debug)]
pub struct Options {
    /// Where it is kept.
    pub location: Location,
    /// Its limits.
    pub limits: Limits,
    /// What is folded inside each append.
    pub folds: Vec<Arc<dyn Fold>>,
    /// Its clock.
    pub clock: Clock,
}

#[cfg(test)]
impl Options {
    /// Those of a small log for a test, which is given its time.
    pub(crate) fn of_test(url: String, now: crate::event::Instant) -> Self {
        Self {
            location: Location::at(url),
            limits: Limits {
                queue_events_max: 100,
                queue_bytes_max: 1 << 20,
                ring_events_max: 0,
                ring_bytes_max: 0,
                page_events: 100,
                tail_poll: Duration::from_secs(1),
            },
            folds: Vec::new(),
            clock: Clock::by_hand(now),
        }
    }
}
