//! `device_status`: what is newest of a device.

use sea_orm::entity::prelude::*;

/// What is newest of a device.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_status")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// The newest state reported.
    pub state: Option<String>,
    /// When it was reported: microseconds since 1970, UTC.
    pub state_at: Option<i64>,
    /// The report.
    pub state_position: Option<i64>,
    /// When it was last heard of: microseconds since 1970, UTC.
    pub last_seen_at: Option<i64>,
    /// When it last measured itself: microseconds since 1970, UTC.
    pub metrics_at: Option<i64>,
    /// The measurement.
    pub metrics_position: Option<i64>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
