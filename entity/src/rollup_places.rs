//! `rollup_places`: where a device stood and what held there, as far as the rollups have come.

use sea_orm::entity::prelude::*;

/// A time over which a device stood at one site, which had one zone and one currency.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rollup_places")]
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
    /// IANA time zone of the site.
    pub time_zone: String,
    /// ISO 4217 code of the site's currency; empty if it has none.
    pub currency: String,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
