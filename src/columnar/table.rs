//! Events of one kind by columns.

use std::sync::Arc;

use uuid::Uuid;

use super::ColumnarError;
use super::column::{Column, Values};
use super::layout::{Form, Layout, Lies, Source};
use crate::event::{Cell, Event, Fact, Instant, Position, Provenance, Reference};

/// Events of one kind by columns. A column that was not read is absent, and so is what it holds in the
/// events.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) layout: Arc<Layout>,
    pub(super) columns: Vec<Option<Arc<Column>>>,
    pub(super) rows: usize,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> Self {
        let slots = layout.slots.iter();
        let columns = slots.map(|slot| Some(Arc::new(Column::new(slot.lies))));
        Self {
            columns: columns.collect(),
            layout,
            rows: 0,
        }
    }

    /// Rows of a file, with the columns that were read of it.
    pub(crate) const fn of(
        layout: Arc<Layout>,
        columns: Vec<Option<Arc<Column>>>,
        rows: usize,
    ) -> Self {
        Self {
            layout,
            columns,
            rows,
        }
    }

    /// Adds an event.
    pub fn push(&mut self, event: &Event) {
        for (slot, column) in self.layout.slots.iter().zip(&mut self.columns) {
            if let Some(column) = column.as_mut().map(Arc::make_mut) {
                column.push(slot.of(event));
            }
        }
        self.rows += 1;
    }

    /// Its columns.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many events it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// A column, if it was read.
    #[must_use]
    pub fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index)?.as_deref()
    }

    /// Bytes that it takes in memory.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let columns = self.columns.iter().flatten();
        columns.map(|column| column.weight_bytes()).sum()
    }

    /// The rows in order of device, time and position; of a kind without a device, of time and position.
    #[must_use]
    pub fn sorted(&self) -> Vec<usize> {
        let int = |index: usize, row| self.column(index).and_then(|column| column.int(row));
        let device = self.layout.device();
        let mut rows: Vec<usize> = (0..self.rows).collect();
        rows.sort_by_cached_key(|row| {
            let device = device.and_then(|index| int(index, *row));
            let at = int(Layout::OCCURRED_AT, *row);
            (device, at, int(Layout::POSITION, *row))
        });
        rows
    }

    /// The event of a row of an archive. References have no id: their keys are known to whoever asked.
    ///
    /// # Errors
    /// When a column does not hold what the kind promises.
    pub fn event(&self, row: usize) -> Result<Event, ColumnarError> {
        let (mut position, mut occurred_at, mut recorded_at) = (0, 0, 0);
        let (mut provenance, mut event_id) = (Provenance::Real, None);
        let mut cells = vec![Cell::Null; self.layout.kind.spec().fields.len()];
        let mut extra = Cell::Null;
        for (slot, column) in self.layout.slots.iter().zip(&self.columns) {
            let Some(column) = column.as_deref().filter(|column| column.has(row)) else {
                continue;
            };
            let wrong = || ColumnarError::Column(slot.name.clone());
            let int = || column.int(row).ok_or_else(wrong);
            match slot.source {
                Source::Position => position = int()?,
                Source::OccurredAt => occurred_at = int()?,
                Source::RecordedAt => recorded_at = int()?,
                Source::EventId => event_id = column.id(row),
                Source::Provenance => {
                    provenance = self.provenance(column, row).ok_or_else(wrong)?;
                }
                Source::Extra => extra = cell(column, row, slot.lies).ok_or_else(wrong)?,
                Source::Field(index) => {
                    let held = self.field(index, column, (row, slot.lies));
                    if let Some(cell) = cells.get_mut(index) {
                        *cell = held.ok_or_else(wrong)?;
                    }
                }
            }
        }
        Ok(Event {
            position: Position(position),
            recorded_at: Instant(recorded_at),
            fact: Fact {
                kind: self.layout.kind,
                event_id,
                occurred_at: Instant(occurred_at),
                provenance,
                cells: cells.into_boxed_slice(),
                extra,
            },
        })
    }

    fn provenance(&self, column: &Column, row: usize) -> Option<Provenance> {
        match (&column.values, self.layout.form) {
            (Values::Text(words), Form::Export) => Provenance::of_word(words.get(row)?),
            _ => Provenance::of_code(column.int(row)?),
        }
    }

    fn field(&self, index: usize, column: &Column, (row, lies): (usize, Lies)) -> Option<Cell> {
        let cell = cell(column, row, lies)?;
        let field = self.layout.kind.spec().fields.get(index)?;
        if !field.ty.is_reference() {
            return Some(cell);
        }
        let (key, id) = match &cell {
            Cell::Int(key) => (*key, Arc::from("")),
            Cell::Text(id) => (0, Arc::clone(id)),
            Cell::Null | Cell::Float(_) | Cell::Json(_) | Cell::Reference(_) => return None,
        };
        Some(Cell::Reference(Reference { key, id }))
    }
}

/// The value of a row that has one; `None` when it cannot be read.
fn cell(column: &Column, row: usize, lies: Lies) -> Option<Cell> {
    Some(match &column.values {
        Values::Int(values) => Cell::Int(*values.get(row)?),
        Values::Float(values) => Cell::Float(*values.get(row)?),
        Values::Text(texts) if lies == Lies::Json => {
            Cell::Json(Arc::new(serde_json::from_slice(texts.bytes(row)).ok()?))
        }
        Values::Text(texts) => Cell::from(texts.get(row)?),
        Values::Id(ids) => {
            let id: &Uuid = ids.get(row)?;
            Cell::from(id.to_string().as_str())
        }
    })
}
