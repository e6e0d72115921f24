//! What operators joined: groups of messages that are one group, whatever their messages say.

use std::collections::BTreeSet;

use crate::event::Instant;
use crate::insights::errors::fingerprint::Fingerprint;
use crate::insights::errors::group::Group;
use crate::insights::errors::state::State;

/// Joins by operators that are kept.
const JOINS_MAX: usize = 1_024;

/// What a fact has done, for whoever keeps a state in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The label of the group that an error was counted in.
    pub counted: Option<u64>,
    /// Groups that went into others by it: (the label before, the label now).
    pub joined: Vec<(u64, u64)>,
    /// The labels of groups that were forgotten, since there was no room.
    pub forgotten: Vec<u64>,
    /// The labels of groups of which something was decided.
    pub decided: Vec<u64>,
    /// Whether what is kept of messages or of joins has changed.
    pub has_new_form: bool,
    /// When the group was resolved that came back by it.
    pub came_back: Option<Instant>,
}

/// The labels that are joined with one, itself among them.
pub(super) fn joined_with(label: u64, joins: &[(u64, u64)]) -> BTreeSet<u64> {
    let mut labels = BTreeSet::from([label]);
    loop {
        let known = labels.len();
        for (one, other) in joins {
            if labels.contains(one) || labels.contains(other) {
                labels.extend([*one, *other]);
            }
        }
        if labels.len() == known {
            return labels;
        }
    }
}

/// A group, with what operators joined with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The labels of its parts.
    pub labels: Vec<u64>,
    /// The label of the part with the first event.
    pub founder: u64,
    /// What its parts come to.
    pub group: Group,
}

impl Whole {
    /// Its id, which stays.
    #[must_use]
    pub const fn id(&self) -> Fingerprint {
        Fingerprint(self.group.founder.1)
    }
}

impl State {
    /// Joins two groups for good, and what was decided of either holds for both.
    pub(super) fn join_by_hand(
        &mut self,
        (one, other): (Fingerprint, Fingerprint),
        done: &mut Done,
    ) {
        let pair = (one.0.min(other.0), one.0.max(other.0));
        if self.joins.len() >= JOINS_MAX || !self.joins.insert(pair) {
            return;
        }
        done.has_new_form = true;
        done.decided = self.labels(one);
        let marks = done
            .decided
            .iter()
            .filter_map(|label| self.groups.get(label)?.mark);
        let Some(mark) = marks.max() else { return };
        for label in &done.decided {
            if let Some(group) = self.groups.get_mut(label) {
                group.bear(mark);
            }
        }
    }

    /// The labels of all that is one group with the one that an id names.
    #[must_use]
    pub fn labels(&self, id: Fingerprint) -> Vec<u64> {
        let Some(label) = self.label(id) else {
            return Vec::new();
        };
        let labels = joined_with(label, &self.joined_labels());
        labels
            .into_iter()
            .filter(|label| self.groups.contains_key(label))
            .collect()
    }

    /// The labels of the groups that operators joined.
    pub(super) fn joined_labels(&self) -> Vec<(u64, u64)> {
        let label = |id: u64| self.label(Fingerprint(id));
        let joins = self.joins.iter();
        joins
            .filter_map(|(one, other)| Some((label(*one)?, label(*other)?)))
            .collect()
    }

    /// A group with all that operators joined with it.
    pub(crate) fn current(&self, label: u64) -> Option<Whole> {
        self.whole(joined_with(label, &self.joined_labels()))
    }

    /// The one of some labels with the first event, and what is counted of it.
    pub(crate) fn founder(&self, labels: &BTreeSet<u64>) -> Option<(u64, &Group)> {
        let groups = labels.iter();
        let groups = groups.filter_map(|label| Some((*label, self.groups.get(label)?)));
        groups.min_by_key(|(_, group)| group.founder)
    }

    /// What groups come to together.
    fn whole(&self, labels: BTreeSet<u64>) -> Option<Whole> {
        let mut groups = labels
            .into_iter()
            .filter_map(|label| Some((label, self.groups.get(&label)?)));
        let (first, group) = groups.next()?;
        let mut whole = Whole {
            labels: vec![first],
            founder: first,
            group: group.clone(),
        };
        for (label, group) in groups {
            if group.founder < whole.group.founder {
                whole.founder = label;
            }
            whole.labels.push(label);
            whole.group.merge(group.clone());
        }
        Some(whole)
    }

    /// All groups, those that operators joined together.
    #[must_use]
    pub fn wholes(&self) -> Vec<Whole> {
        let joins = self.joined_labels();
        let mut seen: BTreeSet<u64> = BTreeSet::new();
        let mut wholes = Vec::with_capacity(self.groups.len());
        for label in self.groups.keys() {
            if seen.contains(label) {
                continue;
            }
            let labels = joined_with(*label, &joins);
            seen.extend(&labels);
            wholes.extend(self.whole(labels));
        }
        wholes
    }

    /// The ids of all groups with the time of their last event, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<(Fingerprint, Instant)> {
        let wholes = self.wholes();
        let mut list: Vec<(Fingerprint, Instant)> = wholes
            .iter()
            .map(|whole| (whole.id(), whole.group.last))
            .collect();
        list.sort_by_key(|(id, last)| (std::cmp::Reverse(*last), *id));
        list
    }
}
