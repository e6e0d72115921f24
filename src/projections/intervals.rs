//! How often each device reports, as it told last.
//!
//! Not every reading tells it, so that the newest that does may lie far back, and be archived: it is kept here.

use entity::device_metrics::Column;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use super::upsert::{newest, upsert};
use crate::event::Event;
use crate::kinds::Kind;
use crate::store::{Fold, StoreError};

/// Folds metrics into `device_intervals`.
#[derive(Debug)]
pub(super) struct Intervals;

impl Fold for Intervals {
    fn name(&self) -> &'static str {
        "intervals"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::DeviceMetrics]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["device_intervals"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let seconds = |event: &Event| event.fact.cell(Column::CollectionIntervalSeconds).int();
            let telling = events.iter().copied();
            let telling = telling.filter(|event| seconds(event).is_some());
            let told = newest(telling, |event| event.fact.cell(Column::DeviceKey).int());
            let rows = told.into_iter().map(|(device, event)| {
                vec![
                    device.into(),
                    seconds(event).into(),
                    event.fact.occurred_at.0.into(),
                    event.position.0.into(),
                ]
            });
            upsert(tx, INSERT, rows.collect(), MERGE).await
        })
    }
}

const INSERT: &str = "INSERT INTO device_intervals (device_key, seconds, told_at, position)";
const MERGE: &str = "ON CONFLICT (device_key) DO UPDATE SET seconds = excluded.seconds, \
    told_at = excluded.told_at, position = excluded.position \
    WHERE (excluded.told_at, excluded.position) > \
    (device_intervals.told_at, device_intervals.position)";
