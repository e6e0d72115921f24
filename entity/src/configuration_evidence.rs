//! `configuration_evidence`: what a device measured around a change of its configuration.

use sea_orm::entity::prelude::*;

/// What a device measured in one hour.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_evidence")]
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
    /// The command with which the device applied the change.
    pub command_id: String,
    /// The device. Key into `entity_keys`.
    pub device_key: i64,
    /// BEFORE or AFTER the change.
    pub phase: String,
    /// Readings in the hour.
    pub readings: i64,
    /// Of which provenance the readings are.
    pub readings_provenance: Option<String>,
    /// For each measure its count, mean, p95 and max. JSON.
    pub measures: String,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
