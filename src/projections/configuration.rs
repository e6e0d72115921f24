//! The value that each parameter has now: the newest change by its own time counts.

use entity::configuration_history::Column;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;

use super::upsert::{newest, upsert};
use crate::event::{Event, Fact};
use crate::kinds::Kind;
use crate::store::{Deleted, Fold, StoreError, value_in_text};

/// Folds changes into `configuration_values`.
#[derive(Debug)]
pub(super) struct Configuration;

impl Fold for Configuration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::ConfigurationChange]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["configuration_values"]
    }

    /// A value stays that was set before: the log may lack the change that set it.
    fn untouched(&self, table: &str, deleted: Deleted<'_>) -> Option<String> {
        let since = deleted.whole_since.get(&Kind::ConfigurationChange)?;
        Some(format!("{table}.occurred_at >= {}", since.0))
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        let text = |column: Column| fact.cell(column).text().unwrap_or_default();
        Some(entity_of(
            text(Column::EntityType),
            text(Column::EntityId),
            text(Column::ParameterName),
        ))
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let text = |event: &'a Event, column| event.fact.cell(column).text();
            let newest = newest(events.iter().copied(), |event| {
                Some([
                    text(event, Column::EntityType)?,
                    text(event, Column::EntityId)?,
                    text(event, Column::ParameterName)?,
                ])
            });
            let row = |event: &Event| {
                let cell = |column: Column| value_in_text(event.fact.cell(column));
                vec![
                    cell(Column::EntityType),
                    cell(Column::EntityId),
                    cell(Column::ParameterName),
                    cell(Column::NewValue),
                    event.fact.occurred_at.0.into(),
                    event.position.0.into(),
                ]
            };
            let rows = newest.into_values().map(row);
            upsert(tx, INSERT, rows.collect(), MERGE).await
        })
    }
}

/// Name under which the changes of a parameter are counted.
pub(crate) fn entity_of(entity_type: &str, entity_id: &str, parameter: &str) -> String {
    format!("configuration/{entity_type}/{entity_id}/{parameter}")
}

const INSERT: &str = "INSERT INTO configuration_values \
    (entity_type, entity_id, parameter_name, value, occurred_at, position)";
const MERGE: &str = "ON CONFLICT (entity_type, entity_id, parameter_name) DO UPDATE SET \
    value = excluded.value, occurred_at = excluded.occurred_at, position = excluded.position \
    WHERE (excluded.occurred_at, excluded.position) > \
    (configuration_values.occurred_at, configuration_values.position)";
