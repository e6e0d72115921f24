//! `alert_rule_changes`: a rule of alerts was made, changed or deleted.

use sea_orm::entity::prelude::*;

/// One change of a rule.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_rule_changes")]
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
    /// The rule.
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// What it watches for.
    pub alert_condition: String,
    /// Its bounds, and what it is for. JSON.
    pub spec: String,
    /// How bad it is when it holds.
    pub severity: String,
    /// Whether it raises alerts from now on.
    pub state: String,
    /// Who changed it.
    pub changed_by: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
