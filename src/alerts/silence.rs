//! What is known of devices and sites while their silence is watched.

use std::collections::BTreeSet;

use crate::event::{Instant, Provenance};

/// The interval of a device that does not say its own, in seconds.
const INTERVAL_SECONDS: i64 = 30;
/// Seconds at most that a device is held back.
const HELD_SECONDS_MAX: i64 = 60;
/// What is said of the silence of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is not silent.
    None,
    /// It is, since its timer ran out at this instant, and nothing is said of it yet.
    Held(Instant),
    /// It is, and there is an alert of it.
    Told,
    /// It is with all of its site, of which there is an alert.
    WithSite,
    /// Its silence does not count: it is out of use, or somebody works on it.
    Uncounted,
}

/// A device that is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) site: i64,
    /// When its newest report says that it was.
    pub(super) reported_at: Instant,
    pub(super) heard_at: Instant,
    pub(super) interval_seconds: Option<i64>,
    pub(super) provenance: Provenance,
    pub(super) silence: Silence,
}

impl Watched {
    pub(super) fn held_ms(&self) -> i64 {
        let interval = self.interval_seconds.unwrap_or(INTERVAL_SECONDS);
        interval.clamp(1, HELD_SECONDS_MAX) * 1_000
    }

    /// Since when it is silent, if it is.
    pub(super) fn since(&self) -> Instant {
        self.reported_at.min(self.heard_at)
    }
}

/// A site of such devices.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// Devices that count.
    pub(super) devices: usize,
    /// Those that are silent.
    pub(super) silent: BTreeSet<i64>,
    /// When one of them was heard of last.
    pub(super) heard_at: Instant,
    pub(super) is_told: bool,
}

impl Site {
    pub(super) fn is_silent(&self) -> bool {
        self.devices > 1 && self.silent.len() >= self.devices
    }
}

/// A sign of life of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    /// The device.
    pub(super) device: i64,
    /// When it reported.
    pub(super) reported_at: Instant,
    /// When that was heard.
    pub(super) heard_at: Instant,
    /// Its own interval, if it says it.
    pub(super) interval_seconds: Option<i64>,
    /// Where it comes from.
    pub(super) provenance: Provenance,
}

/// What was open when the watch begins, by the beginnings of the alerts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Of the device.
    pub(super) device: bool,
    /// Of its site, and since when that is silent.
    pub(super) site: Option<Instant>,
}
