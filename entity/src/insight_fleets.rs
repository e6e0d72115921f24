//! `insight_fleets`: what the devices of a fleet came to at a midnight.

use sea_orm::entity::prelude::*;

/// A fleet at a midnight.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "insight_fleets")]
pub struct Model {
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Of which form the sums are.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// The midnight: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    /// When it was summed up: microseconds since 1970, UTC.
    pub made_at: i64,
    /// Devices of which something was known.
    pub devices: i64,
    /// The sums.
    pub sums: Vec<u8>,
    /// What is usual at each site; of the last nights.
    pub site_pools: Option<Vec<u8>>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
