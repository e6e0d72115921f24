//! What is kept of an error group: how often, when, on which devices, and what an operator decided.
//!
//! Each part is a join of what was seen: folding in another order, or two groups and then merging them, gives the same.

use std::collections::BTreeMap;

use crate::event::Instant;
use crate::insights::input::Severity;
use crate::insights::input::{DAY, HOUR};
use crate::insights::number::float;

use crate::insights::errors::cause::Lag;

/// Devices of a group that are kept: those with the smallest hashes. Up to here the count of devices is exact.
pub const DEVICES_MAX: usize = 64;
/// How long counts by the hour are kept: two weeks for the trend, and a day.
pub const HOURS_KEPT: i64 = 15 * 24;

/// After so many silent days a group may be forgotten when there is no room, however often it was seen.
const FORGET_AFTER_DAYS: u64 = 90;

/// What an operator decided about a group.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Status {
    /// It counts.
    Open,
    /// It was mended: an event after that reopens it.
    Resolved,
    /// It is of no interest, whatever comes.
    Ignored,
}

/// A decision about a group, with what became of it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Mark {
    /// When it was decided.
    pub at: Instant,
    /// What was decided.
    pub status: Status,
    /// The first event after it was resolved: it came back then.
    pub reopened: Option<Instant>,
}

/// What is known of one device in a group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OnDevice {
    /// Its events.
    pub count: u32,
    /// When it first had the error.
    pub first: Instant,
    /// When it last had the error.
    pub last: Instant,
    /// Which settings changed within a day before `first`, and how long before.
    pub after: Vec<Lag>,
}

/// An error group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    /// The category of its events.
    pub category: String,
    /// The code of its events, where given.
    pub code: Option<String>,
    /// The most severe so far.
    pub severity: Severity,
    /// Its events.
    pub count: u64,
    /// The time and the id of what came first: the id is the group's.
    pub founder: (Instant, u64),
    /// When the latest came.
    pub last: Instant,
    /// Events by hour since 1970, in order, of the last `HOURS_KEPT` before `last`.
    pub hours: Vec<(i32, u32)>,
    /// The devices with the smallest hashes, by hash.
    pub devices: BTreeMap<u64, OnDevice>,
    /// The latest decision.
    pub mark: Option<Mark>,
}

/// One event of a group.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// When it came.
    pub at: Instant,
    /// The id of its masked message.
    pub variant: u64,
    /// How severe it is.
    pub severity: Severity,
    /// The device's hash, and which settings changed on it before.
    pub device: Option<(u64, &'a [Lag])>,
}

/// The hour since 1970 that an instant is in.
#[must_use]
pub fn hour_of(at: Instant) -> i32 {
    i32::try_from(at.0.div_euclid(HOUR)).unwrap_or(i32::MAX)
}

impl Group {
    /// A group that begins with this event, which is not counted yet.
    #[must_use]
    pub fn new(category: &str, code: Option<&str>, event: &Event<'_>) -> Self {
        Self {
            category: category.into(),
            code: code.map(Into::into),
            severity: event.severity,
            count: 0,
            founder: (event.at, event.variant),
            last: event.at,
            hours: Vec::new(),
            devices: BTreeMap::new(),
            mark: None,
        }
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event<'_>) {
        self.count += 1;
        self.severity = self.severity.max(event.severity);
        self.founder = self.founder.min((event.at, event.variant));
        self.last = self.last.max(event.at);
        self.add_hour(hour_of(event.at), 1);
        self.drop_old_hours();
        if let Some((device, after)) = event.device {
            self.add_device(device, || OnDevice {
                count: 1,
                first: event.at,
                last: event.at,
                after: after.to_vec(),
            });
        }
        if let Some(mark) = self
            .mark
            .as_mut()
            .filter(|mark| mark.at < event.at && mark.status == Status::Resolved)
        {
            mark.reopened = Some(
                mark.reopened
                    .map_or(event.at, |before| before.min(event.at)),
            );
        }
    }

    /// Takes in another group. The later decision holds, for the events of both.
    pub fn merge(&mut self, other: Self) {
        let (founder, last) = (self.founder.min(other.founder), self.last.max(other.last));
        if other.founder < self.founder {
            self.category.clone_from(&other.category);
            self.code.clone_from(&other.code);
        }
        self.count += other.count;
        self.severity = self.severity.max(other.severity);
        self.founder = founder;
        self.last = last;
        for (hour, count) in other.hours {
            self.add_hour(hour, count);
        }
        self.drop_old_hours();
        for (device, seen) in other.devices {
            self.add_device(device, || seen);
        }
        self.mark = self.mark.max(other.mark);
        self.reopen();
    }

    /// What was resolved and has events that came later is open again.
    fn reopen(&mut self) {
        let last = self.last;
        if let Some(mark) = self.mark.as_mut().filter(|mark| {
            mark.status == Status::Resolved && mark.reopened.is_none() && mark.at < last
        }) {
            mark.reopened = Some(last);
        }
    }

    /// An operator decides. Events that are known and later reopen it at once.
    pub fn decide(&mut self, status: Status, at: Instant) {
        let mark = Mark {
            at,
            status,
            reopened: None,
        };
        // of two of one instant the one that is told of last holds
        if self.mark.is_none_or(|before| before.at <= at) {
            self.mark = Some(mark);
        }
        self.reopen();
    }

    /// Takes a decision, unless a later one holds.
    pub fn bear(&mut self, mark: Mark) {
        self.mark = self.mark.max(Some(mark));
        self.reopen();
    }

    /// What holds: the decision, unless the group came back after it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.mark.map_or(Status::Open, |mark| {
            if mark.reopened.is_some() {
                Status::Open
            } else {
                mark.status
            }
        })
    }

    /// The number of devices, and whether it is exact. Beyond `DEVICES_MAX` it is estimated from how dense the smallest
    /// hashes lie (Bar-Yossef et al. 2002; Beyer et al. 2007: k-1 over the k-th smallest), within about 13 %.
    #[must_use]
    pub fn device_count(&self) -> (f64, bool) {
        let known = self.devices.len();
        match self.devices.last_key_value() {
            Some((largest, _)) if known >= DEVICES_MAX => {
                let share = float(*largest) / float(u64::MAX);
                (
                    (float(known - 1) / share.max(f64::MIN_POSITIVE)).max(float(known)),
                    false,
                )
            }
            _ => (float(known), true),
        }
    }

    /// Events within hours from `from` to before `to`.
    #[must_use]
    pub fn count_between(&self, from: i32, to: i32) -> u64 {
        self.hours
            .iter()
            .filter(|(hour, _)| (from..to).contains(hour))
            .map(|(_, count)| u64::from(*count))
            .sum()
    }

    pub(super) fn add_hour(&mut self, hour: i32, count: u32) {
        match self.hours.binary_search_by_key(&hour, |(hour, _)| *hour) {
            Ok(place) => {
                if let Some((_, known)) = self.hours.get_mut(place) {
                    *known = known.saturating_add(count);
                }
            }
            Err(place) => self.hours.insert(place, (hour, count)),
        }
    }

    pub(super) fn drop_old_hours(&mut self) {
        let oldest = hour_of(self.last) - i32::try_from(HOURS_KEPT).unwrap_or(i32::MAX);
        let old = self.hours.partition_point(|(hour, _)| *hour < oldest);
        self.hours.drain(..old);
    }

    pub(super) fn add_device(&mut self, device: u64, seen: impl FnOnce() -> OnDevice) {
        if let Some(known) = self.devices.get_mut(&device) {
            known.join(seen());
            return;
        }
        if self.devices.len() >= DEVICES_MAX {
            if self
                .devices
                .last_key_value()
                .is_some_and(|(largest, _)| *largest < device)
            {
                return;
            }
            self.devices.pop_last();
        }
        self.devices.insert(device, seen());
    }
}

impl OnDevice {
    fn join(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.last = self.last.max(other.last);
        if other.first < self.first {
            self.first = other.first;
            self.after = other.after;
        }
    }
}

impl Group {
    /// Whether it may be forgotten when there is no room: it was silent for as many days as it had events, at most 90,
    /// and nobody decided about it.
    #[must_use]
    pub fn is_forgettable(&self, now: Instant) -> bool {
        let days = i64::try_from(self.count.min(FORGET_AFTER_DAYS)).unwrap_or(0);
        self.mark.is_none() && now.0 - self.last.0 > days * DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::SECOND;

    fn event(at: i64, device: u64) -> Event<'static> {
        Event {
            at: Instant(at),
            variant: 7,
            severity: Severity::Error,
            device: Some((device, &[])),
        }
    }

    fn group(events: &[(i64, u64)]) -> Group {
        let mut group = Group::new("DEVICE", None, &event(events[0].0, events[0].1));
        for (at, device) in events {
            group.add(&event(*at, *device));
        }
        group
    }

    #[test]
    fn order_does_not_matter() {
        let mut events: Vec<(i64, u64)> = (0_u64..500)
            .map(|n| {
                (
                    i64::try_from(n * 7_919 % 900).unwrap() * HOUR,
                    n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                )
            })
            .collect();
        let first = group(&events);
        events.reverse();
        assert_eq!(first, group(&events));
        assert_eq!(first.devices.len(), DEVICES_MAX);
        assert!(first.hours.len() <= 361);
    }

    #[test]
    fn merging_equals_counting_together() {
        let events: Vec<(i64, u64)> = (0_u64..300)
            .map(|n| {
                (
                    i64::try_from(n).unwrap() * HOUR / 3,
                    n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                )
            })
            .collect();
        let mut merged = group(&events[..120]);
        merged.merge(group(&events[120..]));
        assert_eq!(merged, group(&events));
    }

    #[test]
    fn devices_are_estimated_beyond_those_kept() {
        let events: Vec<(i64, u64)> = (0_u64..5_000)
            .map(|n| {
                (
                    0,
                    crate::insights::errors::fingerprint::hash(&[&n.to_string()]),
                )
            })
            .collect();
        let (count, is_exact) = group(&events).device_count();
        assert!(!is_exact);
        assert!((count / 5_000.0 - 1.0).abs() < 0.4, "{count}");
    }

    #[test]
    fn an_event_after_it_was_resolved_reopens() {
        let mut group = group(&[(10 * SECOND, 1)]);
        group.decide(Status::Resolved, Instant(20 * SECOND));
        assert_eq!(group.status(), Status::Resolved);
        group.add(&event(15 * SECOND, 1));
        assert_eq!(group.status(), Status::Resolved);
        group.add(&event(30 * SECOND, 1));
        assert_eq!(group.status(), Status::Open);
        assert_eq!(
            group.mark.and_then(|mark| mark.reopened),
            Some(Instant(30 * SECOND))
        );
    }

    #[test]
    fn an_ignored_group_stays_ignored() {
        let mut group = group(&[(10 * SECOND, 1)]);
        group.decide(Status::Ignored, Instant(20 * SECOND));
        group.add(&event(30 * SECOND, 1));
        assert_eq!(group.status(), Status::Ignored);
    }
}
