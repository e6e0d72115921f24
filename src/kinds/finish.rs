//! What the kinds' rules over several fields are made of.

use entity::ColumnName;
use entity::configuration_history::Column;

use super::Refusal;
use crate::event::{Cell, Fact};

/// The `finish` of a kind without rules over several fields.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the form is that of the kinds that have such rules"
)]
pub(super) fn nothing_more(_: &mut Fact) -> Result<(), Refusal> {
    Ok(())
}

/// Sets a field that is absent.
pub(super) fn default_to(fact: &mut Fact, column: impl ColumnName + Copy, value: impl Into<Cell>) {
    let index = fact.spec().index_of_column(column.name());
    if let Some(cell) = index
        .and_then(|index| fact.cells.get_mut(index))
        .filter(|c| c.is_null())
    {
        *cell = value.into();
    }
}

/// Sets a field, whatever it was.
pub(super) fn fill_in(fact: &mut Fact, column: impl ColumnName + Copy, value: Cell) {
    let index = fact.spec().index_of_column(column.name());
    if let Some(cell) = index.and_then(|index| fact.cells.get_mut(index)) {
        *cell = value;
    }
}

/// Keeps what is configured also as a reference, so that it is looked up and can be asked for.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the form is that of the kinds that have such rules"
)]
pub(super) fn refer_to_entity(fact: &mut Fact) -> Result<(), Refusal> {
    let id = fact.cell(Column::EntityId).text();
    let id = id.map(Cell::reference).unwrap_or_default();
    match fact.cell(Column::EntityType).text() {
        Some("DEVICE") => fill_in(fact, Column::DeviceKey, id),
        Some("SITE") => fill_in(fact, Column::SiteKey, id),
        _ => {}
    }
    Ok(())
}
