//! `parameter_registrations`: a parameter of configuration was registered.

use sea_orm::entity::prelude::*;

/// One registration of a parameter.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "parameter_registrations")]
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
    /// Name of the parameter.
    pub parameter_name: String,
    /// Which registration of the parameter it is, from 1.
    pub version: i64,
    /// What values it takes. JSON.
    pub schema: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its values are secret: 0 or 1.
    pub sensitive: i64,
    /// On what it may be set. JSON list of words.
    pub scopes: String,
    /// Who registered it.
    pub changed_by: String,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
