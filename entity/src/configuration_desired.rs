//! `configuration_desired`: the value that each parameter of a thing is to have.

use sea_orm::entity::prelude::*;

/// A parameter that was set on something.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_desired")]
pub struct Model {
    /// On what it was set.
    #[sea_orm(primary_key, auto_increment = false)]
    pub entity_type: String,
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub entity_id: String,
    /// Name of the parameter.
    #[sea_orm(primary_key, auto_increment = false)]
    pub parameter_name: String,
    /// The value; absent when it was unset. JSON.
    pub value: Option<String>,
    /// With which version of the thing.
    pub version: i64,
    /// Since when: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// The setting.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
