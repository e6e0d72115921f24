//! `job_outcomes`: a job ended, on one device or as a whole.

use sea_orm::entity::prelude::*;

/// One outcome of a job.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job_outcomes")]
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
    /// The job.
    pub job_id: String,
    /// What kind of job, such as FIRMWARE_UPDATE.
    pub job_type: String,
    /// Whether this speaks of one device or of the whole job.
    pub scope: Option<String>,
    /// How it ended.
    pub status: String,
    /// How long it ran, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The device on which it ran. Key into `entity_keys`.
    pub device_key: Option<i64>,
    /// The site at which it ran. Key into `entity_keys`.
    pub site_key: Option<i64>,
    /// Code of the failure.
    pub error_code: Option<String>,
    /// What went wrong, for people.
    pub error_message: Option<String>,
    /// How often it was tried again.
    pub retry_count: Option<i64>,
    /// Who started the job.
    pub initiated_by: Option<String>,
    /// Devices the job was meant for.
    pub devices_targeted: Option<i64>,
    /// Devices on which it completed.
    pub devices_succeeded: Option<i64>,
    /// Devices on which it did not.
    pub devices_failed: Option<i64>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
