//! What is told of configuration: what holds of a parameter, what is set on a thing, and the parameters that
//! there are.

use async_graphql::{ComplexObject, Context, Enum, Error, ID, SimpleObject};

use super::order::InOrder;
use super::scalars::{DateTime, JsonScalar, Long};
use super::words::{ConfigurationChangeTypes, ConfigurationEntities, Word};
use super::{api, of_failed};
use crate::configuration::Parameter;
use crate::event::{Instant, json_bytes};
use crate::history::configuration::{self as held, Effective, SettingRow, Source};

/// Versions at most that are told at once.
const VERSIONS_MAX: i64 = 100;

/// Where the value that holds comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ConfigurationSource {
    /// It is set on the device.
    Device,
    /// It is set on the site.
    Site,
    /// It is set on the system.
    System,
    /// Nobody has set it: it is the `default` of its schema.
    Default,
    /// Nobody has set it: it is what was last recorded as a `configurationChange` of the thing itself.
    Reported,
}

/// Whether a device does what holds for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ConfigurationStatus {
    /// The device has said that it applied it.
    Applied,
    /// It has not said so yet: it is away, is about to, or failed.
    Pending,
}

/// What holds of a parameter.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ConfigurationValue {
    /// Name of the parameter.
    parameter_name: String,
    /// Its value; `***` of a sensitive one.
    value: JsonScalar,
    /// Where it comes from.
    source: ConfigurationSource,
    /// The version of the device, site or system with which it was set, for `expectedVersion` of a change there;
    /// "0" when nobody has set it.
    version: Long,
    /// Since when it holds.
    changed_at: DateTime,
    /// Whether the device has applied it; null of what is no device, and of what no device was told.
    status: Option<ConfigurationStatus>,
    /// The value that was last recorded of the thing itself: of a device the one that it runs with.
    applied_value: Option<JsonScalar>,
    /// When that was.
    applied_at: Option<DateTime>,
}

/// Takes what values are that hold on a thing, each time that they are asked for under a field.
pub(super) fn take_values(ctx: &Context<'_>, rows: &[Effective]) -> Result<(), Error> {
    let values = rows.iter().map(|row| json_bytes(&row.value)).sum();
    super::take_each_time(ctx, &["value"], values)?;
    let applied = rows.iter().filter_map(|row| row.applied.as_ref());
    let applied = applied.map(|(value, _)| json_bytes(value)).sum();
    super::take_each_time(ctx, &["appliedValue"], applied)
}

impl ConfigurationValue {
    pub(super) fn of(row: Effective, is_of_device: bool) -> Self {
        let is_applied = row.is_applied().filter(|_| is_of_device);
        let status = is_applied.map(|is_applied| {
            if is_applied {
                ConfigurationStatus::Applied
            } else {
                ConfigurationStatus::Pending
            }
        });
        let (applied_value, applied_at) = row.applied.unzip();
        Self {
            parameter_name: row.parameter,
            value: JsonScalar(row.value),
            source: match row.source {
                Source::Device => ConfigurationSource::Device,
                Source::Site => ConfigurationSource::Site,
                Source::System => ConfigurationSource::System,
                Source::Default => ConfigurationSource::Default,
                Source::Reported => ConfigurationSource::Reported,
            },
            version: Long(row.version),
            changed_at: DateTime(Instant(row.since)),
            status,
            applied_value: applied_value.map(JsonScalar),
            applied_at: applied_at.map(|at| DateTime(Instant(at))),
        }
    }
}

/// A parameter that may be set.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ConfigurationParameter {
    /// Its name.
    parameter_name: String,
    /// Which registration it is, from "1", for `expectedVersion`; "0" of one that every server knows.
    version: Long,
    /// JSON Schema (draft 2020-12) of its values.
    schema: JsonScalar,
    /// What it is for.
    description: Option<String>,
    /// Whether its values are secret: sealed where they are kept, and told to the device alone. What was
    /// recorded of it before it was registered so stays as it was given.
    sensitive: bool,
    /// On what it may be set.
    scopes: Vec<Word<ConfigurationEntities>>,
}

impl From<Parameter> for ConfigurationParameter {
    fn from(parameter: Parameter) -> Self {
        let scopes = parameter.scopes.iter();
        Self {
            version: Long(parameter.version),
            schema: JsonScalar(parameter.schema),
            description: parameter.description,
            sensitive: parameter.sensitive,
            scopes: scopes.map(|scope| Word::known(scope)).collect(),
            parameter_name: parameter.name,
        }
    }
}

/// What is set on a device, a site or the system.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct EntityConfiguration {
    /// On what.
    entity_type: Word<ConfigurationEntities>,
    /// Id of the device or site; `system` of the system.
    entity_id: ID,
    /// Its version, for `expectedVersion`: how many commands have set something on it.
    version: Long,
    /// What is set on it, without what it inherits.
    values: Vec<InOrder<SetValue>>,
}

/// A parameter that is set on something.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct SetValue {
    /// Name of the parameter.
    parameter_name: String,
    /// The version with which it was set.
    version: Long,
    /// When.
    changed_at: DateTime,
    /// As it stands in the tables.
    #[graphql(skip)]
    value: Option<String>,
}

#[ComplexObject]
impl SetValue {
    /// Its value; `***` of a sensitive one, and null when it was unset.
    async fn value(&self) -> Option<JsonScalar> {
        self.value.as_deref().map(held::json).map(JsonScalar)
    }
}

/// Takes what values are that were set, each time that they are asked for under a field.
fn take_set<'a>(
    ctx: &Context<'_>,
    path: &[&str],
    values: impl Iterator<Item = Option<&'a String>>,
) -> Result<(), Error> {
    if super::times(ctx.field(), path) == 0 {
        return Ok(());
    }
    let values = values.flatten().map(|text| json_bytes(&held::json(text)));
    super::take_each_time(ctx, path, values.sum())
}

/// One command on a device, a site or the system.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ConfigurationVersion {
    /// The version that it made.
    version: Long,
    /// What it set and unset.
    changes: Vec<InOrder<SetValue>>,
    /// Who gave it.
    changed_by: String,
    /// When.
    changed_at: DateTime,
    /// Why.
    reason: Option<String>,
    /// How it came about.
    change_type: Option<Word<ConfigurationChangeTypes>>,
    /// The version that it rolled back to.
    rolled_back_to: Option<Long>,
    /// The first of the jobs by which devices are told.
    job_id: Option<ID>,
}

impl EntityConfiguration {
    /// What is set on a thing that is there, of which the values are asked for under a field by the names down
    /// to them.
    pub(super) async fn read(
        ctx: &Context<'_>,
        (entity_type, entity_id): (&str, &str),
        path: &[&str],
    ) -> Result<Self, Error> {
        let (api, loaders) = (api(ctx), super::loaders(ctx));
        let of = (entity_type, vec![entity_id.to_owned()]);
        let rows = held::desired(api.store(), [of], loaders.allowance()).await;
        let rows = rows.map_err(|error| of_failed(api, &error))?;
        loaders.count(rows.len())?;
        take_set(ctx, path, rows.iter().map(|row| row.value.as_ref()))?;
        let version = rows.iter().map(|row| row.version).max().unwrap_or(0);
        let values = rows.into_iter().filter_map(|row| {
            let value = Some(row.value?);
            Some(InOrder(SetValue {
                parameter_name: row.parameter_name,
                version: Long(row.version),
                changed_at: DateTime(Instant(row.occurred_at)),
                value,
            }))
        });
        Ok(Self {
            entity_type: Word::known(entity_type),
            entity_id: ID(entity_id.to_owned()),
            version: Long(version),
            values: values.collect(),
        })
    }
}

#[ComplexObject]
impl EntityConfiguration {
    /// Its versions, the newest first; more of them are in `configurationSettings`.
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Versions at most, 1 to 100.", default = 20)] first: i32,
    ) -> Result<Option<Vec<InOrder<ConfigurationVersion>>>, Error> {
        let first = i64::from(first).clamp(1, VERSIONS_MAX);
        let (entity_type, api, loaders) = (self.entity_type.word(), api(ctx), super::loaders(ctx));
        let of = (entity_type.as_str(), self.entity_id.as_str());
        let range = (self.version.0 - first, self.version.0);
        let rows = held::settings(api.store(), (of, range), loaders.allowance()).await;
        let rows = rows.map_err(|error| of_failed(api, &error))?;
        loaders.count(rows.len())?;
        let values = rows.iter().map(|row| row.value.as_ref());
        take_set(ctx, &["changes", "value"], values)?;
        let mut versions: Vec<ConfigurationVersion> = Vec::new();
        for mut row in rows {
            let (version, change) = (row.version, change_of(&mut row));
            match versions.last_mut().filter(|one| one.version.0 == version) {
                Some(one) => one.changes.push(change),
                None => versions.push(version_of(row, change)),
            }
        }
        Ok(Some(versions.into_iter().rev().map(InOrder).collect()))
    }
}

/// What a row says of its parameter, taken out of it.
fn change_of(row: &mut SettingRow) -> InOrder<SetValue> {
    InOrder(SetValue {
        parameter_name: std::mem::take(&mut row.parameter_name),
        version: Long(row.version),
        changed_at: DateTime(Instant(row.occurred_at)),
        value: row.value.take(),
    })
}

fn version_of(row: SettingRow, change: InOrder<SetValue>) -> ConfigurationVersion {
    ConfigurationVersion {
        version: Long(row.version),
        changes: vec![change],
        changed_by: row.changed_by,
        changed_at: DateTime(Instant(row.occurred_at)),
        reason: row.reason,
        change_type: row.change_type.as_deref().map(Word::known),
        rolled_back_to: row.rolled_back_to.map(Long),
        job_id: row.job_id.map(ID),
    }
}
