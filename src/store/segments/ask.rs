//! What is asked of the rows of segments, and which segments and groups of rows cannot hold any of it.

use std::collections::HashMap;

use super::Range;
use crate::columnar::Layout;
use crate::event::{Cell, Event, Instant, Position};
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::store::names::Names;
use crate::store::read::{Order, PageQuery, Place, Scope};
use crate::store::rows::{Columns, Reading};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(super) query: PageQuery,
    /// A page for each of some devices or sites, whose keys are in order.
    pub(super) parents: Option<(Operand, Vec<i64>)>,
    pub(super) exactly: Exactly,
    bounds: Bounds,
    /// The instants and devices that are asked for one by one, in order of time.
    by_time: Vec<(i64, i64)>,
}

/// Rows that are asked for one by one.
#[derive(Clone, Debug)]
pub(super) enum Exactly {
    /// None is: all that passes.
    Any,
    /// Those at some positions, which are in order.
    Positions(Vec<i64>),
    /// Those of some devices at some instants, which are in order.
    Readings(Vec<(i64, i64)>),
    /// Some parts of the readings of some devices at some instants, which are in order.
    Parts(Vec<[i64; 3]>),
}

/// Outside of which nothing is asked for. Both ends are inside.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) times: (i64, i64),
    pub(super) positions: (i64, i64),
    /// Keys in order; `None` for whatever device.
    pub(super) devices: Option<Vec<i64>>,
}

const ALL: (i64, i64) = (i64::MIN, i64::MAX);

/// The key under which rows are found when they are asked for no parent.
pub(crate) const NO_PARENT: i64 = 0;

impl Ask {
    /// A page.
    pub(crate) fn page(query: &PageQuery) -> Self {
        Self::new(query, None, Exactly::Any)
    }

    /// The same page for each of some devices or sites.
    pub(crate) fn pages(query: &PageQuery, (parent, keys): (Operand, &[i64])) -> Self {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        Self::new(query, Some((parent, keys)), Exactly::Any)
    }

    /// The events of a kind from a position up to another.
    pub(crate) fn slice(kind: (Kind, Columns), (from, upto): (i64, i64)) -> Self {
        let place = |position| Place {
            occurred_at: Instant::OLDEST,
            position: Position(position),
        };
        Self::page(&PageQuery {
            after: Some(place(from - 1)),
            before: Some(place(upto + 1)),
            ..PageQuery::all_of(kind.0, kind.1)
        })
    }

    /// The events at some positions.
    pub(crate) fn at(query: &PageQuery, mut positions: Vec<i64>) -> Self {
        positions.sort_unstable();
        Self::new(query, None, Exactly::Positions(positions))
    }

    /// The events of some devices at some instants.
    pub(crate) fn together(query: &PageQuery, mut readings: Vec<(i64, i64)>) -> Self {
        readings.sort_unstable();
        Self::new(query, None, Exactly::Readings(readings))
    }

    /// Some parts of the readings of some devices at some instants.
    pub(crate) fn parts(query: &PageQuery, mut parts: Vec<[i64; 3]>) -> Self {
        parts.sort_unstable();
        Self::new(query, None, Exactly::Parts(parts))
    }

    fn new(query: &PageQuery, parents: Option<(Operand, Vec<i64>)>, exactly: Exactly) -> Self {
        let bounds = Bounds::of(query, parents.as_ref());
        let mut by_time: Vec<(i64, i64)> = match &exactly {
            Exactly::Any | Exactly::Positions(_) => Vec::new(),
            Exactly::Readings(readings) => readings.iter().map(|(of, at)| (*at, *of)).collect(),
            Exactly::Parts(parts) => parts.iter().map(|[of, at, _]| (*at, *of)).collect(),
        };
        by_time.sort_unstable();
        Self {
            query: query.clone(),
            parents,
            exactly,
            bounds,
            by_time,
        }
    }

    /// Whether something that is asked for may lie within these. What is asked for one by one is looked for one
    /// by one: of two readings that lie far apart, what lies between is not asked for.
    pub(crate) fn meets(&self, range: &Range) -> bool {
        self.bounds.meet(range)
            && match &self.exactly {
                Exactly::Any => true,
                Exactly::Positions(positions) => {
                    let (first, last) = range.positions;
                    let from = positions.partition_point(|position| *position < first);
                    positions
                        .get(from)
                        .is_some_and(|position| *position <= last)
                }
                Exactly::Readings(_) | Exactly::Parts(_) => self.reads_within(range),
            }
    }

    fn reads_within(&self, range: &Range) -> bool {
        let (first, last) = range.times;
        let from = self.by_time.partition_point(|(at, _)| *at < first);
        let readings = self.by_time.iter().skip(from);
        let mut within = readings.take_while(|(at, _)| *at <= last);
        within.any(|(_, device)| {
            let devices = range.devices;
            devices.is_none_or(|(least, greatest)| (least..=greatest).contains(device))
        })
    }

    /// The kind that is asked for.
    pub(crate) const fn kind(&self) -> Kind {
        self.query.kind
    }

    /// What of its events is asked for.
    pub(crate) const fn columns(&self) -> Columns {
        self.query.columns
    }

    /// Whether what is derived is derived in them.
    pub(crate) const fn reading(&self) -> Reading {
        self.query.reading()
    }

    /// In which order.
    pub(crate) const fn order(&self) -> Order {
        self.query.order
    }

    /// How many at most.
    pub(crate) const fn limit(&self) -> usize {
        self.query.limit
    }

    /// The first and the last instant outside of which nothing is asked for.
    pub(crate) const fn times(&self) -> (i64, i64) {
        self.bounds.times
    }

    /// The columns that tell whether a row is asked for.
    pub(super) fn slots(&self, layout: &Layout) -> Vec<usize> {
        let mut slots = vec![Layout::POSITION, Layout::OCCURRED_AT];
        named(&self.query.filter, layout, &mut slots);
        if let Some((parent, _)) = &self.parents {
            slots.extend(slots_of(*parent, layout));
        }
        let is_by_device = matches!(self.exactly, Exactly::Readings(_) | Exactly::Parts(_));
        if is_by_device || self.is_of_changes() {
            slots.extend(layout.device());
        }
        if matches!(self.exactly, Exactly::Parts(_)) {
            slots.extend(layout.part());
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Whether a place is between those after and before which is asked.
    pub(super) fn is_within(&self, place: &Place) -> bool {
        let query = &self.query;
        let order = |of: &Place| query.order.compare(place, of);
        query.upto.is_none_or(|upto| place.position <= upto)
            && query.after.is_none_or(|after| order(&after).is_gt())
            && query.before.is_none_or(|before| order(&before).is_lt())
    }

    /// Whether only those rows are asked for that are not like the one before: what that one says is not in the file,
    /// since it may come late.
    pub(super) fn is_of_changes(&self) -> bool {
        self.query.scope == Scope::Changes && self.query.kind.spec().derived.is_some()
    }

    /// Whether every row passes that is between those places.
    pub(super) fn is_plain(&self) -> bool {
        self.query.filter.is_all() && self.parents.is_none()
    }

    /// The parent under which an event is asked for; `None` when it is not.
    pub(super) fn key_of(&self, event: &Event, names: &Names) -> Option<i64> {
        let site_of = |device: i64, at: Instant| names.site_of_device_at(device, at);
        if !self.query.filter.passes(event, &site_of) {
            return None;
        }
        let Some((parent, keys)) = &self.parents else {
            return Some(NO_PARENT);
        };
        let key = parent.of(event, &site_of).int()?;
        keys.binary_search(&key).is_ok().then_some(key)
    }

    /// Whether all rows of a segment are asked for, so that they need not be looked at to be counted.
    pub(super) fn has_all_of(&self, times: (i64, i64), positions: (i64, i64)) -> bool {
        let place = |at, position| Place {
            occurred_at: Instant(at),
            position: Position(position),
        };
        // in either order every row lies between these
        let ends = [place(times.0, positions.0), place(times.1, positions.1)];
        self.is_plain()
            && !self.is_of_changes()
            && matches!(self.exactly, Exactly::Any)
            && ends.iter().all(|end| self.is_within(end))
    }
}

/// Columns that a condition looks at.
fn slots_of(operand: Operand, layout: &Layout) -> Vec<usize> {
    let spec = layout.kind.spec();
    let field = |index: Option<usize>| index.map(|index| Layout::FIELDS + index);
    match operand {
        Operand::Envelope(Envelope::OccurredAt) => vec![Layout::OCCURRED_AT],
        Operand::Envelope(Envelope::RecordedAt) => vec![Layout::RECORDED_AT],
        Operand::Envelope(Envelope::Provenance) => vec![Layout::PROVENANCE],
        Operand::Envelope(Envelope::Position) => vec![Layout::POSITION],
        Operand::Field(index) => vec![Layout::FIELDS + index],
        Operand::Device => field(spec.device_index()).into_iter().collect(),
        Operand::Site => {
            let device = field(spec.device_index()).into_iter();
            device.chain(field(spec.site_index())).collect()
        }
    }
}

fn named(filter: &Filter, layout: &Layout, slots: &mut Vec<usize>) {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => {
            for filter in filters {
                named(filter, layout, slots);
            }
        }
        Filter::Not(filter) => named(filter, layout, slots),
        Filter::Is(operand, _) => slots.extend(slots_of(*operand, layout)),
    }
}

impl Bounds {
    fn of(query: &PageQuery, parents: Option<&(Operand, Vec<i64>)>) -> Self {
        let mut bounds = Self {
            times: ALL,
            positions: ALL,
            devices: None,
        };
        if let Some((Operand::Device, keys)) = parents {
            bounds.devices = Some(keys.clone());
        }
        bounds.narrow(&query.filter);
        bounds.between(query);
        bounds
    }

    /// By the places after and before which is asked.
    fn between(&mut self, query: &PageQuery) {
        if let Some(upto) = query.upto {
            self.positions.1 = self.positions.1.min(upto.0);
        }
        let is_ascending = matches!(query.order, Order::OldestFirst | Order::FirstRecordedFirst);
        let (from, to) = if is_ascending {
            (query.after, query.before)
        } else {
            (query.before, query.after)
        };
        let number = |place: Place| {
            if query.order.by_time() {
                place.occurred_at.0
            } else {
                place.position.0
            }
        };
        let bound = if query.order.by_time() {
            &mut self.times
        } else {
            &mut self.positions
        };
        bound.0 = from.map_or(bound.0, |place| bound.0.max(number(place)));
        bound.1 = to.map_or(bound.1, |place| bound.1.min(number(place)));
    }

    /// By the conditions that every row must meet.
    fn narrow(&mut self, filter: &Filter) {
        match filter {
            Filter::And(filters) => {
                for filter in filters {
                    self.narrow(filter);
                }
            }
            Filter::Is(Operand::Envelope(Envelope::OccurredAt), operator) => {
                narrow(&mut self.times, operator);
            }
            Filter::Is(Operand::Envelope(Envelope::Position), operator) => {
                narrow(&mut self.positions, operator);
            }
            Filter::Is(Operand::Device, Operator::In(cells)) if self.devices.is_none() => {
                let mut keys: Vec<i64> = cells.iter().filter_map(Cell::int).collect();
                keys.sort_unstable();
                self.devices = Some(keys);
            }
            Filter::Is(..) | Filter::Or(_) | Filter::Not(_) => {}
        }
    }

    /// Whether there may be something within these; devices are unknown where some row has none.
    pub(super) fn meet(&self, range: &Range) -> bool {
        let overlap = |left: (i64, i64), right: (i64, i64)| left.0 <= right.1 && right.0 <= left.1;
        let has_device = match (&self.devices, range.devices) {
            (Some(keys), Some((least, greatest))) => {
                let from = keys.partition_point(|key| *key < least);
                keys.get(from).is_some_and(|key| *key <= greatest)
            }
            _ => true,
        };
        overlap(self.times, range.times) && overlap(self.positions, range.positions) && has_device
    }
}

fn narrow(bound: &mut (i64, i64), operator: &Operator) {
    match operator {
        Operator::AtLeast(cell) | Operator::Greater(cell) => {
            bound.0 = cell.int().map_or(bound.0, |least| bound.0.max(least));
        }
        Operator::AtMost(cell) | Operator::Less(cell) => {
            bound.1 = cell.int().map_or(bound.1, |most| bound.1.min(most));
        }
        Operator::In(cells) => {
            let numbers = || cells.iter().filter_map(Cell::int);
            if let Some((least, most)) = numbers().min().zip(numbers().max()) {
                *bound = (bound.0.max(least), bound.1.min(most));
            }
        }
        Operator::StartsWith(_) | Operator::Contains(_) | Operator::IsNull => {}
    }
}

/// A row that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The segment by its id, the group of rows in it, and the row in that.
    pub(super) row: (i64, usize, usize),
}

/// The first rows in an order, of all that are offered.
#[derive(Clone, Debug)]
pub(super) struct Best {
    order: Order,
    limit: usize,
    found: Vec<Found>,
    /// The last one, once there are as many as are wanted.
    last: Option<Place>,
}

impl Best {
    pub(super) const fn new(order: Order, limit: usize) -> Self {
        Self {
            order,
            limit,
            found: Vec::new(),
            last: None,
        }
    }

    /// Whether a place may be among the first.
    pub(super) fn wants(&self, place: &Place) -> bool {
        let last = self.last.as_ref();
        last.is_none_or(|last| self.order.compare(place, last).is_lt())
    }

    pub(super) fn offer(&mut self, found: Found) {
        if self.wants(&found.place) {
            self.found.push(found);
            if self.found.len() >= self.limit.saturating_mul(2).max(1_024) {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        let order = self.order;
        self.found
            .sort_unstable_by(|left, right| order.compare(&left.place, &right.place));
        self.found.truncate(self.limit);
        if self.found.len() == self.limit {
            self.last = self.found.last().map(|found| found.place);
        }
    }

    /// The first rows, in order.
    pub(super) fn rows(mut self) -> Vec<Found> {
        self.settle();
        self.found
    }
}

/// The first rows for each parent, or how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Hits {
    pub(super) best: HashMap<i64, Best>,
    pub(super) counts: HashMap<i64, i64>,
}
