//! `configuration_values`: the value that a parameter has now.

use sea_orm::entity::prelude::*;

/// The value that a parameter has now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_values")]
pub struct Model {
    /// What is configured.
    #[sea_orm(primary_key, auto_increment = false)]
    pub entity_type: String,
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub entity_id: String,
    /// Name of the parameter.
    #[sea_orm(primary_key, auto_increment = false)]
    pub parameter_name: String,
    /// Its value, as JSON.
    pub value: String,
    /// Since when: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// The change.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
