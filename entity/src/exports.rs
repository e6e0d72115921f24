//! `exports`: what was asked for over the API to be written into files, and how far that is.

use sea_orm::entity::prelude::*;

/// An export.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "exports")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub export_id: String,
    /// What is asked for, as JSON.
    pub asked: String,
    /// As what it is written.
    pub format: String,
    /// QUEUED, RUNNING, DONE, FAILED, CANCELLED or EXPIRED.
    pub state: String,
    /// Events that are written so far.
    pub events: i64,
    /// Events that there are, once they are counted.
    pub events_total: Option<i64>,
    /// Bytes that are written so far.
    pub bytes: i64,
    /// It has nothing after this position.
    pub position: i64,
    /// How often it was begun again.
    pub restarts: i64,
    /// The name of its file, from when that is begun.
    pub file: Option<String>,
    /// The account of who asked for it.
    pub account: String,
    /// What of the fleet that account reached, as JSON.
    pub reach: String,
    /// 1 when it has what administrators alone may read, else 0.
    pub administrators: i64,
    /// Who asked for it.
    pub created_by: String,
    /// When it was asked for: microseconds since 1970, UTC.
    pub created_at: i64,
    /// When it changed last: microseconds since 1970, UTC.
    pub changed_at: i64,
    /// When its file is removed: microseconds since 1970, UTC.
    pub expires_at: Option<i64>,
    /// Why it failed, for programs.
    pub error_code: Option<String>,
    /// Why it failed, for people.
    pub error_message: Option<String>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
