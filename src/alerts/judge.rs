//! What takes a look into the log to be judged: whether a device has been beyond a threshold for long
//! enough, and what a job that has ended comes from.

use super::evaluate::Evaluator;
use super::failures;
use crate::history::alerts;
use crate::store::{Store, StoreError};

/// Readings at most that are judged together: a day of a device that measures itself every 10 s.
const READINGS_MAX: u64 = 10_000;

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
            let from = reading.at.plus_ms(-runs.for_ms() - reading.apart_ms);
            let column = runs.metric.measure.column();
            let of = (reading.device, column);
            let readings = alerts::measured(store, of, (from, reading.at), READINGS_MAX).await?;
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
