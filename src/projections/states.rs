//! The states that were reported of each device, a few bytes of each report: which state was before another is found
//! here, also where the events that tell them were archived, or deleted for good.

use entity::device_state_history::Column;
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, Value};

use super::upsert::upsert;
use crate::event::Event;
use crate::kinds::Kind;
use crate::store::{Deleted, Fold, StoreError, value_in_text};

/// Folds reports of states into `device_states`.
#[derive(Debug)]
pub(super) struct States;

impl Fold for States {
    fn name(&self) -> &'static str {
        "states"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::DeviceStateChange]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["device_states"]
    }

    /// What was reported before that stays.
    fn untouched(&self, table: &str, deleted: Deleted<'_>) -> Option<String> {
        let since = deleted.whole_since.get(&Kind::DeviceStateChange)?;
        Some(format!("{table}.occurred_at >= {}", since.0))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let rows = events.iter().copied().map(row).collect();
            upsert(tx, INSERT, rows, "ON CONFLICT DO NOTHING").await
        })
    }
}

fn row(event: &Event) -> Vec<Value> {
    let fact = &event.fact;
    vec![
        fact.cell(Column::DeviceKey).int().into(),
        fact.occurred_at.0.into(),
        event.position.0.into(),
        value_in_text(fact.cell(Column::NewState)),
        fact.provenance.code().into(),
    ]
}

const INSERT: &str =
    "INSERT INTO device_states (device_key, occurred_at, position, state, provenance)";
