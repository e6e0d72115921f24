//! Folds facts into error groups: the state of the whole fleet, bounded whatever comes.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::input::{ErrorSeen, Severity};

use crate::insights::errors::cause::Changes;
use crate::insights::errors::drain::{Drain, Rule, Scope};
use crate::insights::errors::fingerprint::{Fingerprint, hash};
use crate::insights::errors::group::{Event, Group, Status};
use crate::insights::errors::{mask, stack};

/// Groups that are kept; what does not fit goes into a group for all others of its category and severity.
pub const GROUPS_MAX: usize = 2_000;
/// Groups for all others that are kept beyond.
const REST_MAX: usize = 64;
/// Devices whose names are kept.
const NAMES_MAX: usize = 16_384;
/// Joins by operators that are kept.
const JOINS_MAX: usize = 1_024;
/// How often room is sought when there is none.
const TIDY_EVERY: i64 = HOUR;

/// An error with what is known of where it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The error.
    pub error: &'a ErrorSeen,
    /// Its stack trace.
    pub stack: Option<&'a str>,
    /// The device's id.
    pub device: Option<&'a str>,
    /// The id of the device's site.
    pub site: Option<&'a str>,
}

/// What happened, in order of time.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// An error was seen.
    Error(Seen<'a>),
    /// A setting of a device or a site changed; it stands for so many devices.
    Change {
        /// When.
        at: Instant,
        /// The setting.
        parameter: &'a str,
        /// The id of the device or site.
        entity: &'a str,
        /// The devices that it concerns: 1, or those of the site.
        devices: u32,
    },
    /// An operator decided about a group.
    Decision {
        /// When.
        at: Instant,
        /// The group's id, or that of one that went into it.
        group: Fingerprint,
        /// What holds from then on.
        status: Status,
    },
    /// An operator joined two groups.
    Join {
        /// Their ids.
        groups: (Fingerprint, Fingerprint),
    },
    /// A device was heard of, whatever it said: there was something to see until then.
    Heard {
        /// When.
        at: Instant,
    },
}

/// All error groups of a fleet.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct State {
    /// From when to when facts were seen.
    pub(crate) watched: Option<(Instant, Instant)>,
    pub(crate) drain: Drain,
    /// By the smallest id of their messages.
    pub(crate) groups: BTreeMap<u64, Group>,
    pub(crate) changes: Changes,
    /// Names of devices by hash.
    pub(crate) names: BTreeMap<u64, String>,
    joins: BTreeSet<(u64, u64)>,
    /// When room was last sought.
    tidied: Instant,
}

/// The code that tells messages apart, and the message: masked, or the stack's signature in place of both.
fn keyed(seen: &Seen<'_>) -> (String, String) {
    let trace = seen.stack.or_else(|| {
        seen.error
            .message
            .contains('\n')
            .then_some(seen.error.message.as_str())
    });
    let code: String = seen
        .error
        .code
        .iter()
        .flat_map(|code| code.chars())
        .take(255)
        .collect();
    match trace.and_then(stack::signature) {
        Some(signature) => (format!("{code}\nstack\n{signature}"), signature),
        None => (code, mask::mask(&seen.error.message)),
    }
}

fn short(category: &str) -> &str {
    category
        .char_indices()
        .nth(64)
        .and_then(|(end, _)| category.get(..end))
        .unwrap_or(category)
}

/// The group for all others of a category and severity.
fn rest(category: &str, severity: Severity) -> u64 {
    hash(&["other messages", category, &format!("{severity:?}")])
}

impl State {
    /// None yet, under a rule other than the usual.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            drain: Drain::new(rule),
            ..Self::default()
        }
    }

    /// Takes in facts in order of time. Among errors of one time the order does not matter.
    pub fn fold(&mut self, facts: &[Fact<'_>]) {
        for fact in facts {
            match fact {
                Fact::Error(seen) => self.count(seen),
                Fact::Change {
                    at,
                    parameter,
                    entity,
                    devices,
                } => {
                    self.watch(*at);
                    self.changes.add(*at, parameter, entity, *devices);
                }
                Fact::Decision { at, group, status } => {
                    let label = self.label(*group);
                    if let Some(group) = label.and_then(|label| self.groups.get_mut(&label)) {
                        group.decide(*status, *at);
                    }
                }
                Fact::Join {
                    groups: (one, other),
                } => {
                    if self.joins.len() < JOINS_MAX {
                        self.joins.insert((one.0.min(other.0), one.0.max(other.0)));
                    }
                }
                Fact::Heard { at } => self.watch(*at),
            }
        }
    }

    /// The group of an error as things stand: every line of a group gives the same id, also when groups joined since.
    #[must_use]
    pub fn group_of(&self, seen: &Seen<'_>) -> Fingerprint {
        let (code, text) = keyed(seen);
        let category = short(&seen.error.category);
        let scope = Scope {
            category,
            code: &code,
        };
        let label = self
            .drain
            .find(&scope, &text)
            .filter(|label| self.groups.contains_key(label));
        let label = label.unwrap_or_else(|| rest(category, seen.error.severity));
        self.current(label)
            .map_or(Fingerprint(scope.variant(&text)), |(id, _)| id)
    }

    fn watch(&mut self, at: Instant) {
        self.watched = Some(
            self.watched
                .map_or((at, at), |(from, to)| (from.min(at), to.max(at))),
        );
    }

    fn count(&mut self, seen: &Seen<'_>) {
        let at = seen.error.at;
        self.watch(at);
        let (code, text) = keyed(seen);
        let category = short(&seen.error.category);
        let scope = Scope {
            category,
            code: &code,
        };
        let mut room = self.place(&scope, &text);
        if room.is_none() && self.tidy(at) {
            room = self.place(&scope, &text);
        }
        let device = seen.device.map(|device| (hash(&[device]), device));
        let lags = device
            .map(|(device, _)| self.lags(device, seen, room))
            .unwrap_or_default();
        let label = room.unwrap_or_else(|| self.rest_with_room(category, seen.error.severity));
        let event = Event {
            at,
            variant: if room.is_some() {
                scope.variant(&text)
            } else {
                label
            },
            severity: seen.error.severity,
            device: device.map(|(device, _)| (device, lags.as_slice())),
        };
        let code = seen.error.code.as_deref().filter(|_| room.is_some());
        self.groups
            .entry(label)
            .or_insert_with(|| Group::new(category, code, &event))
            .add(&event);
        if let Some((device, name)) = device
            && (self.names.len() < NAMES_MAX || self.names.contains_key(&device))
        {
            self.names
                .entry(device)
                .or_insert_with(|| name.chars().take(255).collect());
        }
    }

    /// The changes before an error, unless it was seen on the device before: then they did not bring it.
    fn lags(
        &self,
        device: u64,
        seen: &Seen<'_>,
        label: Option<u64>,
    ) -> Vec<crate::insights::errors::cause::Lag> {
        let known = label
            .and_then(|label| self.groups.get(&label))
            .and_then(|group| group.devices.get(&device));
        if known.is_some_and(|known| known.first <= seen.error.at) {
            return Vec::new();
        }
        self.changes
            .before(seen.error.at, device, seen.site.map(|site| hash(&[site])))
    }

    fn join(&mut self, label: u64, group: Group) {
        match self.groups.get_mut(&label) {
            Some(known) => known.merge(group),
            None => {
                self.groups.insert(label, group);
            }
        }
    }

    /// The label of a message's group, if there is room for it.
    fn place(&mut self, scope: &Scope<'_>, text: &str) -> Option<u64> {
        let groups = &self.groups;
        let placed = self.drain.place(scope, text, |id| {
            groups.values().any(|group| group.founder.1 == id)
        });
        for (before, now) in placed.joined {
            if let Some(group) = self.groups.remove(&before) {
                self.join(now, group);
            }
        }
        placed
            .group
            .filter(|label| self.groups.contains_key(label) || self.groups.len() < GROUPS_MAX)
    }

    /// Forgets groups that may be forgotten, now and then. Tells whether there were any.
    fn tidy(&mut self, now: Instant) -> bool {
        if now.0 - self.tidied.0 < TIDY_EVERY {
            return false;
        }
        self.tidied = now;
        let is_old = |(label, group): (&u64, &Group)| group.is_forgettable(now).then_some(*label);
        let old: BTreeSet<u64> = self.groups.iter().filter_map(is_old).collect();
        self.groups.retain(|label, _| !old.contains(label));
        let groups = &self.groups;
        self.drain.retain(|label| groups.contains_key(&label));
        !old.is_empty()
    }

    fn rest_with_room(&self, category: &str, severity: Severity) -> u64 {
        let label = rest(category, severity);
        let is_full =
            self.groups.len() >= GROUPS_MAX + REST_MAX && !self.groups.contains_key(&label);
        if is_full {
            rest("", Severity::Info)
        } else {
            label
        }
    }

    /// The label of the group that an id names: the group's own, or that of one that went into it.
    pub(crate) fn label(&self, id: Fingerprint) -> Option<u64> {
        let by_founder = || {
            self.groups
                .iter()
                .find(|(_, group)| group.founder.1 == id.0)
                .map(|(label, _)| *label)
        };
        self.drain.group_of(id.0).or_else(by_founder)
    }

    /// The labels that operators joined with one, itself among them.
    fn joined_with(&self, label: u64) -> BTreeSet<u64> {
        let mut labels = BTreeSet::from([label]);
        if self.joins.is_empty() {
            return labels;
        }
        let joins: Vec<(u64, u64)> = (self.joins.iter())
            .filter_map(|(one, other)| {
                Some((
                    self.label(Fingerprint(*one))?,
                    self.label(Fingerprint(*other))?,
                ))
            })
            .collect();
        loop {
            let known = labels.len();
            for (one, other) in &joins {
                if labels.contains(one) || labels.contains(other) {
                    labels.extend([*one, *other]);
                }
            }
            if labels.len() == known {
                return labels;
            }
        }
    }

    /// A group with all that operators joined with it, and its id.
    pub(crate) fn current(&self, label: u64) -> Option<(Fingerprint, Vec<(u64, &Group)>)> {
        let labels = self.joined_with(label);
        let groups: Vec<(u64, &Group)> = labels
            .iter()
            .filter_map(|label| Some((*label, self.groups.get(label)?)))
            .collect();
        let founder = groups.iter().map(|(_, group)| group.founder).min()?;
        Some((Fingerprint(founder.1), groups))
    }

    /// The ids of all groups with the time of their last event, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<(Fingerprint, Instant)> {
        let mut latest: BTreeMap<Fingerprint, Instant> = BTreeMap::new();
        for label in self.groups.keys() {
            if let Some((id, groups)) = self.current(*label) {
                let last = groups
                    .iter()
                    .map(|(_, group)| group.last)
                    .max()
                    .unwrap_or_default();
                latest.insert(id, last);
            }
        }
        let mut list: Vec<(Fingerprint, Instant)> = latest.into_iter().collect();
        list.sort_by_key(|(id, last)| (std::cmp::Reverse(*last), *id));
        list
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
