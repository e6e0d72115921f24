//! Which segments there are, and what is known of each without opening it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, QueryResult};

use crate::event::Position;
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

/// Up to where events of a kind are gone for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The last position of an event that is gone: what is after it is whole.
    pub position: Position,
    /// How many are gone.
    pub events: i64,
    /// The instant behind the last one at which any of them happened: what happened since is whole.
    pub until: i64,
}

/// All segments at one time.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) generation: i64,
    /// Under what the files of this log lie, apart from those of others and of itself before a restore.
    pub(crate) home: String,
    kinds: HashMap<Kind, Vec<Arc<Segment>>>,
    floors: HashMap<Kind, Floor>,
}

impl Default for Catalog {
    /// Of no generation that there is.
    fn default() -> Self {
        Self {
            generation: -1,
            home: String::new(),
            kinds: HashMap::new(),
            floors: HashMap::new(),
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
    /// Reads the list. The generation is read by the same statement.
    pub(crate) async fn read(db: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let sql = Sql::new(format!(
            "SELECT h.segments, h.log_id, h.epoch, s.dropped_at, {COLUMNS} FROM log_head h \
             LEFT JOIN segments s ON TRUE WHERE h.id = 1 ORDER BY s.id"
        ));
        let rows = db.query_all_raw(sql.statement(db.get_database_backend()));
        let mut catalog = Self::default();
        for row in rows.await.doing(READ)? {
            catalog.generation = row.try_get_by_index(0).doing(READ)?;
            let log_id: String = row.try_get_by_index(1).doing(READ)?;
            let epoch: i64 = row.try_get_by_index(2).doing(READ)?;
            catalog.home = format!("{log_id}-{epoch}");
            let id: Option<i64> = row.try_get_by_index(4).doing(READ)?;
            if id.is_none() {
                continue;
            }
            let segment = segment(&row, 4, &catalog.home)?;
            let dropped: Option<i64> = row.try_get_by_index(3).doing(READ)?;
            if dropped.is_some() {
                let floor = catalog.floors.entry(segment.kind).or_default();
                floor.position.0 = floor.position.0.max(segment.positions.1);
                floor.events += segment.events;
                floor.until = floor.until.max(segment.times.1.saturating_add(1));
            } else {
                let of_kind = catalog.kinds.entry(segment.kind).or_default();
                of_kind.push(Arc::new(segment));
            }
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

    /// All segments.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.kinds.values().flatten()
    }

    /// Up to where events of a kind are gone.
    pub(crate) fn floor(&self, kind: Kind) -> Floor {
        self.floors.get(&kind).copied().unwrap_or_default()
    }

    /// The same for each kind of which some are.
    pub(crate) const fn floors(&self) -> &HashMap<Kind, Floor> {
        &self.floors
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
