//! What events have changed of groups, to be written, or added to what is written by whoever asks before it is.

use std::collections::{BTreeMap, BTreeSet};

use super::ALL_DEVICES;
use super::told::Taken;
use crate::event::{Instant, Position};
use crate::insights::errors::group::hour_of;
use crate::insights::errors::whole::Done;
use crate::insights::input::Severity;

/// Of what a row with counts is: the label of the group, the device, the hour.
pub(crate) type Place = (u64, i64, i64);

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Errors.
    pub(crate) events: i64,
    /// When the first of them was.
    pub(crate) first: Instant,
    /// When the last of them was.
    pub(crate) last: Instant,
    /// The most severe of them.
    pub(crate) severity: Severity,
}

impl Tally {
    /// One error.
    pub(crate) const fn of(at: Instant, severity: Severity) -> Self {
        Self {
            events: 1,
            first: at,
            last: at,
            severity,
        }
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.severity = self.severity.max(other.severity);
    }
}

/// What becomes of all rows of a label, before rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// They are of another label now: its group went into that of this.
    Moved(u64, u64),
    /// They go: the group was forgotten.
    Gone(u64),
}

/// What events have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// What becomes of rows that there are, in order.
    pub(super) steps: Vec<Step>,
    /// The labels of groups that are not as they were.
    pub(super) labels: BTreeSet<u64>,
    /// Whether what is kept of messages is not as it was.
    pub(super) has_new_form: bool,
    /// What was counted.
    pub(crate) hours: BTreeMap<Place, Tally>,
    /// Where groups were told of first (0), or came back that were resolved at an instant, and by which event: the
    /// label, the device, the instant.
    pub(super) news: BTreeMap<(u64, i64, i64), i64>,
}

impl Changed {
    /// Labels of groups that went into others.
    pub(crate) fn moved_from(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().filter_map(|step| match step {
            Step::Moved(before, _) => Some(*before),
            Step::Gone(_) => None,
        })
    }

    /// Notes what a fact has done.
    fn note(&mut self, done: &Done) {
        for (before, now) in &done.joined {
            self.steps.push(Step::Moved(*before, *now));
            self.labels.extend([*before, *now]);
            self.moved(*before, *now);
        }
        for label in &done.forgotten {
            self.steps.push(Step::Gone(*label));
            self.labels.insert(*label);
            self.hours.retain(|(of, _, _), _| of != label);
            self.news.retain(|(of, _, _), _| of != label);
        }
        self.labels.extend(&done.decided);
        self.has_new_form |= done.has_new_form;
    }

    fn moved(&mut self, before: u64, now: u64) {
        let whose = (before, i64::MIN, i64::MIN)..=(before, i64::MAX, i64::MAX);
        let hours: Vec<Place> = self
            .hours
            .range(whose.clone())
            .map(|(place, _)| *place)
            .collect();
        for place in hours {
            if let Some(tally) = self.hours.remove(&place) {
                self.add((now, place.1, place.2), tally);
            }
        }
        let news: Vec<Place> = self.news.range(whose).map(|(place, _)| *place).collect();
        for place in news {
            if let Some(position) = self.news.remove(&place) {
                self.tell((now, place.1, place.2), position);
            }
        }
    }

    /// Adds what an event has done.
    pub(crate) fn take(&mut self, taken: &Taken) {
        self.note(&taken.done);
        if let Some((label, error)) = taken.done.counted.zip(taken.error) {
            self.count((label, taken.done.came_back), error, taken.position);
        }
    }

    /// Counts an error in the group that it went into, which may have come back by it.
    fn count(
        &mut self,
        (label, came_back): (u64, Option<Instant>),
        (device, at, severity): (i64, Instant, Severity),
        position: Position,
    ) {
        self.labels.insert(label);
        for device in [device, ALL_DEVICES] {
            let place = (label, device, i64::from(hour_of(at)));
            self.add(place, Tally::of(at, severity));
        }
        self.tell((label, device, 0), position.0);
        if let Some(since) = came_back {
            self.tell((label, device, since.0), position.0);
        }
    }

    fn add(&mut self, place: Place, tally: Tally) {
        let held = self.hours.entry(place);
        held.and_modify(|held| held.add(tally)).or_insert(tally);
    }

    fn tell(&mut self, what: (u64, i64, i64), position: i64) {
        let held = self.news.entry(what).or_insert(position);
        *held = (*held).min(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_of_a_group_that_went_into_another_is_of_that() {
        let mut changed = Changed::default();
        let tally = |at: i64| Tally::of(Instant(at), Severity::Error);
        changed.add((7, 1, 3), tally(30));
        changed.add((7, 1, 4), tally(40));
        changed.add((5, 1, 3), tally(31));
        changed.tell((7, 1, 0), 9);
        changed.tell((5, 1, 0), 11);
        changed.note(&Done {
            joined: vec![(7, 5)],
            ..Done::default()
        });
        let hours: Vec<_> = changed
            .hours
            .iter()
            .map(|(place, of)| (*place, of.events))
            .collect();
        assert_eq!(hours, [((5, 1, 3), 2), ((5, 1, 4), 1)]);
        assert_eq!(changed.news.get(&(5, 1, 0)), Some(&9));
        assert_eq!(changed.steps, [Step::Moved(7, 5)]);
        changed.note(&Done {
            forgotten: vec![5],
            ..Done::default()
        });
        assert!(changed.hours.is_empty() && changed.news.is_empty());
    }
}
