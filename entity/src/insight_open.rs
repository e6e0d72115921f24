//! `insight_open`: hours of devices that may not be over yet.

use sea_orm::entity::prelude::*;

/// An hour in which something happened to a device, and which may not be over.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "insight_open")]
pub struct Model {
    /// When it begins: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hour_at: i64,
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
