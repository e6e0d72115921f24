//! Reads the rows of a kind's table as events.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sea_orm::sqlx::postgres::PgRow;
use sea_orm::sqlx::sqlite::SqliteRow;
use sea_orm::sqlx::{self, ColumnIndex, Decode, Row, Type as SqlType};
use sea_orm::{ConnectionTrait, QueryResult, StreamTrait};
use uuid::Uuid;

use super::allowance::Allowance;
use super::derived;
use super::error::{Doing, StoreError};
use super::happened::Each;
use super::names::Names;
use super::sql::Sql;
use crate::columnar::Layout;
use crate::event::{Cell, Event, Fact, Instant, Position, Provenance, Reference};
use crate::kinds::{Field, Kind, Spec, Storage};

/// Whether derived fields are derived, or shown as they were reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As readers see it: derived from what the log holds.
    Whole,
    /// As of the moment at which each event was appended.
    AsAppended,
    /// As it was reported.
    Reported,
}

/// What is read of the events of a kind besides where they stand. What is not read is absent in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Columns(u64);

impl Columns {
    /// Everything.
    pub const ALL: Self = Self(u64::MAX);
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything but what may be large.
    pub const SMALL: Self = Self(Self::SMALL_FIELDS | Self::SOURCE);
    /// Above the bits of fields.
    const SMALL_FIELDS: u64 = 1 << 61;
    const SOURCE: u64 = 1 << 62;
    const EXTRA: u64 = 1 << 63;

    /// These and the field of an index.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        Self(self.0 | Self::bit(index))
    }

    /// These and `extra`.
    #[must_use]
    pub const fn with_extra(self) -> Self {
        Self(self.0 | Self::EXTRA)
    }

    /// These and what is known of where the event comes from: its key, its provenance, and when it was
    /// recorded.
    #[must_use]
    pub const fn with_source(self) -> Self {
        Self(self.0 | Self::SOURCE)
    }

    /// These and those which say where and on what an event of a kind happened.
    #[must_use]
    pub fn with_subject(self, spec: &Spec) -> Self {
        let named = [spec.device_index(), spec.site_index()];
        named.into_iter().flatten().fold(self, Self::with)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The indexes of those fields of a kind that are among them.
    pub(super) fn fields(self, spec: &Spec) -> impl Iterator<Item = usize> {
        let fields = spec.fields.iter().enumerate();
        let asked = fields.filter(move |(index, field)| self.has_field(*index, field));
        asked.map(|(index, _)| index)
    }

    /// Where these stand in a file of a kind.
    pub(super) fn slots(self, spec: &Spec) -> Vec<usize> {
        let mut slots = vec![Layout::POSITION, Layout::OCCURRED_AT];
        if self.has(Self::SOURCE) {
            slots.extend([Layout::EVENT_ID, Layout::RECORDED_AT, Layout::PROVENANCE]);
        }
        slots.extend(self.fields(spec).map(|index| Layout::FIELDS + index));
        if self.has(Self::EXTRA) {
            slots.push(Layout::FIELDS + spec.fields.len());
        }
        slots
    }

    fn bit(index: usize) -> u64 {
        u32::try_from(index).map_or(0, |index| 1_u64.checked_shl(index).unwrap_or(0))
    }

    const fn has(self, mask: u64) -> bool {
        self.0 & mask != 0
    }

    /// Whether a field, which has that index, is read.
    pub(super) fn has_field(self, index: usize, field: &Field) -> bool {
        self.has(Self::bit(index)) || self.has(Self::SMALL_FIELDS) && !field.ty.is_large()
    }
}

/// `SELECT …` with the columns of a kind, from its table as `t`.
pub(crate) fn select(spec: &Spec, reading: Reading) -> String {
    let columns = columns(spec, reading, Columns::ALL);
    format!("SELECT {columns} FROM {} t", spec.table)
}

/// The columns of a kind that [`read`] expects, from its table as `t`.
pub(crate) fn columns(spec: &Spec, reading: Reading, asked: Columns) -> String {
    let mut text = "t.position, t.occurred_at".to_owned();
    if asked.has(Columns::SOURCE) {
        text.push_str(", t.event_id, t.recorded_at, t.provenance");
    }
    let fields = spec.fields.iter().enumerate();
    for (_, field) in fields.filter(|(index, field)| asked.has_field(*index, field)) {
        text.push_str(", ");
        match &spec.derived {
            Some(derived) if derived.field == field.name && reading != Reading::Reported => {
                text.push_str(&derived::value(spec, derived, reading));
            }
            _ => {
                text.push_str("t.");
                text.push_str(field.column.name());
            }
        }
    }
    if asked.has(Columns::EXTRA) {
        text.push_str(", t.extra");
    }
    text
}

/// Runs a query that selects [`columns`] and reads its rows, as long as the allowance lasts.
pub(crate) async fn read<C: ConnectionTrait + StreamTrait>(
    db: &C,
    names: &Names,
    kind: (Kind, Columns),
    (sql, allowance): (Sql, &Allowance),
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    let each = |_: &QueryResult, event, _| {
        events.push(event);
        Ok(())
    };
    let unknown = each_row(db, names, (kind, sql), (allowance, each)).await?;
    learn(db, names, unknown, &mut events).await?;
    Ok(events)
}

/// Runs a query that selects [`columns`] and hands its events over one by one as they arrive, so that they are not held
/// all at once. Of what they speak of, the keys are known, and not always the ids.
pub(super) async fn each<C: ConnectionTrait + StreamTrait>(
    db: &C,
    names: &Names,
    kind: (Kind, Columns),
    (sql, each): (Sql, Each<'_>),
) -> Result<(), StoreError> {
    let allowance = Allowance::of(usize::MAX);
    let each = |_: &QueryResult, event: Event, _| each(&event);
    each_row(db, names, (kind, sql), (&allowance, each)).await?;
    Ok(())
}

/// The same for a query with a key behind the columns: each event with its key.
pub(crate) async fn read_keyed<C: ConnectionTrait + StreamTrait>(
    db: &C,
    names: &Names,
    kind: (Kind, Columns),
    (sql, allowance): (Sql, &Allowance),
) -> Result<Vec<(i64, Event)>, StoreError> {
    let table = kind.0.spec().table;
    let (mut keys, mut events) = (Vec::new(), Vec::new());
    let each = |row: &QueryResult, event, behind| {
        keys.push(required(row, behind, table, "k")?);
        events.push(event);
        Ok(())
    };
    let unknown = each_row(db, names, (kind, sql), (allowance, each)).await?;
    learn(db, names, unknown, &mut events).await?;
    Ok(keys.into_iter().zip(events).collect())
}

/// Hands each row over as it arrives, with the index of what is behind its columns; answers the keys that
/// bear no id yet.
async fn each_row<C: ConnectionTrait + StreamTrait>(
    db: &C,
    names: &Names,
    (kind, sql): ((Kind, Columns), Sql),
    (allowance, mut each): (
        &Allowance,
        impl FnMut(&QueryResult, Event, usize) -> Result<(), StoreError>,
    ),
) -> Result<Vec<i64>, StoreError> {
    let statement = sql.statement(ConnectionTrait::get_database_backend(db));
    let mut unknown = Vec::new();
    let rows = db.stream_raw(statement).await.doing("read events")?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.doing("read events")? {
        let (event, behind) = event(kind, names, &row, &mut unknown)?;
        allowance.take(event.fact.weight_bytes())?;
        each(&row, event, behind)?;
    }
    Ok(unknown)
}

/// Gives events their ids whose keys this process had not met.
async fn learn(
    db: &impl ConnectionTrait,
    names: &Names,
    mut unknown: Vec<i64>,
    events: &mut [Event],
) -> Result<(), StoreError> {
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort_unstable();
    unknown.dedup();
    names.look_up_keys(db, &unknown).await?;
    for cell in events.iter_mut().flat_map(|event| &mut event.fact.cells) {
        if let Cell::Reference(Reference { key, .. }) = cell
            && unknown.binary_search(key).is_ok()
        {
            *cell = names.reference(*key);
        }
    }
    Ok(())
}

/// The event of a row, and the index of what is behind its columns.
fn event(
    (kind, asked): (Kind, Columns),
    names: &Names,
    row: &QueryResult,
    unknown: &mut Vec<i64>,
) -> Result<(Event, usize), StoreError> {
    let spec = kind.spec();
    let table = spec.table;
    let mut next = 0..;
    let mut at = || next.next().unwrap_or_default();
    let position = Position(required(row, at(), table, "position")?);
    let occurred_at = Instant(required(row, at(), table, "occurred_at")?);
    let (mut event_id, mut recorded_at, mut provenance) = Default::default();
    if asked.has(Columns::SOURCE) {
        event_id = get::<Uuid>(row, at(), table, "event_id")?;
        recorded_at = Instant(required(row, at(), table, "recorded_at")?);
        let code = Provenance::of_code(required(row, at(), table, "provenance")?);
        let column = "provenance";
        provenance = code.ok_or(StoreError::Row { table, column })?;
    }
    let mut cells = Vec::with_capacity(spec.fields.len());
    for (index, field) in spec.fields.iter().enumerate() {
        if !asked.has_field(index, field) {
            cells.push(Cell::Null);
            continue;
        }
        let (at, column) = (at(), field.column.name());
        cells.push(match field.ty.storage() {
            Storage::Int if field.ty.is_reference() => {
                let key: Option<i64> = get(row, at, table, column)?;
                unknown.extend(key.filter(|key| names.id(*key).is_none()));
                key.map_or(Cell::Null, |key| names.reference(key))
            }
            Storage::Int => get::<i64>(row, at, table, column)?.into(),
            Storage::Float => get::<f64>(row, at, table, column)?.into(),
            Storage::Text if field.ty.is_json() => json(row, at, table, column)?,
            Storage::Text => get::<&str>(row, at, table, column)?.into(),
        });
    }
    let extra = if asked.has(Columns::EXTRA) {
        json(row, at(), table, "extra")?
    } else {
        Cell::Null
    };
    let fact = Fact {
        kind,
        event_id,
        occurred_at,
        provenance,
        cells: cells.into_boxed_slice(),
        extra,
    };
    let event = Event {
        position,
        recorded_at,
        fact,
    };
    Ok((event, at()))
}

fn json(
    row: &QueryResult,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<Cell, StoreError> {
    let Some(text) = get::<&str>(row, index, table, column)? else {
        return Ok(Cell::Null);
    };
    let json = serde_json::from_str(text).map_err(|_| StoreError::Row { table, column })?;
    Ok(Cell::Json(Arc::new(json)))
}

fn required<'r, T>(
    row: &'r QueryResult,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError>
where
    T: Decode<'r, sqlx::Sqlite>
        + SqlType<sqlx::Sqlite>
        + Decode<'r, sqlx::Postgres>
        + SqlType<sqlx::Postgres>,
{
    get(row, index, table, column)?.ok_or(StoreError::Row { table, column })
}

/// Reads a column by its index straight from the row of the driver: through the library's own
/// conversion a page of rows takes about twice as long.
fn get<'r, T>(
    row: &'r QueryResult,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<Option<T>, StoreError>
where
    T: Decode<'r, sqlx::Sqlite>
        + SqlType<sqlx::Sqlite>
        + Decode<'r, sqlx::Postgres>
        + SqlType<sqlx::Postgres>,
    usize: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
{
    let read = match row.try_as_sqlite_row() {
        Some(row) => row.try_get::<Option<T>, _>(index).ok(),
        None => row
            .try_as_pg_row()
            .and_then(|row| row.try_get::<Option<T>, _>(index).ok()),
    };
    read.ok_or(StoreError::Row { table, column })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_bit_of_its_own() {
        for spec in Kind::all().map(Kind::spec) {
            assert!(
                Columns::bit(spec.fields.len()) <= Columns::SMALL_FIELDS && spec.fields.len() < 64
            );
        }
    }
}
