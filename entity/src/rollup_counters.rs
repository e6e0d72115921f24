//! `rollup_counters`: what each counter of a device showed last, as far as the rollups have come.

use sea_orm::entity::prelude::*;

/// The newest value of a counter.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rollup_counters")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Place of the measure among those of `device_metrics`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub measure: i64,
    /// When it was shown: microseconds since 1970, UTC.
    pub shown_at: i64,
    /// What it showed, in units of 10⁻⁴.
    pub units: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
