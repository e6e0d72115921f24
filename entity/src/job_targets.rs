//! `job_targets`: a device that a job is meant for.

use sea_orm::entity::prelude::*;

/// A device that a job is meant for.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_targets")]
pub struct Model {
    /// The job.
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: String,
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// How it ended there; absent while it has not.
    pub status: Option<String>,
    /// The outcome.
    pub outcome_position: Option<i64>,
    /// Place of the device in the job, from 0.
    pub ordinal: i64,
    /// Which command it was given last, from 1; 0 when none yet.
    pub attempt: i64,
    /// How far that command is: WAITING (to be given the next), ISSUED or ACKNOWLEDGED.
    pub step: String,
    /// Since when: microseconds since 1970, UTC, by the clock of the server.
    pub step_at: i64,
    /// Position of the event since which it is so.
    pub step_position: i64,
    /// How many of its commands have failed; one that was taken back has not.
    pub failures: i64,
    /// When the last of these did: microseconds since 1970, UTC, by the clock of the server.
    pub failed_at: i64,
}

/// A device of a job is one of its job.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its job.
    #[sea_orm(
        belongs_to = "super::jobs::Entity",
        from = "Column::JobId",
        to = "super::jobs::Column::JobId"
    )]
    Job,
}

impl Related<super::jobs::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Job.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
