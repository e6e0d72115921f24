//! What rules of states, measures, errors and insights knew before: read from the log and from the alerts.

use std::collections::HashSet;

use super::evaluate::Evaluator;
use super::rates::{Fault, at_least};
use super::record;
use super::renew::{Open, cause_of};
use super::runs::apart_ms;
use super::verdict::{Cause, Verdict};
use crate::event::Instant;
use crate::history::alerts;
use crate::history::faults::errors_since;
use crate::history::states::changes;
use crate::store::{Stated, Store, StoreError};

/// Errors at most that are counted again.
const ERRORS_MAX: usize = 100_000;
/// For alerts that were resolved within this time it is found whether errors have been too many since.
const RESOLVED_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// Changes at most by which it is found since when a device is in one of the states of a rule.
const CHANGES_MAX: usize = 16;
/// Devices of which that is found together.
const DEVICES_AT_ONCE: usize = 250;

/// Reads all of it.
pub(super) async fn all(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &Open<'_>,
    now: Instant,
) -> Result<(), StoreError> {
    for row in open.rows {
        let runs = evaluator.runs.iter_mut();
        let mut of_rule = runs.filter(|runs| runs.rule_id() == row.rule_id);
        if let (Some(runs), Some(key)) = (of_rule.next(), row.device_key) {
            let device = evaluator.fleet.devices.get(&key);
            let interval = device.and_then(|device| device.interval_seconds);
            let sign = device.and_then(|device| device.sign);
            let heard_at = sign.map_or(evaluator.heard_from, |sign| {
                sign.heard_at.max(evaluator.heard_from)
            });
            let measured_by = heard_at.min(now).plus_ms(apart_ms(interval));
            runs.remember(key, Instant(row.started_at), measured_by);
        }
    }
    states(store, evaluator, open).await?;
    insights(store, evaluator, open, now).await?;
    errors(store, evaluator, open, now).await
}

/// Since when devices are in states that rules ask for.
async fn states(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &Open<'_>,
) -> Result<(), StoreError> {
    let Evaluator { fleet, states, .. } = evaluator;
    for states in states {
        let keys = fleet.devices.keys().copied();
        let keys: Vec<i64> = keys.filter(|key| states.has(fleet, *key)).collect();
        for keys in keys.chunks(DEVICES_AT_ONCE) {
            let changes = changes(store, keys, CHANGES_MAX).await?;
            for key in keys {
                let of_device = changes.get(key).map_or(&[][..], Vec::as_slice);
                let is_within = |stated: &&Stated| states.is_one(&stated.state);
                // one such state after another is one cause
                let first = of_device.iter().take_while(is_within).last();
                let Some(stated) = first.or(of_device.first()) else {
                    continue;
                };
                let is_told = open.has_device(states.rule_id(), *key);
                states.remember(*key, stated.place.occurred_at, is_told);
            }
        }
    }
    Ok(())
}

/// Devices of which insights have told: those with an open alert, and those of which somebody has resolved it lately. Of
/// these it is told still until it is over.
async fn insights(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &Open<'_>,
    now: Instant,
) -> Result<(), StoreError> {
    for insights in &mut evaluator.insights {
        let of_rule = (insights.rule_id(), record::BY);
        let since = now.plus_ms(-RESOLVED_MS);
        let resolved = alerts::resolved_of(store, of_rule, since).await?;
        let rows = open.rows.iter();
        let rows = rows.filter(|row| row.rule_id == insights.rule_id());
        let open: Vec<i64> = rows.filter_map(|row| row.device_key).collect();
        for device in open.into_iter().chain(resolved) {
            insights.remember(device);
        }
    }
    Ok(())
}

/// Errors that count still.
async fn errors(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &Open<'_>,
    now: Instant,
) -> Result<(), StoreError> {
    let Evaluator {
        fleet,
        rates,
        verdicts,
        ..
    } = evaluator;
    for rates in rates {
        let rows = open.rows.iter();
        let of_rule = rows.filter(|row| row.rule_id == rates.rule_id());
        let causes: Vec<Cause> = of_rule.filter_map(cause_of).collect();
        for cause in causes {
            rates.remember(cause, now);
        }
        // what somebody has closed is told still for as long as errors have been too many since
        let of_rule = (rates.rule_id(), record::BY);
        let since = now.plus_ms(-RESOLVED_MS);
        let resolved_at = alerts::resolved_since(store, of_rule, since).await?;
        let since = resolved_at.map_or(now, |at| at.min(now));
        let since = since.plus_ms(-rates.window_ms());
        let severities = at_least(&rates.rate.severity);
        let rows = errors_since(store, &severities, since, ERRORS_MAX).await?;
        let mut passed = Vec::new();
        for row in rows.iter().rev() {
            let fault = Fault {
                at: row.at,
                position: row.position,
                severity: &row.severity,
                device: row.device_key,
                provenance: row.provenance,
            };
            rates.look(row.at, &mut passed);
            rates.hear(fleet, (fault, row.at), &mut passed);
        }
        verdicts.extend(last_of_each(passed));
    }
    Ok(())
}

/// Of what is said of each cause only the last: what was over then is history.
fn last_of_each(verdicts: Vec<Verdict>) -> Vec<Verdict> {
    let mut met = HashSet::new();
    let newest_first = verdicts.into_iter().rev();
    let mut last: Vec<Verdict> = newest_first
        .filter(|verdict| met.insert(verdict.cause().clone()))
        .collect();
    last.reverse();
    last
}
