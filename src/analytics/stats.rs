//! Tallies: how many events of a kind bear each value of a label, and how those are told apart by another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use num_traits::AsPrimitive;

use super::ask::AskError;
use super::question::Part;
use super::read::read;
use super::series::{Aggregate, Bucket, What, merged};
use super::subject::Subject;
use crate::event::{Instant, Position};
use crate::rollups::packed::Row;
use crate::store::{Allowance, Store};

/// All events of some time, told apart by labels.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// All events up to this position are in it.
    pub(crate) position: Position,
    /// The numbers of the provenances that are in it.
    pub(crate) provenances: BTreeSet<i64>,
    range: (i64, i64),
    /// How much of that is past, in microseconds.
    past: i64,
    what: What,
    groups: Vec<Group>,
}

/// Events that have all labels in common.
type Group = (Vec<Part>, Row);

/// What has a label in common.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The label; none of what bears none, and of all others together.
    pub(crate) label: Option<String>,
    /// Whether it is of all that are not among the first, or not told apart.
    pub(crate) is_other: bool,
    /// Its events by another label.
    parts: BTreeMap<Part, Row>,
    /// All of it.
    pub(crate) bucket: Bucket,
    /// Events.
    pub(crate) events: i64,
}

/// Reads all events of some time.
pub(crate) async fn tallies(
    store: &Store,
    (subject, range): (&Subject, (Instant, Instant)),
    allowance: &Allowance,
) -> Result<Tallies, AskError> {
    let range = (range.0.0, range.1.0);
    if range.0 >= range.1 {
        return Err(AskError::Reversed);
    }
    let question = subject
        .question(store, range, vec![range.0, range.1])
        .await?;
    let read = read(store, &question, allowance).await?;
    let groups = read.groups.rows.into_iter();
    let groups = groups.filter_map(|((_, key), rows)| {
        let row = rows.into_iter().flatten().next()?;
        Some((key.parts, Arc::unwrap_or_clone(row)))
    });
    let measure = subject.measures.first().copied().flatten();
    Ok(Tallies {
        position: read.position,
        provenances: read.provenances,
        range,
        past: question.past(range),
        what: question.what(measure),
        groups: groups.collect(),
    })
}

impl Tallies {
    /// All of it.
    pub(crate) fn total(&self, part: usize) -> Tally {
        self.tally(None, &self.groups.iter().collect::<Vec<_>>(), part)
    }

    /// By a label, by its place among those that were asked for, those first that have most events; so many of
    /// them, and the others as one. Each is told apart by another label.
    pub(crate) fn by(&self, label: usize, part: usize, top: usize) -> Vec<Tally> {
        let mut of: BTreeMap<&Part, Vec<&Group>> = BTreeMap::new();
        for group in &self.groups {
            let label = group.0.get(label).unwrap_or(&Part::None);
            of.entry(label).or_default().push(group);
        }
        let untold = of.remove_entry(&Part::Others);
        let mut of: Vec<(&Part, Vec<&Group>)> = of.into_iter().collect();
        let events = |groups: &[&Group]| groups.iter().map(|(_, row)| row.events).sum::<u64>();
        of.sort_by_key(|(label, groups)| (Reverse(events(groups)), (*label).clone()));
        let mut others = of.split_off(top.min(of.len()));
        others.extend(untold);
        let tally = |(label, groups): (&Part, Vec<&Group>)| self.tally(text(label), &groups, part);
        let mut tallies: Vec<Tally> = of.into_iter().map(tally).collect();
        if !others.is_empty() {
            let groups: Vec<&Group> = others.into_iter().flat_map(|(_, groups)| groups).collect();
            tallies.push(Tally {
                is_other: true,
                ..self.tally(None, &groups, part)
            });
        }
        tallies
    }

    fn tally(&self, label: Option<String>, groups: &[&Group], part: usize) -> Tally {
        let mut parts: BTreeMap<Part, Row> = BTreeMap::new();
        for (key, row) in groups {
            let part = key.get(part).unwrap_or(&Part::None);
            match parts.get_mut(part) {
                Some(held) => held.merge(row),
                None => {
                    parts.insert(part.clone(), row.clone());
                }
            }
        }
        let whole = merged(parts.values());
        let events = whole.as_ref().map_or(0, |row| row.events);
        Tally {
            label,
            is_other: false,
            parts,
            bucket: Bucket::of_row(self.range, self.what, (whole.as_ref(), self.past)),
            events: i64::try_from(events).unwrap_or(i64::MAX),
        }
    }

    /// How many of some events there were in each so many seconds of the range that are past; none if none are.
    pub(crate) fn per(&self, seconds: f64, events: i64) -> f64 {
        let (events, micros): (f64, f64) = (events.as_(), self.past.as_());
        if self.past > 0 {
            events / (micros / 1_000_000.0 / seconds)
        } else {
            0.0
        }
    }
}

impl Tally {
    /// Events whose other label is among some.
    pub(crate) fn among(&self, is_among: impl Fn(&str) -> bool) -> i64 {
        let parts = self.parts.iter().filter(|(part, _)| match part {
            Part::Text(text) => is_among(text),
            Part::Key(_) | Part::None | Part::Others => false,
        });
        let events: u64 = parts.map(|(_, row)| row.events).sum();
        i64::try_from(events).unwrap_or(i64::MAX)
    }

    /// What is told of the measure.
    pub(crate) fn value(&self, aggregate: Aggregate) -> Option<f64> {
        self.bucket.value(aggregate)
    }
}

fn text(part: &Part) -> Option<String> {
    match part {
        Part::Text(text) => Some(text.clone()),
        Part::Key(_) | Part::None | Part::Others => None,
    }
}
