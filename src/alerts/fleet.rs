//! What is known of sites and devices while rules are evaluated: where a device stands, whether it is in
//! use, in which state it is, and the hours of the sites. It does no I/O and reads no clock.

use std::collections::{HashMap, HashSet};

use crate::event::{Instant, Position, Provenance};
use crate::schedule::Calendar;

/// Changes of a calendar at most that are looked through for the end of a silence.
const CHANGES_MAX: usize = 200;

/// A device, as far as rules ask for it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// Key of its site.
    pub(super) site: i64,
    /// Whether it is in use.
    pub(super) is_active: bool,
    /// When what is registered of it was so, by its own time.
    pub(super) registered: (Instant, Position),
    /// The newest state that was reported of it, if any, and when that was.
    pub(super) state: Option<String>,
    /// When that was reported.
    pub(super) state_at: (Instant, Position),
    /// Where its newest reading comes from.
    pub(super) provenance: Provenance,
}

impl Device {
    /// Whether somebody works on it.
    pub(super) fn is_in_maintenance(&self) -> bool {
        self.state.as_deref() == Some("MAINTENANCE")
    }
}

/// The sites and devices.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) devices: HashMap<i64, Device>,
    pub(super) calendars: HashMap<i64, Calendar>,
}

impl Fleet {
    /// The first instant at which so long has passed since an instant, all of it while a site is at work:
    /// open, and not in maintenance. A site of whose hours nothing is known is always at work.
    pub(super) fn at_work_for(&self, site: i64, since: Instant, ms: i64) -> Instant {
        let Some(calendar) = self.calendars.get(&site) else {
            return since.plus_ms(ms);
        };
        let (mut at, mut began) = (since, None);
        for _ in 0..CHANGES_MAX {
            let status = calendar.status_at(at);
            let changes_at = status.next_change.unwrap_or(Instant::NEWEST);
            if !status.is_known || status.is_open && !status.in_maintenance {
                let passed = began.get_or_insert(at).plus_ms(ms);
                if passed <= changes_at {
                    return passed;
                }
            } else {
                began = None;
            }
            if changes_at == Instant::NEWEST {
                break;
            }
            at = changes_at;
        }
        at.max(since).plus_ms(ms)
    }
}

/// Which sites and devices a rule is for, by keys.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// All.
    All,
    /// These.
    Some {
        /// Sites.
        sites: HashSet<i64>,
        /// Devices, wherever they stand.
        devices: HashSet<i64>,
    },
}

impl Scope {
    /// Whether a device at a site is among them.
    pub(super) fn has(&self, device: i64, site: i64) -> bool {
        match self {
            Self::All => true,
            Self::Some { sites, devices } => sites.contains(&site) || devices.contains(&device),
        }
    }

    /// Whether a whole site is.
    pub(super) fn has_site(&self, site: i64) -> bool {
        match self {
            Self::All => true,
            Self::Some { sites, .. } => sites.contains(&site),
        }
    }
}
