//! The archived events of some time, for those who read tables by statements of their own and need what was
//! archived as well. They are handed over as they are met, so that no more of them is held than a piece.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::ask::Bounds;
use super::scan::blocking;
use super::{Segment, Segments};
use crate::columnar::{ColumnarError, Layout, Table};
use crate::event::{Event, Instant};
use crate::kinds::Kind;
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

/// Rows that are made events at once.
const PIECE_ROWS: usize = 2_000;

/// What was archived of a log.
#[derive(Clone, Debug)]
pub struct Archive {
    segments: Arc<Segments>,
}

/// Events of a kind that happened from one instant until before another, recorded up to a position, and of
/// these devices, or of all; 0 stands for those that name none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened<'a> {
    pub(crate) kind: Kind,
    pub(crate) devices: Option<&'a [i64]>,
    pub(crate) time: (i64, i64),
    pub(crate) upto: i64,
    /// The fields that are read of them, by their indexes; those of others are absent.
    pub(crate) fields: &'a [usize],
    /// Whether its key is read too, and when it was recorded.
    pub(crate) has_source: bool,
}

/// The generation of the list of segments.
pub(crate) async fn generation_of(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let doing = "look for the list of segments";
    let sql = Sql::new("SELECT segments FROM log_head WHERE id = 1");
    let row = db.query_one_raw(sql.statement(db.get_database_backend()));
    let row = row.await.doing(doing)?;
    let generation = row.map(|row| row.try_get_by_index(0)).transpose();
    Ok(generation.doing(doing)?.unwrap_or_default())
}

impl Archive {
    /// What is in these segments.
    pub(crate) const fn of(segments: Arc<Segments>) -> Self {
        Self { segments }
    }

    /// The generation of the list of segments: what was read of tables between two looks at it that agree is
    /// of one state with what is in segments.
    pub(crate) async fn generation(&self, db: &impl ConnectionTrait) -> Result<i64, StoreError> {
        generation_of(db).await
    }

    /// From when on what happened is whole, of each kind of which something was deleted for good.
    pub(crate) async fn whole_since(
        &self,
        db: &impl ConnectionTrait,
    ) -> Result<HashMap<Kind, Instant>, StoreError> {
        let generation = self.generation(db).await?;
        let catalog = self.segments.of_generation(db, generation).await?;
        Ok(catalog.whole_since())
    }

    /// The first and the last instant of each segment with events of some kinds.
    pub(crate) async fn times(
        &self,
        db: &impl ConnectionTrait,
        kinds: &[Kind],
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let generation = self.generation(db).await?;
        let catalog = self.segments.of_generation(db, generation).await?;
        let segments = kinds.iter().flat_map(|kind| catalog.of(*kind));
        Ok(segments.map(|segment| segment.times).collect())
    }

    /// Hands the events of a generation over, in no order, until one is refused. What they refer to has its key
    /// and no id.
    pub(crate) async fn each<E: From<StoreError>>(
        &self,
        db: &impl ConnectionTrait,
        (generation, happened): (i64, Happened<'_>),
        mut each: impl FnMut(&Event) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let catalog = self.segments.of_generation(db, generation).await?;
        let picked = Arc::new(Picked::of(happened));
        for segment in catalog.of(happened.kind) {
            let segment: &Segment = segment;
            let bounds = &picked.bounds;
            if !bounds.meet(&segment.range()) {
                continue;
            }
            let ranges = self.segments.ranges(segment).await;
            let ranges = ranges.inspect_err(|error| self.doubts(error))?;
            for (group, range) in ranges.iter().enumerate() {
                if bounds.meet(range) {
                    self.of_group((segment, group), &picked, &mut each).await?;
                }
            }
        }
        Ok(())
    }

    /// The same of a group of rows.
    async fn of_group<E: From<StoreError>>(
        &self,
        group: (&Segment, usize),
        picked: &Arc<Picked>,
        each: &mut (impl FnMut(&Event) -> Result<(), E> + Send),
    ) -> Result<(), E> {
        let table = self.segments.table(group, &picked.slots).await;
        let table = Arc::new(table.inspect_err(|error| self.doubts(error))?);
        for first in (0..table.len()).step_by(PIECE_ROWS) {
            let rows = first..table.len().min(first + PIECE_ROWS);
            let (picked, table) = (Arc::clone(picked), Arc::clone(&table));
            let piece = blocking(move || picked.events(&table, rows)).await?;
            for event in &piece {
                each(event)?;
            }
        }
        Ok(())
    }

    /// A segment may be gone from the list since it was read, or it may be lost.
    fn doubts(&self, error: &StoreError) {
        self.segments.sight.doubted(error);
    }
}

/// Which rows of segments are handed over, and what of them.
#[derive(Debug)]
struct Picked {
    bounds: Bounds,
    /// Keys in order, with 0 for what names none; `None` for whatever device.
    devices: Option<Vec<i64>>,
    slots: Vec<usize>,
}

impl Picked {
    fn of(happened: Happened<'_>) -> Self {
        let device = happened.kind.spec().device_index();
        let mut devices = happened.devices.map(<[i64]>::to_vec);
        // where none is named, none is asked for
        devices = devices.filter(|_| device.is_some());
        if let Some(devices) = &mut devices {
            devices.sort_unstable();
        }
        let named = devices.clone().filter(|keys| !keys.contains(&0));
        let mut slots = vec![Layout::POSITION, Layout::OCCURRED_AT, Layout::PROVENANCE];
        let fields = happened.fields.iter().copied().chain(device);
        slots.extend(fields.map(|index| Layout::FIELDS + index));
        if happened.has_source {
            slots.extend([Layout::EVENT_ID, Layout::RECORDED_AT]);
        }
        slots.sort_unstable();
        slots.dedup();
        Self {
            bounds: Bounds {
                times: (happened.time.0, happened.time.1.saturating_sub(1)),
                positions: (i64::MIN, happened.upto),
                devices: named,
            },
            devices,
            slots,
        }
    }

    /// Those of some rows.
    fn events(
        &self,
        table: &Table,
        rows: std::ops::Range<usize>,
    ) -> Result<Vec<Event>, ColumnarError> {
        let int = |slot: usize, row| table.column(slot).and_then(|column| column.int(row));
        let is_among = |(least, most): (i64, i64), number: Option<i64>| {
            number.is_some_and(|number| least <= number && number <= most)
        };
        let device = table.layout().device();
        let is_picked = |row: &usize| {
            let key = device.and_then(|slot| int(slot, *row)).unwrap_or_default();
            is_among(self.bounds.positions, int(Layout::POSITION, *row))
                && is_among(self.bounds.times, int(Layout::OCCURRED_AT, *row))
                && self
                    .devices
                    .as_ref()
                    .is_none_or(|keys| keys.binary_search(&key).is_ok())
        };
        rows.filter(is_picked).map(|row| table.event(row)).collect()
    }
}
