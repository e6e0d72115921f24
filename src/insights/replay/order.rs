//! In which order facts are told.

use std::cmp::Ordering;

use entity::device_metrics::Column;
use uuid::Uuid;

use super::device_of;
use crate::event::{Fact, Instant};
use crate::kinds::Kind;

/// Facts in order of time, and those of one instant in an order of their own: it does not matter how they came.
#[must_use]
pub fn in_order(facts: &[Fact]) -> Vec<&Fact> {
    let mut facts: Vec<&Fact> = facts.iter().collect();
    facts.sort_by_cached_key(|&fact| key(fact));
    facts
}

/// The same of two facts: which of them is told first.
#[must_use]
pub fn told_before(left: &Fact, right: &Fact) -> Ordering {
    let by_time = left.occurred_at.cmp(&right.occurred_at);
    by_time.then_with(|| key(left).cmp(&key(right)))
}

/// When, what, and by which key a repeat is known.
type Key<'a> = (Instant, usize, Option<Uuid>, Option<&'a str>, Option<i64>);

fn key(fact: &Fact) -> Key<'_> {
    let (at, turn) = (fact.occurred_at, turn(fact.kind));
    if fact.event_id.is_some() {
        return (at, turn, fact.event_id, None, None);
    }
    (
        at,
        turn,
        None,
        device_of(fact),
        fact.cell(Column::Part).int(),
    )
}

/// What others are read by comes before them; what was measured comes before what it led to.
const TURNS: [Kind; 8] = [
    Kind::SiteRegistration,
    Kind::DeviceRegistration,
    Kind::SiteSchedule,
    Kind::DeviceMetrics,
    Kind::ErrorLog,
    Kind::DeviceStateChange,
    Kind::ConfigurationChange,
    Kind::JobOutcome,
];

fn turn(kind: Kind) -> usize {
    let turn = TURNS.iter().position(|of| *of == kind);
    turn.unwrap_or(TURNS.len())
}
