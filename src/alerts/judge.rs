//! What takes a look into the log to be judged: whether a device has been beyond a threshold for long
//! enough, and what a job that has ended comes from.

use super::evaluate::Evaluator;
use super::runs::{Reading, Runs};
use super::{failures, record};
use crate::event::Instant;
use crate::history::alerts;
use crate::history::measures::measured;
use crate::store::{Store, StoreError};

/// Readings at most that are judged together: a day of a device that measures itself every 10 s.
const READINGS_MAX: usize = 10_000;
/// How often as many are read once more, to find whether somebody has closed the alert of the same run.
const FURTHER_MAX: usize = 10;

/// Judges all that is to be judged by now.
pub(super) async fn pending(store: &Store, evaluator: &mut Evaluator) -> Result<(), StoreError> {
    let Evaluator {
        fleet,
        runs,
        failures: rules,
        ended,
        verdicts,
        ..
    } = evaluator;
    for runs in runs {
        for reading in std::mem::take(&mut runs.candidates) {
            let readings = readings(store, runs, reading).await?;
            runs.judge(fleet, (reading, &readings), verdicts);
        }
    }
    for ended in std::mem::take(ended) {
        for (rule, failure) in rules.iter() {
            verdicts.extend(failures::judge(store, (rule, failure), &ended).await?);
        }
    }
    Ok(())
}

/// The readings by which it is judged since when a device is beyond. What came before an alert that was
/// closed here counts for none after it. One that somebody has closed is told still for as long as the
/// device is beyond since then: so far back it is looked.
async fn readings(
    store: &Store,
    runs: &Runs,
    reading: Reading,
) -> Result<Vec<(Instant, f64)>, StoreError> {
    let of = (reading.device, runs.metric.measure.column());
    let mut from = reading.at.plus_ms(-runs.for_ms() - reading.apart_ms);
    let mut resolved_at = None;
    if let Some((ended_at, by)) = last_end(store, runs, reading.device).await? {
        if by == record::BY {
            from = from.max(ended_at);
        } else {
            resolved_at = Some(ended_at);
        }
    }
    let mut readings = measured(store, of, (from, reading.at), READINGS_MAX).await?;
    let Some(resolved_at) = resolved_at else {
        return Ok(readings);
    };
    let from = resolved_at.plus_ms(-reading.apart_ms);
    for _ in 0..FURTHER_MAX {
        let oldest = readings.last().map(|(at, _)| *at);
        let since = runs.since(&readings, reading.apart_ms);
        let Some(since) = since.filter(|since| Some(*since) == oldest && *since > resolved_at)
        else {
            break;
        };
        let before = Instant(since.0 - 1);
        let further = measured(store, of, (from, before), READINGS_MAX).await?;
        if further.is_empty() {
            break;
        }
        readings.extend(further);
    }
    Ok(readings)
}

/// When the last alert of a device ended, and who has resolved it.
async fn last_end(
    store: &Store,
    runs: &Runs,
    device: i64,
) -> Result<Option<(Instant, String)>, StoreError> {
    let id = store.id(device).await?;
    let cause = record::device_cause(id.as_deref());
    let last = alerts::last_of(store, (runs.rule_id(), &cause)).await?;
    Ok(last.and_then(|row| Some((Instant(row.ended_at?), row.resolved_by?))))
}
