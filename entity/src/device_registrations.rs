//! `device_registrations`: a device was registered at a site, or what is known of it changed.

use sea_orm::entity::prelude::*;

/// One registration of a device.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_registrations")]
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
    /// The device, by the id that its operator gave it. Key into `entity_keys`.
    pub device_key: i64,
    /// The site at which it stands. Key into `entity_keys`.
    pub site_key: i64,
    /// Name for people.
    pub name: Option<String>,
    /// What it is.
    pub device_type: String,
    /// Model, as its maker calls it.
    pub model: Option<String>,
    /// Version of its firmware.
    pub firmware: Option<String>,
    /// Operating system and version.
    pub os: Option<String>,
    /// Labels for grouping, at most 64 of 64 characters. JSON list.
    pub tags: Option<String>,
    /// Whether it is in use; ACTIVE when absent.
    pub lifecycle: Option<String>,
    /// What else the source said, as JSON.
    pub extra: Option<String>,
}

/// No relations: the log is joined by its readers.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
