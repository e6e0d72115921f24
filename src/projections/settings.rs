//! What is to hold: the parameters that there are, the value that each is to have on each thing, and the
//! changes of which the hour after is yet to be told.

use std::collections::BTreeMap;

use entity::{
    configuration_evidence as evidence, configuration_settings as setting,
    parameter_registrations as registration,
};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use super::secrets::Secrets;
use super::upsert::upsert;
use crate::event::{Cell, Event, Fact};
use crate::kinds::Kind;
use crate::store::{Doing, Fold, Guard, Sql, StoreError, value_in_text};

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

    fn guard<'a>(
        &'a self,
        tx: &'a DatabaseTransaction,
        facts: &'a [&'a Fact],
    ) -> BoxFuture<'a, Result<Option<Box<dyn Guard>>, StoreError>> {
        Box::pin(async move {
            let guard = |secrets| -> Box<dyn Guard> { Box::new(secrets) };
            Ok(Secrets::read(tx, facts).await?.map(guard))
        })
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
            let parameters = greatest(of_kind(Kind::ParameterRegistration), |event| {
                let cell = |column| event.fact.cell(column);
                let version = cell(registration::Column::Version).int();
                (cell(registration::Column::ParameterName).text(), version)
            });
            let rows = parameters.into_iter().map(parameter_row).collect();
            upsert(tx, INSERT_PARAMETER, rows, MERGE_PARAMETER).await?;
            let desired = greatest(of_kind(Kind::ConfigurationSetting), |event| {
                let cell = |column| event.fact.cell(column);
                let text = |column| cell(column).text();
                let key = [
                    text(setting::Column::EntityType),
                    text(setting::Column::EntityId),
                    text(setting::Column::ParameterName),
                ];
                (key, cell(setting::Column::Version).int())
            });
            let rows = desired.into_iter().map(desired_row).collect();
            upsert(tx, INSERT_DESIRED, rows, MERGE_DESIRED).await?;
            // one after another, since what is told takes away what was due
            for event in of_kind(Kind::ConfigurationEvidence) {
                if event.fact.cell(evidence::Column::Phase).text() == Some("BEFORE") {
                    let rows = vec![due_row(event)];
                    upsert(tx, INSERT_DUE, rows, "ON CONFLICT DO NOTHING").await?;
                } else {
                    told(tx, event).await?;
                }
            }
            Ok(())
        })
    }
}

/// Of the events that are for one row that with the greatest version, the first if there are several: what is
/// left when those with greater versions replace those with lesser ones.
fn greatest<'a, K: Ord>(
    events: impl Iterator<Item = &'a Event>,
    of: impl Fn(&'a Event) -> (K, Option<i64>),
) -> Vec<&'a Event> {
    let mut greatest: BTreeMap<K, (Option<i64>, &'a Event)> = BTreeMap::new();
    for event in events {
        let (key, version) = of(event);
        let held = greatest.entry(key).or_insert((version, event));
        if version > held.0 {
            *held = (version, event);
        }
    }
    greatest.into_values().map(|(_, event)| event).collect()
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
