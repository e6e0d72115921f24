//! What is to hold: the parameters that there are, the value that each is to have on each thing, and the
//! changes of which the hour after is yet to be told.

use std::collections::BTreeMap;

use entity::{
    configuration_evidence as evidence, configuration_settings as setting,
    parameter_registrations as registration,
};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use super::upsert::upsert;
use crate::event::{Cell, Event, Fact};
use crate::kinds::Kind;
use crate::store::{Doing, Fold, Sql, StoreError, value_in_text};

/// Folds registrations of parameters, settings and evidence.
#[derive(Debug)]
pub(super) struct Settings;

impl Fold for Settings {
    fn name(&self) -> &'static str {
        "settings"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::ParameterRegistration,
            Kind::ConfigurationSetting,
            Kind::ConfigurationEvidence,
        ]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[
            "configuration_parameters",
            "configuration_desired",
            "configuration_evidence_due",
        ]
    }

    fn changes(&self, fact: &Fact) -> Option<String> {
        (fact.kind != Kind::ConfigurationEvidence).then(|| CONFIGURED.to_owned())
    }

    fn apply<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        events: &'a [&'a Event],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let of_kind = |kind| {
                let events = events.iter().copied();
                events.filter(move |event: &&Event| event.fact.kind == kind)
            };
            // of those that are for one row the last counts
            let parameters = of_kind(Kind::ParameterRegistration).map(|event| {
                let name = event.fact.cell(registration::Column::ParameterName).text();
                (name, parameter_row(event))
            });
            let parameters: BTreeMap<_, _> = parameters.collect();
            let rows = parameters.into_values().collect();
            upsert(tx, INSERT_PARAMETER, rows, MERGE_PARAMETER).await?;
            let desired = of_kind(Kind::ConfigurationSetting).map(|event| {
                let text = |column: setting::Column| event.fact.cell(column).text();
                let key = [
                    text(setting::Column::EntityType),
                    text(setting::Column::EntityId),
                    text(setting::Column::ParameterName),
                ];
                (key, desired_row(event))
            });
            let desired: BTreeMap<_, _> = desired.collect();
            let rows = desired.into_values().collect();
            upsert(tx, INSERT_DESIRED, rows, MERGE_DESIRED).await?;
            let is_before =
                |event: &&Event| event.fact.cell(evidence::Column::Phase).text() == Some("BEFORE");
            let (before, after): (Vec<&Event>, Vec<&Event>) =
                of_kind(Kind::ConfigurationEvidence).partition(is_before);
            let rows = before.into_iter().map(due_row).collect();
            upsert(tx, INSERT_DUE, rows, "ON CONFLICT DO NOTHING").await?;
            for event in after {
                told(tx, event).await?;
            }
            Ok(())
        })
    }
}

/// Name of all that is configured, for those who decide on it: what holds on a device is decided by what
/// is set at three places, so that of two who set something at once one looks again.
pub(crate) const CONFIGURED: &str = "configuration";

fn parameter_row(event: &Event) -> Vec<Value> {
    let cell = |column: registration::Column| event.fact.cell(column);
    let text = |column| value_in_text(cell(column));
    let default = match cell(registration::Column::Schema) {
        Cell::Json(schema) => schema.get("default").map(ToString::to_string),
        Cell::Null | Cell::Int(_) | Cell::Float(_) | Cell::Text(_) | Cell::Reference(_) => None,
    };
    vec![
        text(registration::Column::ParameterName),
        cell(registration::Column::Version).int().into(),
        text(registration::Column::Schema),
        text(registration::Column::Description),
        cell(registration::Column::Sensitive).int().into(),
        text(registration::Column::Scopes),
        default.into(),
        event.fact.occurred_at.0.into(),
        event.position.0.into(),
    ]
}

fn desired_row(event: &Event) -> Vec<Value> {
    let cell = |column: setting::Column| event.fact.cell(column);
    let text = |column| value_in_text(cell(column));
    vec![
        text(setting::Column::EntityType),
        text(setting::Column::EntityId),
        text(setting::Column::ParameterName),
        text(setting::Column::Value),
        cell(setting::Column::Version).int().into(),
        event.fact.occurred_at.0.into(),
        event.position.0.into(),
    ]
}

fn due_row(event: &Event) -> Vec<Value> {
    vec![
        value_in_text(event.fact.cell(evidence::Column::CommandId)),
        event.fact.cell(evidence::Column::DeviceKey).int().into(),
        event.fact.occurred_at.0.into(),
        event.fact.provenance.code().into(),
    ]
}

/// The hour after a change was told.
async fn told(tx: &DatabaseTransaction, event: &Event) -> Result<(), StoreError> {
    let mut sql = Sql::new("DELETE FROM configuration_evidence_due WHERE command_id = ");
    sql.bind(value_in_text(event.fact.cell(evidence::Column::CommandId)));
    let statement = sql.statement(tx.get_database_backend());
    tx.execute_raw(statement).await.doing("fold evidence")?;
    Ok(())
}

const INSERT_PARAMETER: &str = "INSERT INTO configuration_parameters (parameter_name, version, schema, \
    description, sensitive, scopes, default_value, registered_at, position)";
const MERGE_PARAMETER: &str = "ON CONFLICT (parameter_name) DO UPDATE SET version = excluded.version, \
    schema = excluded.schema, description = excluded.description, sensitive = excluded.sensitive, \
    scopes = excluded.scopes, default_value = excluded.default_value, \
    registered_at = excluded.registered_at, position = excluded.position \
    WHERE excluded.version > configuration_parameters.version";
const INSERT_DESIRED: &str = "INSERT INTO configuration_desired (entity_type, entity_id, \
    parameter_name, value, version, occurred_at, position)";
const MERGE_DESIRED: &str = "ON CONFLICT (entity_type, entity_id, parameter_name) DO UPDATE SET \
    value = excluded.value, version = excluded.version, occurred_at = excluded.occurred_at, \
    position = excluded.position WHERE excluded.version > configuration_desired.version";
const INSERT_DUE: &str = "INSERT INTO configuration_evidence_due (command_id, device_key, applied_at, \
    provenance)";
