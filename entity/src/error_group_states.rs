//! `error_group_states`: how far errors are grouped, of each provenance.

use sea_orm::entity::prelude::*;

/// How far the errors of a provenance are grouped.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "error_group_states")]
pub struct Model {
    /// 0 REAL, 1 CONTROLLED, 2 SIMULATED.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provenance: i64,
    /// Which version of the method made the groups.
    pub version: i64,
    /// The last event that had a part in them.
    pub position: i64,
    /// What tells all events up to that from others of the same positions.
    pub chain_at_position: i64,
    /// When the first error was: microseconds since 1970, UTC; absent if there was none.
    pub from_at: Option<i64>,
    /// When the last error was: microseconds since 1970, UTC; absent if there was none.
    pub until_at: Option<i64>,
    /// When groups were last forgotten for want of room: microseconds since 1970, UTC.
    pub tidied_at: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
