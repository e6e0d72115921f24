//! `device_states`: the states that were reported of each device, also those whose events were archived or deleted.

use sea_orm::entity::prelude::*;

/// A state that was reported of a device.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_states")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// From when on it was in the state: microseconds since 1970, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub occurred_at: i64,
    /// The report.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// The state.
    pub state: String,
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    pub provenance: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
