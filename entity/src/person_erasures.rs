//! `person_erasures`: of whom what is personal was or is to be erased, and how far that is.

use sea_orm::entity::prelude::*;

/// An erasure.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "person_erasures")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub erasure_id: String,
    /// Of whom, until it is done.
    pub person: Option<String>,
    /// A checksum, by which who knows of whom it was can tell.
    pub person_sha256: String,
    /// What was recorded after this position is not erased.
    pub position: i64,
    /// QUEUED, RUNNING or DONE.
    pub state: String,
    /// Events that had something of the person, as far as it is done.
    pub events: i64,
    /// Segments that were written anew.
    pub segments: i64,
    /// When it was asked for: microseconds since 1970, UTC.
    pub asked_at: i64,
    /// Who asked for it.
    pub asked_by: String,
    /// When it changed last: microseconds since 1970, UTC.
    pub changed_at: i64,
    /// Why it could not be gone on with the last time.
    pub failure: Option<String>,
    /// Up to which position the tables are done.
    pub rows_upto: i64,
    /// Up to which segment those are done that are looked into.
    pub segments_done: i64,
    /// The last segment that is looked into, from when the tables are done.
    pub segments_upto: Option<i64>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
