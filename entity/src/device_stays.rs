//! `device_stays`: where a device stood, from when until when.

use sea_orm::entity::prelude::*;

/// A time over which a device stood at one site.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_stays")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// When it began, the least for the first one: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub from_at: i64,
    /// When the next began, the greatest for the last one: microseconds since 1970, UTC.
    pub until_at: i64,
    /// Key of the site.
    pub site_key: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
