//! What rules of states, measures and errors knew before: read from the log and from the open alerts.

use super::begin::cause_of;
use super::evaluate::Evaluator;
use super::rates::{Fault, at_least};
use super::runs::apart_ms;
use super::verdict::Cause;
use crate::event::{Instant, Position, Provenance};
use crate::history::alerts::{self, AlertRow};
use crate::kinds::{Filter, Kind, Operand};
use crate::store::{Columns, EVENTS_MAX, Order, PageQuery, Scope, Store, StoreError};

/// Errors at most that are counted again.
const ERRORS_MAX: u64 = 20_000;

/// Reads all of it.
pub(super) async fn all(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &[AlertRow],
    now: Instant,
) -> Result<(), StoreError> {
    for row in open {
        if let Some(until) = row.silenced_until.filter(|_| row.state == "SILENCED") {
            evaluator.silenced.set(row.alert_id.clone(), Instant(until));
        }
        let runs = evaluator.runs.iter_mut();
        let mut of_rule = runs.filter(|runs| runs.rule_id() == row.rule_id);
        if let (Some(runs), Some(key)) = (of_rule.next(), row.device_key) {
            let device = evaluator.fleet.devices.get(&key);
            let interval = device.and_then(|device| device.interval_seconds);
            let measured_by = now.plus_ms(apart_ms(interval));
            runs.remember(key, Instant(row.started_at), measured_by);
        }
    }
    states(store, evaluator, open).await?;
    errors(store, evaluator, open, now).await
}

/// Since when devices are in states that rules ask for.
async fn states(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &[AlertRow],
) -> Result<(), StoreError> {
    let query = PageQuery {
        kind: Kind::DeviceStateChange,
        filter: Filter::default(),
        order: Order::NewestFirst,
        after: None,
        before: None,
        upto: None,
        scope: Scope::Changes,
        columns: Columns::SMALL,
        limit: 1,
    };
    let Evaluator { fleet, states, .. } = evaluator;
    for states in states {
        let keys = fleet.devices.keys().copied();
        let keys: Vec<i64> = keys.filter(|key| states.has(fleet, *key)).collect();
        for keys in keys.chunks(EVENTS_MAX) {
            let parents = (Operand::Device, keys);
            let pages = store
                .pages(&query, parents, &Store::own_allowance())
                .await?;
            for key in keys {
                let page = pages.get(key).and_then(|page| page.first());
                let Some(event) = page else { continue };
                let is_told = open
                    .iter()
                    .any(|row| row.rule_id == states.rule_id() && row.device_key == Some(*key));
                states.remember(*key, event.fact.occurred_at, is_told);
            }
        }
    }
    Ok(())
}

/// Errors that count still.
async fn errors(
    store: &Store,
    evaluator: &mut Evaluator,
    open: &[AlertRow],
    now: Instant,
) -> Result<(), StoreError> {
    let Evaluator {
        fleet,
        rates,
        verdicts,
        ..
    } = evaluator;
    for rates in rates {
        let of_rule = open.iter().filter(|row| row.rule_id == rates.rule_id());
        let causes: Vec<Cause> = of_rule.filter_map(cause_of).collect();
        for cause in causes {
            rates.remember(cause, now);
        }
        let since = now.plus_ms(-rates.window_ms());
        let severities = at_least(&rates.rate.severity);
        let rows = alerts::errors_since(store, severities, since, ERRORS_MAX).await?;
        for (at, position, severity, device, provenance) in rows.into_iter().rev() {
            let fault = Fault {
                at: Instant(at),
                position: Position(position),
                severity: &severity,
                device,
                provenance: Provenance::of_code(provenance).unwrap_or_default(),
            };
            rates.hear(fleet, (fault, now), verdicts);
        }
    }
    Ok(())
}
