//! `jobs`: a job as it stands.

use sea_orm::entity::prelude::*;

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    /// The job.
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: String,
    /// What kind of job.
    pub job_type: String,
    /// Its state.
    pub state: String,
    /// What the devices are given, as JSON.
    pub payload: Option<String>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was made: microseconds since 1970, UTC.
    pub created_at: i64,
    /// Its last transition: microseconds since 1970, UTC.
    pub changed_at: i64,
    /// Its last transition.
    pub position: i64,
    /// How it is to be carried out, as JSON.
    pub plan: Option<String>,
    /// The job that it comes from.
    pub parent_job_id: Option<String>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
