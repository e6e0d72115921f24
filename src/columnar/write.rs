//! Makes a file of Parquet of a table.
//!
//! How a column is encoded follows from what is in it: few values of many rows as a dictionary; whole
//! numbers else as differences, of which those of a device that counts or reports at a beat are small; numbers
//! else byte by byte. All of it is compressed (zstd).

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    Int64Type,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::column::{Column, Values};
use super::layout::{Layout, Lies, Slot};
use super::table::Table;
use super::{ColumnarError, Doing};

/// Rows at most in a group: what is decoded at once to find a few of them.
const GROUP_ROWS_MAX: usize = 20_000;
/// Bytes at which a group ends, as they are in memory.
const GROUP_BYTES: usize = 16 * 1024 * 1024;
/// A column whose values are each met so often, on average, has them in a dictionary.
const MET_MIN: usize = 4;
/// Values that are looked at to find out how often each is met.
const SAMPLE_ROWS: usize = 20_000;
const LEVEL: i32 = 3;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Events.
    pub events: usize,
    /// Bytes of the file.
    pub bytes: usize,
}

/// Writes the rows of a table, in an order of one's choice, as a file.
///
/// # Errors
/// When the output cannot be written.
pub fn write<W: Write + Send>(
    table: &Table,
    order: &[usize],
    out: W,
) -> Result<Written, ColumnarError> {
    let mut writer = Writer::begin(table, order, out)?;
    writer.add(table, order)?;
    writer.file.finish().doing(WRITING)?;
    let bytes = writer.file.bytes_written();
    Ok(Written {
        events: order.len(),
        bytes,
    })
}

/// Writes one table after the other into a file.
#[expect(missing_debug_implementations, reason = "that of the library has none")]
pub struct Writer<W: Write + Send> {
    layout: Arc<Layout>,
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file. How its columns are encoded follows from the rows of a table, which is not written yet.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn begin(table: &Table, order: &[usize], out: W) -> Result<Self, ColumnarError> {
        let layout = Arc::clone(&table.layout);
        let properties = Arc::new(properties(table, order)?);
        let file = SerializedFileWriter::new(out, schema(&layout)?, properties);
        let file = file.doing(WRITING)?;
        Ok(Self { layout, file })
    }

    /// Adds the rows of a table.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn add(&mut self, table: &Table, order: &[usize]) -> Result<(), ColumnarError> {
        for rows in groups(table, order) {
            let mut group = self.file.next_row_group().doing(WRITING)?;
            for (slot, column) in self.layout.slots.iter().zip(&table.columns) {
                let writer = group.next_column().doing(WRITING)?;
                let mut writer = writer.ok_or_else(|| wrong(slot))?;
                let column = column.as_deref().ok_or_else(|| wrong(slot))?;
                write_column(&mut writer, slot, column, rows)?;
                writer.close().doing(WRITING)?;
            }
            group.close().doing(WRITING)?;
        }
        Ok(())
    }

    /// Ends the file, and gives back what it was written to.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(self) -> Result<W, ColumnarError> {
        self.file.into_inner().doing(WRITING)
    }
}

const WRITING: &str = "write a file of Parquet";

fn wrong(slot: &Slot) -> ColumnarError {
    ColumnarError::Column(slot.name.clone())
}

/// Parts of the rows, each of which is one group.
fn groups<'o>(table: &Table, order: &'o [usize]) -> std::slice::Chunks<'o, usize> {
    let row_bytes = table.weight_bytes() / table.len().max(1);
    let rows = (GROUP_BYTES / row_bytes.max(1)).clamp(1, GROUP_ROWS_MAX);
    order.chunks(rows)
}

fn schema(layout: &Layout) -> Result<TypePtr, ColumnarError> {
    let doing = "describe the columns";
    let mut fields = Vec::with_capacity(layout.slots.len());
    for slot in &layout.slots {
        let (physical, logical) = match slot.lies {
            Lies::Int => (Physical::INT64, None),
            Lies::Instant => {
                let micros = LogicalType::timestamp(true, TimeUnit::MICROS);
                (Physical::INT64, Some(micros))
            }
            Lies::Decimal => (Physical::INT64, Some(LogicalType::decimal(4, 18))),
            Lies::Bool => (Physical::BOOLEAN, None),
            Lies::Float => (Physical::DOUBLE, None),
            Lies::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Lies::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Lies::Id => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
        };
        let mut made = Type::primitive_type_builder(&slot.name, physical)
            .with_repetition(if slot.required {
                Repetition::REQUIRED
            } else {
                Repetition::OPTIONAL
            })
            .with_logical_type(logical);
        if slot.lies == Lies::Decimal {
            made = made.with_precision(18).with_scale(4);
        }
        if slot.lies == Lies::Id {
            made = made.with_length(16);
        }
        fields.push(Arc::new(made.build().doing(doing)?));
    }
    let root = Type::group_type_builder(layout.kind.spec().table);
    Ok(Arc::new(root.with_fields(fields).build().doing(doing)?))
}

fn properties(table: &Table, order: &[usize]) -> Result<WriterProperties, ColumnarError> {
    let level = ZstdLevel::try_new(LEVEL).doing("choose a level of compression")?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("homepot-analytics ", env!("CARGO_PKG_VERSION")).to_owned());
    for (slot, column) in table.layout.slots.iter().zip(&table.columns) {
        let path = || ColumnPath::from(slot.name.as_str());
        let Some(column) = column.as_deref() else {
            continue;
        };
        if slot.lies != Lies::Bool && has_few_values(column, order) {
            continue;
        }
        let encoding = match slot.lies {
            Lies::Int | Lies::Instant | Lies::Decimal => Encoding::DELTA_BINARY_PACKED,
            Lies::Float => Encoding::BYTE_STREAM_SPLIT,
            Lies::Bool | Lies::Text | Lies::Json | Lies::Id => Encoding::PLAIN,
        };
        properties = properties
            .set_column_dictionary_enabled(path(), false)
            .set_column_encoding(path(), encoding);
    }
    Ok(properties.build())
}

/// Whether the values of a column are met so often that each is written once.
fn has_few_values(column: &Column, order: &[usize]) -> bool {
    let rows = || {
        let sample = order.iter().take(SAMPLE_ROWS).copied();
        sample.filter(|row| column.has(*row))
    };
    let distinct = match &column.values {
        Values::Int(values) => distinct(rows().filter_map(|row| values.get(row))),
        Values::Float(values) => {
            distinct(rows().filter_map(|row| values.get(row).map(|value| value.to_bits())))
        }
        Values::Text(texts) => distinct(rows().map(|row| texts.bytes(row))),
        Values::Id(_) => return false,
    };
    distinct.saturating_mul(MET_MIN) <= rows().count()
}

fn distinct<T: Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<HashSet<T>>().len()
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    slot: &Slot,
    column: &Column,
    rows: &[usize],
) -> Result<(), ColumnarError> {
    let levels: Vec<i16> = rows.iter().map(|row| i16::from(column.has(*row))).collect();
    let levels = (!slot.required).then_some(levels.as_slice());
    let present = rows.iter().copied().filter(|row| column.has(*row));
    let written = match &column.values {
        Values::Int(values) if slot.lies == Lies::Bool => {
            let truths: Vec<bool> = present
                .filter_map(|row| values.get(row).map(|value| *value != 0))
                .collect();
            let writer = writer.typed::<BoolType>();
            writer.write_batch(&truths, levels, None)
        }
        Values::Int(values) => {
            let values: Vec<i64> = present.filter_map(|row| values.get(row).copied()).collect();
            let writer = writer.typed::<Int64Type>();
            writer.write_batch(&values, levels, None)
        }
        Values::Float(values) => {
            let values: Vec<f64> = present.filter_map(|row| values.get(row).copied()).collect();
            let writer = writer.typed::<DoubleType>();
            writer.write_batch(&values, levels, None)
        }
        Values::Text(texts) => {
            let texts: Vec<ByteArray> = present
                .map(|row| ByteArray::from(texts.bytes(row).to_vec()))
                .collect();
            let writer = writer.typed::<ByteArrayType>();
            writer.write_batch(&texts, levels, None)
        }
        Values::Id(ids) => {
            let id = |row: usize| ids.get(row).map(|id| id.as_bytes().to_vec());
            let ids: Vec<FixedLenByteArray> = present
                .filter_map(id)
                .map(|bytes| FixedLenByteArray::from(ByteArray::from(bytes)))
                .collect();
            let writer = writer.typed::<FixedLenByteArrayType>();
            writer.write_batch(&ids, levels, None)
        }
    };
    written.doing("write a column").map(drop)
}
