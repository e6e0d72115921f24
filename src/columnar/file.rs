//! Reads a file of Parquet: its columns, whole or of some groups of rows.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, FixedLenByteArrayType};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use uuid::Uuid;

use super::column::{Column, Values};
use super::layout::{Held, Layout, Lies, Slot};
use super::table::Table;
use super::{ColumnarError, Doing};

const READ: &str = "read a file of Parquet";

/// A file, whole in memory; its columns are decoded as they are asked for.
pub struct File {
    reader: SerializedFileReader<Bytes>,
    layout: Arc<Layout>,
    /// Where each column of the layout is in the file, if it is.
    places: Vec<Option<usize>>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("kind", &self.layout.kind)
            .field("groups", &self.groups())
            .finish_non_exhaustive()
    }
}

impl File {
    /// Reads what a file says of itself.
    ///
    /// # Errors
    /// When it is no file of Parquet, or its columns are not those of the kind.
    pub fn open(bytes: Bytes, layout: Arc<Layout>) -> Result<Self, ColumnarError> {
        let reader = SerializedFileReader::new(bytes).doing(READ)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let mut places = Vec::with_capacity(layout.slots.len());
        for slot in &layout.slots {
            let mut columns = schema.columns().iter();
            let place = columns.position(|column| column.name() == slot.name);
            let found = place.and_then(|place| schema.columns().get(place));
            if found.is_some_and(|column| column.physical_type() != physical(slot.lies))
                || place.is_none() && slot.required
            {
                return Err(ColumnarError::Column(slot.name.clone()));
            }
            places.push(place);
        }
        Ok(Self {
            reader,
            layout,
            places,
        })
    }

    /// Groups of rows.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// Rows of a group.
    #[must_use]
    pub fn rows(&self, group: usize) -> usize {
        let groups = self.reader.metadata().row_groups();
        let rows = groups.get(group).map_or(0, RowGroupMetaData::num_rows);
        usize::try_from(rows).unwrap_or(0)
    }

    /// The least and the greatest whole number of a column in a group, if that is known.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of a library, of which one case is asked for"
    )]
    pub fn range(&self, group: usize, index: usize) -> Option<(i64, i64)> {
        let place = (*self.places.get(index)?)?;
        let group = self.reader.metadata().row_groups().get(group)?;
        match group.columns().get(place)?.statistics()? {
            Statistics::Int64(found) => Some((*found.min_opt()?, *found.max_opt()?)),
            _ => None,
        }
    }

    /// A column of a group.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn column(&self, group: usize, index: usize) -> Result<Column, ColumnarError> {
        let Some(slot) = self.layout.slots.get(index) else {
            return Err(ColumnarError::Column(index.to_string()));
        };
        let rows = self.rows(group);
        let Some(place) = self.places.get(index).copied().flatten() else {
            return Ok(Column::absent(slot.lies, rows));
        };
        let group = self.reader.get_row_group(group).doing(READ)?;
        let reader = group.get_column_reader(place).doing(READ)?;
        decode(reader, slot, rows)
    }

    /// All columns of a group.
    ///
    /// # Errors
    /// When one cannot be decoded.
    pub fn table(&self, group: usize) -> Result<Table, ColumnarError> {
        let mut columns = Vec::with_capacity(self.layout.slots.len());
        for index in 0..self.layout.slots.len() {
            columns.push(Some(Arc::new(self.column(group, index)?)));
        }
        let rows = self.rows(group);
        Ok(Table::of(Arc::clone(&self.layout), columns, rows))
    }
}

const fn physical(lies: Lies) -> Physical {
    match lies {
        Lies::Int | Lies::Instant | Lies::Decimal => Physical::INT64,
        Lies::Bool => Physical::BOOLEAN,
        Lies::Float => Physical::DOUBLE,
        Lies::Text | Lies::Json => Physical::BYTE_ARRAY,
        Lies::Id => Physical::FIXED_LEN_BYTE_ARRAY,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a file has columns of the five types that are written; others are refused when it is opened"
)]
fn decode(reader: ColumnReader, slot: &Slot, rows: usize) -> Result<Column, ColumnarError> {
    let column = Column::new(slot.lies);
    match reader {
        ColumnReader::Int64ColumnReader(reader) => {
            filled(reader, (column, slot), rows, |column, value| {
                column.push(value.map_or(Held::Nothing, |value| Held::Int(*value)));
            })
        }
        ColumnReader::BoolColumnReader(reader) => {
            filled(reader, (column, slot), rows, |column, value| {
                let held = value.map(|value| Held::Int(i64::from(*value)));
                column.push(held.unwrap_or(Held::Nothing));
            })
        }
        ColumnReader::DoubleColumnReader(reader) => {
            filled(reader, (column, slot), rows, |column, value| {
                column.push(value.map_or(Held::Nothing, |value| Held::Float(*value)));
            })
        }
        ColumnReader::ByteArrayColumnReader(reader) => {
            filled(reader, (column, slot), rows, |column, value| {
                column.present.push(value.is_some());
                if let Values::Text(texts) = &mut column.values {
                    texts.push(value.map_or(&[], |value| value.data()));
                }
            })
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => ids(reader, (column, slot), rows),
        _ => Err(ColumnarError::Column(slot.name.clone())),
    }
}

fn ids(
    reader: ColumnReaderImpl<FixedLenByteArrayType>,
    column: (Column, &Slot),
    rows: usize,
) -> Result<Column, ColumnarError> {
    filled(reader, column, rows, |column, value| {
        let id = value.and_then(|value| Uuid::from_slice(value.data()).ok());
        column.push(id.map_or(Held::Nothing, Held::Id));
    })
}

/// Reads all values and puts each where its row is.
fn filled<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    (mut column, slot): (Column, &Slot),
    rows: usize,
    mut push: impl FnMut(&mut Column, Option<&T::T>),
) -> Result<Column, ColumnarError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let levels = (!slot.required).then_some(&mut levels);
        let (records, ..) = reader
            .read_records(rows - read, levels, None, &mut values)
            .doing("decode a column")?;
        if records == 0 {
            return Err(ColumnarError::Column(slot.name.clone()));
        }
        read += records;
    }
    let mut values = values.iter();
    for row in 0..rows {
        let present = slot.required || levels.get(row).is_some_and(|level| *level > 0);
        push(&mut column, if present { values.next() } else { None });
    }
    Ok(column)
}
