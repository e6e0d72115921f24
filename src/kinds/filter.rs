//! What to look for: a tree of conditions that reads the same on an event in memory and on a table.
//!
//! A condition on an absent value is false, and `not` is plain negation; the tables' three-valued
//! logic never shows.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::event::{Cell, Event, Instant};

/// A field that all kinds have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// When it happened.
    OccurredAt,
    /// When it was appended.
    RecordedAt,
    /// Where it comes from, by its code.
    Provenance,
    /// Its place.
    Position,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A field of the envelope.
    Envelope(Envelope),
    /// A field of the kind, by its index.
    Field(usize),
    /// The device that the event names.
    Device,
    /// The site that the event names, or else at which its device was registered when it happened.
    Site,
}

/// What a condition asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// Is one of these.
    In(Vec<Cell>),
    /// Is less than this.
    Less(Cell),
    /// Is this or less.
    AtMost(Cell),
    /// Is greater than this.
    Greater(Cell),
    /// Is this or greater.
    AtLeast(Cell),
    /// Begins with this text.
    StartsWith(Arc<str>),
    /// Has this text in it, letters of either case.
    Contains(Arc<str>),
    /// Is absent.
    IsNull,
}

/// A tree of conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these; nothing in it is true.
    And(Vec<Filter>),
    /// One of these at least; nothing in it is false.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// A condition.
    Is(Operand, Operator),
}

impl Default for Filter {
    fn default() -> Self {
        Self::And(Vec::new())
    }
}

/// At which site a device, by its key, was registered at an instant.
pub(crate) type SiteOf<'a> = &'a dyn Fn(i64, Instant) -> Option<i64>;

impl Filter {
    /// Whether everything passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self, Self::And(all) if all.is_empty())
    }

    /// This and another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (all, other) if all.is_all() => other,
            (this, all) if all.is_all() => this,
            (Self::And(mut list), other) => {
                list.push(other);
                Self::And(list)
            }
            (this, other) => Self::And(vec![this, other]),
        }
    }

    /// Whether an event passes. `site_of` tells at which site a device, by its key, was
    /// registered at an instant.
    pub fn passes(&self, event: &Event, site_of: SiteOf<'_>) -> bool {
        match self {
            Self::And(filters) => filters.iter().all(|filter| filter.passes(event, site_of)),
            Self::Or(filters) => filters.iter().any(|filter| filter.passes(event, site_of)),
            Self::Not(filter) => !filter.passes(event, site_of),
            Self::Is(operand, operator) => operator.holds(&operand.of(event, site_of)),
        }
    }
}

impl Operand {
    /// What it is of an event.
    pub(crate) fn of(self, event: &Event, site_of: SiteOf<'_>) -> Cell {
        let fact = &event.fact;
        let cell = |index: usize| fact.cells.get(index).cloned().unwrap_or_default();
        match self {
            Self::Envelope(Envelope::OccurredAt) => Cell::Int(fact.occurred_at.0),
            Self::Envelope(Envelope::RecordedAt) => Cell::Int(event.recorded_at.0),
            Self::Envelope(Envelope::Provenance) => Cell::Int(fact.provenance.code()),
            Self::Envelope(Envelope::Position) => Cell::Int(event.position.0),
            Self::Field(index) => cell(index),
            Self::Device => fact.spec().device_index().map(cell).unwrap_or_default(),
            Self::Site => match fact.spec().site_index().map(cell).unwrap_or_default() {
                Cell::Null => {
                    let device = fact.spec().device_index().map(cell).unwrap_or_default();
                    let at = fact.occurred_at;
                    let site = device.int().and_then(|device| site_of(device, at));
                    site.into()
                }
                site @ (Cell::Reference(_) | Cell::Int(_) | Cell::Float(_)) => site,
                site @ (Cell::Text(_) | Cell::Json(_)) => site,
            },
        }
    }
}

impl Operator {
    fn holds(&self, cell: &Cell) -> bool {
        let is = |wanted: &Cell, ordering: &[Ordering]| {
            compare(cell, wanted).is_some_and(|found| ordering.contains(&found))
        };
        match self {
            Self::In(wanted) => wanted.iter().any(|one| is(one, &[Ordering::Equal])),
            Self::Less(bound) => is(bound, &[Ordering::Less]),
            Self::AtMost(bound) => is(bound, &[Ordering::Less, Ordering::Equal]),
            Self::Greater(bound) => is(bound, &[Ordering::Greater]),
            Self::AtLeast(bound) => is(bound, &[Ordering::Greater, Ordering::Equal]),
            Self::StartsWith(start) => cell.text().is_some_and(|text| text.starts_with(&**start)),
            Self::Contains(part) => cell.text().is_some_and(|text| {
                text.to_ascii_lowercase()
                    .contains(&part.to_ascii_lowercase())
            }),
            Self::IsNull => cell.is_null(),
        }
    }
}

/// Order of two values of one type; `None` when one is absent or they are not comparable.
fn compare(left: &Cell, right: &Cell) -> Option<Ordering> {
    match (left, right) {
        (Cell::Float(left), Cell::Float(right)) => left.partial_cmp(right),
        (Cell::Text(left), Cell::Text(right)) => Some(left.cmp(right)),
        (left, right) => Some(left.int()?.cmp(&right.int()?)),
    }
}
