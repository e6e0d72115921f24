//! `configuration_settings`: a parameter was set on something, or is no longer.

use sea_orm::entity::prelude::*;

/// One parameter of one command.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_settings")]
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
    /// On what it was set.
    pub entity_type: String,
    /// Id of the device or site; `system` for the whole system.
    pub entity_id: String,
    /// Which command on that thing it was part of, from 1.
    pub version: i64,
    /// Name of the parameter.
    pub parameter_name: String,
    /// The value from then on; absent when it was unset. JSON.
    pub value: Option<String>,
    /// Who set it.
    pub changed_by: String,
    /// Why.
    pub reason: Option<String>,
    /// How it came about.
    pub change_type: Option<String>,
    /// The version to which it was rolled back.
    pub rolled_back_to: Option<i64>,
    /// The job by which devices are told.
    pub job_id: Option<String>,
    /// The device, when it is one. Key into `entity_keys`.
    pub device_key: Option<i64>,
    /// The site, when it is one. Key into `entity_keys`.
    pub site_key: Option<i64>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
