//! The states that were reported of each device, a few bytes of each report: which state was before another is found
//! here, also where the events that tell them were archived, or deleted for good.
//!
//! A server of an older version, which runs on beside the first of a newer one, appends reports and does not fold them:
//! whoever appends the next one folds those too.

use entity::device_state_history::Column;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use super::upsert::upsert;
use crate::event::{Event, Position};
use crate::kinds::Kind;
use crate::store::{Deleted, Doing, Fold, Sql, StoreError, value_in_text};

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
            if let Some(first) = events.first() {
                make_up(tx, first.position).await?;
            }
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

/// Folds the reports before a position that nobody has folded: those behind the last one that somebody has.
async fn make_up(tx: &DatabaseTransaction, before: Position) -> Result<(), StoreError> {
    let mut sql = Sql::new(format!(
        "{INSERT} SELECT h.device_key, h.occurred_at, h.position, h.new_state, h.provenance \
         FROM device_state_history h WHERE h.position < "
    ));
    sql.bind(before.0).push(
        " AND h.position > coalesce((SELECT k.position FROM device_state_history k \
         WHERE k.position < ",
    );
    sql.bind(before.0).push(
        " AND k.position = (SELECT s.position FROM device_states s \
         WHERE s.device_key = k.device_key AND s.occurred_at = k.occurred_at \
         AND s.position = k.position) ORDER BY k.position DESC LIMIT 1), 0) \
         ON CONFLICT DO NOTHING",
    );
    let made_up = tx.execute_raw(sql.statement(tx.get_database_backend()));
    made_up.await.doing("fold reports of states").map(drop)
}

const INSERT: &str =
    "INSERT INTO device_states (device_key, occurred_at, position, state, provenance)";
