//! What a log is opened with, and its limits.

use std::sync::Arc;
use std::time::Duration;

use super::fold::Fold;
use super::open::Location;
use crate::clock::Clock;

/// Events at most in a request and in a commit.
pub const EVENTS_MAX: usize = 1_000;
/// Bytes at most in a commit, unless one request has more.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

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
