//! What has been told of a series that is followed, and what of it has changed since: known by digests, so that
//! little is held for each who follows.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use super::ask::{Answered, AskedGroup};
use super::buckets::Resolution;
use super::series::{Bucket, Part};

/// Names a group among those of a series: the same in each moment.
pub(crate) type GroupId = [u8; 16];

/// What is told of the buckets of a group, and of all of them as one; nothing of what is not selected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) buckets: Option<Vec<Part>>,
    pub(crate) whole: Option<Vec<Part>>,
}

/// What has been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    parts: Parts,
    /// On whose clock, how long buckets are and where the first begins: if that changes, all do.
    frame: Option<(Tz, Resolution, i64)>,
    order: Vec<GroupId>,
    groups: HashMap<GroupId, ToldGroup>,
}

#[derive(Debug, Default, PartialEq)]
struct ToldGroup {
    /// By when they begin.
    buckets: BTreeMap<i64, [u8; 16]>,
    whole: [u8; 16],
}

/// What has changed.
#[derive(Debug)]
pub(crate) struct Change {
    /// Whether it is all of the series.
    pub(crate) is_snapshot: bool,
    /// The series with what has changed of it.
    pub(crate) answered: Answered,
    /// All groups in their order, if that has changed.
    pub(crate) order: Option<Vec<GroupId>>,
    /// Buckets that are no longer, by when they began.
    pub(crate) gone: Vec<(GroupId, Vec<i64>)>,
}

impl Change {
    /// Buckets that it tells of.
    pub(crate) fn buckets(&self) -> usize {
        let groups = self.answered.groups.iter();
        groups.map(|group| group.buckets.len() + 1).sum()
    }
}

impl Told {
    /// Nothing yet, of which these parts are told.
    pub(crate) fn of(parts: Parts) -> Self {
        Self {
            parts,
            ..Self::default()
        }
    }

    /// Of how many buckets it holds that they were told.
    pub(crate) fn held(&self) -> usize {
        let groups = self.groups.values();
        groups.map(|group| group.buckets.len() + 1).sum()
    }

    /// What a moment of a series has that was not told; it is told from now on. Nothing if it has nothing.
    pub(crate) fn change(&mut self, moment: &Answered) -> Option<Change> {
        let frame = (moment.zone, moment.resolution, moment.bounds.0);
        let is_snapshot = self.frame != Some(frame);
        if is_snapshot {
            *self = Self::of(std::mem::take(&mut self.parts));
            self.frame = Some(frame);
        }
        let mut change = Change {
            is_snapshot,
            answered: Answered {
                groups: Vec::new(),
                provenances: moment.provenances.clone(),
                ..*moment
            },
            order: None,
            gone: Vec::new(),
        };
        let mut told = HashMap::with_capacity(moment.groups.len());
        let mut order = Vec::with_capacity(moment.groups.len());
        for group in &moment.groups {
            let id = id_of(group);
            let now = ToldGroup::of(group, &self.parts);
            let held = self.groups.remove(&id);
            change.add((id, group), (held.as_ref(), &now));
            order.push(id);
            told.insert(id, now);
        }
        if order != self.order || is_snapshot {
            change.order = Some(order.clone());
        }
        (self.groups, self.order) = (told, order);
        let is_same = change.order.is_none() && change.answered.groups.is_empty();
        (!is_same).then_some(change)
    }
}

impl Change {
    /// Adds what of a group is not as it was held.
    fn add(
        &mut self,
        (id, group): (GroupId, &AskedGroup),
        (held, now): (Option<&ToldGroup>, &ToldGroup),
    ) {
        if held == Some(now) {
            return;
        }
        let nothing = ToldGroup::default();
        let held = held.unwrap_or(&nothing);
        let is_changed =
            |bucket: &&Bucket| held.buckets.get(&bucket.start) != now.buckets.get(&bucket.start);
        let buckets = group.buckets.iter().filter(is_changed).cloned();
        self.answered.groups.push(AskedGroup {
            measure: group.measure,
            key: group.key.clone(),
            is_other: group.is_other,
            buckets: buckets.collect(),
            whole: group.whole.clone(),
            earlier: group.earlier.clone(),
            earlier_whole: group.earlier_whole.clone(),
        });
        let starts = held.buckets.keys();
        let gone = starts.filter(|start| !now.buckets.contains_key(*start));
        let gone: Vec<i64> = gone.copied().collect();
        if !gone.is_empty() {
            self.gone.push((id, gone));
        }
    }
}

impl ToldGroup {
    fn of(group: &AskedGroup, told: &Parts) -> Self {
        let buckets = told.buckets.as_ref().map(|parts| {
            let buckets = group.buckets.iter().map(|bucket| {
                let told = [Some(bucket), group.beside(bucket)];
                (bucket.start, digest(told, parts))
            });
            buckets.collect()
        });
        let whole = [Some(&group.whole), group.earlier_whole.as_ref()];
        let whole = told.whole.as_ref().map(|parts| digest(whole, parts));
        Self {
            buckets: buckets.unwrap_or_default(),
            whole: whole.unwrap_or_default(),
        }
    }
}

/// Names a group.
pub(crate) fn id_of(group: &AskedGroup) -> GroupId {
    let named = format!("{} {} {:?}", group.measure, group.is_other, group.key);
    shortened(Sha256::new().chain_update(named))
}

fn digest(buckets: [Option<&Bucket>; 2], parts: &[Part]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for bucket in buckets {
        digest.update([u8::from(bucket.is_some())]);
        if let Some(bucket) = bucket {
            bucket.digest(parts, &mut digest);
        }
    }
    shortened(digest)
}

fn shortened(digest: Sha256) -> [u8; 16] {
    let whole: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default())
}
