//! `error_group_changes`: somebody decided about a group of errors.

use sea_orm::entity::prelude::*;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "error_group_changes")]
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
    /// The group.
    pub group_id: String,
    /// What was decided.
    pub change: String,
    /// The group that it was merged into.
    pub into_group_id: Option<String>,
    /// The category of its errors.
    pub category: String,
    /// The code of its errors.
    pub error_code: Option<String>,
    /// What their messages had in common.
    pub template: String,
    /// Who decided it.
    pub changed_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
