//! Which segments there are, and what is known of each without opening it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use super::Range;
use crate::event::{Instant, Position};
use crate::kinds::Kind;
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: i64,
    pub(crate) kind: Kind,
    /// The name of its file.
    pub(crate) name: String,
    /// Where that lies.
    pub(crate) path: String,
    pub(crate) events: i64,
    pub(crate) bytes: i64,
    /// Checksum of the file.
    pub(crate) sha256: String,
    /// The first and the last position in it.
    pub(crate) positions: (i64, i64),
    /// The first and the last instant at which something in it happened.
    pub(crate) times: (i64, i64),
    /// The least and the greatest key of a device in it; `None` when an event in it names no device.
    pub(crate) devices: Option<(i64, i64)>,
}

impl Segment {
    /// Between what its rows lie.
    pub(crate) const fn range(&self) -> Range {
        Range {
            times: self.times,
            positions: self.positions,
            devices: self.devices,
        }
    }
}

/// What is gone for good of the events of a kind.
#[derive(Clone, Debug, Default)]
struct Gone {
    /// How many.
    events: i64,
    /// Between which positions they were, in order and apart from each other.
    positions: Vec<(i64, i64)>,
    /// The last position of one that was not too old already when it was recorded.
    timely: i64,
    /// The last instant at which one of them happened.
    last_at: Option<i64>,
}

impl Gone {
    /// Adds a segment that was deleted, and the last position of what in it was recorded in time.
    fn add(&mut self, segment: &Segment, timely: i64) {
        self.events += segment.events;
        self.positions.push(segment.positions);
        self.timely = self.timely.max(timely);
        self.last_at = self.last_at.max(Some(segment.times.1));
    }

    /// Puts those together that overlap.
    fn settle(&mut self) {
        self.positions.sort_unstable();
        self.positions.dedup_by(|next, before| {
            let overlaps = next.0 <= before.1;
            if overlaps {
                before.1 = before.1.max(next.1);
            }
            overlaps
        });
    }
}

/// All segments at one time.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) generation: i64,
    /// Of which log.
    pub(crate) log_id: Uuid,
    /// Under what the files of this log lie, apart from those of others and of itself before a restore.
    pub(crate) home: String,
    kinds: HashMap<Kind, Vec<Arc<Segment>>>,
    /// Between which instants there is something of a kind.
    spans: HashMap<Kind, (i64, i64)>,
    gone: HashMap<Kind, Gone>,
}

impl Default for Catalog {
    /// Of no generation that there is.
    fn default() -> Self {
        Self {
            generation: -1,
            log_id: Uuid::nil(),
            home: String::new(),
            kinds: HashMap::new(),
            spans: HashMap::new(),
            gone: HashMap::new(),
        }
    }
}

/// What is read of a segment.
const COLUMNS: &str = "s.id, s.kind, s.name, s.events, s.bytes, s.sha256, s.first_position, \
    s.last_position, s.first_at, s.last_at, s.first_device, s.last_device";
/// The condition that a statement sees the list of a generation.
pub(crate) const GENERATION: &str = "(SELECT segments FROM log_head WHERE id = 1) = ";

const READ: &str = "read the list of segments";

impl Catalog {
    /// Reads the list, with the few rows that are kept of what was deleted. The generation is read by the same
    /// statement.
    pub(crate) async fn read(db: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let sql = Sql::new(format!(
            "SELECT h.segments, h.log_id, h.epoch, s.dropped_at, s.timely_position, {COLUMNS} FROM log_head h \
             LEFT JOIN segments s ON TRUE WHERE h.id = 1 ORDER BY s.id"
        ));
        let rows = db.query_all_raw(sql.statement(db.get_database_backend()));
        let mut catalog = Self::default();
        for row in rows.await.doing(READ)? {
            catalog.generation = row.try_get_by_index(0).doing(READ)?;
            let log_id: String = row.try_get_by_index(1).doing(READ)?;
            let epoch: i64 = row.try_get_by_index(2).doing(READ)?;
            catalog.home = format!("{log_id}-{epoch}");
            // a log whose id is none is not opened, and who verifies it says so
            catalog.log_id = log_id.parse().unwrap_or_default();
            let id: Option<i64> = row.try_get_by_index(5).doing(READ)?;
            if id.is_none() {
                continue;
            }
            let segment = segment(&row, 5, &catalog.home)?;
            let dropped: Option<i64> = row.try_get_by_index(3).doing(READ)?;
            if dropped.is_some() {
                let timely: Option<i64> = row.try_get_by_index(4).doing(READ)?;
                let gone = catalog.gone.entry(segment.kind).or_default();
                gone.add(&segment, timely.unwrap_or(segment.positions.1));
            } else {
                let span = catalog.spans.entry(segment.kind).or_insert(segment.times);
                *span = (span.0.min(segment.times.0), span.1.max(segment.times.1));
                let of_kind = catalog.kinds.entry(segment.kind).or_default();
                of_kind.push(Arc::new(segment));
            }
        }
        for gone in catalog.gone.values_mut() {
            gone.settle();
        }
        Ok(catalog)
    }

    /// The segments of a kind, in the order in which they were made.
    pub(crate) fn of(&self, kind: Kind) -> &[Arc<Segment>] {
        self.kinds.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The list without some of its segments.
    pub(crate) fn without(&self, ids: &HashSet<i64>) -> Self {
        let mut rest = self.clone();
        for segments in rest.kinds.values_mut() {
            segments.retain(|segment| !ids.contains(&segment.id));
        }
        rest
    }

    /// Whether it has no segment.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// All segments.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.kinds.values().flatten()
    }

    /// Whether it has a segment of a kind.
    pub(crate) fn has(&self, kind: Kind, id: i64) -> bool {
        let of_kind = self.of(kind);
        of_kind
            .binary_search_by_key(&id, |segment| segment.id)
            .is_ok()
    }

    /// Whether an instant lies between those of what is archived of a kind.
    pub(crate) fn spans(&self, kind: Kind, at: Instant) -> bool {
        let span = self.spans.get(&kind);
        span.is_some_and(|(first, last)| (*first..=*last).contains(&at.0))
    }

    /// How many events of a kind were deleted for good.
    pub(crate) fn deleted_events(&self, kind: Kind) -> i64 {
        self.gone.get(&kind).map_or(0, |gone| gone.events)
    }

    /// Whether an event of a kind that was at a position from one up to another may have been deleted for good.
    pub(crate) fn may_have_deleted(&self, kind: Kind, (from, upto): (Position, Position)) -> bool {
        self.gone.get(&kind).is_some_and(|gone| {
            let next = gone.positions.partition_point(|(_, last)| *last < from.0);
            let next = gone.positions.get(next);
            next.is_some_and(|(first, _)| *first <= upto.0)
        })
    }

    /// Whether events of a kind after a position were deleted for good that were recorded in time.
    pub(crate) fn has_lost_after(&self, kind: Kind, after: Position) -> bool {
        let gone = self.gone.get(&kind);
        gone.is_some_and(|gone| gone.timely > after.0)
    }

    /// From when on what happened is whole, of each kind of which something was deleted for good.
    pub(crate) fn whole_since(&self) -> HashMap<Kind, Instant> {
        let since =
            |(kind, gone): (&Kind, &Gone)| Some((*kind, Instant(gone.last_at?.saturating_add(1))));
        self.gone.iter().filter_map(since).collect()
    }
}

/// Reads a segment whose columns begin at an index.
fn segment(row: &QueryResult, first: usize, home: &str) -> Result<Segment, StoreError> {
    let number = |index| row.try_get_by_index::<i64>(first + index).doing(READ);
    let text = |index| row.try_get_by_index::<String>(first + index).doing(READ);
    let key = |index| {
        row.try_get_by_index::<Option<i64>>(first + index)
            .doing(READ)
    };
    let kind = Kind::of_code(number(1)?).ok_or(StoreError::Row {
        table: "segments",
        column: "kind",
    })?;
    let name = text(2)?;
    Ok(Segment {
        id: number(0)?,
        kind,
        path: format!("{home}/{name}"),
        name,
        events: number(3)?,
        bytes: number(4)?,
        sha256: text(5)?,
        positions: (number(6)?, number(7)?),
        times: (number(8)?, number(9)?),
        devices: key(10)?.zip(key(11)?),
    })
}
