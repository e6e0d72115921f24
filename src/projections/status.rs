//! What is newest of each device: its state, its metrics, when it was last heard of.

use entity::{device_metrics, device_state_history as states};
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use super::upsert::{newest, upsert};
use crate::event::Event;
use crate::kinds::Kind;
use crate::store::{Fold, StoreError};

/// Folds metrics and states into `device_status`.
#[derive(Debug)]
pub(super) struct Status;

impl Fold for Status {
    fn name(&self) -> &'static str {
        "status"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::DeviceMetrics, Kind::DeviceStateChange]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["device_status"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let metrics = newest(of_kind(events, Kind::DeviceMetrics), |event| {
                event.fact.cell(device_metrics::Column::DeviceKey).int()
            });
            let rows = metrics.into_iter().map(|(device, event)| {
                let at = event.fact.occurred_at.0;
                vec![device.into(), at.into(), at.into(), event.position.0.into()]
            });
            upsert(tx, INSERT_METRICS, rows.collect(), MERGE_METRICS).await?;
            let states = newest(of_kind(events, Kind::DeviceStateChange), |event| {
                event.fact.cell(states::Column::DeviceKey).int()
            });
            let rows = states.into_iter().map(|(device, event)| {
                let state = event
                    .fact
                    .cell(states::Column::NewState)
                    .text()
                    .map(str::to_owned);
                let at = event.fact.occurred_at.0;
                vec![
                    device.into(),
                    state.into(),
                    at.into(),
                    event.position.0.into(),
                ]
            });
            upsert(tx, INSERT_STATE, rows.collect(), MERGE_STATE).await
        })
    }
}

fn of_kind<'a>(events: &[&'a Event], kind: Kind) -> impl Iterator<Item = &'a Event> {
    let events = events.iter().copied();
    events.filter(move |event| event.fact.kind == kind)
}

const INSERT_METRICS: &str =
    "INSERT INTO device_status (device_key, last_seen_at, metrics_at, metrics_position)";
const MERGE_METRICS: &str = "ON CONFLICT (device_key) DO UPDATE SET \
    last_seen_at = excluded.last_seen_at, metrics_at = excluded.metrics_at, \
    metrics_position = excluded.metrics_position \
    WHERE device_status.metrics_at IS NULL OR (excluded.metrics_at, excluded.metrics_position) > \
    (device_status.metrics_at, device_status.metrics_position)";
const INSERT_STATE: &str =
    "INSERT INTO device_status (device_key, state, state_at, state_position)";
const MERGE_STATE: &str = "ON CONFLICT (device_key) DO UPDATE SET state = excluded.state, \
    state_at = excluded.state_at, state_position = excluded.state_position \
    WHERE device_status.state_at IS NULL OR (excluded.state_at, excluded.state_position) > \
    (device_status.state_at, device_status.state_position)";
