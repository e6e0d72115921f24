//! `device_state_history`: a device was seen in a state.

use sea_orm::entity::prelude::*;

/// One reported state of a device.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_state_history")]
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
    /// The device. Key into `entity_keys`.
    pub device_key: i64,
    /// The state before this one, as the source reported it, which is only a hint: readers have it derived
    /// from the history, in order of time.
    pub previous_state: Option<String>,
    /// The state it is in from this instant.
    pub new_state: String,
    /// Who or what changed it.
    pub changed_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Time the health check took, in milliseconds.
    pub response_time_ms: Option<f64>,
    /// What the health check said.
    pub health_status: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
