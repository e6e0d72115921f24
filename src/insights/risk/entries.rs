//! The errors of a device that failure risk and health read: entries of which there are no more than so many, however
//! many errors come.
//!
//! Where there is no room, two entries are joined, which are of one severity and of one block of six hours. So of each
//! severity what any block holds is exact, and what a window of time holds is wrong by no more than the block in which
//! it begins. Errors of the oldest block are joined first: of them nobody asks any more in which hour they came, nor,
//! once they are older than a day, of which group they are.

use serde::{Deserialize, Serialize};

use crate::event::Instant;
use crate::insights::input::{HOUR, Severity};

/// Entries kept.
pub const ENTRIES_KEPT: usize = 64;
/// Entries are joined within so much time.
pub const BLOCK: i64 = 6 * HOUR;
/// The group of what was joined of several groups.
pub const OTHERS: u32 = 0;

/// Errors of one group and severity, of one hour, or where there is no room of one block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When the last of them came.
    pub at: Instant,
    /// The group, by the hash of its name.
    pub group: u32,
    /// How severe.
    pub severity: Severity,
    /// How many.
    pub count: u32,
}

impl Seen {
    const fn hour(&self) -> i64 {
        self.at.0.div_euclid(HOUR)
    }

    const fn block(&self) -> i64 {
        self.at.0.div_euclid(BLOCK)
    }
}

/// The weight of an error: an information is no fault, a critical one counts double.
#[must_use]
pub const fn weight(severity: Severity) -> f64 {
    match severity {
        Severity::Info => 0.0,
        Severity::Warning => 0.5,
        Severity::Error => 1.0,
        Severity::Critical => 2.0,
    }
}

/// The weight of an entry.
#[must_use]
pub fn weighted(seen: &Seen) -> f64 {
    weight(seen.severity) * f64::from(seen.count)
}

/// Takes errors; they come in order of time. Answers what there is no room for any more: it is older than anybody asks
/// for.
pub(super) fn take(entries: &mut Vec<Seen>, new: Seen) -> Option<Seen> {
    let is_same = |seen: &Seen| {
        (seen.group, seen.severity, seen.hour()) == (new.group, new.severity, new.hour())
    };
    if let Some(seen) = entries.iter_mut().rev().find(|seen| is_same(seen)) {
        join(seen, new);
        return None;
    }
    let gone = if entries.len() >= ENTRIES_KEPT {
        make_room(entries)
    } else {
        None
    };
    entries.push(new);
    gone
}

fn join(seen: &mut Seen, other: Seen) {
    seen.at = seen.at.max(other.at);
    seen.count = seen.count.saturating_add(other.count);
    if seen.group != other.group {
        seen.group = OTHERS;
    }
}

/// Joins two entries of the oldest block that has two of a severity, of one group where there are such. Where no block
/// has, they are of more blocks than two days have, and the oldest goes.
fn make_room(entries: &mut Vec<Seen>) -> Option<Seen> {
    let pairs = entries.iter().enumerate().flat_map(|(place, first)| {
        let later = entries.iter().enumerate().skip(place + 1);
        let joinable = later.filter(|(_, other)| {
            (first.block(), first.severity) == (other.block(), other.severity)
        });
        joinable.map(move |(other_place, other)| {
            let order = (first.block(), first.group != other.group);
            (order, place, other_place)
        })
    });
    if let Some((_, place, later)) = pairs.min_by_key(|(order, ..)| *order) {
        let joined = entries.remove(place);
        // it has moved by the one that is removed
        if let Some(seen) = entries.get_mut(later - 1) {
            join(seen, joined);
        }
        return None;
    }
    let all = entries.iter().enumerate();
    let (oldest, _) = all.min_by_key(|(_, seen)| seen.at)?;
    Some(entries.remove(oldest))
}
