//! `insight_due`: devices of which hours that are over are still to be folded.

use sea_orm::entity::prelude::*;

/// A device of which hours are to be folded.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "insight_due")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// From which hour on: microseconds since 1970, UTC; 0 for all that there are.
    pub from_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
