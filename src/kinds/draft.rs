//! How this program itself makes events: by column, so that a misspelt one does not compile.

use entity::ColumnName;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Kind, Refusal, Type, check};
use crate::event::{Cell, Fact, Instant, NewEvent, Provenance};

/// An event in the making.
#[derive(Debug)]
pub struct Draft {
    fact: Fact,
}

impl Draft {
    /// An event of a kind at an instant, with all fields absent.
    #[must_use]
    pub fn new(kind: Kind, occurred_at: Instant, provenance: Provenance) -> Self {
        let cells = vec![Cell::Null; kind.spec().fields.len()].into_boxed_slice();
        let fact = Fact {
            kind,
            event_id: None,
            occurred_at,
            provenance,
            cells,
            extra: Cell::Null,
        };
        Self { fact }
    }

    /// Gives the key under which a repeat is known.
    #[must_use]
    pub const fn event_id(mut self, event_id: Uuid) -> Self {
        self.fact.event_id = Some(event_id);
        self
    }

    /// Gives what the kind has no field for.
    #[must_use]
    pub fn extra(mut self, extra: Option<Json>) -> Self {
        self.fact.extra = extra.into();
        self
    }

    /// Sets a field by its column. An id of a site or device is given as text; a text that is too
    /// long is cut, since what this program says of itself is never refused for its length.
    #[must_use]
    pub fn set(mut self, column: impl ColumnName + Copy, value: impl Into<Cell>) -> Self {
        let spec = self.fact.spec();
        let index = spec.index_of_column(column.name());
        let place = index.and_then(|i| spec.fields.get(i).zip(self.fact.cells.get_mut(i)));
        if let Some((field, cell)) = place {
            *cell = fitted(field.ty, value.into());
        }
        self
    }

    /// Sets a field by its column to a text that somebody else has given: one that is too long is
    /// refused in the end, as it is from any source.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a column, as `set` takes it")]
    pub fn given(mut self, column: impl ColumnName, text: Option<&str>) -> Self {
        let index = self.fact.spec().index_of_column(column.name());
        if let Some(cell) = index.and_then(|index| self.fact.cells.get_mut(index)) {
            *cell = text.map(Cell::from).unwrap_or_default();
        }
        self
    }

    /// Checks the event as one that came from outside is checked.
    ///
    /// # Errors
    /// The refusal, when a field is out of its bounds or missing.
    pub fn finish(mut self) -> Result<NewEvent, Refusal> {
        check(&mut self.fact)?;
        Ok(NewEvent {
            fact: self.fact,
            occurred_at_given: true,
            refused_if_new: None,
        })
    }
}

fn fitted(ty: Type, cell: Cell) -> Cell {
    match (ty, cell) {
        (ty, Cell::Text(id)) if ty.is_reference() => Cell::reference(&id),
        (Type::Text { max }, Cell::Text(text)) if text.len() > max || text.contains('\0') => {
            let cut: String = text.chars().filter(|c| *c != '\0').take(max).collect();
            Cell::from(cut.as_str())
        }
        (_, cell) => cell,
    }
}
