//! `insight_horizon`: which hours are over.

use sea_orm::entity::prelude::*;

/// Before when hours are over.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "insight_horizon")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The instant, a full hour: microseconds since 1970, UTC.
    pub horizon_at: i64,
    /// Of which form what is kept of devices is.
    pub version: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
