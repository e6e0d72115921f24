//! `refusals`: how often something was refused.

use sea_orm::entity::prelude::*;

/// How often something was refused.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refusals")]
pub struct Model {
    /// Name of the kind on the wire.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    /// The field at fault; empty for the whole event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub field: String,
    /// Code of the refusal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub code: String,
    /// The device; empty when there is none.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: String,
    /// How often.
    pub refused: i64,
    /// The last time: microseconds since 1970, UTC.
    pub last_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
