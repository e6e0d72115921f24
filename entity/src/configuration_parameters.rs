//! `configuration_parameters`: the parameters that may be set.

use sea_orm::entity::prelude::*;

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_parameters")]
pub struct Model {
    /// Its name.
    #[sea_orm(primary_key, auto_increment = false)]
    pub parameter_name: String,
    /// Which registration holds, from 1.
    pub version: i64,
    /// What values it takes. JSON.
    pub schema: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its values are secret: 0 or 1.
    pub sensitive: i64,
    /// On what it may be set. JSON list of words.
    pub scopes: String,
    /// The value where none is set. JSON.
    pub default_value: Option<String>,
    /// Since when: microseconds since 1970, UTC.
    pub registered_at: i64,
    /// The registration.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
