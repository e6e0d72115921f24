//! What a device measured within some time.

use entity::device_metrics::{Column, Entity};
use futures_util::TryStreamExt;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::event::{Instant, Provenance};
use crate::store::{Doing, Store, StoreError};

/// Rows at most that are read of one device: 27 a second for an hour.
const ROWS_MAX: u64 = 100_000;
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

/// One reading: its measures, in the order of [`MEASURES`].
pub type Reading = [Option<f64>; 7];

/// When, of which provenance, and the measures, as they stand in the table.
type Row = (
    i64,
    i64,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<i64>,
    Option<i64>,
);

/// The readings of a device from one instant until before another, made whole where they came in parts: REAL
/// ones if there are any, else CONTROLLED, else SIMULATED.
///
/// # Errors
/// When the tables cannot be read.
pub async fn readings(
    store: &Store,
    device_key: i64,
    (from, until): (Instant, Instant),
) -> Result<(Option<Provenance>, Vec<Reading>), StoreError> {
    let doing = "read what a device measured";
    let query = Entity::find()
        .select_only()
        .column(Column::OccurredAt)
        .column(Column::Provenance)
        .column(Column::CpuPercent)
        .column(Column::MemoryPercent)
        .column(Column::DiskPercent)
        .column(Column::NetworkLatencyMs)
        .column(Column::ErrorRatePercent)
        .column(Column::ActiveConnections)
        .column(Column::QueueDepth)
        .filter(Column::DeviceKey.eq(device_key))
        .filter(Column::OccurredAt.gte(from.0))
        .filter(Column::OccurredAt.lt(until.0))
        .order_by_asc(Column::OccurredAt)
        .order_by_asc(Column::Position)
        .limit(ROWS_MAX)
        .into_tuple::<Row>();
    let mut rows = query.stream(store.readers()).await.doing(doing)?;
    let mut best: Option<Provenance> = None;
    let (mut readings, mut last) = (Vec::<Reading>::new(), None);
    while let Some(row) = rows.try_next().await.doing(doing)? {
        let provenance = Provenance::of_code(row.1).unwrap_or_default();
        if best.is_none_or(|best| provenance < best) {
            best = Some(provenance);
            (readings, last) = (Vec::new(), None);
        } else if best != Some(provenance) {
            continue;
        }
        let whole = |number: Option<i64>| number.and_then(float_of);
        let (connections, depth) = (whole(row.7), whole(row.8));
        let part = [row.2, row.3, row.4, row.5, row.6, connections, depth];
        match readings.last_mut().filter(|_| last == Some(row.0)) {
            // what was recorded last of a reading holds
            Some(reading) => {
                for (held, new) in reading.iter_mut().zip(part) {
                    *held = new.or(*held);
                }
            }
            None => readings.push(part),
        }
        last = Some(row.0);
    }
    Ok((best, readings))
}

/// A count as a number; such a one has at most 32 bits.
fn float_of(number: i64) -> Option<f64> {
    i32::try_from(number).ok().map(f64::from)
}
