//! `device_insight_days`: what was kept of each device at some midnights, and before the hour that was folded last.

use sea_orm::entity::prelude::*;

/// What was kept of a device when all hours before an instant were folded.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_insight_days")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// The instant, a full hour: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub until_at: i64,
    /// Of which form it is.
    pub version: i64,
    /// The first instant after the last hour in which anything happened: microseconds since 1970, UTC.
    pub upto: i64,
    /// What failure risk and health read of it.
    pub risk: Vec<u8>,
    /// Everything else.
    pub rest: Vec<u8>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
