//! `sites`: a site as it is registered now.

use sea_orm::entity::prelude::*;

/// A site as it is registered now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sites")]
pub struct Model {
    /// Key of the site.
    #[sea_orm(primary_key, auto_increment = false)]
    pub site_key: i64,
    /// Id that its operator gave it.
    pub site_id: String,
    /// Name for people.
    pub name: String,
    /// IANA time zone.
    pub time_zone: String,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// Postal address.
    pub address: Option<String>,
    /// Labels, as a JSON list.
    pub tags: Option<String>,
    /// When this was said: microseconds since 1970, UTC.
    pub registered_at: i64,
    /// The registration.
    pub position: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
