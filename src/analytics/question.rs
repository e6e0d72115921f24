//! What is asked of the rollups: of whom, over which time, in which buckets, and told apart by what.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::provenance::Preferred;
use crate::projections::rollups::tables::Key;
use crate::rollups::labels::{Ranks, Said, labels_of};
use crate::rollups::packed::{Row, Wanted};
use crate::rollups::shape::Shape;

/// What answers are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The device.
    Device,
    /// The site, as of when it happened.
    Site,
    /// The type of the device, as it is registered now.
    DeviceType,
    /// A label, by its place among those of the kind.
    Label(usize),
}

/// One of the things that answers are told apart by; absent where an event says nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Key of a site or a device.
    Key(i64),
    /// A label, or a type.
    Text(String),
    /// Nothing.
    None,
    /// Labels that are not told apart where they are summed up.
    Others,
}

/// What a group of answers is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// In the order in which they were asked for.
    pub parts: Vec<Part>,
    /// The currency of what is money; empty if nothing is.
    pub currency: String,
}

/// Of which of what is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of these devices alone.
    pub devices: Option<BTreeSet<i64>>,
    /// Of what happened at these sites alone.
    pub sites: Option<BTreeSet<i64>>,
    /// Of these provenances, by their numbers; if nothing is said, of the preferred one of those that there are.
    pub provenances: Option<BTreeSet<i64>>,
    /// Which that is.
    pub preferred: Preferred,
    /// For each label of the kind: of these values alone.
    pub labels: Vec<Option<BTreeSet<Option<String>>>>,
}

impl Scope {
    /// Whether no device must be told from another.
    pub(super) fn is_of_sites(&self, by: &[By]) -> bool {
        let by_device = |by: &By| matches!(by, By::Device | By::DeviceType);
        self.devices.is_none() && !by.iter().any(by_device)
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) shape: Shape,
    /// From an instant until just before another: microseconds since 1970, UTC.
    pub(crate) range: (i64, i64),
    /// The beginnings of the buckets, and the end of the last one.
    pub(crate) ends: Vec<i64>,
    /// The moment at which it is asked: what is later is to come.
    pub(crate) now: i64,
    pub(crate) wanted: Wanted,
    pub(crate) scope: Scope,
    pub(crate) by: Vec<By>,
    /// The types of devices, if answers are told apart by them.
    pub(crate) types: HashMap<i64, String>,
    /// Whether amounts of money are asked for.
    pub(crate) is_money: bool,
    /// Buckets at most, of all groups together.
    pub(crate) buckets_max: usize,
    /// The groups that are told for themselves, of what is no money without a currency; all others are told as
    /// one. `None` when all are.
    pub(crate) kept: Option<Arc<HashSet<GroupKey>>>,
}

impl Question {
    /// Whether it can be answered from what is summed up of sites as a whole.
    pub(crate) fn is_of_sites(&self) -> bool {
        self.shape.measured.by_site && self.scope.is_of_sites(&self.by)
    }

    /// Whether what counters grew by is asked for.
    pub(crate) fn wants_growth(&self) -> bool {
        let forms = self.shape.forms.iter().enumerate();
        let mut counters = forms.filter(|(_, form)| **form == crate::kinds::Form::Counter);
        counters.any(|(measure, _)| self.wanted.slot(measure).is_some())
    }

    /// Whether a row is asked for, wherever and whenever it is.
    pub(crate) fn has(&self, key: &Key, of_sites: bool) -> bool {
        self.has_if(key, of_sites, false)
    }

    /// The same, if labels that are not told apart are asked for or are not.
    pub(crate) fn has_if(&self, key: &Key, of_sites: bool, are_others: bool) -> bool {
        let among = |keys: &Option<BTreeSet<i64>>, key: i64| {
            keys.as_ref().is_none_or(|keys| keys.contains(&key))
        };
        among(&self.scope.sites, key.site)
            && (of_sites || among(&self.scope.devices, key.owner))
            && self.has_labels(key, are_others)
    }

    fn has_labels(&self, key: &Key, are_others: bool) -> bool {
        if self.scope.labels.iter().all(Option::is_none) {
            return true;
        }
        let labels = labels_of(&key.labels);
        let mut asked = self.scope.labels.iter().zip(labels);
        asked.all(|(asked, label)| {
            let Some(asked) = asked else { return true };
            match label {
                Said::Text(label) => asked.contains(&label),
                Said::Others { .. } => are_others,
            }
        })
    }

    /// The labels that are asked for, of those that may be any text.
    fn open_labels(&self) -> Option<impl Iterator<Item = &String>> {
        let asked = self.scope.labels.get(self.shape.open?)?.as_ref()?;
        Some(asked.iter().flatten())
    }

    /// Whether any of those is asked for.
    pub(crate) fn asks_open(&self) -> bool {
        let mut asked = self.open_labels().into_iter().flatten();
        asked.next().is_some()
    }

    /// The greatest rank of those: what is told apart down to a lesser one may hide it.
    pub(crate) fn greatest_rank(&self, ranks: &Ranks) -> Option<u128> {
        self.open_labels()?.map(|label| ranks.rank(label)).max()
    }

    /// The group of a row.
    pub(crate) fn group_of(&self, key: &Key) -> GroupKey {
        let needs_labels = self.by.iter().any(|by| matches!(by, By::Label(_)));
        let labels = if needs_labels {
            labels_of(&key.labels)
        } else {
            Vec::new()
        };
        let part = |by: &By| match by {
            By::Device if key.owner == 0 => Part::None,
            By::Device => Part::Key(key.owner),
            By::Site if key.site == 0 => Part::None,
            By::Site => Part::Key(key.site),
            By::DeviceType => text(self.types.get(&key.owner).cloned()),
            By::Label(index) => match labels.get(*index) {
                Some(Said::Text(label)) => text(label.clone()),
                Some(Said::Others { .. }) => Part::Others,
                None => Part::None,
            },
        };
        GroupKey {
            parts: self.by.iter().map(part).collect(),
            currency: if self.is_money {
                key.currency.clone()
            } else {
                String::new()
            },
        }
    }

    /// The same as it is told: for itself, or as one of the others.
    pub(crate) fn place_of(&self, key: GroupKey) -> Place {
        let is_kept = self.kept.as_ref().is_none_or(|kept| {
            kept.contains(&key) || self.is_money && kept.contains(&key.of_any_currency())
        });
        if is_kept {
            (false, key)
        } else {
            (true, key.other())
        }
    }

    /// The bucket of an instant that is asked for.
    pub(crate) fn bucket_of(&self, at: i64) -> Option<usize> {
        let (from, to) = self.range;
        if at < from || at >= to {
            return None;
        }
        let next = self.ends.partition_point(|begin| *begin <= at);
        next.checked_sub(1)
    }

    /// The bucket in which all of a span lies, its last instant included.
    pub(crate) fn bucket_of_span(&self, (first, last): (i64, i64)) -> Option<usize> {
        let bucket = self.bucket_of(first)?;
        (self.bucket_of(last)? == bucket).then_some(bucket)
    }

    /// From the beginning of the first bucket to the end of the last.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        let first = self.ends.first().copied().unwrap_or(self.range.0);
        (first, self.ends.last().copied().unwrap_or(self.range.1))
    }

    /// How much of a time is asked for and past, in microseconds.
    pub(crate) fn past(&self, (start, end): (i64, i64)) -> i64 {
        let (from, to) = self.range;
        (end.min(to).min(self.now) - start.max(from)).max(0)
    }

    /// Whether a span lies outside of all that is asked for.
    pub(crate) const fn is_beyond(&self, (first, last): (i64, i64)) -> bool {
        last < self.range.0 || first >= self.range.1
    }
}

fn text(text: Option<String>) -> Part {
    text.map_or(Part::None, Part::Text)
}

/// What was said in each bucket.
pub(crate) type Rows = Vec<Option<Arc<Row>>>;

/// Whether a group is of all that are told as one, and its key.
pub(crate) type Place = (bool, GroupKey);

/// What was said in each bucket, of each group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(crate) rows: BTreeMap<Place, Rows>,
}

impl Groups {
    /// The groups of what is no money: those of all currencies together.
    pub(crate) fn of_any_currency(self) -> Self {
        let mut joined = Self::default();
        for ((is_other, key), rows) in self.rows {
            joined.add((is_other, key.of_any_currency()), &rows);
        }
        joined
    }

    /// These groups as those of another time are: some for themselves, and all that are not among them as one.
    pub(crate) fn like(&self, kept: &HashSet<GroupKey>) -> Self {
        let mut alike = Self::default();
        for ((is_other, key), rows) in &self.rows {
            alike.add(key.among(kept, *is_other), rows);
        }
        alike
    }

    fn add(&mut self, place: Place, rows: &Rows) {
        match self.rows.get_mut(&place) {
            Some(held) => add_rows(held, rows),
            None => {
                self.rows.insert(place, rows.clone());
            }
        }
    }
}

impl GroupKey {
    /// The place of a group that is one of the others, or is so unless it is among some.
    pub(super) fn among(&self, kept: &HashSet<Self>, is_other: bool) -> Place {
        if !is_other && kept.contains(self) {
            (false, self.clone())
        } else {
            (true, self.other())
        }
    }

    /// Whether it is of one thing, and not of labels that are not told apart.
    pub(super) fn is_told(&self) -> bool {
        !self.parts.contains(&Part::Others)
    }

    /// The same key of all currencies together.
    pub(super) fn of_any_currency(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            currency: String::new(),
        }
    }

    /// The key of the others, in the same currency.
    pub(crate) fn other(&self) -> Self {
        Self {
            parts: vec![Part::None; self.parts.len()],
            currency: self.currency.clone(),
        }
    }
}

/// Adds rows to others, bucket by bucket.
fn add_rows(held: &mut [Option<Arc<Row>>], more: &[Option<Arc<Row>>]) {
    for (held, more) in held.iter_mut().zip(more) {
        match (held.as_mut(), more) {
            (Some(held), Some(more)) => Arc::make_mut(held).merge(more),
            (None, Some(more)) => *held = Some(Arc::clone(more)),
            (_, None) => {}
        }
    }
}
