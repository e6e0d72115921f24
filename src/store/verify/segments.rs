//! Checks what was archived: that each file is what was written, and holds what its row says.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use super::{Check, Verifier};
use crate::columnar::Layout;
use crate::event::{Cell, Event, Instant, Position};
use crate::kinds::{Identity, Kind, Spec};
use crate::store::allowance::Allowance;
use crate::store::error::{Doing, StoreError};
use crate::store::rows::{Columns, Reading};
use crate::store::segments::{Ask, Catalog, Segment, Sought};
use crate::store::sql::Sql;

/// Keys that are looked for together.
const KEYS: usize = 500;
/// Devices and times of segments at most that are held at once, unless one segment has more.
const NATURALS_MAX: i64 = 500_000;

/// By what an event of a device is known: device, instant, part.
type Natural = (i64, i64, i64);

impl Verifier<'_> {
    /// Whether the segments that are listed are where they are looked for, but for a few, or there are none. Without
    /// them each event in them would be told as missing.
    pub(super) async fn finds_segments(&mut self) -> Result<bool, StoreError> {
        let absent = self.tables.segments.absent(self.db, Sought::All).await?;
        let Some(absent) = absent else {
            return Ok(true);
        };
        let detail = crate::telemetry::chain(&absent).to_string();
        self.found(Check::Place, detail);
        Ok(false)
    }

    /// Each file is there, is what was written, and holds what its row says. Those of which that is not
    /// so are told here and not read any further: that what they should hold is missing elsewhere is told nowhere.
    pub(super) async fn files(&mut self) -> Result<(), StoreError> {
        let catalog = self.tables.segments.renew(self.db).await?;
        let mut done = 0;
        for segment in catalog.all() {
            match self.held_by(segment).await {
                Ok(held) if held == says(segment) => {}
                Ok(_) => self.unreadable(segment, "it does not hold what its row says"),
                Err(error @ (StoreError::Files(_) | StoreError::Columnar(_))) => {
                    let why = crate::telemetry::chain(&error).to_string();
                    self.unreadable(segment, &why);
                }
                Err(error) => return Err(error),
            }
            done += segment.events;
            self.told("checking segments", done);
        }
        Ok(())
    }

    fn unreadable(&mut self, segment: &Arc<Segment>, why: &str) {
        let (first, last) = segment.positions;
        let detail = format!(
            "{}: {why}; nothing more is said of its {} events, from position {first} to {last}; put its file back from \
             a backup, or give them up: `homepot-analytics retention give-up {}`",
            segment.path, segment.events, segment.name
        );
        self.found(Check::Segments, detail);
        self.damaged.insert(segment.id);
        self.unread.push(Arc::clone(segment));
    }

    /// Whether an event of a kind at a position from one up to another may be in a segment that cannot be read.
    pub(super) fn may_be_unread(&self, kind: Kind, (from, upto): (Position, Position)) -> bool {
        self.unread.iter().any(|segment| {
            let (first, last) = segment.positions;
            segment.kind == kind && first <= upto.0 && from.0 <= last
        })
    }

    /// How many events of a kind are in segments that cannot be read.
    pub(super) fn unread_events(&self, kind: Kind) -> i64 {
        let of_kind = self.unread.iter().filter(|segment| segment.kind == kind);
        of_kind.map(|segment| segment.events).sum()
    }

    /// What a segment holds: how many events, and between which ends.
    async fn held_by(&self, segment: &Segment) -> Result<Held, StoreError> {
        let segments = &self.tables.segments;
        segments.bytes_of(segment).await?;
        let file = segments.file(segment).await?;
        let slots = [Layout::POSITION, Layout::OCCURRED_AT];
        let (mut events, mut positions, mut times) = (0, None, None);
        for group in 0..file.groups() {
            let table = segments.table((segment, group), &slots).await?;
            events += i64::try_from(table.len()).unwrap_or(i64::MAX);
            for row in 0..table.len() {
                let int = |slot| table.column(slot).and_then(|column| column.int(row));
                positions = widened(positions, int(Layout::POSITION));
                times = widened(times, int(Layout::OCCURRED_AT));
            }
        }
        Ok((events, positions, times))
    }

    /// The segments that can be read, of the list that is held.
    pub(super) fn readable(&self) -> Catalog {
        self.tables.segments.catalog().without(&self.damaged)
    }

    /// Archived events after a position and up to another, with what is amiss of each: whether its id is
    /// not known, and whether it names what has no key.
    pub(super) async fn archived(
        &self,
        catalog: &Catalog,
        (kind, low, high): (Kind, i64, i64),
    ) -> Result<Vec<(Event, bool, bool)>, StoreError> {
        let spec = kind.spec();
        let columns = Columns::NONE.with_source().with_subject(spec);
        let ask = Ask::slice((kind, columns), (low + 1, high));
        let allowance = Allowance::of(usize::MAX);
        let reading = (Reading::Reported, &allowance);
        let events = self.tables.archived((catalog, ask), reading).await?;
        let known = self.known_ids(spec, &events).await?;
        let amiss = |event: Event| {
            let keyed = event
                .fact
                .event_id
                .filter(|_| spec.identity == Identity::EventId);
            let has_no_key = keyed.is_some_and(|id| !known.contains(&(id, event.position.0)));
            let mut cells = event.fact.cells.iter();
            let has_no_reference = cells.any(|cell| match cell {
                Cell::Reference(reference) => self.tables.names.id(reference.key).is_none(),
                Cell::Null | Cell::Int(_) | Cell::Float(_) | Cell::Text(_) | Cell::Json(_) => false,
            });
            (event, has_no_key, has_no_reference)
        };
        Ok(events.into_iter().map(amiss).collect())
    }

    async fn known_ids(
        &self,
        spec: &Spec,
        events: &[Event],
    ) -> Result<HashSet<(Uuid, i64)>, StoreError> {
        let doing = "check event ids";
        let mut known = HashSet::new();
        if spec.identity != Identity::EventId {
            return Ok(known);
        }
        let ids: Vec<Uuid> = events
            .iter()
            .filter_map(|event| event.fact.event_id)
            .collect();
        for ids in ids.chunks(KEYS) {
            let mut sql = Sql::new("SELECT event_id, position FROM event_keys WHERE kind = ");
            sql.bind(spec.kind.code()).push(" AND event_id IN ");
            sql.bind_list(ids.iter().map(|id| Value::Uuid(Some(*id))));
            let read = |row: &QueryResult| {
                let id: Uuid = row.try_get_by_index(0).doing(doing)?;
                Ok((id, row.try_get_by_index(1).doing(doing)?))
            };
            let rows = self.rows(sql, doing).await?;
            known.extend(
                rows.iter()
                    .map(read)
                    .collect::<Result<Vec<_>, StoreError>>()?,
            );
        }
        Ok(known)
    }

    /// The ids and positions of archived events at some positions.
    pub(super) async fn archived_ids(
        &self,
        kind: Kind,
        positions: Vec<i64>,
    ) -> Result<HashSet<(Uuid, i64)>, StoreError> {
        let columns = Columns::NONE.with_source();
        let ask = Ask::at(&crate::store::PageQuery::all_of(kind, columns), positions);
        let allowance = Allowance::of(usize::MAX);
        let catalog = self.readable();
        let reading = (Reading::Reported, &allowance);
        let events = self.tables.archived((&catalog, ask), reading).await?;
        let key = |event: Event| Some((event.fact.event_id?, event.position.0));
        Ok(events.into_iter().filter_map(key).collect())
    }

    /// What is known by device and time is in one segment, and not in the table as well. The keys of several segments
    /// are held at once, so that the others are not read for each of them.
    pub(super) async fn archived_natural_keys(&mut self) -> Result<(), StoreError> {
        let catalog = self.readable();
        let kinds = Kind::all().filter(|k| k.spec().identity == Identity::DeviceAndTime);
        for kind in kinds {
            let mut left = catalog.of(kind);
            while !left.is_empty() {
                let (held, rest) = left.split_at(held_at_once(left));
                let seen = self.seen_in(held).await?;
                for other in rest {
                    if !held.iter().any(|segment| overlap(segment, other)) {
                        continue;
                    }
                    for (key, position) in self.naturals(other).await? {
                        if seen.contains(&key) {
                            self.twice(other, position);
                        }
                    }
                }
                left = rest;
            }
        }
        Ok(())
    }

    /// The keys of some segments; one that is there twice, or in the table as well, is told.
    async fn seen_in(&mut self, segments: &[Arc<Segment>]) -> Result<HashSet<Natural>, StoreError> {
        let mut seen = HashSet::new();
        for segment in segments {
            let mut archived = HashMap::new();
            for (key, position) in self.naturals(segment).await? {
                if !seen.insert(key) {
                    self.twice(segment, position);
                }
                archived.insert(key, position);
            }
            self.not_in_table(segment, &archived).await?;
            self.told(
                "checking devices and times of segments",
                segment.positions.1,
            );
        }
        Ok(seen)
    }

    fn twice(&mut self, segment: &Segment, position: i64) {
        let detail = format!(
            "position {position} in {} has a second one of its time",
            segment.path
        );
        self.found(Check::NaturalKeys, detail);
    }

    async fn naturals(&self, segment: &Segment) -> Result<Vec<(Natural, i64)>, StoreError> {
        let segments = &self.tables.segments;
        let spec = segment.kind.spec();
        let field = |index: Option<usize>| index.map(|index| Layout::FIELDS + index);
        let (device, part) = (field(spec.device_index()), field(spec.part_index()));
        let mut slots = vec![Layout::POSITION, Layout::OCCURRED_AT];
        slots.extend(device.into_iter().chain(part));
        let file = segments.file(segment).await?;
        let mut keys = Vec::new();
        for group in 0..file.groups() {
            let table = segments.table((segment, group), &slots).await?;
            for row in 0..table.len() {
                let int = |slot: Option<usize>| table.column(slot?)?.int(row);
                let at = int(Some(Layout::OCCURRED_AT)).unwrap_or_default();
                let key = int(device).map(|device| (device, at, int(part).unwrap_or(0)));
                keys.extend(key.zip(int(Some(Layout::POSITION))));
            }
        }
        Ok(keys)
    }

    async fn not_in_table(
        &mut self,
        segment: &Segment,
        archived: &HashMap<Natural, i64>,
    ) -> Result<(), StoreError> {
        let spec = segment.kind.spec();
        let readings: BTreeSet<(i64, i64)> = archived.keys().map(|(d, at, _)| (*d, *at)).collect();
        let readings: Vec<(i64, Instant)> = readings
            .into_iter()
            .map(|(d, at)| (d, Instant(at)))
            .collect();
        let (device, part) = (spec.device_index(), spec.part_index());
        let columns = part.map_or(Columns::NONE, |part| Columns::NONE.with(part));
        let kind = (segment.kind, columns.with_subject(spec));
        for readings in readings.chunks(KEYS) {
            let allowance = Allowance::of(usize::MAX);
            let hot = self
                .tables
                .together_in_table(kind, (readings, None), &allowance);
            for event in hot.await? {
                let int = |index: Option<usize>| event.fact.cells.get(index?)?.int();
                let at = event.fact.occurred_at.0;
                let key = int(device).map(|device| (device, at, int(part).unwrap_or(0)));
                let in_both = key.and_then(|key| archived.get(&key));
                // what was archived meanwhile is not there twice
                if let Some(position) = in_both.filter(|p| **p != event.position.0) {
                    self.twice(segment, *position);
                }
            }
        }
        Ok(())
    }
}

type Ends = Option<(i64, i64)>;
type Held = (i64, Ends, Ends);

fn says(segment: &Segment) -> Held {
    (segment.events, Some(segment.positions), Some(segment.times))
}

fn widened(ends: Ends, value: Option<i64>) -> Ends {
    let Some(value) = value else { return ends };
    let (least, most) = ends.unwrap_or((value, value));
    Some((least.min(value), most.max(value)))
}

fn overlap(left: &Arc<Segment>, right: &Segment) -> bool {
    left.times.0 <= right.times.1 && right.times.0 <= left.times.1
}

/// The keys of how many segments are held at once, of those that are left.
fn held_at_once(left: &[Arc<Segment>]) -> usize {
    let mut events = 0;
    let few = left.iter().take_while(|segment| {
        events += segment.events;
        events <= NATURALS_MAX
    });
    few.count().max(1)
}
