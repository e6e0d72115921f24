//! `configuration_history`: a configuration parameter got a new value.

use sea_orm::entity::prelude::*;

/// One change of a parameter.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_history")]
pub struct Model {
    /// Global position of the event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// Key that its source gave it.
    pub event_id: Option<Uuid>,
    /// When it happened at its source: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// When it was appended: microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    pub provenance: i64,
    /// What was configured.
    pub entity_type: String,
    /// Id of the device or site; `system` for the whole system.
    pub entity_id: String,
    /// Name of the parameter.
    pub parameter_name: String,
    /// The value before. JSON.
    pub old_value: Option<String>,
    /// The value from now on. JSON.
    pub new_value: String,
    /// Who changed it.
    pub changed_by: String,
    /// Why.
    pub reason: Option<String>,
    /// How it came about; MANUAL when absent.
    pub change_type: Option<String>,
    /// The device configured, when it is one. Key into `entity_keys`.
    pub device_key: Option<i64>,
    /// The site configured, when it is one. Key into `entity_keys`.
    pub site_key: Option<i64>,
    /// The job by which the device was told, if it was.
    pub job_id: Option<String>,
    /// The command with which the device applied it, if it was told.
    pub command_id: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
