//! Finds events in segments, and reads them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};

use sea_orm::ConnectionTrait;

use super::ask::{Ask, Best, Found, Hits};
use super::scan::Want;
use super::{Catalog, Range, Ranges, Segment, Segments};
use crate::columnar::Layout;
use crate::event::{Cell, Event, Instant, Position, Reference};
use crate::kinds::Kind;
use crate::store::allowance::Allowance;
use crate::store::error::StoreError;
use crate::store::names::Names;
use crate::store::read::{Order, Place, Tables};
use crate::store::rows::Columns;

impl Segments {
    /// The first rows for each parent that is asked for, in their order.
    pub(crate) async fn find(
        &self,
        catalog: &Catalog,
        ask: Ask,
        (tables, hot): (&Tables, &HashMap<i64, Vec<Place>>),
    ) -> Result<HashMap<i64, Vec<Found>>, StoreError> {
        let order = ask.query.order;
        let ask = Arc::new(ask);
        let mut hits = Hits::default();
        for segment in in_order(catalog.of(ask.query.kind), order) {
            if is_past(segment, &ask, (&hits, hot)) {
                continue;
            }
            hits = self
                .look_into(segment, (&ask, Want::Rows), tables, hits)
                .await?;
        }
        let rows = hits.best.into_iter();
        Ok(rows.map(|(key, best)| (key, best.rows())).collect())
    }

    /// How many rows there are for each parent that is asked for.
    pub(crate) async fn count(
        &self,
        catalog: &Catalog,
        ask: Ask,
        tables: &Tables,
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let ask = Arc::new(ask);
        let mut hits = Hits::default();
        for segment in catalog.of(ask.query.kind) {
            if ask.has_all_of(segment.times, segment.positions) {
                *hits.counts.entry(super::ask::NO_PARENT).or_default() += segment.events;
                continue;
            }
            hits = self
                .look_into(segment, (&ask, Want::Count), tables, hits)
                .await?;
        }
        Ok(hits.counts)
    }

    async fn look_into(
        &self,
        segment: &Segment,
        (ask, want): (&Arc<Ask>, Want),
        tables: &Tables,
        mut hits: Hits,
    ) -> Result<Hits, StoreError> {
        if !ask.meets(&segment.range()) {
            return Ok(hits);
        }
        for (group, range) in self.ranges(segment).await?.iter().enumerate() {
            if ask.meets(range) {
                let scanned = self.scan((segment, group), (ask, want), tables, hits);
                hits = scanned.await?;
            }
        }
        Ok(hits)
    }

    /// The rows of one segment that are asked for.
    pub(crate) async fn find_in(
        &self,
        segment: &Segment,
        ask: &Arc<Ask>,
        tables: &Tables,
    ) -> Result<Vec<Found>, StoreError> {
        let hits = Hits::default();
        let found = self.look_into(segment, (ask, Want::Rows), tables, hits);
        let best = found.await?.best.into_values();
        Ok(best.flat_map(Best::rows).collect())
    }

    /// Between what each group of rows of a segment lies. It is kept of all segments, since it is little.
    pub(super) async fn ranges(&self, segment: &Segment) -> Result<Ranges, StoreError> {
        if let Some(known) = self.known().get(&segment.id).map(Arc::clone) {
            return Ok(known);
        }
        let file = self.file(segment).await?;
        let device = segment.kind.spec().device_index();
        let device = segment
            .devices
            .and(device)
            .map(|index| Layout::FIELDS + index);
        let of_group = |group| Range {
            times: file
                .range(group, Layout::OCCURRED_AT)
                .unwrap_or(segment.times),
            positions: file
                .range(group, Layout::POSITION)
                .unwrap_or(segment.positions),
            devices: device.and_then(|slot| file.range(group, slot)),
        };
        let ranges: Ranges = (0..file.groups()).map(of_group).collect();
        self.known().insert(segment.id, Arc::clone(&ranges));
        Ok(ranges)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<i64, Ranges>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads rows that were found, in the order in which they are given, as they were reported.
    pub(crate) async fn rows(
        &self,
        db: &impl ConnectionTrait,
        names: &Names,
        of: ((Kind, Columns), &Catalog),
        found: (&[Found], &Allowance),
    ) -> Result<Vec<Event>, StoreError> {
        let mut events = self.keyed_rows(of, found).await?;
        for event in &mut events {
            named(event, names);
        }
        learn(db, names, &mut events).await?;
        Ok(events)
    }

    /// The same; what they refer to has its key and no id.
    async fn keyed_rows(
        &self,
        ((kind, columns), catalog): ((Kind, Columns), &Catalog),
        (found, allowance): (&[Found], &Allowance),
    ) -> Result<Vec<Event>, StoreError> {
        let slots = columns.slots(kind.spec());
        let mut groups: BTreeMap<(i64, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for (index, found) in found.iter().enumerate() {
            let (segment, group, row) = found.row;
            let rows = groups.entry((segment, group)).or_default();
            rows.push((index, row));
        }
        let mut events: Vec<(usize, Event)> = Vec::with_capacity(found.len());
        for ((id, group), rows) in groups {
            let mut of_kind = catalog.of(kind).iter();
            let Some(segment) = of_kind.find(|segment| segment.id == id) else {
                continue;
            };
            let table = self.table((segment, group), &slots).await?;
            for (index, row) in rows {
                let event = table.event(row)?;
                allowance.take(event.fact.weight_bytes())?;
                events.push((index, event));
            }
        }
        events.sort_unstable_by_key(|(index, _)| *index);
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }
}

/// Gives what an event refers to its id, as far as that is known.
fn named(event: &mut Event, names: &Names) {
    for cell in &mut event.fact.cells {
        if let Cell::Reference(Reference { key, .. }) = cell {
            *cell = names.reference(*key);
        }
    }
}

/// Looks up what this process had not met.
async fn learn(
    db: &impl ConnectionTrait,
    names: &Names,
    events: &mut [Event],
) -> Result<(), StoreError> {
    let mut unknown: Vec<i64> = Vec::new();
    for cell in events.iter().flat_map(|event| &event.fact.cells) {
        if let Cell::Reference(Reference { key, .. }) = cell {
            unknown.extend(Some(*key).filter(|key| names.id(*key).is_none()));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort_unstable();
    unknown.dedup();
    names.look_up_keys(db, &unknown).await?;
    for event in events {
        named(event, names);
    }
    Ok(())
}

/// Those first that may hold what comes first.
fn in_order(segments: &[Arc<Segment>], order: Order) -> Vec<&Segment> {
    let mut segments: Vec<&Segment> = segments.iter().map(|segment| &**segment).collect();
    match order {
        Order::NewestFirst => segments.sort_by_key(|s| std::cmp::Reverse(s.times.1)),
        Order::OldestFirst => segments.sort_by_key(|s| s.times.0),
        Order::LastRecordedFirst => segments.sort_by_key(|s| std::cmp::Reverse(s.positions.1)),
        Order::FirstRecordedFirst => segments.sort_by_key(|s| s.positions.0),
    }
    segments
}

/// Whether all that a segment may hold comes after what was found already, for each parent.
fn is_past(segment: &Segment, ask: &Ask, (hits, hot): (&Hits, &HashMap<i64, Vec<Place>>)) -> bool {
    let order = ask.query.order;
    let first = match order {
        Order::NewestFirst | Order::LastRecordedFirst => (segment.times.1, segment.positions.1),
        Order::OldestFirst | Order::FirstRecordedFirst => (segment.times.0, segment.positions.0),
    };
    let first = Place {
        occurred_at: Instant(first.0),
        position: Position(first.1),
    };
    let no_parent = [super::ask::NO_PARENT];
    let keys = ask
        .parents
        .as_ref()
        .map_or(&no_parent[..], |(_, keys)| keys);
    let is_full = |key: &i64| {
        let of_tables = hot.get(key).map_or(&[][..], Vec::as_slice);
        let last = of_tables.get(ask.query.limit.saturating_sub(1));
        let found: Option<&Best> = hits.best.get(key);
        last.is_some_and(|last| order.compare(last, &first).is_le())
            || found.is_some_and(|found| !found.wants(&first))
    };
    keys.iter().all(is_full)
}
