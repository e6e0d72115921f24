//! `device_silences`: when a device told nothing for long.

use sea_orm::entity::prelude::*;

/// A time in which a device sent no reading.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_silences")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// When the next reading was, the greatest after the last one: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub until_at: i64,
    /// When the reading before was, 0 before the first one: microseconds since 1970, UTC.
    pub from_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
