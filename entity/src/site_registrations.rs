//! `site_registrations`: a site was registered, or what is known of it changed.

use sea_orm::entity::prelude::*;

/// One registration of a site.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "site_registrations")]
pub struct Model {
    /// Global position of the event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// Key that its source gave it.
    pub event_id: Option<Uuid>,
    /// When it happened at its source: microseconds since 1970, UTC.
    pub occurred_at: i64,
    /// When it was appended: microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    pub provenance: i64,
    /// The site, by the id that its operator gave it. Key into `entity_keys`.
    pub site_key: i64,
    /// Name for people.
    pub name: String,
    /// IANA time zone in which the site keeps its hours; UTC when absent.
    pub time_zone: Option<String>,
    /// ISO 4217 code of the money taken at the site.
    pub currency: Option<String>,
    /// Postal address.
    pub address: Option<String>,
    /// Labels for grouping, at most 64 of 64 characters. JSON list.
    pub tags: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
