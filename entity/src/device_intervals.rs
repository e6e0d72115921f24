//! `device_intervals`: how often a device reports, as it told last.

use sea_orm::entity::prelude::*;

/// How often a device reports.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_intervals")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// So many seconds lie between its readings.
    pub seconds: i64,
    /// When it told so last: microseconds since 1970, UTC.
    pub told_at: i64,
    /// The reading that told it.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
