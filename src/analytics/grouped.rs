//! What was said, made into the groups of a series: ranked, filled, and each beside an earlier time.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::ask::{Asked, AskedGroup};
use super::expected::{Alike, Expected};
use super::question::{GroupKey, Groups, Place, Question, Rows};
use super::read::{Moment, Read, ReadError};
use super::series::{Aggregate, Bucket, Cut, Fill, What, usual_rank};
use crate::rollups::packed::Row;
use crate::store::Allowance;

/// What was said, and how much was expected.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) read: Read,
    pub(super) expected: Option<Expected>,
}

/// What stands beside the buckets of a series.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) question: Question,
    pub(super) told: Told,
    /// Which of its buckets stands beside each, by the place of that; none where nothing does.
    pub(super) places: Vec<Option<usize>>,
}

/// Of each measure the groups that are told for themselves, in their order.
pub(super) type Orders = Vec<Vec<GroupKey>>;

/// The buckets of a group, and all of it.
type Made = (Vec<Bucket>, Bucket);

impl Asked {
    /// Finds the first groups by what they come to over all of the range, and has all others read as one: else
    /// there would be the buckets of each of them. Nothing where that is told by what is read anyway.
    pub(super) async fn first(
        &self,
        moment: &Moment,
        question: &mut Question,
        allowance: &Allowance,
    ) -> Result<Option<Orders>, ReadError> {
        let is_one = question.ends.len() <= 2 || question.by.is_empty();
        if self.top.is_none() || is_one {
            return Ok(None);
        }
        let mut totals = question.clone();
        totals.ends = vec![question.range.0, question.range.1];
        totals.wanted.sketches &= matches!(self.rank, Some(Aggregate::Percentile(_)));
        totals.wanted.counts = false;
        let read = moment.read(&totals, allowance).await?;
        let orders = self.orders(&totals, &read.groups);
        question.kept = Some(Arc::new(orders.iter().flatten().cloned().collect()));
        if !read.provenances.is_empty() {
            question.scope.provenances = Some(read.provenances);
        }
        Ok(Some(orders))
    }

    fn orders(&self, question: &Question, groups: &Groups) -> Orders {
        let of = |measure: &Option<usize>| {
            let what = question.what(*measure);
            let by = self.rank.unwrap_or_else(|| usual_rank(what));
            let groups = self.subject.of_measure(question, groups, *measure);
            order(&groups, cut(question), (what, by), self.top)
        };
        self.subject.measures.iter().map(of).collect()
    }

    /// The groups of each measure, in their order if that is known, each with the same group of the earlier
    /// range.
    pub(super) fn groups(
        &self,
        (question, now): (&Question, &Told),
        earlier: Option<&Beside>,
        orders: Option<Orders>,
    ) -> Vec<AskedGroup> {
        let subject = &self.subject;
        let orders = orders.unwrap_or_else(|| self.orders(question, &now.read.groups));
        let mut all = Vec::new();
        for ((place, measure), order) in subject.measures.iter().enumerate().zip(orders) {
            let what = question.what(*measure);
            let groups = subject.of_measure(question, &now.read.groups, *measure);
            let ranked = ranked(&groups, &order, (cut(question), what));
            let kept: HashSet<GroupKey> = order.into_iter().collect();
            let is_money = subject.is_money(*measure);
            let expected = |told: &Told| {
                let expected = told.expected.as_ref();
                expected.map(|expected| expected.like(&kept, is_money))
            };
            let (now_expected, earlier_expected) = (
                expected(now),
                earlier.and_then(|beside| expected(&beside.told)),
            );
            let before = earlier.map(|beside| {
                let read = &beside.told.read;
                let groups = subject.of_measure(&beside.question, &read.groups, *measure);
                (beside, groups.like(&kept))
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
                let before = before.as_ref().map(|(beside, groups)| {
                    let rows = groups.rows.get(&place_of);
                    let rows = rows.map_or(&[][..], Vec::as_slice);
                    let whole = cut(&beside.question).whole(what, rows);
                    let (buckets, whole) = told_of(
                        (&beside.question, what),
                        (rows, self.beside(), whole),
                        of(&earlier_expected),
                    );
                    (beside.in_place(&buckets), whole)
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

impl Beside {
    /// What stands beside each bucket of the series.
    fn in_place(&self, buckets: &[Bucket]) -> Vec<Option<Bucket>> {
        let places = self.places.iter();
        places
            .map(|place| buckets.get((*place)?).cloned())
            .collect()
    }
}

/// How the rows of a question are cut into buckets.
pub(super) const fn cut(question: &Question) -> Cut<'_> {
    Cut(question)
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

/// A group of a series.
#[derive(Debug)]
struct Group {
    key: GroupKey,
    /// Whether it is of all that are not among the first.
    is_other: bool,
    rows: Rows,
    /// All of it as one.
    whole: Bucket,
}

/// The keys of groups in order of what they come to, the greatest first; so many of them, or all. Amounts in two
/// currencies are not held against each other: of each there are so many.
fn order(
    groups: &Groups,
    cut: Cut<'_>,
    (what, by): (What, Aggregate),
    top: Option<usize>,
) -> Vec<GroupKey> {
    let groups = groups.rows.iter().filter(|((is_other, _), rows)| {
        !is_other && rows.iter().flatten().any(|row| what.is_said(row))
    });
    let groups = groups.filter(|((_, key), _)| key.is_told());
    let mut ranked: Vec<(Option<f64>, &GroupKey)> = groups
        .map(|((_, key), rows)| (cut.whole(what, rows).value(by), key))
        .collect();
    ranked.sort_by(|(left, a), (right, b)| {
        let by_value = || descending(*left, *right).then_with(|| a.cmp(b));
        a.currency.cmp(&b.currency).then_with(by_value)
    });
    let of_each = ranked.chunk_by(|(_, a), (_, b)| a.currency == b.currency);
    let first = of_each.flat_map(|of_one| of_one.iter().take(top.unwrap_or(usize::MAX)));
    first.map(|(_, key)| (*key).clone()).collect()
}

/// The groups in an order, and of all that are not in it one that is of the others together, for each currency.
fn ranked(groups: &Groups, order: &[GroupKey], (cut, what): (Cut<'_>, What)) -> Vec<Group> {
    let kept: HashSet<GroupKey> = order.iter().cloned().collect();
    let mut alike = groups.like(&kept).rows;
    let first = order.iter().map(|key| (false, key.clone()));
    let others = alike.keys().filter(|(is_other, _)| *is_other).cloned();
    let places: Vec<Place> = first.chain(others).collect();
    let group = |place: Place| {
        let rows = alike.remove(&place)?;
        let is_said = rows.iter().flatten().any(|row| what.is_said(row));
        let (is_other, key) = place;
        is_said.then(|| Group {
            key,
            is_other,
            whole: cut.whole(what, &rows),
            rows,
        })
    };
    places.into_iter().filter_map(group).collect()
}

fn descending(left: Option<f64>, right: Option<f64>) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) => right.total_cmp(&left),
        (left, right) => right.is_some().cmp(&left.is_some()),
    }
}
