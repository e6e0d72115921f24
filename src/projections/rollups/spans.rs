//! What counters showed where events were deleted for good, as far as rows tell: each says what a counter showed
//! first and last, and that what was between them is summed up.
//!
//! So it is known exactly from where a counter goes on behind what was deleted. A reading that comes late for a
//! time of which nothing but rows is left is taken to be between those that they tell; within a row it changes
//! nothing, as if the counter had not fallen there.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use sea_orm::ConnectionTrait;

use super::counters::{Shown, Step, Whose};
use super::gather::merge_packed;
use super::tables::{DEVICE_QUARTERS, Key};
use crate::kinds::Form;
use crate::rollups::cell::At;
use crate::rollups::days::day_of;
use crate::rollups::packed::Row;
use crate::rollups::shape::Shape;
use crate::rollups::sketch::Room;
use crate::rollups::value::Value;
use crate::store::StoreError;

/// What a counter showed first and last in a row.
#[derive(Clone, Debug, PartialEq)]
struct Span {
    key: Key,
    first: Shown,
    last: Shown,
}

/// What the counters of a device showed, in order of time.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<Whose, Vec<Span>>);

/// How one counter's growth changes in which rows.
type Changes = Vec<(Key, i128)>;

impl Spans {
    /// As the rows of some devices tell that begin within some time.
    pub(super) async fn of(
        db: &impl ConnectionTrait,
        shape: &Shape,
        devices: &[i64],
        (from, until): (i64, i64),
    ) -> Result<Self, StoreError> {
        let mut spans = Self::default();
        if from >= until || !shape.forms.contains(&Form::Counter) {
            return Ok(spans);
        }
        let (of, mut room) = ((shape.kind.code(), devices), Room::default());
        for (key, packed) in DEVICE_QUARTERS.of_each(db, of, (from, until)).await? {
            let mut row = Row::new(shape.forms.len());
            merge_packed(&mut row, shape, (&key, &packed), &mut room)?;
            for (measure, (cell, form)) in row.cells.iter().zip(&shape.forms).enumerate() {
                let Some(cell) = cell.as_ref().filter(|_| *form == Form::Counter) else {
                    continue;
                };
                if let Some((first, last)) = shown(&key, cell.first).zip(shown(&key, cell.last)) {
                    let whose = (key.owner, key.provenance, measure);
                    let key = key.clone();
                    let span = Span { key, first, last };
                    spans.0.entry(whose).or_default().push(span);
                }
            }
        }
        for spans in spans.0.values_mut() {
            spans.sort_by_key(|span| span.first.order());
        }
        Ok(spans)
    }

    /// What each counter showed last before an instant.
    pub(super) fn before(self, at: i64) -> impl Iterator<Item = (Whose, Shown)> {
        self.0.into_iter().filter_map(move |(whose, spans)| {
            let shown = spans.into_iter().flat_map(|span| [span.first, span.last]);
            let before = shown.filter(|shown| shown.at < at);
            Some((whose, before.max_by_key(Shown::order)?))
        })
    }

    /// Puts what a counter showed between what is known, and answers what that changes.
    pub(super) fn insert(&mut self, whose: Whose, step: &Step) -> Changes {
        let spans = self.0.entry(whose).or_default();
        let shown = &step.shown;
        let next = spans.partition_point(|span| span.first.order() <= shown.order());
        let before = next.checked_sub(1).and_then(|index| spans.get(index));
        let before = before.map(|span| &span.last);
        if before.is_some_and(|before| before.order() > shown.order()) {
            return Changes::new();
        }
        let mut changes = vec![(step.key.clone(), grew(before, shown, step.zone))];
        if let Some(after) = spans.get(next) {
            let held = grew(before, &after.first, step.zone);
            let more = grew(Some(shown), &after.first, step.zone) - held;
            changes.push((after.key.clone(), more));
        }
        let span = Span {
            key: step.key.clone(),
            first: shown.clone(),
            last: shown.clone(),
        };
        spans.insert(next, span);
        changes
    }
}

fn shown(key: &Key, at: At) -> Option<Shown> {
    let Value::Decimal(units) = at.value else {
        return None;
    };
    Some(Shown {
        at: at.at,
        units,
        currency: key.currency.clone(),
    })
}

/// By how much a counter grew from what it showed to what it showed next.
fn grew(before: Option<&Shown>, to: &Shown, zone: Tz) -> i128 {
    let (begin, _) = day_of(to.at, zone);
    to.grown_since(before, begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;
    const WHOSE: Whose = (1, 0, 0);

    fn key(minute: i64) -> Key {
        Key {
            owner: 1,
            provenance: 0,
            bucket: DEVICE_QUARTERS.bucket(minute * MINUTE),
            site: 1,
            currency: String::new(),
            labels: String::new(),
        }
    }

    fn shown(minute: i64, units: i64) -> Shown {
        Shown {
            at: minute * MINUTE,
            units,
            currency: String::new(),
        }
    }

    fn span(first: (i64, i64), last: (i64, i64)) -> Span {
        Span {
            key: key(first.0),
            first: shown(first.0, first.1),
            last: shown(last.0, last.1),
        }
    }

    #[test]
    fn what_comes_late_is_parted_from_what_is_known_after_it() {
        let known = vec![span((1, 10), (9, 20)), span((40, 70), (44, 75))];
        let mut spans = Spans(BTreeMap::from([(WHOSE, known)]));
        let mut insert = |minute, units| {
            let step = Step {
                shown: shown(minute, units),
                zone: Tz::UTC,
                key: key(minute),
            };
            let changes = spans.insert(WHOSE, &step).into_iter();
            let changes: Vec<(i64, i128)> = changes
                .map(|(key, more)| (key.bucket / MINUTE, more))
                .collect();
            changes
        };
        // within a row it is known already that it grew
        assert_eq!(insert(5, 15), []);
        // between two rows, the later one grew by so much less
        assert_eq!(insert(20, 50), [(15, 30), (30, -30)]);
        assert_eq!(insert(22, 60), [(15, 10), (30, -10)]);
        // before all
        assert_eq!(insert(0, 4), [(0, 4), (0, -4)]);
        // behind all
        assert_eq!(insert(59, 80), [(45, 5)]);
        // in the midst of a row it is known what was shown first in it
        for (minute, before) in [(5, shown(1, 10)), (10, shown(9, 20)), (60, shown(59, 80))] {
            let spans = Spans(spans.0.clone());
            let before = vec![(WHOSE, before)];
            assert_eq!(spans.before(minute * MINUTE).collect::<Vec<_>>(), before);
        }
    }
}
