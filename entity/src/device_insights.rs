//! `device_insights`: what is kept of each device for its insights.

use sea_orm::entity::prelude::*;

/// What is kept of a device, from hours that are over.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_insights")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Of which form it is.
    pub version: i64,
    /// The first instant after the hours that are folded: microseconds since 1970, UTC.
    pub upto: i64,
    /// When the first of them began: microseconds since 1970, UTC.
    pub first_at: i64,
    /// The end of the last hour in which anything was measured, 0 if nothing was: microseconds since 1970, UTC.
    pub measured_at: i64,
    /// A number that is another one for other bytes.
    pub mark: i64,
    /// What failure risk and health read of it.
    pub risk: Vec<u8>,
    /// Everything else.
    pub rest: Vec<u8>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
