//! `alert_rules`: a rule of alerts as it stands.

use sea_orm::entity::prelude::*;

/// A rule as it stands.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_rules")]
pub struct Model {
    /// The rule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// What it watches for.
    pub alert_condition: String,
    /// Its bounds, and what it is for, as JSON.
    pub spec: String,
    /// How bad it is when it holds.
    pub severity: String,
    /// Whether it raises alerts.
    pub state: String,
    /// When it was made: microseconds since 1970, UTC.
    pub created_at: i64,
    /// Who made it.
    pub created_by: Option<String>,
    /// Its last change: microseconds since 1970, UTC.
    pub changed_at: i64,
    /// Who changed it last.
    pub changed_by: Option<String>,
    /// Its last change.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
