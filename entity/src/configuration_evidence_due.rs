//! `configuration_evidence_due`: changes of which the hour after is yet to be told.

use sea_orm::entity::prelude::*;

/// A change that a device applied.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "configuration_evidence_due")]
pub struct Model {
    /// The command with which it did.
    #[sea_orm(primary_key, auto_increment = false)]
    pub command_id: String,
    /// The device. Key into `entity_keys`.
    pub device_key: i64,
    /// When: microseconds since 1970, UTC.
    pub applied_at: i64,
    /// Provenance of the event.
    pub provenance: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
