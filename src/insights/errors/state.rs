//! Folds facts into error groups: the state of the whole fleet, bounded whatever comes.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Instant;
use crate::insights::input::HOUR;
use crate::insights::input::{ErrorSeen, Severity};

use crate::insights::errors::cause::Changes;
use crate::insights::errors::drain::{Drain, Rule, Scope};
use crate::insights::errors::fingerprint::{Fingerprint, hash};
use crate::insights::errors::group::{DEVICES_MAX, Event, Group, Status};
use crate::insights::errors::whole::{Done, joined_with};
use crate::insights::errors::{mask, stack};

/// Groups that are kept; what does not fit goes into a group for all others of its category and severity.
pub const GROUPS_MAX: usize = 2_000;
/// Groups for all others that are kept beyond.
const REST_MAX: usize = 64;
/// Devices whose names are kept: those of all groups, and some more, so that the others are seldom looked for.
const NAMES_MAX: usize = (GROUPS_MAX + REST_MAX) * DEVICES_MAX + 8_192;
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
    pub(super) joins: BTreeSet<(u64, u64)>,
    /// When room was last sought.
    pub(super) tidied: Instant,
}

/// What of an error says to which group it belongs, whatever groups there are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// The category.
    pub category: String,
    /// The code that tells messages apart.
    pub code: String,
    /// The message: masked, or the stack's signature.
    pub text: String,
    /// How severe it is, which tells groups for all others apart.
    pub severity: Severity,
}

impl Alike {
    /// That of an error.
    #[must_use]
    pub fn of(seen: &Seen<'_>) -> Self {
        let (code, text) = keyed(seen);
        Self {
            category: short(&seen.error.category).to_owned(),
            code,
            text,
            severity: seen.error.severity,
        }
    }
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

/// The id of a message of which no group is known.
fn unknown(seen: &Seen<'_>) -> Fingerprint {
    let (code, text) = keyed(seen);
    let scope = Scope {
        category: short(&seen.error.category),
        code: &code,
    };
    Fingerprint(scope.variant(&text))
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
            self.take(fact);
        }
    }

    /// Takes in one fact, and tells what that has done.
    pub fn take(&mut self, fact: &Fact<'_>) -> Done {
        let mut done = Done::default();
        match fact {
            Fact::Error(seen) => self.count(seen, &mut done),
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
                done.decided = self.labels(*group);
                for label in &done.decided {
                    if let Some(group) = self.groups.get_mut(label) {
                        group.decide(*status, *at);
                    }
                }
            }
            Fact::Join { groups } => self.join_by_hand(*groups, &mut done),
            Fact::Heard { at } => self.watch(*at),
        }
        done
    }

    /// The group of an error as things stand: every line of a group gives the same id, also when groups joined since.
    #[must_use]
    pub fn group_of(&self, seen: &Seen<'_>) -> Fingerprint {
        let labels = joined_with(self.label_of(seen), &self.joined_labels());
        let founders = labels.iter().filter_map(|label| self.groups.get(label));
        let founder = founders.map(|group| group.founder).min();
        founder.map_or_else(|| unknown(seen), |(_, id)| Fingerprint(id))
    }

    /// What is counted of the group of a label, without what operators joined with it.
    #[must_use]
    pub fn group(&self, label: u64) -> Option<&Group> {
        self.groups.get(&label)
    }

    /// The label of the group of an error as things stand, without what operators joined with it.
    #[must_use]
    pub fn label_of(&self, seen: &Seen<'_>) -> u64 {
        self.label_of_alike(&Alike::of(seen))
    }

    /// The label of the group of errors that are alike.
    #[must_use]
    pub fn label_of_alike(&self, alike: &Alike) -> u64 {
        let (category, code) = (alike.category.as_str(), alike.code.as_str());
        let label = self.drain.find(&Scope { category, code }, &alike.text);
        let label = label.filter(|label| self.groups.contains_key(label));
        label.unwrap_or_else(|| rest(category, alike.severity))
    }

    /// The id of the group of messages that have so much in common, told of it by another version; its category and
    /// its code are the same.
    #[must_use]
    pub fn like(
        &self,
        (category, code): (&str, Option<&str>),
        template: &str,
    ) -> Option<Fingerprint> {
        let (code, masked) = (code.unwrap_or_default(), mask::mask(template));
        let of_stack = format!("{code}\nstack\n{template}");
        let texts = [
            (code, template),
            (code, masked.as_str()),
            (of_stack.as_str(), template),
        ];
        texts.into_iter().find_map(|(code, text)| {
            let label = self.drain.find(&Scope { category, code }, text)?;
            let group = self.groups.get(&label)?;
            Some(Fingerprint(group.founder.1))
        })
    }

    fn watch(&mut self, at: Instant) {
        self.watched = Some(
            self.watched
                .map_or((at, at), |(from, to)| (from.min(at), to.max(at))),
        );
    }

    fn count(&mut self, seen: &Seen<'_>, done: &mut Done) {
        let at = seen.error.at;
        self.watch(at);
        let (code, text) = keyed(seen);
        let category = short(&seen.error.category);
        let scope = Scope {
            category,
            code: &code,
        };
        let mut room = self.place(&scope, &text, done);
        if room.is_none() && self.tidy(at, done) {
            room = self.place(&scope, &text, done);
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
        let group = self.groups.entry(label);
        let group = group.or_insert_with(|| Group::new(category, code, &event));
        let was_open = group.status() == Status::Open;
        group.add(&event);
        done.counted = Some(label);
        done.came_back = group
            .mark
            .filter(|_| !was_open && group.status() == Status::Open)
            .map(|mark| mark.at);
        if let Some((device, name)) = device {
            self.name(device, name);
        }
    }

    /// Keeps the name of a device. If there is no room, those go that no group has.
    fn name(&mut self, device: u64, name: &str) {
        if self.names.contains_key(&device) {
            return;
        }
        if self.names.len() >= NAMES_MAX {
            let groups = self.groups.values();
            let named: BTreeSet<u64> = groups
                .flat_map(|group| group.devices.keys().copied())
                .collect();
            self.names.retain(|device, _| named.contains(device));
        }
        self.names.insert(device, name.chars().take(255).collect());
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
    fn place(&mut self, scope: &Scope<'_>, text: &str, done: &mut Done) -> Option<u64> {
        let groups = &self.groups;
        let placed = self.drain.place(scope, text, |id| {
            groups.values().any(|group| group.founder.1 == id)
        });
        for (before, now) in &placed.joined {
            if let Some(group) = self.groups.remove(before) {
                self.join(*now, group);
            }
        }
        done.has_new_form |= placed.has_changed;
        done.joined.extend(placed.joined);
        placed
            .group
            .filter(|label| self.groups.contains_key(label) || self.groups.len() < GROUPS_MAX)
    }

    /// Forgets groups that may be forgotten, now and then. Tells whether there were any.
    fn tidy(&mut self, now: Instant, done: &mut Done) -> bool {
        if now.0 - self.tidied.0 < TIDY_EVERY {
            return false;
        }
        self.tidied = now;
        let is_old = |(label, group): (&u64, &Group)| group.is_forgettable(now).then_some(*label);
        let old: BTreeSet<u64> = self.groups.iter().filter_map(is_old).collect();
        self.groups.retain(|label, _| !old.contains(label));
        let groups = &self.groups;
        self.drain.retain(|label| groups.contains_key(&label));
        done.has_new_form = true;
        done.forgotten.extend(&old);
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
    #[must_use]
    pub fn label(&self, id: Fingerprint) -> Option<u64> {
        let by_founder = || {
            self.groups
                .iter()
                .find(|(_, group)| group.founder.1 == id.0)
                .map(|(label, _)| *label)
        };
        self.drain.group_of(id.0).or_else(by_founder)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
