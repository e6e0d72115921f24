//! `job_transitions`: a job passed from one state to the next.

use sea_orm::entity::prelude::*;

/// One step of a job.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job_transitions")]
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
    /// What kind of job.
    pub job_type: String,
    /// The state from now on.
    pub state: String,
    /// What the device is given to do the job with; on the first step only. JSON.
    pub payload: Option<String>,
    /// Ids of the devices the job is meant for; on the first step only. JSON.
    pub targets: Option<String>,
    /// Who or what moved it.
    pub changed_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// How the job is to be carried out; on the first step only. JSON.
    pub plan: Option<String>,
    /// The job that it comes from.
    pub parent_job_id: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
