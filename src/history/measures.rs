//! What a device measured within some time.

use entity::ColumnName as _;
use entity::device_metrics::Column;

use super::pages::{each, happened};
use crate::event::{Event, Instant, Provenance};
use crate::kinds::{Filter, Kind, Operand, Operator};
use crate::store::{Columns, Order, PageQuery, Store, StoreError};

/// Rows at most that are read of one device: 27 a second for an hour.
const ROWS_MAX: usize = 100_000;
/// The measures that are a state at an instant, by their names on the wire.
pub const MEASURES: [&str; 7] = [
    "cpuPercent",
    "memoryPercent",
    "diskPercent",
    "networkLatencyMs",
    "errorRatePercent",
    "activeConnections",
    "queueDepth",
];
/// The same by their columns.
const COLUMNS: [Column; 7] = [
    Column::CpuPercent,
    Column::MemoryPercent,
    Column::DiskPercent,
    Column::NetworkLatencyMs,
    Column::ErrorRatePercent,
    Column::ActiveConnections,
    Column::QueueDepth,
];

/// One reading: its measures, in the order of [`MEASURES`].
pub type Reading = [Option<f64>; 7];

/// The readings of a device from one instant until before another, made whole where they came in parts: REAL
/// ones if there are any, else CONTROLLED, else SIMULATED.
///
/// # Errors
/// When the log cannot be read.
pub async fn readings(
    store: &Store,
    device_key: i64,
    (from, until): (Instant, Instant),
) -> Result<(Option<Provenance>, Vec<Reading>), StoreError> {
    let columns = COLUMNS.into_iter().filter_map(index_of);
    let columns = columns.fold(Columns::NONE.with_source(), Columns::with);
    let query = PageQuery {
        filter: Filter::And(vec![
            of_device(device_key),
            happened(Operator::AtLeast(from.0.into())),
            happened(Operator::Less(until.0.into())),
        ]),
        order: Order::OldestFirst,
        limit: ROWS_MAX,
        ..PageQuery::all_of(Kind::DeviceMetrics, columns)
    };
    let mut best = Best::default();
    each(store, query, |part| best.add(part)).await?;
    Ok((best.provenance, best.readings))
}

/// What a measure of a device was from an instant to another, both included, at most so many readings: the
/// newest, and of these the newest first.
///
/// # Errors
/// When the log cannot be read.
pub async fn measured(
    store: &Store,
    (device_key, column): (i64, Column),
    (from, to): (Instant, Instant),
    limit: usize,
) -> Result<Vec<(Instant, f64)>, StoreError> {
    let Some(index) = index_of(column) else {
        return Ok(Vec::new());
    };
    let is_absent = Filter::Is(Operand::Field(index), Operator::IsNull);
    let query = PageQuery {
        filter: Filter::And(vec![
            of_device(device_key),
            happened(Operator::AtLeast(from.0.into())),
            happened(Operator::AtMost(to.0.into())),
            Filter::Not(Box::new(is_absent)),
        ]),
        order: Order::NewestFirst,
        limit,
        ..PageQuery::all_of(Kind::DeviceMetrics, Columns::NONE.with(index))
    };
    let mut readings = Vec::new();
    each(store, query, |event| {
        let value = event.fact.cell(column).number();
        readings.extend(value.map(|value| (event.fact.occurred_at, value)));
    })
    .await?;
    Ok(readings)
}

fn index_of(column: Column) -> Option<usize> {
    Kind::DeviceMetrics.spec().index_of_column(column.name())
}

fn of_device(device_key: i64) -> Filter {
    Filter::Is(Operand::Device, Operator::In(vec![device_key.into()]))
}

/// Readings of the best provenance that was met.
#[derive(Debug, Default)]
struct Best {
    provenance: Option<Provenance>,
    readings: Vec<Reading>,
    /// When the last of them was.
    last: Option<Instant>,
}

impl Best {
    /// Adds a part of a reading, in order of time.
    fn add(&mut self, part: &Event) {
        let provenance = part.fact.provenance;
        if self.provenance.is_none_or(|best| provenance < best) {
            *self = Self {
                provenance: Some(provenance),
                ..Self::default()
            };
        } else if self.provenance != Some(provenance) {
            return;
        }
        let at = Some(part.fact.occurred_at);
        let values = COLUMNS.map(|column| part.fact.cell(column).number());
        match self.readings.last_mut().filter(|_| self.last == at) {
            // what was recorded last of a reading holds
            Some(reading) => {
                for (held, new) in reading.iter_mut().zip(values) {
                    *held = new.or(*held);
                }
            }
            None => self.readings.push(values),
        }
        self.last = at;
    }
}
