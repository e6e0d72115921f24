//! What was said, made into the groups of a series: ranked, filled, and each beside an earlier time.

use std::sync::Arc;

use super::ask::{Asked, AskedGroup};
use super::expected::{Alike, Expected};
use super::question::{GroupKey, Question};
use super::read::Read;
use super::series::{Bucket, Cut, Fill, Group, What, ranked, usual_rank};
use crate::rollups::packed::Row;

/// What was said, and how much was expected.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) read: Read,
    pub(super) expected: Option<Expected>,
}

/// The buckets of a group, and all of it.
type Made = (Vec<Bucket>, Bucket);

impl Asked {
    /// The groups of each measure, ranked, each with the same group of the earlier range.
    pub(super) fn groups(
        &self,
        (question, now): (&Question, &Told),
        earlier: Option<&(Question, Told)>,
    ) -> Vec<AskedGroup> {
        let subject = &self.subject;
        let mut all = Vec::new();
        for (place, measure) in subject.measures.iter().enumerate() {
            let what = question.what(*measure);
            let by = self.rank.unwrap_or_else(|| usual_rank(what));
            let groups = subject.of_measure(question, &now.read.groups, *measure);
            let ranked = ranked(groups, cut(question), (what, by), self.top);
            let kept: Vec<GroupKey> = ranked
                .iter()
                .filter(|group| !group.is_other)
                .map(|group| group.key.clone())
                .collect();
            let is_money = subject.is_money(*measure);
            let expected = |told: &Told| {
                let expected = told.expected.as_ref();
                expected.map(|expected| expected.like(&kept, is_money))
            };
            let (now_expected, earlier_expected) =
                (expected(now), earlier.and_then(|(_, told)| expected(told)));
            let before = earlier.map(|(question, told)| {
                let groups = subject.of_measure(question, &told.read.groups, *measure);
                (question, groups.like(&kept))
            });
            for group in ranked {
                let place_of = (group.is_other, group.key.clone());
                let of = |expected: &Option<Alike>| {
                    let expected = expected.as_ref()?;
                    Some(expected.get(&place_of).cloned().unwrap_or_default())
                };
                let (buckets, whole) = told_of(
                    (question, what),
                    (&group.rows, self.fill, group.whole),
                    of(&now_expected),
                );
                let before = before.as_ref().map(|(question, groups)| {
                    let rows = groups.get(&place_of);
                    let rows = rows.map_or(&[][..], Vec::as_slice);
                    let whole = cut(question).whole(what, rows);
                    told_of(
                        (question, what),
                        (rows, self.beside(), whole),
                        of(&earlier_expected),
                    )
                });
                let Group { key, is_other, .. } = group;
                let (earlier, earlier_whole) = before.unzip();
                all.push(AskedGroup {
                    measure: place,
                    key,
                    is_other,
                    buckets,
                    whole,
                    earlier: earlier.unwrap_or_default(),
                    earlier_whole,
                });
            }
        }
        all
    }

    /// How the earlier buckets are filled: each stands beside one, so that none is left out.
    fn beside(&self) -> Fill {
        if self.fill == Fill::None {
            Fill::Null
        } else {
            self.fill
        }
    }
}

/// How the rows of a question are cut into buckets.
pub(super) fn cut(question: &Question) -> Cut<'_> {
    Cut {
        ends: &question.ends,
        range: question.range,
    }
}

/// The buckets of a group, and all of it, with how much was expected of each.
fn told_of(
    (question, what): (&Question, What),
    (rows, fill, mut whole): (&[Option<Arc<Row>>], Fill, Bucket),
    expected: Option<Vec<f64>>,
) -> Made {
    let mut buckets = cut(question).buckets(what, rows, fill);
    if let Some(expected) = expected {
        for bucket in &mut buckets {
            let expected = expected.get(bucket.index).copied();
            bucket.expected = Some(expected.unwrap_or_default());
        }
        whole.expected = Some(expected.iter().sum());
    }
    (buckets, whole)
}
