//! Series: what is read, made into buckets of measures and filled.

use std::sync::Arc;

use num_traits::{AsPrimitive, ToPrimitive};
use sha2::{Digest as _, Sha256};

use super::question::{Question, Rows};
use crate::kinds::Form;
use crate::rollups::cell::Cell;
use crate::rollups::packed::Row;
use crate::rollups::value::number_of;

/// What is told of the values of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregate {
    /// How many there are.
    Count,
    /// Their sum; of a gauge.
    Sum,
    /// Their mean; of a gauge.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The first by time.
    First,
    /// The last by time.
    Last,
    /// Their standard deviation, as of all that there are; of a gauge.
    Stddev,
    /// By how much a counter grew.
    Increase,
    /// By how much a counter grew in a second.
    Rate,
    /// A percentile, from 0 to 100; of a gauge.
    Percentile(f64),
}

/// What is told of a bucket, beside when it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    /// When it ends.
    End,
    /// How many events there were.
    Events,
    /// Whether it is filled in.
    IsFilled,
    /// What its values come to.
    Of(Aggregate),
    /// How they are distributed: any percentile.
    Percentiles,
    /// How many were expected.
    Expected,
    /// How much of that has come.
    Coverage,
}

/// What values of a bucket come to, beside percentiles.
pub(super) const TOLD: [Aggregate; 10] = [
    Aggregate::Count,
    Aggregate::Sum,
    Aggregate::Avg,
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::First,
    Aggregate::Last,
    Aggregate::Stddev,
    Aggregate::Increase,
    Aggregate::Rate,
];
/// Bytes of what is told of a bucket, without how values are distributed.
const DIGESTED_BYTES: usize = 128;

/// What stands in buckets in which nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fill {
    /// There are no such buckets.
    None,
    /// Nothing.
    #[default]
    Null,
    /// Zero.
    Zero,
    /// What stood in the one before.
    Previous,
    /// What lies between those before and after.
    Linear,
}

/// What of an event is asked for: a measure by its place and what it is, or the event itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// How many there are.
    Events,
    /// One of its measures, by its place among those that were read.
    Measure(usize, Form),
}

impl What {
    /// Whether a row says anything of it.
    pub(crate) fn is_said(self, row: &Row) -> bool {
        said(self, Some(row)).is_some()
    }
}

#[derive(Clone, Debug)]
enum Content {
    Null,
    Zero,
    Row(Arc<Row>),
    /// Between two buckets, so far from the first as a part of the way.
    Between(Of, Of, f64),
}

/// What was said in another bucket, and how many seconds of it were asked for and are past.
type Of = (Arc<Row>, f64);

/// One bucket of a series.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Its place among all, those too that are left out.
    pub(crate) index: usize,
    /// From then until just before the other: microseconds since 1970, UTC.
    pub(crate) start: i64,
    pub(crate) end: i64,
    what: What,
    /// What of it was asked for and is past, in seconds.
    seconds: f64,
    /// How many values were expected in it, if that was asked for.
    pub(crate) expected: Option<f64>,
    content: Content,
}

impl Bucket {
    /// All that a row says, over so many microseconds that are past.
    pub(crate) fn of_row(
        (start, end): (i64, i64),
        what: What,
        (row, micros): (Option<&Row>, i64),
    ) -> Self {
        let content =
            said(what, row).map_or(Content::Null, |row| Content::Row(Arc::new(row.clone())));
        Self::of_content((start, end), (what, content), micros)
    }

    fn of_content((start, end): (i64, i64), (what, content): (What, Content), micros: i64) -> Self {
        let micros: f64 = micros.as_();
        Self {
            index: 0,
            start,
            end,
            what,
            seconds: micros / 1_000_000.0,
            expected: None,
            content,
        }
    }

    /// How many values there were, none of them filled in.
    pub(crate) fn count(&self) -> i64 {
        let count = self.value(Aggregate::Count).filter(|_| self.is_said());
        count.and_then(|count| count.to_i64()).unwrap_or_default()
    }

    /// How much of what was expected has come: 1 is all of it. Nothing where nothing was expected. What came in parts
    /// is expected once.
    pub(crate) fn coverage(&self) -> Option<f64> {
        let expected = self.expected.filter(|expected| *expected > 0.0)?;
        let received: f64 = match (&self.content, self.what) {
            (Content::Row(row), What::Events) => row.readings().as_(),
            _ => self.count().as_(),
        };
        Some(received / expected)
    }

    /// Adds some of what is told of it to a digest, so that one who follows that learns whether it has changed.
    pub(crate) fn digest(&self, parts: &[Part], digest: &mut Sha256) {
        let mut bytes = Vec::with_capacity(DIGESTED_BYTES);
        let number = |value: Option<f64>| value.unwrap_or(f64::NAN).to_bits().to_be_bytes();
        bytes.extend(self.start.to_be_bytes());
        for part in parts {
            match part {
                Part::End => bytes.extend(self.end.to_be_bytes()),
                Part::Events => bytes.extend(self.events().to_be_bytes()),
                Part::IsFilled => bytes.push(self.is_said().into()),
                Part::Of(aggregate) => bytes.extend(number(self.value(*aggregate))),
                Part::Percentiles => self.push_sketches(&mut bytes),
                Part::Expected => bytes.extend(number(self.expected)),
                Part::Coverage => bytes.extend(number(self.coverage())),
            }
        }
        digest.update(bytes);
    }

    fn push_sketches(&self, bytes: &mut Vec<u8>) {
        match &self.content {
            Content::Row(row) => self.push_sketch(row, bytes),
            Content::Between((before, _), (after, _), way) => {
                self.push_sketch(before, bytes);
                self.push_sketch(after, bytes);
                bytes.extend(way.to_bits().to_be_bytes());
            }
            Content::Null | Content::Zero => {}
        }
    }

    fn push_sketch(&self, row: &Row, bytes: &mut Vec<u8>) {
        if let What::Measure(slot, Form::Gauge) = self.what
            && let Some(Some(cell)) = row.cells.get(slot)
        {
            cell.sketch.push(bytes);
        }
    }

    /// How many events there were.
    pub(crate) fn events(&self) -> u64 {
        match &self.content {
            Content::Row(row) => row.events,
            Content::Null | Content::Zero | Content::Between(..) => 0,
        }
    }

    /// Whether what stands here was said, not filled in.
    pub(crate) const fn is_said(&self) -> bool {
        matches!(self.content, Content::Row(_))
    }

    /// What is told of its values; nothing where there are none, or where it makes no sense for the measure.
    pub(crate) fn value(&self, aggregate: Aggregate) -> Option<f64> {
        match &self.content {
            Content::Null => None,
            Content::Zero => makes_sense(self.what, aggregate).then_some(0.0),
            Content::Row(row) => self.of((&**row, self.seconds), aggregate),
            Content::Between(before, after, way) => {
                let of = |(row, seconds): &Of| self.of((&**row, *seconds), aggregate);
                let (before, after) = (of(before)?, of(after)?);
                Some(before + (after - before) * way)
            }
        }
    }

    fn of(&self, (row, seconds): (&Row, f64), aggregate: Aggregate) -> Option<f64> {
        if !makes_sense(self.what, aggregate) {
            return None;
        }
        let What::Measure(slot, _) = self.what else {
            let events: f64 = row.events.as_();
            let is_rate = aggregate == Aggregate::Rate;
            return if is_rate {
                rate(events, seconds)
            } else {
                Some(events)
            };
        };
        let cell = row.cells.get(slot)?.as_ref()?;
        of_cell((cell, seconds), aggregate)
    }
}

fn of_cell((cell, seconds): (&Cell, f64), aggregate: Aggregate) -> Option<f64> {
    match aggregate {
        Aggregate::Count => Some(cell.count.as_()),
        Aggregate::Sum => Some(cell.sum()),
        Aggregate::Avg => Some(cell.mean()),
        Aggregate::Min => Some(cell.least.number()),
        Aggregate::Max => Some(cell.greatest.number()),
        Aggregate::First => Some(cell.first.value.number()),
        Aggregate::Last => Some(cell.last.value.number()),
        Aggregate::Stddev => cell.deviation(),
        Aggregate::Increase => Some(number_of(cell.increase)),
        Aggregate::Rate => rate(number_of(cell.increase), seconds),
        Aggregate::Percentile(percentile) => cell.percentile(percentile),
    }
}

/// So much in each second; nothing where none is past.
fn rate(increase: f64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| increase / seconds)
}

/// Whether an aggregate says anything of a measure.
pub(crate) const fn makes_sense(what: What, aggregate: Aggregate) -> bool {
    match (what, aggregate) {
        (_, Aggregate::Count) => true,
        (What::Events, Aggregate::Increase | Aggregate::Rate | Aggregate::Sum) => true,
        (What::Events, _) => false,
        (What::Measure(_, Form::Gauge), Aggregate::Increase | Aggregate::Rate) => false,
        (What::Measure(_, Form::Gauge), _) => true,
        (
            What::Measure(_, Form::Counter),
            Aggregate::Sum | Aggregate::Avg | Aggregate::Stddev | Aggregate::Percentile(_),
        ) => false,
        (What::Measure(_, Form::Counter), _) => true,
    }
}

/// Whether what parts come to adds up to what all of them come to.
pub(crate) const fn adds_up(aggregate: Aggregate) -> bool {
    match aggregate {
        Aggregate::Count | Aggregate::Sum | Aggregate::Increase | Aggregate::Rate => true,
        Aggregate::Avg | Aggregate::Min | Aggregate::Max | Aggregate::First => false,
        Aggregate::Last | Aggregate::Stddev | Aggregate::Percentile(_) => false,
    }
}

/// By what groups are ranked unless it is said: what they come to, or how high they are.
pub(crate) const fn usual_rank(what: What) -> Aggregate {
    match what {
        What::Events => Aggregate::Count,
        What::Measure(_, Form::Counter) => Aggregate::Increase,
        What::Measure(_, Form::Gauge) => Aggregate::Avg,
    }
}

/// How rows are cut into buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a>(pub(crate) &'a Question);

impl Cut<'_> {
    /// The buckets of a group, filled.
    pub(crate) fn buckets(self, what: What, rows: &[Option<Arc<Row>>], fill: Fill) -> Vec<Bucket> {
        let told = |row: &Option<Arc<Row>>| row.clone().filter(|row| what.is_said(row));
        let rows: Rows = rows.iter().map(told).collect();
        let (mut before, mut buckets) = (None::<usize>, Vec::with_capacity(rows.len()));
        // the next of each that was said
        let mut after: Vec<Option<usize>> = vec![None; rows.len()];
        let mut next = None;
        for (index, row) in rows.iter().enumerate().rev() {
            if let Some(place) = after.get_mut(index) {
                *place = next;
            }
            next = row.as_ref().map(|_| index).or(next);
        }
        for (index, pair) in self.0.ends.windows(2).enumerate() {
            let [start, end] = *pair else { continue };
            let row = |index: Option<usize>| {
                let row = rows.get(index?)?.clone()?;
                Some((row, self.seconds(index?)))
            };
            let said = rows.get(index).cloned().flatten();
            let next = after.get(index).copied().flatten();
            let content = match (said, fill) {
                (Some(row), _) => {
                    before = Some(index);
                    Content::Row(row)
                }
                (None, Fill::None) => continue,
                (None, Fill::Null) => Content::Null,
                (None, Fill::Zero) => Content::Zero,
                (None, Fill::Previous) => {
                    row(before).map_or(Content::Null, |of| Content::Between(of.clone(), of, 0.0))
                }
                (None, Fill::Linear) => match (row(before), row(next)) {
                    (Some(left), Some(right)) => {
                        Content::Between(left, right, self.way(before, index, next))
                    }
                    _ => Content::Null,
                },
            };
            buckets.push(self.bucket((index, start, end), what, content));
        }
        buckets
    }

    /// How far the middle of a bucket is on the way from that of one to that of another.
    fn way(self, before: Option<usize>, index: usize, next: Option<usize>) -> f64 {
        let middle = |index: Option<usize>| {
            let index = index?;
            let (start, end) = (self.0.ends.get(index)?, self.0.ends.get(index + 1)?);
            let (start, end): (f64, f64) = (start.as_(), end.as_());
            Some(f64::midpoint(start, end))
        };
        let middles = (middle(before), middle(Some(index)), middle(next));
        match middles {
            (Some(from), Some(at), Some(to)) if to > from => (at - from) / (to - from),
            _ => 0.0,
        }
    }

    /// How many seconds of a bucket are asked for and past.
    fn seconds(self, index: usize) -> f64 {
        let end = |index: usize| self.0.ends.get(index).copied().unwrap_or_default();
        let micros: f64 = self.0.past((end(index), end(index + 1))).as_();
        micros / 1_000_000.0
    }

    fn bucket(
        self,
        (index, start, end): (usize, i64, i64),
        what: What,
        content: Content,
    ) -> Bucket {
        Bucket {
            index,
            start,
            end,
            what,
            seconds: self.seconds(index),
            expected: None,
            content,
        }
    }

    /// All of a group as one bucket.
    pub(crate) fn whole(self, what: What, rows: &[Option<Arc<Row>>]) -> Bucket {
        let whole = merged(rows.iter().flatten().map(|row| &**row));
        let whole = whole.filter(|whole| what.is_said(whole));
        let content = whole.map_or(Content::Null, |whole| Content::Row(Arc::new(whole)));
        let range = self.0.range;
        Bucket::of_content(range, (what, content), self.0.past(range))
    }
}

/// A row, if it says anything of what is asked for.
fn said(what: What, row: Option<&Row>) -> Option<&Row> {
    let row = row?;
    match what {
        What::Events => (row.events > 0).then_some(row),
        What::Measure(slot, _) => row.cells.get(slot)?.as_ref().map(|_| row),
    }
}

/// Rows as one.
pub(crate) fn merged<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<Row> {
    let mut merged: Option<Row> = None;
    for row in rows {
        match &mut merged {
            Some(held) => held.merge(row),
            None => merged = Some(row.clone()),
        }
    }
    merged
}
