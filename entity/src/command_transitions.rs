//! `command_transitions`: a command to a device passed from one state to the next.

use sea_orm::entity::prelude::*;

/// One step of a command.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "command_transitions")]
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
    /// The command.
    pub command_id: String,
    /// The job that it is part of.
    pub job_id: String,
    /// What kind of job.
    pub job_type: String,
    /// Key of the device that it is for.
    pub device_key: i64,
    /// Which command of the job to the device it is, from 1.
    pub attempt: i64,
    /// The state from now on.
    pub state: String,
    /// How long the device worked on it, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Code of the failure.
    pub error_code: Option<String>,
    /// What went wrong.
    pub error_message: Option<String>,
    /// What the device gave back, as JSON.
    pub result: Option<String>,
    /// Who or what moved it.
    pub changed_by: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
