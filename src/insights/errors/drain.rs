//! Groups masked messages by their form: a Drain (He, Zhu, Zheng, Lyu 2017) whose result does not depend on the order.
//!
//! As in Drain, messages meet in a tree: by scope (category and code), number of words, first word. Where they meet, two
//! are alike if at least half of the words are the same that are placeholders in neither. What differs from Drain:
//! a message joins **all** it is like (single linkage) instead of the best so far, and among messages that are alike a
//! place with few plain values (`started`, `stopped`) tells groups apart, while one with more is a variable.
//! Every rule only ever joins groups when messages are added, and none looks at their order. So the same set of messages
//! gives the same groups in whatever order they came, as long as the limits are not reached.

use std::collections::{BTreeMap, BTreeSet};

use crate::insights::number::float;

use crate::insights::errors::fingerprint::hash;
use crate::insights::errors::mask::PLACEHOLDER;

/// When messages belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Of the words that are not the same placeholder in two messages, the part that is the same when they are alike.
    pub similarity: f64,
    /// Plain values of a place up to which they tell groups apart.
    pub values_max: usize,
    /// First words of messages of a scope and length up to which they tell groups apart.
    pub first_words_max: usize,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            similarity: 0.5,
            values_max: 3,
            first_words_max: 32,
        }
    }
}

/// Distinct masked messages of a scope and length that are kept.
pub const CELL_MAX: usize = 256;
/// Distinct masked messages that are kept.
pub const VARIANTS_MAX: usize = 4_096;
/// Distinct masked messages of a group that are kept when its cell is full; the template stands for the others.
const KEPT_MAX: usize = 8;

/// One distinct masked message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Variant {
    text: String,
    /// The smallest id of those that are alike, directly or by others.
    alike: u64,
    /// The smallest id of its group.
    group: u64,
}

/// The messages of one scope and length, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Cell {
    variants: BTreeMap<u64, Variant>,
    /// Templates that stand for messages which were dropped.
    widened: BTreeSet<u64>,
    /// Whether first words are so many that they tell nothing apart.
    is_wide: bool,
    /// Whether thinning made no room: further messages find a known group or none.
    is_closed: bool,
}

/// All distinct masked messages, and which belong together.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Drain {
    #[serde(skip)]
    rule: Rule,
    cells: BTreeMap<u64, Cell>,
    count: usize,
    /// Whether thinning made no room anywhere.
    is_closed: bool,
}

/// Where a message went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Its group, `None` if there is no room for another.
    pub group: Option<u64>,
    /// Groups that it joined: (the one before, the one now).
    pub joined: Vec<(u64, u64)>,
    /// Whether what is kept of messages has changed by it.
    pub has_changed: bool,
}

/// Within what messages can be alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The error's category.
    pub category: &'a str,
    /// The error's code, or what its stack says; empty if there is neither.
    pub code: &'a str,
}

impl Scope<'_> {
    /// The id of a masked message.
    #[must_use]
    pub fn variant(&self, text: &str) -> u64 {
        hash(&[self.category, self.code, text])
    }

    fn cell(&self, text: &str) -> u64 {
        hash(&[
            self.category,
            self.code,
            &text.split(' ').count().to_string(),
        ])
    }
}

impl Drain {
    /// None yet, under a rule other than the usual.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    /// The group of a message, if it is known.
    #[must_use]
    pub fn find(&self, scope: &Scope<'_>, text: &str) -> Option<u64> {
        let cell = self.cells.get(&scope.cell(text))?;
        cell.find(scope.variant(text), text)
    }

    /// The group of the message with this id, if it is kept.
    #[must_use]
    pub fn group_of(&self, variant: u64) -> Option<u64> {
        self.cells
            .values()
            .find_map(|cell| cell.variants.get(&variant))
            .map(|variant| variant.group)
    }

    /// Puts a message into its group, which may join others by it. Nothing is dropped that `is_kept` names.
    pub fn place(
        &mut self,
        scope: &Scope<'_>,
        text: &str,
        is_kept: impl Fn(u64) -> bool,
    ) -> Placed {
        let (id, cell_id) = (scope.variant(text), scope.cell(text));
        let known = self.cells.get(&cell_id);
        if let Some(group) = known.and_then(|cell| cell.find(id, text)) {
            return Placed {
                group: Some(group),
                ..Placed::default()
            };
        }
        let is_full = self.count >= VARIANTS_MAX;
        if known.is_some_and(|cell| cell.is_closed) || (is_full && self.is_closed) {
            return Placed::default();
        }
        if is_full {
            let cells = self.cells.iter_mut();
            self.count -= cells
                .map(|(id, cell)| cell.thin(*id, &is_kept))
                .sum::<usize>();
            self.is_closed = self.count > VARIANTS_MAX - VARIANTS_MAX / 8;
        } else if let Some(cell) = self.cells.get_mut(&cell_id).filter(|cell| cell.is_full()) {
            self.count -= cell.thin(cell_id, &is_kept);
        }
        if self.count >= VARIANTS_MAX || self.cells.get(&cell_id).is_some_and(Cell::is_full) {
            return Placed {
                has_changed: true,
                ..Placed::default()
            };
        }
        let cell = self.cells.entry(cell_id).or_default();
        self.count += 1;
        let joined = cell.insert(id, text, &self.rule);
        Placed {
            group: cell.find(id, text),
            joined,
            has_changed: true,
        }
    }

    /// Drops the groups that are not to be kept.
    pub fn retain(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.is_closed = false;
        for cell in self.cells.values_mut() {
            cell.is_closed = false;
            cell.variants.retain(|_, variant| is_kept(variant.group));
            cell.widened.retain(|id| cell.variants.contains_key(id));
        }
        self.cells.retain(|_, cell| !cell.variants.is_empty());
        self.count = self.cells.values().map(|cell| cell.variants.len()).sum();
    }

    /// What the messages of a group have in common, with placeholders where they differ.
    #[must_use]
    pub fn template(&self, group: u64) -> Option<String> {
        self.cells.values().find_map(|cell| cell.template(group))
    }
}

impl Cell {
    fn is_full(&self) -> bool {
        self.variants.len() >= CELL_MAX
    }

    /// The group of a message that is kept, or that a widened template covers.
    fn find(&self, id: u64, text: &str) -> Option<u64> {
        let known = self.variants.get(&id);
        let known = known.or_else(|| {
            let mut widened = self.widened.iter().filter_map(|id| self.variants.get(id));
            widened.find(|widened| covers(&widened.text, text))
        });
        known.map(|variant| variant.group)
    }

    /// Adds a message and joins what it is like. Tells which groups went into which.
    fn insert(&mut self, id: u64, text: &str, rule: &Rule) -> Vec<(u64, u64)> {
        self.variants.insert(
            id,
            Variant {
                text: text.into(),
                alike: id,
                group: id,
            },
        );
        let mut changed = BTreeSet::from([self.link(id, rule)]);
        if !self.is_wide && self.first_words() > rule.first_words_max {
            self.is_wide = true;
            let ids: Vec<u64> = self.variants.keys().copied().collect();
            changed = ids.into_iter().map(|id| self.link(id, rule)).collect();
        }
        changed
            .into_iter()
            .flat_map(|alike| self.divide(alike, rule))
            .collect()
    }

    /// How many first words there are.
    fn first_words(&self) -> usize {
        let first =
            |variant: &'_ Variant| hash(&[variant.text.split(' ').next().unwrap_or_default()]);
        self.variants
            .values()
            .map(first)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Joins a message with all that are like it, and gives the id of those that are alike now.
    fn link(&mut self, id: u64, rule: &Rule) -> u64 {
        let Some(new) = self.variants.get(&id) else {
            return id;
        };
        let words: Vec<&str> = new.text.split(' ').collect();
        let are_alike = |other: &Variant| {
            (self.is_wide || meet(&words, &other.text))
                && is_like(&words, &other.text, rule.similarity)
        };
        let mut alike: BTreeSet<u64> = self
            .variants
            .values()
            .filter(|other| are_alike(other))
            .map(|other| other.alike)
            .collect();
        alike.insert(new.alike);
        let smallest = alike.first().copied().unwrap_or(id);
        for variant in self
            .variants
            .values_mut()
            .filter(|variant| alike.contains(&variant.alike))
        {
            variant.alike = smallest;
        }
        smallest
    }

    /// Divides messages that are alike into groups by the places where they have few plain values.
    fn divide(&mut self, alike: u64, rule: &Rule) -> Vec<(u64, u64)> {
        let members: Vec<(u64, u64, Vec<&str>)> = (self.variants.iter())
            .filter(|(_, variant)| variant.alike == alike)
            .map(|(id, variant)| (*id, variant.group, variant.text.split(' ').collect()))
            .collect();
        let length = members.first().map_or(0, |(_, _, words)| words.len());
        let fixed: Vec<usize> = (0..length)
            .filter(|place| {
                is_fixed(
                    members.iter().map(|(_, _, words)| words.get(*place)),
                    rule.values_max,
                )
            })
            .collect();
        let mut groups: BTreeMap<Vec<Option<&&str>>, (u64, Vec<u64>)> = BTreeMap::new();
        for (id, group, words) in &members {
            let key = fixed.iter().map(|place| words.get(*place)).collect();
            let (smallest, ids) = groups.entry(key).or_insert((*group, Vec::new()));
            *smallest = (*smallest).min(*group);
            ids.push(*id);
        }
        let groups: Vec<(u64, Vec<u64>)> = groups.into_values().collect();
        let mut joined = BTreeSet::new();
        for (group, ids) in groups {
            for id in ids {
                let Some(variant) = self.variants.get_mut(&id) else {
                    continue;
                };
                if variant.group != group {
                    joined.insert((variant.group, group));
                    variant.group = group;
                }
            }
        }
        joined.into_iter().collect()
    }

    fn template(&self, group: u64) -> Option<String> {
        let mut members = self
            .variants
            .values()
            .filter(|variant| variant.group == group);
        let mut template: Vec<&str> = members.next()?.text.split(' ').collect();
        for member in members {
            for (place, word) in template.iter_mut().zip(member.text.split(' ')) {
                if *place != word {
                    *place = PLACEHOLDER;
                }
            }
        }
        Some(template.join(" "))
    }

    /// Makes room: of groups with many messages, few and the template stay. Tells how many messages went.
    fn thin(&mut self, cell: u64, is_kept: &impl Fn(u64) -> bool) -> usize {
        let before = self.variants.len();
        let mut members: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (id, variant) in &self.variants {
            members.entry(variant.group).or_default().push(*id);
        }
        for (group, ids) in members
            .into_iter()
            .filter(|(_, ids)| ids.len() > KEPT_MAX + 1)
        {
            let Some(template) = self.template(group) else {
                continue;
            };
            let id = hash(&[&cell.to_string(), &template]);
            let alike = ids
                .first()
                .and_then(|id| self.variants.get(id))
                .map_or(group, |variant| variant.alike);
            let dropped = ids
                .iter()
                .filter(|id| !is_kept(**id))
                .skip(KEPT_MAX)
                .copied()
                .collect::<Vec<_>>();
            for id in dropped {
                self.variants.remove(&id);
                self.widened.remove(&id);
            }
            self.variants.entry(id).or_insert(Variant {
                text: template,
                alike,
                group,
            });
            self.widened.insert(id);
        }
        let thinned = before - self.variants.len();
        self.is_closed = self.variants.len() > CELL_MAX - CELL_MAX / 8;
        thinned
    }
}

/// Whether a word is nothing but a placeholder and marks.
fn is_placeholder(word: &str) -> bool {
    word.strip_prefix(|mark: char| !mark.is_alphanumeric() && mark != '<')
        .unwrap_or(word)
        .starts_with(PLACEHOLDER)
        && !word.chars().any(char::is_alphanumeric)
}

/// Whether a word is a single letter: a name for one of several (`tray A`), no word that says what happened.
fn is_label(word: &str) -> bool {
    word.chars()
        .filter(|letter| letter.is_alphanumeric())
        .count()
        == 1
}

/// Whether messages of one length meet in the tree: the same first word, or one with a placeholder in both.
fn meet(words: &[&str], other: &str) -> bool {
    let (first, other) = (
        words.first().copied().unwrap_or_default(),
        other.split(' ').next().unwrap_or_default(),
    );
    first == other || (first.contains(PLACEHOLDER) && other.contains(PLACEHOLDER))
}

/// Whether enough of the words are the same of those that are placeholders in neither.
fn is_like(words: &[&str], other: &str, similarity: f64) -> bool {
    let (mut same, mut of) = (0_usize, 0_usize);
    for (word, other) in words.iter().zip(other.split(' ')) {
        if *word == other {
            let counts = usize::from(!is_placeholder(word));
            same += counts;
            of += counts;
        } else {
            of += 1;
        }
    }
    float(same) >= similarity * float(of)
}

/// Whether a place tells groups apart: a few plain values.
fn is_fixed<'a>(values: impl Iterator<Item = Option<&'a &'a str>>, values_max: usize) -> bool {
    let mut distinct: Vec<&str> = Vec::with_capacity(values_max);
    for value in values.flatten() {
        if distinct.contains(value) {
            continue;
        }
        if distinct.len() == values_max {
            return false;
        }
        distinct.push(value);
    }
    distinct.len() == 1
        || !distinct
            .iter()
            .any(|value| is_placeholder(value) || is_label(value))
}

/// Whether a template stands for a message: the same words but for its placeholders.
fn covers(template: &str, text: &str) -> bool {
    template
        .split(' ')
        .zip(text.split(' '))
        .all(|(place, word)| place == word || place == PLACEHOLDER)
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
