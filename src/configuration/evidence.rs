//! What devices measured around changes of their configuration: the hour before is told with the change, as it
//! is known then; the hour after when it has passed.

use std::sync::Arc;
use std::time::Duration;

use entity::configuration_evidence::Column;
use serde_json::{Map, Value as Json, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ConfigurationError;
use crate::event::{Event, Instant, NewEvent, Provenance, own_id};
use crate::history::configuration::{DueRow, due};
use crate::history::measures::{MEASURES, Reading, readings};
use crate::ingest::Ingest;
use crate::kinds::{Draft, Kind};
use crate::store::{Failing, Store, StoreError};
use crate::ticks;

/// How long before and after a change is looked at.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// How often it looks whether an hour has passed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Changes at most that are told of at once.
const AT_ONCE: u64 = 100;
/// How it goes on after a failure.
const FAILING: Failing = Failing {
    source: "the evidence of configuration",
    effect: "the hour after a change is not told yet, will go on",
    waits: Duration::from_secs(5),
};
/// Namespace of the ids of evidence.
const EVIDENCE: Uuid = Uuid::from_u128(0x8a0e_44d1_6b3f_4f7c_9d2e_05b1_7c3a_e6f4);

/// Tells of the hours after changes.
#[derive(Debug)]
pub struct Evidence {
    ingest: Ingest,
}

impl Evidence {
    /// One that records through a door.
    #[must_use]
    pub const fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    /// Tells until it is told to stop. What is told has an id that follows from the change, so that two nodes
    /// tell it once.
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = ticks::every(LOOK_EVERY);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            if let Err(error) = self.look().await {
                FAILING.failed(self.ingest.store(), &error, &stop).await;
            }
        }
    }

    async fn look(&self) -> Result<(), ConfigurationError> {
        let store = self.ingest.store();
        let upto = self.ingest.clock().now().plus_ms(-HOUR_MS);
        for row in due(store, upto, AT_ONCE).await? {
            if let Some(event) = after(store, &row).await? {
                // when another node was first, its answer stands
                self.ingest.command(vec![event], None).await?;
            }
        }
        Ok(())
    }
}

async fn after(store: &Store, row: &DueRow) -> Result<Option<NewEvent>, ConfigurationError> {
    let Some(device) = store.id(row.device_key).await? else {
        return Ok(None);
    };
    let ends = Instant(row.applied_at).plus_ms(HOUR_MS);
    let provenance = Provenance::of_code(row.provenance).unwrap_or_default();
    let of = (row.command_id.as_str(), &*device, row.device_key);
    let event = hour(store, of, ("AFTER", ends, provenance)).await?;
    Ok(Some(event.finish()?))
}

/// What is told of the hours before and after what a device applied with a command.
///
/// # Errors
/// When the log cannot be read.
pub async fn evidence_of(
    store: &Store,
    command_id: &str,
) -> Result<[Option<Arc<Event>>; 2], StoreError> {
    let ids = ["BEFORE", "AFTER"].map(|phase| event_id(command_id, phase));
    let positions = store.positions(&ids).await?;
    let mut found = [None, None];
    for (id, place) in ids.iter().zip(&mut found) {
        if let Some(position) = positions.get(id) {
            let event = store.event(*position).await?.map(Arc::new);
            *place = event.filter(|event| event.fact.kind == Kind::ConfigurationEvidence);
        }
    }
    Ok(found)
}

fn event_id(command_id: &str, phase: &str) -> Uuid {
    own_id(&EVIDENCE, format!("{command_id}/{phase}").as_bytes())
}

/// What is told of an hour that ends at an instant, for a command to a device.
pub(super) async fn hour(
    store: &Store,
    (command_id, device_id, device_key): (&str, &str, i64),
    (phase, ends, provenance): (&str, Instant, Provenance),
) -> Result<Draft, StoreError> {
    let within = (ends.plus_ms(-HOUR_MS), ends);
    let (of, readings) = readings(store, device_key, within).await?;
    let count = i64::try_from(readings.len()).unwrap_or(i64::MAX);
    Ok(Draft::new(Kind::ConfigurationEvidence, ends, provenance)
        .event_id(event_id(command_id, phase))
        .set(Column::CommandId, command_id)
        .set(Column::DeviceKey, device_id)
        .set(Column::Phase, phase)
        .set(Column::Readings, count)
        .set(Column::ReadingsProvenance, of.map(Provenance::word))
        .set(Column::Measures, measures(&readings)))
}

/// For each measure that has values what they come to.
fn measures(readings: &[Reading]) -> Json {
    let mut measures = Map::new();
    for (index, name) in MEASURES.iter().enumerate() {
        let values = readings
            .iter()
            .filter_map(|reading| reading.get(index).copied()?);
        let values: Vec<f64> = values.collect();
        if let Some(summary) = summary(values) {
            measures.insert((*name).to_owned(), summary);
        }
    }
    Json::Object(measures)
}

/// Count, mean, the least value that is not below 95 % of the values, and the greatest.
fn summary(mut values: Vec<f64>) -> Option<Json> {
    values.sort_unstable_by(f64::total_cmp);
    let max = *values.last()?;
    let count = u32::try_from(values.len()).ok()?;
    let mean = values.iter().sum::<f64>() / f64::from(count);
    let rank = (values.len() * 95).div_ceil(100);
    let p95 = *values.get(rank.checked_sub(1)?)?;
    Some(json!({ "count": count, "mean": mean, "p95": p95, "max": max }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_the_values_that_there_are() {
        let numbers = |upto: i32| (1..=upto).rev().map(f64::from).collect::<Vec<_>>();
        let told =
            |count, mean, p95, max| json!({ "count": count, "mean": mean, "p95": p95, "max": max });
        assert_eq!(summary(Vec::new()), None);
        assert_eq!(summary(numbers(1)), Some(told(1, 1.0, 1.0, 1.0)));
        assert_eq!(summary(numbers(20)), Some(told(20, 10.5, 19.0, 20.0)));
        assert_eq!(summary(numbers(21)), Some(told(21, 11.0, 20.0, 21.0)));
        assert_eq!(summary(numbers(100)), Some(told(100, 50.5, 95.0, 100.0)));
    }

    #[test]
    fn a_measure_without_values_is_left_out() {
        let mut reading: Reading = [None; 7];
        reading[0] = Some(40.0);
        let told = measures(&[reading, [None; 7]]);
        let cpu = json!({ "count": 1, "mean": 40.0, "p95": 40.0, "max": 40.0 });
        assert_eq!(told, json!({ "cpuPercent": cpu }));
    }
}
